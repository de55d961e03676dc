"""A report's data, made up: six planes, a network that is right four times out of five."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from excite.report.page import Picture, ReportData

CLASSES = ("abdomen", "brain", "femur", "thorax", "cervix", "other")
SIZES = (24, 61, 9, 35, 33, 74)


def metric(value: float | None, width: float = 0.05, note: str | None = None) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "note": note}
    return {"value": value, "low": max(0.0, value - width), "high": value + 0.8 * width, "note": note}


def made_up_evaluation() -> dict[str, Any]:
    draw = np.random.default_rng(3)
    confusion = []
    for place, size in enumerate(SIZES):
        shares = np.full(len(SIZES), 0.03) + draw.random(len(SIZES)) * 0.03
        shares[place] = 0.8 + 0.1 * draw.random()
        confusion.append([int(n) for n in draw.multinomial(size, shares / shares.sum())])
    roc = {}
    for place, name in enumerate(CLASSES):
        fpr = np.linspace(0, 1, 60)
        roc[name] = {"fpr": fpr.tolist(), "tpr": (fpr ** (0.03 + 0.05 * place)).tolist()}
    names = ("accuracy", "balanced_accuracy", "precision_macro", "recall_macro", "f1_macro", "precision_weighted",
             "recall_weighted", "f1_weighted", "auroc_macro", "ap_macro", "kappa")
    metrics = {name: metric(0.78 + 0.015 * place) for place, name in enumerate(names)}
    metrics |= {"recall_macro": metrics["balanced_accuracy"], "recall_weighted": metrics["accuracy"]}
    metrics |= {"ece": metric(0.041, 0.02), "brier": metric(0.236, 0.04), "nll": metric(0.512, 0.09)}
    per_class = {name: {"support": SIZES[place], **{key: metric(0.7 + 0.04 * place, 0.09) for key in
                                                    ("precision", "recall", "specificity", "f1", "auroc", "ap")}}
                 for place, name in enumerate(CLASSES)}
    centre = (np.arange(10) + 0.5) / 10
    return {"part": "test", "n": sum(SIZES), "n_units": 97, "unit_kind": "patient", "classes": list(CLASSES),
            "metrics": metrics, "per_class": per_class, "confusion": confusion, "roc": roc,
            "reliability": {"confidence": centre.tolist(), "accuracy": (centre ** 0.9).tolist(),
                            "count": [0, 1, 3, 8, 12, 14, 21, 30, 46, 101]}, "notes": []}


def made_up_pictures(count: int, *, right: bool, seed: int) -> list[Picture]:
    draw = np.random.default_rng(seed)
    y, x = np.mgrid[0:160, 0:160]
    found = []
    for place in range(count):
        fan = (np.abs(x - 80) < 20 + y * 0.4) & (np.hypot(x - 80, y + 30) < 180)
        speckle = draw.rayleigh(0.4, (160, 160)) * np.exp(-y / 150)
        ring = np.abs(np.hypot((x - 80) / 1.3, y - 85) - 36) < 4
        picture = np.clip((speckle + 0.7 * ring) * fan * 150, 0, 255).astype(np.uint8)
        name = CLASSES[place % 6]
        found.append(Picture(file=f"images/Patient{place:05d}_Plane{place % 5 + 1}.png", truth=name,
                             label=name if right else CLASSES[(place + 2) % 6],
                             probability=float(0.99 - 0.02 * place), thumbnail=np.dstack([picture] * 3)))
    return found


def made_up(**changes: Any) -> ReportData:
    epochs = [{"event": "epoch", "epoch": n, "lr": 1e-3, "train": {"loss": 1.6 * 0.85 ** n + 0.1},
               "val": {"loss": 1.5 * 0.87 ** n + 0.35 + 0.004 * n, "accuracy": 0.86 - 0.5 * 0.8 ** n,
                       "balanced_accuracy": 0.83 - 0.5 * 0.8 ** n, "macro_auroc": 0.95 - 0.3 * 0.75 ** n},
               "seconds": 21.0, "best": n == 17} for n in range(1, 21)]
    confidence = (np.arange(10) + 0.5) / 10
    values: dict[str, Any] = {
        "title": "mobilenet_v2 on planes", "simulated": False, "created": "2025-03-09 14:12 UTC",
        "lead": "A MobileNetV2, started from ImageNet features, was trained for 20 epochs on 752 ultrasound images of "
                "6 classes and is right on unseen patients with a balanced accuracy of 0.795 (0.745 to 0.835).",
        "classes": CLASSES, "unit_kind": "patient", "evaluation": made_up_evaluation(),
        "counts": {part: dict(zip(CLASSES, (int(share * size) for size in SIZES), strict=True))
                   for part, share in (("train", 3.2), ("val", 0.8), ("test", 1))},
        "units": {"train": 301, "val": 78, "test": 97}, "split_notes": ["stratified by class", "seed 42"],
        "reasons": {"network": "mobilenet_v2; 100 % of the features loaded from mobilenet_v2-imagenet.safetensors",
                    "size": "224 x 224, letterbox: the whole picture, its aspect kept",
                    "imbalance": "balanced class weights: the largest class has 8 times the images of the smallest"},
        "recipe": "task: classification\nseed: 42\nmodel:\n  name: mobilenet_v2\n  weights: imagenet\noptim:\n  "
                  "lr: 0.001\n",
        "curves": {"training": epochs},
        "temperature": {"value": 1.342, "nll_before": 0.5512, "nll_after": 0.5034, "n": 189},
        "reliability_before": {"confidence": confidence.tolist(), "accuracy": (confidence ** 1.5).tolist(),
                               "count": [0, 0, 2, 4, 9, 11, 15, 26, 40, 129]},
        "grid": made_up_pictures(10, right=True, seed=1), "worst": made_up_pictures(8, right=False, seed=2),
        "cost": {"parameters": 2_231_558, "macs": 300_774_272, "milliseconds": 5.43, "threads": 2,
                 "input": "3 x 224 x 224"},
        "weights": "100 % of the features loaded from mobilenet_v2-imagenet.safetensors; the classifier stays fresh",
        "environment": {"system": "Linux", "threads": 2, "cpu": {"name": "Example CPU @ 2.4 GHz", "features": ["avx2"]},
                        "versions": {"python": "3.11.9", "torch": "2.13.0"}},
        "parity": {"max_abs": 2.1e-6, "max_rel": 1e-6, "agreement": 1.0, "n": 32},
        "next_commands": [("excite predict runs/planes/bundle NEW_IMAGES/", "predict a folder"),
                          ("excite evaluate runs/planes/bundle --data OTHER.csv", "how good is it elsewhere?")],
    }
    return ReportData(**{**values, **changes})


@pytest.fixture
def report_data() -> Callable[..., ReportData]:
    return made_up
