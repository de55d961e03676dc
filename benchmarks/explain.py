"""What an explanation costs beside a prediction: Grad-CAM without and with its overlay written, and its checks.

    OMP_NUM_THREADS=1 python benchmarks/explain.py [--rounds 5] [--networks resnet18,mobilenet_v3_small]

Both read the same 32 simulated pictures of 240 x 320 with one thread: the explanation 16 at a time and without checks,
the prediction as many as are fastest. In turns, so that other work on the machine falls on both; processor time, which
that disturbs least. Weights are random: the time does not depend on them.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from excite.data.phantom.planes import simulate_planes
from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sections import PreprocessSection
from excite.deploy.bundle import BundleInfo
from excite.deploy.runtime import Predictor
from excite.deploy.ship import export_bundle
from excite.jobs.asked import Asked
from excite.jobs.explain.entry import BATCH, How, checked
from excite.jobs.explain.images import Images
from excite.models.classifier import create_model

IMAGES = 32
MASKS = "unet"


def main() -> None:
    """Print milliseconds an image of both, and how many times as long the explanation takes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--networks", default="resnet18,mobilenet_v3_small,se_resnet50,mobilenet_v2_aspp_se_unet")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        simulate_planes(folder / "data", patients=16)
        files = sorted((folder / "data").rglob("*.png"))[:IMAGES]
        print(f"{len(files)} images, 1 thread, median of {asked.rounds} rounds, milliseconds an image (processor time)")
        print(f"{'network':<28}{'prediction':>12}{'explanation':>13}{'times':>8}{'with its PNG':>14}{'times':>8}"
              f"{'checks of one':>15}{'times':>8}")
        for name in asked.networks.split(","):
            taken = _measured(name, files, folder / name, asked.rounds)
            predicted, explained, whole, checks = np.median(taken, axis=0)
            times = np.median(taken / taken[:, :1], axis=0)
            print(f"{name:<28}{predicted:>12.2f}{explained:>13.2f}{times[1]:>8.2f}{whole:>14.2f}{times[2]:>8.2f}"
                  f"{checks:>15.0f}{times[3]:>8.0f}", flush=True)


def _measured(name: str, files: list[Path], folder: Path, rounds: int) -> np.ndarray:
    predictor = Predictor(_bundle(name, files, folder), threads=1)
    images = Images(predictor, folder / "out", How(checks=0, threads=1))
    wanted = [Asked(path=file) for file in files]

    def shown_nowhere() -> None:
        for first in range(0, len(files), BATCH):
            some = [predictor.prepare(file)[0] for file in files[first:first + BATCH]]
            images.explainer(np.stack(some))

    first = np.stack([predictor.prepare(files[0])[0]])
    found = images.explainer(first)[0]

    works: list[Callable[[], object]] = [lambda: list(predictor.predict(files)), shown_nowhere,
                                         lambda: list(images.entries(wanted)),
                                         lambda: checked(images.explainer, first[0], found)]
    shares = [len(files)] * 3 + [1]
    for work in works:
        work()
    return np.array([[_milliseconds(work) / share for work, share in zip(works, shares, strict=True)]
                     for _ in range(rounds)])


def _bundle(name: str, files: list[Path], folder: Path) -> Path:
    """Write a bundle of random weights."""
    masks = name.endswith(MASKS)
    torch.manual_seed(0)
    model = create_model(name, in_channels=3, num_classes=1 if masks else 4).eval()
    preprocess = Preprocess(PreprocessSection(size=224))
    classes = ("inside",) if masks else ("a", "b", "c", "d")
    info = BundleInfo(name=name, classes=classes, preprocess=preprocess.to_json(),
                      task="segmentation" if masks else "classification", thresholds={"level": 0.4} if masks else {},
                      model={"name": name, "in_channels": 3, "num_classes": 1 if masks else 4})
    export_bundle(model, folder / "bundle", info=info,
                  images=np.stack([preprocess(read(file).image) for file in files[:4]]))
    return folder / "bundle"


def _milliseconds(work: Callable[[], object]) -> float:
    began = time.process_time()
    work()
    return (time.process_time() - began) * 1e3


if __name__ == "__main__":
    main()
