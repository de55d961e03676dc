"""A head on a frozen trunk against full training: seconds, and what comes of it on the same split.

    python benchmarks/frozen_features.py TABLE WEIGHTS.safetensors [--threads 1] [--seeds 42 43] [--full-epochs 12]

For each seed of the split: vectors made by every runtime (seconds, a fresh cache each), the head of excite's own run
(milliseconds of an epoch as a whole: checkpoints, log and validation in them) at its own batch size and at that of full
training, an epoch of full training in the precision that it measures to be faster, then full training stopped at the
wall time of the head's whole run (its last epoch ends after that), and full training as one would do it. Balanced
accuracy and macro AUROC on the test part by the network in float32, the image and its mirror image averaged, 95 %
intervals over the split's units, and the difference in pairs. One JSON object a seed.
"""

import argparse
import json
import math
import shutil
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from excite.config import load_config
from excite.engine.features import FeatureBatches, Head
from excite.engine.loop import fit, machine_threads
from excite.engine.signals import StopFlag
from excite.jobs.frozen_features import fit_head, head_loop, trunk_hash
from excite.jobs.prepare import Prepared, prepare
from excite.jobs.run_folder import CONFIG, RunFolder
from excite.jobs.sections import TrainConfig
from excite.jobs.trunk_features import TrunkFeatures
from excite.jobs.trunk_runtime import TrunkRuntimes
from excite.metrics.classification import ClassificationMeasure
from excite.metrics.intervals import bootstrap
from excite.outcome.decode import decode
from excite.progress import silent

MEASURED = ("balanced_accuracy", "auroc_macro")


def prepared_for(arguments: argparse.Namespace, cache: Path, seed: int, **changes: object) -> Prepared:
    """Return a run's parts."""
    values = {"data.table": arguments.table, "model.weights": str(arguments.weights), "model.name": arguments.model,
              "loop.threads": arguments.threads, "cache.folder": cache, "split.seed": seed, "seed": seed}
    return prepare(load_config(TrainConfig, values=values | changes))


def extraction(prepared: Prepared, cache: Path) -> dict[str, object]:
    """Return the seconds of all vectors by each runtime; the images are decoded before."""
    found: dict[str, object] = {}
    count = 0
    for name in ("onnxruntime", "float32", "bfloat16"):
        shutil.rmtree(cache / "features", ignore_errors=True)
        with TrunkRuntimes(prepared.model, shape=prepared.shape, threads=prepared.config.loop.threads or 1,
                           channels_last=True) as runtimes:
            began = time.perf_counter()
            runtimes.run(name)
            ready = time.perf_counter() - began
            made = TrunkFeatures(prepared, trunk_hash(prepared.model), threads=prepared.config.loop.threads or 1,
                                 progress=silent(), stop=StopFlag())
            began, count = time.perf_counter(), 0
            for one in made.wanted:
                for batch in made._batches(one):
                    runtimes.run(name)(batch.images)
                    count += len(batch.index)
            taken = time.perf_counter() - began
        found[name] = {"export_s": round(ready, 2), "s": round(taken, 2), "ms_an_image": round(taken / count * 1e3, 2)}
    return {"vectors": count, **found}


def full(prepared: Prepared, *, epochs: int, seconds: float | None = None) -> dict[str, object]:
    """Train the whole network, until `seconds` are over where they are given; return its times."""
    config, began = prepared.config, time.perf_counter()
    loop = config.loop.model_copy(update={"epochs": epochs, "frozen_features": False})
    with tempfile.TemporaryDirectory() as folder:
        done = fit(prepared.model, prepared.task, prepared.loader("train", train=True), prepared.loader("val"),
                   optim=config.optim, schedule=config.schedule, loop=loop, seed=config.seed, folder=Path(folder),
                   log=lambda _: None)
    return {"epochs": epochs, "s": round(time.perf_counter() - began, 2), "allowed_s": seconds,
            "epoch_s": round(float(np.median([one["seconds"] for one in done.history])), 3)}


