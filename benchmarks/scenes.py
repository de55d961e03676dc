"""How much a random split flatters: HybridSN with and without attention beside an SVM, on honest and random splits.

    python benchmarks/scenes.py CUBE ... --out results.jsonl [--seeds 5]

Every cube is split three times: at random within each class (10 % to train, 10 % to validate); by blocks with a guard,
so that no test pixel lies in a training window; and by the same blocks with no more training pixels of a class than the
random split has ("few"), so that the two differ in the leak alone. Each seed draws its own split and its own weights.
The networks train by the parts of `excite train CUBE`; what is done is in the file of results, so the same command goes
on where it stopped.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from excite.data.scenes.split import CODES
from excite.engine.loop import fit
from excite.jobs.scenes.baselines import METHODS, measured
from excite.jobs.scenes.prepare import PreparedScene, prepare_scene
from excite.jobs.scenes.repeats import spread
from excite.jobs.scenes.sections import SceneConfig

WINDOW = 11
RANDOM = 0.1
SPLITS: dict[str, dict[str, Any]] = {"random": {"kind": "random", "train": RANDOM, "val": RANDOM},
                                     "block": {"kind": "block"}, "block, few": {"kind": "block"}}
EPOCHS = {"random": 40, "block": 15, "block, few": 40}  # a block split trains on six times the pixels
NETWORKS: dict[str, dict[str, Any]] = {"hybridsn": {}, "hybridsn + se": {"attention": "se"}}
TOLD = ("accuracy", "balanced_accuracy", "kappa")
TITLES = {"accuracy": "OA", "balanced_accuracy": "AA", "kappa": "kappa"}


def config_of(cube: Path, split: str, network: str, seed: int) -> SceneConfig:
    """Return the config of one training."""
    return SceneConfig.model_validate({
        "scene": {"cube": cube}, "window": WINDOW, "split": SPLITS[split] | {"seed": 345 + seed}, "seed": 42 + seed,
        "model": NETWORKS.get(network, {}), "loop": {"epochs": EPOCHS[split], "threads": torch.get_num_threads()}})


def prepared_for(config: SceneConfig, folder: Path, *, few: bool) -> PreparedScene:
    """Return the scene; where `few`, with a random tenth of each class's labelled pixels of its training blocks."""
    prepared = prepare_scene(config)
    if not few:
        return prepared
    parts, values = prepared.split.parts.copy(), prepared.scene.labels.values
    for label in np.unique(values[values > 0]).tolist():
        inside = np.flatnonzero((parts == CODES["train"]) & (values == label))
        kept = max(1, round(RANDOM * np.count_nonzero(values == label)))
        parts.flat[np.random.default_rng([config.seed, label]).permutation(inside)[kept:]] = 0
    maps = {}
    for part, code in CODES.items():
        maps[f"{part}_map"] = folder / f"{part}.npy"
        np.save(maps[f"{part}_map"], (parts == code).astype(np.uint8))
    split = config.split.model_copy(update={"kind": "given", **maps})
    return prepare_scene(config.model_copy(update={"split": split}))


def answers(prepared: PreparedScene) -> np.ndarray:
    """Train the network and return its answers for the test pixels."""
    config = prepared.config
    with tempfile.TemporaryDirectory() as folder:
        fit(prepared.model, prepared.task, prepared.batches("train", train=True), prepared.batches("val"),
            optim=config.optim, schedule=config.schedule, loop=config.loop, seed=config.seed, folder=Path(folder),
            log=lambda event: None)
    prepared.model.eval()
    with torch.inference_mode():
        return np.concatenate([prepared.model(batch.images).argmax(1).numpy()
                               for batch in prepared.batches("test").batches(0)])


def result(cube: Path, split: str, network: str, seed: int) -> dict[str, Any]:
    """Return the numbers of one training, or of the SVM."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        prepared = prepared_for(config_of(cube, split, network, seed), Path(folder), few=split.endswith("few"))
        predicted = METHODS["svm"](prepared, Path()) if network == "svm" else answers(prepared)
    metrics = measured(prepared, predicted)
    return {"cube": cube.stem, "split": split, "network": network, "seed": seed,
            "seconds": round(time.perf_counter() - began, 1), "train": int(sum(prepared.split.counts["train"])),
            "test": len(predicted), "inside": prepared.split.overlap.inside,
            **{key: metrics[key].value for key in TOLD}}


def rows(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield the table, a line a cube, split and method: mean over the seeds and its 95 % interval by Student's t."""
    yield "| scene | split | inside | train, test | method | OA | AA | kappa |"
    yield "| :-- | :-- | --: | --: | :-- | --: | --: | --: |"
    for cube in dict.fromkeys(one["cube"] for one in results):
        for split in SPLITS:
            for network in ("svm", *NETWORKS):
                some = [one for one in results if (one["cube"], one["split"], one["network"]) == (cube, split, network)]
                if some:
                    told = " | ".join(spread([one[key] for one in some]).text() for key in TOLD)
                    inside, train, test = (np.mean([one[key] for one in some]) for key in ("inside", "train", "test"))
                    yield f"| {cube} | {split} | {inside:.0%} | {train:.0f}, {test:.0f} | {network} | {told} |"


def flattery(results: list[dict[str, Any]]) -> Iterator[str]:
    """Yield how much more OA a random split gives than blocks with as many training pixels, and its interval."""
    yield "| method | " + " | ".join(dict.fromkeys(one["cube"] for one in results)) + " | all |"
    for network in ("svm", *NETWORKS):
        oa = {(one["cube"], one["split"], one["seed"]): one["accuracy"] for one in results if one["network"] == network}
        gaps: dict[str, list[float]] = {}
        for (cube, split, seed), value in oa.items():
            if split == "random" and (cube, "block, few", seed) in oa:
                gaps.setdefault(cube, []).append(value - oa[cube, "block, few", seed])
        pooled = [gap for some in gaps.values() for gap in some]
        yield f"| {network} | " + " | ".join(spread(some).text() for some in (*gaps.values(), pooled)) + " |"


def main() -> None:
    """Compute what is not there yet and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cubes", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    results = [json.loads(line) for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    done = {(one["cube"], one["split"], one["network"], one["seed"]) for one in results}
    for seed in range(asked.seeds):
        for cube in asked.cubes:
            for split in SPLITS:
                for network in ("svm", *NETWORKS):
                    if (cube.stem, split, network, seed) in done:
                        continue
                    found = result(cube, split, network, seed)
                    results.append(found)
                    with asked.out.open("a") as stream:
                        stream.write(json.dumps(found) + "\n")
                    print(json.dumps(found), flush=True)
    print("\n".join([*rows(results), "", *flattery(results)]))


if __name__ == "__main__":
    main()
