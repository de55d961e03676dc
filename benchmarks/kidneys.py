"""Simulated patients with maps that are missing: fusion against each map alone and other ways, cross-validated.

    EXCITE_REAL_DATA=... OMP_NUM_THREADS=1 python benchmarks/kidneys.py OUT [--patients 150] [--missing 0.3]
        [--epochs 40] [--ways fusion t1 adc t2star stack average slices]

150 patients, 30 % of whom lack a map or two, 5 folds, the same loop for all ways. A map alone is trained and tested on
those who have it, and compared with the fusion on these, in pairs; for all patients those without it are given equal
chances. `slices` is MobileNetV2 of images, slice by slice, with ImageNet's weights; it needs EXCITE_REAL_DATA.
"""

import argparse
import csv
import json
import os
import time
from pathlib import Path

import numpy as np

from excite.config import load_config
from excite.data.phantom.volumes import simulate_volumes
from excite.jobs.volumes.folds.cross_validation import cross_validate
from excite.jobs.volumes.sections import VolumeConfig
from excite.metrics.classification import ClassificationMeasure
from excite.metrics.ordinal import OrdinalMeasure
from excite.progress import spoken

GRADES = ("none", "mild", "severe")
MAPS = ("t1", "adc", "t2star")
DRAWS = 2000
WEIGHTS = "weights/mobilenet_v2-imagenet-features.safetensors"
FUSION = {"model.name": "modality_fusion", "model.options": {"modality_dropout": 0.2}}
WAYS = {"fusion": FUSION, **{name: {**FUSION, "model.options": {}, "volumes.maps": (name,)} for name in MAPS},
        "stack": {"model.name": "mobilenet_v2_se"},
        "average": {"model.name": "modality_fusion", "model.options": {"form": "average", "modality_dropout": 0.2}},
        "slices": {"model.name": "modality_fusion", "optim.trunk_lr": 0.3,
                   "model.options": {"trunk": "mobilenet_v2", "slices": True, "modality_dropout": 0.2}}}


def rows_with(table: Path, name: str) -> Path:
    """Return a table of those who have a map."""
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    file = table.with_name(f"with-{name}.csv")
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(row for row in rows if row[name])
    return file


def shares_of(folder: Path, table: Path, folds: int) -> dict[str, np.ndarray]:
    """Return the probabilities of each patient, from the fold in which it was tested."""
    with table.open(encoding="utf-8", newline="") as stream:
        patients = {number: row["patient"] for number, row in enumerate(csv.DictReader(stream), start=2)}
    found = {}
    for fold in range(1, folds + 1):
        with (folder / f"fold-{fold}" / "predictions-test.csv").open(encoding="utf-8", newline="") as stream:
            for row in csv.DictReader(stream):
                chances = np.array([float(row[grade]) for grade in GRADES])
                found[patients[int(row["line"])]] = chances / chances.sum()
    return found


def measured(truth: np.ndarray, shares: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return three numbers under each row of weights."""
    plain = ClassificationMeasure(truth, shares, GRADES)(weights)
    return {"AUROC": plain["auroc_macro"], "balanced accuracy": plain["balanced_accuracy"],
            "kappa": OrdinalMeasure(truth, shares)(weights)["kappa_quadratic"]}


def interval(values: np.ndarray, *, signed: bool = False) -> str:
    """Return the first value, and the middle 95 % of the others."""
    form = "+.3f" if signed else ".3f"
    low, high = np.nanpercentile(values[1:], (2.5, 97.5))
    return f"{values[0]:{form}} [{low:{form}}, {high:{form}}]"


def compare(truth: dict[str, int], found: dict[str, dict[str, np.ndarray]]) -> None:
    """Print the numbers of each way, and the fusion's lead in pairs."""
    for way, shares in found.items():
        for who, names in (("those who have it", sorted(shares)), ("all", sorted(truth))):
            if who == "all" and len(shares) == len(truth):
                continue
            weights = np.random.default_rng(0).multinomial(len(names), [1 / len(names)] * len(names), DRAWS)
            weights = np.concatenate([np.ones((1, len(names))), weights]).astype(float)
            known = np.array([truth[name] for name in names])
            even = np.full(len(GRADES), 1 / len(GRADES))
            own = measured(known, np.stack([shares.get(name, even) for name in names]), weights)
            best = measured(known, np.stack([found["fusion"][name] for name in names]), weights)
            label = "all" if len(names) == len(truth) else who
            print(f"{way:<9}{label:<18}{len(names):>4} " + " | ".join(f"{name} {interval(own[name])}" for name in own))
            if way != "fusion":
                print(" " * 14 + "fusion minus this " + " | ".join(
                    f"{name} {interval(best[name] - own[name], signed=True)}" for name in own), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--patients", type=int, default=150)
    parser.add_argument("--missing", type=float, default=0.3)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--ways", nargs="+", default=list(WAYS), choices=list(WAYS))
    asked = parser.parse_args()
    table = simulate_volumes(asked.out, patients=asked.patients, seed=3, missing=asked.missing)
    with table.open(encoding="utf-8", newline="") as stream:
        truth = {row["patient"]: GRADES.index(row["grade"]) for row in csv.DictReader(stream)}
    found: dict[str, dict[str, np.ndarray]] = {}
    for way in dict.fromkeys(("fusion", *asked.ways)):
        file, began = (rows_with(table, way) if way in MAPS else table), time.perf_counter()
        config = load_config(VolumeConfig, values={
            "volumes.table": file, "volumes.maps": MAPS, "volumes.classes": GRADES, "volumes.reference":
                way if way in MAPS else "t1", "volumes.shape": (16, 48, 48), "volumes.spacing": (6.0, 3.0, 3.0),
            "loss.name": "ordinal", "loop.epochs": asked.epochs, "loop.threads": 1, "split.folds": asked.folds,
            "model.weights": Path(os.environ["EXCITE_REAL_DATA"]) / WEIGHTS if way == "slices" else None, **WAYS[way]})
        cross_validate(config, out=asked.out / way, progress=spoken())
        found[way] = shares_of(asked.out / way, file, asked.folds)
        print(f"{way}: {(time.perf_counter() - began) / 60:.1f} minutes", flush=True)
        compare(truth, {"fusion": found["fusion"], way: found[way]} if way != "fusion" else {"fusion": found[way]})
    (asked.out / "kidneys.json").write_text(json.dumps({way: {name: list(map(float, one)) for name, one in of.items()}
                                                        for way, of in found.items()}), encoding="utf-8")


if __name__ == "__main__":
    main()