def head_epochs(prepared: Prepared, *, batch_size: int) -> float:
    """Return the milliseconds of an epoch of the head at a batch size, the whole of `fit` in them."""
    loop = prepared.config.loop.model_copy(update={"batch_size": batch_size})
    prepared = replace(prepared, config=prepared.config.model_copy(update={"loop": loop}))
    made = TrunkFeatures(prepared, trunk_hash(prepared.model), threads=machine_threads(loop), progress=silent(),
                         stop=StopFlag()).features(None)
    head = Head(prepared.model)
    before = {name: value.clone() for name, value in head.state_dict().items()}
    with tempfile.TemporaryDirectory() as folder:
        train, val = prepared.loader("train", train=True), prepared.loader("val")
        began = time.perf_counter()
        fit(head, prepared.task, FeatureBatches(train, made.train), FeatureBatches(val, made.val),
            optim=prepared.config.optim, schedule=prepared.config.schedule, loop=head_loop(loop), seed=1,
            folder=Path(folder), log=lambda _: None)
        taken = time.perf_counter() - began
    head.load_state_dict(before)
    return taken * 1e3 / loop.epochs


@torch.no_grad()
def probabilities(model: nn.Module, prepared: Prepared) -> np.ndarray:
    """Return the test part's, two views averaged."""
    model.eval()
    views = [np.concatenate([model(batch.images.flip(3) if mirrored else batch.images).numpy()
                             for batch in prepared.loader("test").batches(0)]) for mirrored in (False, True)]
    return decode(np.stack(views), classes=prepared.classes)


def compared(prepared: Prepared, found: dict[str, np.ndarray]) -> dict[str, object]:
    """Return each one's numbers with intervals over units, and its difference from the first in pairs."""
    rows = prepared.split.test
    truth, units = np.array([prepared.labels[row] for row in rows]), [prepared.split.units[row] for row in rows]
    measures = {name: ClassificationMeasure(truth, one, prepared.classes) for name, one in found.items()}
    first = next(iter(measures.values()))
    out: dict[str, object] = {}
    for name, one in measures.items():
        numbers = bootstrap(lambda w, one=one: {key: one(w)[key] for key in MEASURED}, units)
        minus = bootstrap(lambda w, one=one: {key: one(w)[key] - first(w)[key] for key in MEASURED}, units)
        out[name] = {key: {"value": numbers[key].text(), "minus_first": minus[key].text()} for key in MEASURED}
    return out


def measured(arguments: argparse.Namespace, cache: Path, seed: int) -> dict[str, object]:
    """Return everything about one split."""
    own = {key: value for key, value in (("loop.epochs", arguments.head_epochs), ("loop.batch_size", 128),
                                         ("optim.lr", 3e-3))}
    prepared = prepared_for(arguments, cache, seed, **own, **{"loop.frozen_features": True})
    machine_threads(prepared.config.loop)
    parts = {name: len(rows) for name, rows in prepared.split.parts.items()}
    report: dict[str, object] = {"seed": seed, "threads": arguments.threads, "images": parts,
                                 "extraction": extraction(prepared, cache)}
    shutil.rmtree(cache / "features", ignore_errors=True)
    with tempfile.TemporaryDirectory() as folder, RunFolder(Path(folder) / "run") as run:
        run.write(CONFIG, "seed: 1\n")
        began = time.perf_counter()
        done = fit_head(run, prepared)
        seconds = time.perf_counter() - began
    report["head"] = {"s": round(seconds, 2), "epochs": done.epochs_done, "best_epoch": done.best_epoch,
                      "told": prepared.reasons["features"]}
    found = {"head": probabilities(prepared.model, prepared)}
    milliseconds = {f"batch {size}": round(head_epochs(prepared, batch_size=size), 2) for size in (128, 32)}
    whole = prepared_for(arguments, cache, seed)
    usual = full(whole, epochs=arguments.full_epochs)
    found["full"] = probabilities(whole.model, whole)
    whole = prepared_for(arguments, cache, seed)
    within = full(whole, epochs=max(1, math.ceil(seconds / usual["epoch_s"])), seconds=round(seconds, 2))  # type: ignore[operator]
    found["full in the head's time"] = probabilities(whole.model, whole)
    report["full"], report["full_in_the_heads_time"], report["head_epoch_ms"] = usual, within, milliseconds
    report["ratio"] = {name: round(usual["epoch_s"] * 1e3 / one) for name, one in milliseconds.items()}  # type: ignore[operator]
    return report | {"test": compared(prepared, found)}


def main() -> None:
    """Print one JSON object a split."""
    parser = argparse.ArgumentParser()
    parser.add_argument("table", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("--model", default="mobilenet_v2")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seeds", type=int, nargs="+", default=[42])
    parser.add_argument("--head-epochs", type=int, default=200)
    parser.add_argument("--full-epochs", type=int, default=12)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as cache:
        for seed in arguments.seeds:
            print(json.dumps(measured(arguments, Path(cache), seed)), flush=True)


if __name__ == "__main__":
    main()
