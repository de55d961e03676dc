"""HybridSN on every pixel of a scene: the usual loop, batches of windows, and the whole scene at once, side by side.

    python benchmarks/scene.py [--threads 2] [--rounds 3] [--large] [--json]

The network has random weights, 30 bands, a window of 25 and 16 classes. The loop (one window at a time) and the
batches are plain PyTorch on windows cut from a padded array; a sample of pixels is timed and extrapolated to
145 x 145, as the output says. The whole scene is `predict_scene`, with the work that precedes it (the spectrum of the
weights), and the same made before. All are timed in turns in one process. The bar is 90x over the better batch and 300x
over the loop, the aim 150x and 500x. Then come time a megapixel and peak memory by size, each in a process of its own:
145, 512 and with --large 1024, 2048.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from excite.jobs.environment import cpu
from excite.models.classifier import create_model
from excite.models.scene_prediction import TILE, TiledScene, predict_scene

SIDE, BANDS, WINDOW = 145, 30, 25  # Indian Pines as published
BAR, AIM = {"batches": 90, "loop": 300}, {"batches": 150, "loop": 500}
LOOPED, BATCHED = 32, 128  # pixels that are timed


def network() -> nn.Module:
    """Return the network, its biases random: fresh ones would leave the output almost constant."""
    torch.manual_seed(0)
    model = create_model("hybridsn").eval()
    for name, value in model.named_parameters():
        if name.endswith("bias"):
            nn.init.normal_(value, 0.0, 0.05)
    return model


def scene(side: int) -> np.ndarray:
    """Return a scene of smooth random components."""
    random = np.random.default_rng(0)
    coarse = random.standard_normal((side // 8 + 2, side // 8 + 2, BANDS), dtype=np.float32)
    return np.kron(coarse, np.ones((8, 8, 1), np.float32))[:side, :side] + \
        0.3 * random.standard_normal((side, side, BANDS), dtype=np.float32)


@torch.inference_mode()
def usual(model: nn.Module, windows: Tensor, batch: int) -> Tensor:
    """Return logits as the usual script does: windows in batches of `batch`."""
    return torch.cat([model(some) for some in windows.split(batch)])


def sample(cube: np.ndarray, count: int) -> tuple[Tensor, np.ndarray]:
    """Return windows of some pixels drawn at random, and the pixels."""
    half = WINDOW // 2
    padded = np.pad(cube, ((half, half), (half, half), (0, 0)), mode="reflect")
    places = np.random.default_rng(1).choice(SIDE * SIDE, count, replace=False)
    rows, columns = np.divmod(places, SIDE)
    cut = [padded[row:row + WINDOW, column:column + WINDOW].transpose(2, 0, 1)
           for row, column in zip(rows, columns, strict=True)]
    return torch.from_numpy(np.ascontiguousarray(cut)), places


def seconds(work: Callable[[], object]) -> float:
    """Return how long `work` takes by the clock."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def compare(rounds: int, threads: int) -> dict[str, Any]:
    """Return seconds a scene of each way, and how far the outputs lie apart."""
    model, cube = network(), scene(SIDE)
    windows, places = sample(cube, 512)
    ready = {name: TiledScene(model, cube, precision=name) for name in ("float32", "bfloat16")}
    share = SIDE * SIDE
    ways: dict[str, tuple[Callable[[], object], float]] = {
        "loop": (lambda: usual(model, windows[:LOOPED], 1), share / LOOPED),
        "batch 32": (lambda: usual(model, windows[:BATCHED], 32), share / BATCHED),
        "batch 128": (lambda: usual(model, windows[:BATCHED], 128), share / BATCHED),
        "predict_scene": (lambda: predict_scene(model, cube, threads=threads), 1.0),
        "whole, made before": (lambda: ready["float32"].predict(ready["float32"].tiles[0]), 1.0),
        "the same, bfloat16": (lambda: ready["bfloat16"].predict(ready["bfloat16"].tiles[0]), 1.0)}
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, (work, times) in ways.items():
            spent = seconds(work) * times
            taken[name] += [spent] if turn else []
    expected = usual(model, windows, 32)
    found = {name: one.logits(one.tiles[0]).flatten(0, 1)[torch.from_numpy(places)] for name, one in ready.items()}
    return {"seconds": {name: statistics.median(each) for name, each in taken.items()},
            "all": {name: [round(one, 3) for one in each] for name, each in taken.items()},
            "apart": {name: float((one - expected).abs().max() / expected.abs().max()) for name, one in found.items()},
            "labels equal": {name: float((one.argmax(1) == expected.argmax(1)).float().mean())
                             for name, one in found.items()}}


