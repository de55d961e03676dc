"""AdrenalMNIST3D, official split: MobileNetV2 in 3-D with and without SE, inflated or not, and MONAI's ResNet-18.

    EXCITE_REAL_DATA=... OMP_NUM_THREADS=1 .venv-peers/bin/python benchmarks/adrenal.py OUT [--side 48] [--epochs 15]
        [--networks se plain inflated monai]

The same job for each: table, levels, augmentation, loop, temperature, the exported bundle on the 298 test shapes. AUROC
with its interval over shapes (the file says no patients), and differences in pairs on the same resamples. How large a
shape is says something by itself (AUROC .694 on the test part), so training leaves sizes as they are.
"""

import argparse
import csv
import json
import os
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

import numpy as np  # noqa: E402
import torch  # noqa: E402
from sklearn.metrics import roc_auc_score as auroc  # noqa: E402

import peers  # noqa: E402, F401
from excite.config import load_config  # noqa: E402
from excite.jobs.volumes.sections import VolumeConfig  # noqa: E402
from excite.jobs.volumes.train import train_volumes  # noqa: E402
from excite.progress import spoken  # noqa: E402

NETWORKS = {"se": ("mobilenet_v2_se", None), "plain": ("mobilenet_v2", None),
            "inflated": ("mobilenet_v2_se", "mobilenet_v2-imagenet-features.safetensors"), "monai": (None, None)}
RESAMPLES = 2000


def table(archive: Path, out: Path) -> Path:
    """Write the table of all shapes."""
    out.mkdir(parents=True, exist_ok=True)
    with np.load(archive) as held, (out / "adrenal.csv").open("w", newline="", encoding="utf-8") as stream:
        rows = csv.writer(stream)
        rows.writerow(["shape", "label", "split"])
        for part in ("train", "val", "test"):
            for number, label in enumerate(held[f"{part}_labels"].ravel()):
                name = os.path.relpath(archive, out)
                rows.writerow([f"{name}#{part}_images[{number}]", ("normal", "hyperplasia")[label], part])
    return out / "adrenal.csv"


def monai_network() -> torch.nn.Module:
    """Return MONAI's ResNet-18 in 3-D for one channel."""
    from monai.networks.nets import resnet18

    torch.manual_seed(0)
    return resnet18(spatial_dims=3, n_input_channels=1, num_classes=2)


def run(name: str, file: Path, out: Path, arguments: argparse.Namespace) -> dict[str, object]:
    """Train one network and return its numbers and test scores."""
    network, weights = NETWORKS[name]
    side, began = arguments.side, time.perf_counter()
    held = Path(os.environ["EXCITE_REAL_DATA"]) / "weights"
    config = load_config(VolumeConfig, values={
        "volumes.table": file, "volumes.shape": (side,) * 3, "volumes.spacing": (64 / side,) * 3,
        "volumes.classes": ("normal", "hyperplasia"), "augment.flip": (0, 1, 2), "augment.turn": (0, 1, 2),
        "augment.rotation": 15, "augment.scale": 0.0, "augment.shift": 3.0, "augment.bias": 0.0,
        "augment.contrast": 0.0, "augment.noise": 0.0, "model.name": network or "mobilenet_v2_se",
        "model.weights": held / weights if weights else None, "loop.epochs": arguments.epochs, "loop.batch_size": 16,
        "loop.threads": 1, "loop.monitor": "macro_auroc"})
    done = train_volumes(config, model=monai_network() if network is None else None, out=out / name, progress=spoken())
    with (done.folder / "predictions-test.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    return {"auroc": done.evaluation.per_class["hyperplasia"]["auroc"].text(),
            "minutes": (time.perf_counter() - began) / 60, "truth": [row["truth"] == "hyperplasia" for row in rows],
            "score": [float(row["hyperplasia"]) for row in rows]}


def differences(found: dict[str, dict[str, object]]) -> None:
    """Print AUROC differences in pairs, bootstrap over shapes."""
    names, random = list(found), np.random.default_rng(0)
    truth = np.array(found[names[0]]["truth"])
    draws = random.integers(len(truth), size=(RESAMPLES, len(truth)))
    for one in names[1:]:
        a, b = (np.array(found[name]["score"]) for name in (names[0], one))
        apart = [auroc(truth[rows], a[rows]) - auroc(truth[rows], b[rows]) for rows in draws]
        low, high = np.percentile(apart, (2.5, 97.5))
        print(f"{names[0]} minus {one}: {auroc(truth, a) - auroc(truth, b):+.3f} [{low:+.3f}, {high:+.3f}]")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS), choices=list(NETWORKS))
    arguments = parser.parse_args()
    archive = Path(os.environ["EXCITE_REAL_DATA"]) / "adrenalmnist3d" / "adrenalmnist3d_64.npz"
    file, found = table(archive, arguments.out), {}
    for name in arguments.networks:
        found[name] = run(name, file, arguments.out, arguments)
        print(f"{name}: AUROC {found[name]['auroc']}, {found[name]['minutes']:.1f} minutes", flush=True)
    differences(found)
    (arguments.out / "adrenal.json").write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main()
