"""Prediction on the CPU: an exported bundle in onnxruntime against torchvision's MobileNetV2 in eager float32.

    python benchmarks/prediction.py [--threads 2] [--rounds 15] [--size 224] [--json]

Both are timed in turns in one process, from prepared images to logits; the medians and their ratio are printed, with
the ratio of each round's pair as a check on a machine that others use. The bar is 3x at batch 1 and 16. Without
torchvision the peer is excite's own network in eager float32, and the output says so. A second table times whole
files: read, prepared, two views, decoded.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from excite import create_model, load
from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.deploy.bundle import BundleInfo
from excite.deploy.runtime import Predictor
from excite.deploy.ship import export_bundle

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
BAR = 3.0


def peer() -> tuple[str, nn.Module]:
    """Return the network to compare with, and its name."""
    try:
        import peers  # noqa: F401, I001
        import torchvision

        return f"torchvision {torchvision.__version__} mobilenet_v2, eager float32", \
            torchvision.models.mobilenet_v2(num_classes=3).eval()
    except ImportError:
        return "excite mobilenet_v2, eager float32 (torchvision is not installed)", \
            create_model("mobilenet_v2", num_classes=3).eval()


def pictures(folder: Path, count: int) -> list[Path]:
    """Write grey PNG files of 800 x 540, the size of an ultrasound frame."""
    rng = np.random.default_rng(0)
    files = [folder / f"{place:03}.png" for place in range(count)]
    for file in files:
        coarse = rng.integers(0, 255, (68, 100), dtype=np.uint8)
        Image.fromarray(coarse).resize((800, 540), Image.Resampling.BILINEAR).save(file)
    return files


def bundle(folder: Path, files: list[Path], size: int) -> Path:
    """Export a MobileNetV2 of three classes whose batch norms have measured the pictures."""
    torch.manual_seed(0)
    model = create_model("mobilenet_v2", num_classes=3)
    preprocess = Preprocess(PreprocessSection(size=size))
    images = np.stack([preprocess(np.asarray(Image.open(file))[None]) for file in files[:8]])
    with torch.no_grad():
        for _ in range(3):
            model.train()(torch.from_numpy(images))
    info = BundleInfo(name="benchmark", classes=("a", "b", "c"), preprocess=preprocess.to_json(), views="flip")
    export_bundle(model.eval(), folder, info=info, images=images, files=files[:8])
    return folder


def alternate(first: Callable[[], object], second: Callable[[], object],
              rounds: int) -> tuple[list[float], list[float]]:
    """Return the seconds of both, run in turns after two rounds of warming up."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(rounds + 2):
        for place, call in enumerate((first, second)):
            began = time.perf_counter()
            call()
            if turn >= 2:
                times[place].append(time.perf_counter() - began)
    return times


def network(predictor: Predictor, rival: nn.Module, batch: int, size: int, rounds: int) -> dict[str, float]:
    """Return medians in ms and ratios for one batch size."""
    images = np.random.default_rng(1).normal(size=(batch, 3, size, size)).astype(np.float32)
    tensor = torch.from_numpy(images)

    def eager() -> None:
        with torch.inference_mode():
            rival(tensor)

    ours, theirs = alternate(lambda: predictor.logits(images), eager, rounds)
    pairs = sorted(b / a for a, b in zip(ours, theirs, strict=True))
    return {"batch": batch, "excite_ms": 1e3 * statistics.median(ours), "peer_ms": 1e3 * statistics.median(theirs),
            "ratio": statistics.median(theirs) / statistics.median(ours), "pair_ratio_low": pairs[len(pairs) // 10],
            "pair_ratio_high": pairs[-1 - len(pairs) // 10]}


def whole(predictor: Predictor, files: list[Path]) -> dict[str, float]:
    """Return ms a file for one file at a time and for a folder."""
    predictor(files[:2])
    began = time.perf_counter()
    for file in files[:16]:
        predictor(file)
    single = (time.perf_counter() - began) / 16
    began = time.perf_counter()
    predictor(files)
    return {"file_ms": 1e3 * single, "folder_ms_a_file": 1e3 * (time.perf_counter() - began) / len(files)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    name, rival = peer()
    with tempfile.TemporaryDirectory() as place:
        files = pictures(Path(place), 64)
        predictor = Predictor(bundle(Path(place) / "bundle", files, asked.size), threads=asked.threads)
        rows = [network(predictor, rival, batch, asked.size, asked.rounds) for batch in (1, 16)]
        files_ms = whole(predictor, files)
        views = load(Path(place) / "bundle").view
    result = {"date": datetime.now(UTC).date().isoformat(), "processor": platform.processor() or platform.machine(),
              "threads": asked.threads, "size": asked.size, "rounds": asked.rounds, "torch": torch.__version__,
              "peer": name, "network": rows, "files": files_ms | {"views": views, "n": len(files)}, "bar": BAR,
              "passed": all(row["ratio"] >= BAR for row in rows)}
    if asked.json:
        print(json.dumps(result))
        return
    print(f"{result['date']}, {result['processor']}, {asked.threads} threads, {asked.size} x {asked.size}; {name}")
    for row in rows:
        print(f"batch {row['batch']:>2}: excite {row['excite_ms']:7.2f} ms, peer {row['peer_ms']:7.2f} ms, "
              f"{row['ratio']:.2f}x (pairs {row['pair_ratio_low']:.2f} to {row['pair_ratio_high']:.2f}), bar {BAR:g}x")
    print(f"whole files, 800 x 540 PNG, {views} view: {files_ms['file_ms']:.1f} ms one at a time, "
          f"{files_ms['folder_ms_a_file']:.1f} ms a file in a folder of {len(files)}")


if __name__ == "__main__":
    main()
