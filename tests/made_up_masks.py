"""A report on heads, made up: simulated pictures, ellipses a little off, some badly, as a network would be."""

from functools import lru_cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.phantom.heads import simulate_head
from excite.ellipse import Ellipse
from excite.jobs.overlays import edges, worst
from excite.metrics.conformal import fit_interval
from excite.metrics.mask_evaluation import MaskEvaluation, evaluate_masks
from excite.metrics.mask_image import MaskRow, head_row, mask_scores
from excite.report.mask_page import MaskReportData
from excite.report.overlay import Overlay

SHAPE = (270, 400)


@lru_cache(maxsize=64)
def head(place: int) -> tuple[NDArray[np.uint8], Ellipse, float]:
    return simulate_head(seed=5, patient=place // 2, number=place % 2, size=SHAPE)


def guessed(truth: Ellipse, random: np.random.Generator, *, unsure: bool) -> Ellipse:
    size = 0.05 if unsure else 0.009
    return Ellipse(truth.x + random.normal(0, 60 * size), truth.y + random.normal(0, 60 * size),
                   truth.a * (1 + random.normal(0.002, size)), truth.b * (1 + random.normal(0.002, size)),
                   truth.angle + random.normal(0, size))


def rough(ellipse: Ellipse, random: np.random.Generator, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Return the ellipse's pixels with a frayed edge, as a network calls them."""
    soft = cv2.GaussianBlur(ellipse.coverage(shape), (0, 0), 4)
    return np.asarray(soft + cv2.GaussianBlur(random.normal(0, 2, shape), (0, 0), 6) >= 0.5)


def rows_of(count: int, *, real: bool, seed: int = 0, lost: int = 1, mm: bool = True
            ) -> tuple[list[MaskRow], list[Any]]:
    random = np.random.default_rng(seed)
    known = random.normal(0, 1.6, 80), np.exp(random.normal(0, 0.3, 80))
    interval = fit_interval(*known)
    rows, pictures = [], []
    for place in range(count):
        if real:
            picture, truth, scale = head(place)
        else:
            long = random.uniform(45, 110)
            picture, scale = np.zeros(SHAPE, np.uint8), 0.35
            truth = Ellipse(200.0, 135.0, long, long * 0.78, random.uniform(0, 3))
        unsure = random.random() < 0.12
        found = None if place in range(3, 3 + lost) else guessed(truth, random, unsure=unsure)
        spacing = (scale,) if mm else None
        inside = np.zeros(SHAPE, bool) if found is None else rough(found, random, SHAPE)
        sizes, numbers = mask_scores(inside, truth.coverage(SHAPE) >= 0.5, spacing=spacing)
        spread = float(random.uniform(2, 5) if unsure else random.uniform(0.4, 1.2))
        one = head_row(truth, found, spacing=spacing, shape=SHAPE, spread_mm=spread if mm else None)
        if one.hc_mm is not None:
            one = head_row(truth, found, spacing=spacing, shape=SHAPE, spread_mm=spread,
                           interval_mm=interval.around(one.hc_mm, spread))
        notes = ("no pixel reaches 0.46: no head was found",) if found is None else ()
        rows.append(MaskRow(file=f"training_set/{place // 2 + 1:03d}_{'2' if place % 2 else ''}HC.png", line=place + 2,
                            unit=f"{place // 2 + 1:03d}", sizes=sizes, scores=numbers, head=one, notes=notes))
        pictures.append((picture, truth, found, inside))
    return rows, pictures


def evaluation(rows: list[MaskRow], **changes: Any) -> MaskEvaluation:
    return evaluate_masks(rows, **{"task": "heads", "classes": ("head",), "part": "test", "unit_kind": "patient",
                                   "level": 0.46, "promised": 0.9, "resamples": 200, **changes})


def overlay(row: MaskRow, picture: Any, *, heads: bool = True) -> Overlay:
    pixels, truth, found, inside = picture
    line = [] if found is None else [found.points(120)]
    return Overlay(picture=pixels, row=row, truth=[truth.points(120)], region=edges(inside),
                   predicted=line if heads else edges(inside))


def made_up(count: int = 60, *, real: bool = False, rows: Any = None, **changes: Any) -> MaskReportData:
    rows, pictures = rows or rows_of(count, real=real)
    by_line = {row.line: picture for row, picture in zip(rows, pictures, strict=True)}
    epochs = [{"event": "epoch", "epoch": n, "train": {"loss": 0.5 * 0.85 ** n + 0.04},
               "val": {"loss": 0.5 * 0.87 ** n + 0.06, "dice": 0.975 - 0.5 * 0.75 ** n, "iou": 0.952 - 0.6 * 0.78 ** n},
               "seconds": 80.0, "best": n == 24} for n in range(1, 27)]
    values: dict[str, Any] = {
        "title": "mobilenet_v2_aspp_se_unet on simulated heads", "simulated": True, "created": "2025-03-09 14:12 UTC",
        "lead": "mobilenet_v2_aspp_se_unet was trained on 420 images to draw the head and measure its circumference. "
                f"On {len(rows)} test images it has never seen, it is off by 1.62 mm on average (95 %: 1.21 to 2.13).",
        "counts": {"train": {"with a head": 420}, "val": {"with a head": 80}, "test": {"with a head": len(rows)}},
        "unit_kind": "patient", "units": {"train": 300, "val": 62, "test": len(rows) // 2},
        "evaluation": evaluation(rows), "split_notes": ["stratified by nothing", "seed 42"],
        "recipe": "task: heads\nseed: 42\nmodel:\n  name: mobilenet_v2_aspp_se_unet\n", "curves": {"training": epochs},
        "reasons": {"task": "heads of head: every mask is an outline along an ellipse",
                    "size": "256 x 384, letterbox: the whole picture, its aspect kept"},
        "level": "A pixel is inside from a probability of 0.46 on: the level at which circumferences of the 80 "
                 "validation images are right on average (mean difference +0.02 mm; at 0.5 it is -0.31 mm).",
        "interval": "Half the width is 1.71 x (0.98 mm + the image's spread), so that 90 % of 80 validation images lie "
                    "inside.",
        "grid": [overlay(rows[place], pictures[place]) for place in range(0, min(16, len(rows)), 2)],
        "worst": [overlay(row, by_line[row.line]) for row in worst(rows)[:8]],
        "cost": {"parameters": 25_253_893, "macs": 5_340_000_000, "milliseconds": 96.2, "threads": 2,
                 "input": "1 x 256 x 384"},
        "weights": "100 % of the encoder loaded from mobilenet_v2-imagenet.safetensors",
        "environment": {"system": "Linux", "threads": 2, "versions": {"python": "3.11.9", "torch": "2.13.0"}},
        "parity": {"n": 16, "max_abs": 3.1e-5, "max_rel": 2e-6, "dice": 1.0, "hc": 1.2e-4, "hc_unit": "mm"},
        "limits": ["One test part, one seed."],
        "next_commands": [("excite predict runs/hc18/bundle NEW_IMAGES/", "measure a folder")],
    }
    return MaskReportData(**{**values, **changes})
