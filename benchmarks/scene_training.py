"""An epoch of training on a scene: ours beside the usual PyTorch script, in turns.

    python benchmarks/scene_training.py [--threads 2] [--rounds 5] [--json]

The usual script cuts every window out of the padded cube into one array, as is common for HybridSN, and trains by
TensorDataset, DataLoader (shuffled), Adam and cross-entropy in float32. Ours are the parts of `excite train CUBE`:
windows as views, the precision that its loop measures to be faster, checkpoints and logs; with its augmentation and
without. The network is the same one. Both of the published form (window 25, 30 components, batch 256) and ours (window
11, 15 components, batch 32). Memory is that of the windows, which ours never makes.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from excite.data.scenes.reduction import BandReduction, fit_reduction
from excite.data.scenes.sections import SceneAugmentSection
from excite.data.scenes.windows import SceneWindows, pad_scene, window_view
from excite.engine.loop import fit
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.engine.windows import SceneBatches
from excite.jobs.environment import cpu
from excite.losses.sections import LossSection
from excite.models.classifier import create_model
from excite.tasks.classification import ClassificationTask

SIDE, CLASSES = 145, 9
#        window, components, batch, pixels
FORMS = {"ours": (11, 15, 32, 4000), "published": (25, 30, 256, 1024)}


def scene(components: int) -> tuple[np.ndarray, BandReduction]:
    """Return a reduced scene of random spectra, and the reduction that made it."""
    cube = np.random.default_rng(0).standard_normal((SIDE, SIDE, 60), dtype=np.float32)
    reduction = fit_reduction(cube.reshape(-1, 60), kind="pca", components=components)
    return reduction.apply(cube), reduction


class Usual:
    """The script that most use: all windows in one array, and a loop of ten lines."""

    def __init__(self, cube: np.ndarray, positions: np.ndarray, labels: np.ndarray, window: int, batch: int) -> None:
        rows, columns = positions.T
        windows = np.ascontiguousarray(window_view(pad_scene(cube, window), window)[rows, columns])
        self.megabytes = windows.nbytes / 2**20
        self.loader = DataLoader(TensorDataset(torch.from_numpy(windows), torch.from_numpy(labels)), batch_size=batch,
                                 shuffle=True)
        self.model = create_model("hybridsn", in_channels=cube.shape[2], window=window, num_classes=CLASSES)
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=1e-3)

    def epoch(self) -> None:
        """Train once on every window."""
        self.model.train()
        for images, labels in self.loader:
            self.optimiser.zero_grad()
            nn.functional.cross_entropy(self.model(images), labels).backward()
            self.optimiser.step()


class Turns:
    """Hears of the epochs of our loop, and lets the usual script train one after each: both see the same noise."""

    def __init__(self, usual: Usual) -> None:
        self.usual, self.precision = usual, "float32"
        self.spent: dict[str, list[float]] = {"ours": [], "usual": []}
        self.began = time.perf_counter()

    def __call__(self, event: dict[str, object]) -> None:
        """Note how long an epoch of ours took, from the end of the one before: checkpoint, validation and log too."""
        self.precision = str(event.get("precision", self.precision))
        if event["event"] == "epoch":
            self.spent["ours"].append(time.perf_counter() - self.began)
            began = time.perf_counter()
            self.usual.epoch()
            self.spent["usual"].append(time.perf_counter() - began)
            self.began = time.perf_counter()


def compare(form: str, *, augmented: bool, rounds: int, threads: int) -> dict[str, Any]:
    """Return the seconds of an epoch each way, after one that warms up."""
    window, components, batch, pixels = FORMS[form]
    random = np.random.default_rng(1)
    places = np.sort(random.choice(SIDE * SIDE, pixels, replace=False))
    positions, labels = np.stack(np.divmod(places, SIDE), axis=1), random.integers(0, CLASSES, pixels)
    cube, reduction = scene(components)
    common: dict[str, Any] = {"window": window, "batch_size": batch, "seed": 0}
    train = SceneWindows(cube, positions, labels, augment=SceneAugmentSection() if augmented else None,
                         reduction=reduction, sampler="shuffle", **common)
    val = SceneWindows(cube, positions[:batch], labels[:batch], **common)
    turns = Turns(Usual(cube, positions, labels, window, batch))
    loop = LoopSection(epochs=rounds + 1, batch_size=batch, threads=threads, early_stopping=None)
    with tempfile.TemporaryDirectory() as folder:
        fit(create_model("hybridsn", in_channels=components, window=window, num_classes=CLASSES),
            ClassificationTask(tuple(map(str, range(CLASSES))), LossSection(), [1] * CLASSES), SceneBatches(train),
            SceneBatches(val), optim=OptimSection(), schedule=ScheduleSection(), loop=loop, seed=0,
            folder=Path(folder), log=turns)
    return {"form": form, "window": window, "components": components, "batch": batch, "pixels": pixels,
            "augmented": augmented, "precision": turns.precision, "windows MiB": round(turns.usual.megabytes, 1),
            "seconds": {name: round(statistics.median(each[1:]), 3) for name, each in turns.spent.items()}}


def main() -> None:
    """Measure, print, and end with 1 where ours is slower."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    found = [compare(form, augmented=augmented, rounds=asked.rounds, threads=asked.threads)
             for form in FORMS for augmented in (False, True)]
    if asked.json:
        print(json.dumps({"cpu": cpu()["name"], "threads": asked.threads, "torch": torch.__version__, "forms": found}))
    for one in found if not asked.json else ():
        ours, usual = one["seconds"]["ours"], one["seconds"]["usual"]
        print(f"{one['form']:10} window {one['window']}, {one['components']} components, batch {one['batch']}, "
              f"{one['pixels']} pixels, {'augmented' if one['augmented'] else 'plain'}: {ours:.3f} s an epoch in "
              f"{one['precision']}, the usual {usual:.3f} ({usual / ours:.2f}x), which holds {one['windows MiB']} MiB")
    if any(one["seconds"]["ours"] > one["seconds"]["usual"] for one in found if not one["augmented"]):
        sys.exit(1)


if __name__ == "__main__":
    main()
