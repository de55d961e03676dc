"""Loading with augmentation: milliseconds an image, ours against per-image Pillow and MONAI doing the same work.

Work: a grey 800 x 540 PNG becomes a float32 224 x 224 input: aspect kept, flipped at random, turned by up to 15
degrees, normalised. Pillow and MONAI decode each time, as their users' data sets do; ours reads its cache, whose making
is timed on its own. One thread of each library; all interleaved in rounds, medians, ratios within a round.

    OMP_NUM_THREADS=1 python benchmarks/loading.py          # MONAI's row where it is installed (make test-peers)
    OMP_NUM_THREADS=1 python benchmarks/loading.py --json
"""

import argparse
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import cv2
import numpy as np
import torch
from PIL import Image, ImageOps

from excite.data.cache import ImageCache
from excite.data.preprocess import Preprocess
from excite.data.sections import AugmentSection, CacheSection, PreprocessSection
from excite.engine.loader import Loader

SIZE, DEGREES, MEAN, STD = 224, 15.0, 0.449, 0.226
EPOCHS = 8  # of ours a round: one is too short to time


def simulate(folder: Path, count: int) -> list[Path]:
    """Write grey PNGs of smoothed speckle in a fan, about as hard to decode as an ultrasound picture."""
    random_ = np.random.default_rng(0)
    y, x = np.mgrid[:540, :800]
    fan = (np.hypot(x - 400, y + 60) < 590) & (np.abs(x - 400) < 0.75 * (y + 60))
    files = []
    for number in range(count):
        echo = np.hypot(*(cv2.GaussianBlur(random_.normal(size=(540, 800)), (0, 0), 1.5) for _ in range(2)))
        picture = np.clip(255 * (1 + np.log10(echo / echo.max() + 1e-3) / 2.5), 0, 255) * fan
        files.append(folder / f"{number:03}.png")
        Image.fromarray(picture.astype(np.uint8)).save(files[-1])
    return files


def pillow(files: list[Path]) -> Callable[[], int]:
    """Open, grey, fit into the square, flip, rotate, float, normalise; stacked in batches of 32."""
    draw = random.Random(0)

    def one(file: Path) -> np.ndarray:
        with Image.open(file) as opened:
            image = ImageOps.pad(opened.convert("L"), (SIZE, SIZE), Image.Resampling.BILINEAR)
        if draw.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        image = image.rotate(draw.uniform(-DEGREES, DEGREES), Image.Resampling.BILINEAR)
        return (np.asarray(image, dtype=np.float32) / 255 - MEAN) / STD

    def run() -> int:
        for begin in range(0, len(files), 32):
            torch.from_numpy(np.stack([one(file) for file in files[begin:begin + 32]])[:, None])
        return len(files)

    return run


def monai(files: list[Path]) -> Callable[[], int] | None:
    """LoadImage .. RandRotate, where MONAI is installed; None otherwise."""
    try:
        from monai import transforms as t
    except ImportError:
        return None
    chain = t.Compose([
        t.LoadImage(image_only=True), t.EnsureChannelFirst(), t.Resize(SIZE, size_mode="longest"),
        t.SpatialPad((SIZE, SIZE)), t.ScaleIntensityRange(0, 255, 0.0, 1.0),
        t.RandFlip(prob=0.5, spatial_axis=0), t.RandRotate(range_x=float(np.deg2rad(DEGREES)), prob=1.0),
        t.NormalizeIntensity(subtrahend=MEAN, divisor=STD)])

    def run() -> int:
        for begin in range(0, len(files), 32):
            torch.stack([chain(str(file)).as_tensor() for file in files[begin:begin + 32]])
        return len(files)

    return run


def ours(files: list[Path], folder: Path, *, channels: int, tones: bool) -> Callable[[], int]:
    """The loader on a warm cache."""
    rest = {} if tones else {"scale": 0, "shift": 0, "brightness": 0, "contrast": 0, "gamma": 0}
    norm = {"mean": (MEAN,) * channels, "std": (STD,) * channels}
    preprocess = Preprocess(PreprocessSection(size=SIZE, channels=channels, **norm))
    cache = ImageCache.build(files, preprocess, CacheSection(folder=folder))
    loader = Loader(cache, preprocess, range(len(files)), [0] * len(files), batch_size=32, seed=0, sampler="shuffle",
                    augment=AugmentSection(rotation=DEGREES, **rest))

    def run() -> int:
        for epoch in range(EPOCHS):
            for _ in loader.batches(epoch):
                pass
        return EPOCHS * len(files)

    return run


def measure(ways: dict[str, Callable[[], int]], rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return milliseconds an image of each way in each round, by processor time and by the clock."""
    times: dict[str, dict[str, list[float]]] = {name: {"cpu": [], "wall": []} for name in ways}
    for number in range(rounds + 1):
        for name, run in ways.items():
            cpu, wall = time.process_time(), time.perf_counter()
            images = run()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if number:  # the first round warms up
                times[name]["cpu"].append(1e3 * cpu / images)
                times[name]["wall"].append(1e3 * wall / images)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name:
        files = simulate(Path(name), options.images)
        began = time.perf_counter()
        plain = ours(files, Path(name) / "cache", channels=1, tones=False)
        made = 1e3 * (time.perf_counter() - began) / len(files)
        ways = {"Pillow": pillow(files), "MONAI": monai(files), "excite": plain,
                "excite, 3 channels": ours(files, Path(name) / "cache", channels=3, tones=False),
                "excite, 3 channels, all augmentations": ours(files, Path(name) / "cache", channels=3, tones=True)}
        times = measure({way: run for way, run in ways.items() if run}, options.rounds)
        size = statistics.mean(file.stat().st_size for file in files) / 1e3
    report(times, made, size, as_json=options.json)


def report(times: dict[str, dict[str, list[float]]], made: float, size: float, *, as_json: bool) -> None:
    """Print the medians and the ratios."""
    facts: dict[str, object] = {
        "date": time.strftime("%Y-%m-%d"), "machine": platform.machine(), "load": round(os.getloadavg()[0], 1),
        "versions": {name: version(name) for name in ("numpy", "opencv-python-headless", "pillow", "torch")},
        "png_kb": round(size), "making_the_cache_ms": round(made, 2)}
    rows = {}
    for way, clocks in times.items():
        rows[way] = {f"{clock}_ms": round(statistics.median(values), 3) for clock, values in clocks.items()}
        for peer in ("Pillow", "MONAI"):
            if peer in times and way not in ("Pillow", "MONAI"):
                for clock, values in clocks.items():
                    ratios = [a / b for a, b in zip(times[peer][clock], values, strict=True)]
                    rows[way][f"x_{peer}_{clock}"] = round(statistics.median(ratios), 1)
    facts["ms_an_image"] = rows
    if as_json:
        print(json.dumps(facts))
        return
    print(json.dumps({key: value for key, value in facts.items() if key != "ms_an_image"}), file=sys.stderr)
    for way, row in rows.items():
        print(f"{way:<40}" + "  ".join(f"{key} {value:g}" for key, value in row.items()))


if __name__ == "__main__":
    main()
