"""A report on a scene, made up: fields on a bare ground, spectra with a water gap, a network that errs at edges."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.special import softmax

from excite.metrics.evaluation import evaluate
from excite.report.scene_figures import TEST, TRAIN, VAL, Spectra, false_colour
from excite.report.scene_page import SceneReportData

NAMES = ("Alfalfa", "Corn-notill", "Corn-mintill", "Corn", "Grass-pasture", "Grass-trees", "Grass-pasture-mowed",
         "Hay-windrowed", "Oats", "Soybean-notill", "Soybean-mintill", "Soybean-clean", "Wheat", "Woods",
         "Buildings-Grass-Trees", "Stone-Steel-Towers")
Map = NDArray[np.int64]


def fields(side: int, count: int, random: np.random.Generator) -> Map:
    """Return rectangles of classes with paths between."""
    truth = np.zeros((side, side), np.int64)
    for place in range(12 * count):
        y, x = random.integers(0, side - side // 12, 2)
        height, width = random.integers(max(4, side // 16), max(6, side // 7), 2)
        truth[y:y + height, x:x + width] = 0
        truth[y + 1:y + height - 1, x + 1:x + width - 1] = place % count + 1
    return truth


def blocks(truth: Map, side: int, random: np.random.Generator) -> tuple[NDArray[np.uint8], Map]:
    """Return parts by whole blocks, whose borders are left out as a guard, and the block of each pixel."""
    y, x = np.indices(truth.shape)
    block = y // side * (truth.shape[1] // side + 1) + x // side
    part = random.choice([TRAIN, VAL, TEST], block.max() + 1, p=[0.4, 0.2, 0.4])[block]
    inner = (y % side > 0) & (x % side > 0)
    return np.where((truth > 0) & inner, part, 0).astype(np.uint8), block


def spectra_of(count: int, wavelengths: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    at = (wavelengths - 400) / 2100
    edge = 1 / (1 + np.exp(-(wavelengths - 710) / 15))
    return np.stack([0.08 + random.uniform(0, 0.3) * at + random.uniform(0, 0.4) * edge * np.exp(-2 * at)
                     + 0.05 * np.sin(random.uniform(2, 9) * at + place) for place in range(count)])


def made_up_scene(side: int = 145, count: int = 16, *, seed: int = 0, **changes: Any) -> SceneReportData:
    random = np.random.default_rng(seed)
    names = NAMES[:count]
    truth = fields(side, count, random)
    parts, block = blocks(truth, max(4, side // 18), random)
    wavelengths = np.array([at for at in np.arange(400.0, 2500, 12) if not 1350 < at < 1430 and not 1800 < at < 1950])
    pure = np.concatenate([np.full((1, len(wavelengths)), 0.2), spectra_of(count, wavelengths, random)])
    cube = (pure[truth] + random.normal(0, 0.015, (*truth.shape, len(wavelengths)))).astype(np.float32)
    logits = gaussian_filter(random.normal(0, 1, (*truth.shape, count)), (2, 2, 0)) * 14
    chances = softmax(logits + 7.5 * gaussian_filter(np.eye(count)[np.maximum(truth, 1) - 1], (1, 1, 0)), axis=2)
    test, train = (parts == part for part in (TEST, TRAIN))
    found = evaluate(truth[test] - 1, chances[test], names, [str(one) for one in block[test]], part="test",
                     unit_kind="spatial block", resamples=100).to_json()

    def beside(shift: float) -> dict[str, Any]:
        return {key: {end: value if end == "note" or value is None else value - shift
                      for end, value in found["metrics"][key].items()}
                for key in ("accuracy", "balanced_accuracy", "kappa")}

    of_class = [cube[train & (truth == place + 1)] for place in range(count)]
    confidence = (np.arange(10) + 0.5) / 10
    epochs = [{"event": "epoch", "epoch": n, "train": {"loss": 2.5 * 0.85 ** n + 0.1},
               "val": {"loss": 2.4 * 0.87 ** n + 0.3, "accuracy": 0.86 - 0.5 * 0.8 ** n,
                       "balanced_accuracy": 0.83 - 0.5 * 0.8 ** n, "kappa": 0.8 - 0.5 * 0.8 ** n},
               "seconds": 21.0, "best": n == 17} for n in range(1, 21)]
    values: dict[str, Any] = {
        "title": "hybridsn on made-up fields", "simulated": True, "created": "2025-03-09 14:12 UTC",
        "lead": "hybridsn was trained on windows of 25 x 25 pixels and 30 components. On test pixels in blocks of "
                "their own its overall accuracy is 0.83 (0.81 to 0.85).",
        "counts": {part: {name: int(((parts == code) & (truth == place + 1)).sum())
                          for place, name in enumerate(names)}
                   for part, code in (("train", TRAIN), ("val", VAL), ("test", TEST))},
        "unit_kind": "spatial block", "units": {"train": 60, "val": 29, "test": 58}, "classes": names,
        "evaluation": found, "curves": {"training": epochs},
        "recipe": "task: scene\nseed: 42\nmodel:\n  name: hybridsn\n",
        "false_colour": false_colour(cube, wavelengths), "truth": truth, "predicted": chances.argmax(axis=2) + 1,
        "confidence": chances.max(axis=2), "parts": parts,
        "split_words": ["Split by blocks of 12 x 12 pixels, dealt to the parts by class.",
                        "A guard of 12 pixels around training blocks belongs to no part: 2,113 labelled pixels.",
                        "Components and scales were fitted on training pixels only."],
        "leaky": False, "overlap": 0.0, "network": "hybridsn", "seconds": 412.0,
        "spectra": Spectra(mean=np.stack([one.mean(axis=0) for one in of_class]),
                           std=np.stack([one.std(axis=0) + 0.02 for one in of_class]), wavelengths=wavelengths),
        "baselines": [("SVM, RBF", beside(0.03), 14.2), ("random forest", beside(0.08), 3.13),
                      ("nearest mean spectrum", beside(0.3), 0.02)],
        "pairs": ["hybridsn against SVM, RBF: OA higher by 0.030 (95 %: 0.011 to 0.047)."],
        "temperature": {"value": 1.342, "nll_before": 0.5512, "nll_after": 0.5034, "n": 1890},
        "reliability_before": {"confidence": confidence.tolist(), "accuracy": (confidence ** 1.5).tolist(),
                               "count": [0, 0, 2, 4, 9, 11, 15, 26, 40, 129]},
        "reasons": {"window": "25 x 25 pixels, as in the paper"},
        "cost": {"parameters": 5_122_176, "macs": 248_000_000, "milliseconds": 0.374, "threads": 2,
                 "input": "30 x 25 x 25"},
        "environment": {"system": "Linux", "threads": 2, "versions": {"python": "3.11.9", "torch": "2.13.0"}},
        "parity": {"max_abs": 2.1e-6, "max_rel": 1e-6, "agreement": 1.0, "n": 64},
        "next_commands": [("excite predict runs/fields/bundle OTHER.mat", "map another scene")],
    }
    return SceneReportData(**{**values, **changes})