def by_size(side: int, threads: int, precision: str) -> dict[str, float]:
    """Return seconds a megapixel of a scene of `side` x `side`, and the peak memory beyond scene and results."""
    torch.set_num_threads(threads)
    cube = scene(side)
    model, held = network(), cube.nbytes / 2**20 + side**2 * (4 + 4 * 16) / 2**20
    base = memory("VmRSS") - cube.nbytes / 2**20
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # forget the peak of making the scene
    spent = seconds(lambda: predict_scene(model, cube, threads=threads, precision=precision))
    return {"side": side, "seconds": spent, "seconds a megapixel": spent / side**2 * 1e6,
            "process MiB before": base, "scene and results MiB": held,
            "peak MiB beyond both": memory("VmHWM") - base - held}


def memory(what: str) -> float:
    """Return what Linux tells of this process's memory, MiB: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith(what)).split()[1]) / 1024


def measured(side: int, threads: int, precision: str) -> dict[str, float]:
    """Return `by_size` of a process of its own: a peak of memory cannot be taken back."""
    done = subprocess.run([sys.executable, __file__, "--one", str(side), "--threads", str(threads), "--precision",
                           precision], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def tell(found: dict[str, Any], sizes: list[dict[str, float]]) -> None:
    """Print what was measured."""
    taken = found["seconds"]
    best = min(taken["batch 32"], taken["batch 128"])
    print(f"{'way':22} {'s a scene':>10} {'over loop':>10} {'over batches':>13}")
    for name, spent in taken.items():
        print(f"{name:22} {spent:10.3f} {taken['loop'] / spent:10.1f} {best / spent:13.1f}")
    print(f"the loop is extrapolated from {LOOPED} pixels, the batches from {BATCHED}, to {SIDE} x {SIDE}")
    for name, apart in found["apart"].items():
        print(f"{name}: logits differ by {apart:.1e} of their scale on 512 pixels, labels equal for "
              f"{found['labels equal'][name]:.2%}")
    whole = taken["whole, made before"]
    for name, base in (("batches", best), ("loop", taken["loop"])):
        print(f"over {name}: {base / whole:.0f}x; bar {BAR[name]}x, aim {AIM[name]}x")
    for row in sizes:
        print(f"{row['side']:5.0f} x {row['side']:.0f}: {row['seconds']:7.2f} s, {row['seconds a megapixel']:6.2f} s a "
              f"megapixel, scene and results {row['scene and results MiB']:.0f} MiB, beyond them "
              f"{row['peak MiB beyond both']:.0f} MiB")


def main() -> None:
    """Measure, print, and end with 1 where the bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--large", action="store_true", help="1024 and 2048 pixels a side, too")
    parser.add_argument("--precision", default="float32", help="of the sizes")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--one", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(by_size(asked.one, asked.threads, asked.precision)))
        return
    torch.set_num_threads(asked.threads)
    found = compare(asked.rounds, asked.threads)
    sides = (SIDE, 512, 1024, 2048) if asked.large else (SIDE, 512)
    sizes = [measured(side, asked.threads, asked.precision) for side in sides]
    about = {"date": datetime.now(UTC).date().isoformat(), "cpu": cpu()["name"], "threads": asked.threads,
             "torch": torch.__version__, "python": platform.python_version(), "tile": TILE}
    if asked.json:
        print(json.dumps({"machine": about, **found, "sizes": sizes}))
    else:
        print(", ".join(f"{name} {value}" for name, value in about.items()))
        tell(found, sizes)
    taken = found["seconds"]
    whole, best = taken["whole, made before"], min(taken["batch 32"], taken["batch 128"])
    if best / whole < BAR["batches"] or taken["loop"] / whole < BAR["loop"]:
        sys.exit(1)


if __name__ == "__main__":
    main()
