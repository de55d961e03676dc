"""The pictures of a report on masks: test images as they come, and the worst, with what is true and what was found."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.reading import read
from excite.data.row import Row
from excite.deploy.runtime import Predictor
from excite.jobs.evaluation_data import part_of_run
from excite.jobs.mask_rows import Looked, looked_at
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.metrics.mask_image import MaskRow
from excite.outcome.heads import HeadPrediction
from excite.report.overlay import Line, Overlay

GRID, WORST = 8, 8
SIMPLE = 0.4  # pixels by which a line may be simplified


def run_overlays(run: Path, predictor: Predictor, evaluation: MaskEvaluation) -> tuple[list[Overlay], list[Overlay]]:
    """Return the pictures of a run's evaluation on its own part: as they come, and the worst first."""
    part = part_of_run(run, evaluation.part, masks=True)
    return overlays(predictor, part.rows, part.root, evaluation.rows)


def overlays(predictor: Predictor, rows: Sequence[Row], root: Path, measured: Sequence[MaskRow]
             ) -> tuple[list[Overlay], list[Overlay]]:
    """Return pictures evenly through the images in file order, and of the largest errors, worst first.

    The chosen images are predicted again, so that no maps need be kept.

    Args:
        predictor: Of the bundle that was evaluated.
        rows: Of the table that was evaluated.
        root: Folder that their paths start from.
        measured: Their numbers, by the same lines.
    """
    step = max(1, len(measured) // GRID)
    shown = [measured[place] for place in range(0, len(measured), step)][:GRID]
    poor = worst(measured)[:WORST]
    by_line = {row.line: row for row in rows}
    wanted = {one.line: one for one in (*shown, *poor) if one.line in by_line}
    found: dict[int, Overlay] = {}
    for one in looked_at(predictor, [by_line[line] for line in wanted], root):
        if isinstance(one, Looked):
            found[one.row.line] = _overlay(one, root, wanted[one.row.line], predictor.preprocess.low,
                                           predictor.preprocess.high)
    return ([found[one.line] for one in shown if one.line in found],
            [found[one.line] for one in poor if one.line in found])


def worst(rows: Sequence[MaskRow]) -> list[MaskRow]:
    """Return the images by error, the largest first: heads by millimetres, others by Dice.

    A head that was not found is worse than all; where no millimetres are known the Dice decides.
    """
    return sorted((row for row in rows if row.head is not None or row.scores.get("dice") is not None), key=_error,
                  reverse=True)


def _error(row: MaskRow) -> tuple[float, float]:
    dice = row.scores.get("dice")
    poor = 1 - dice if dice is not None else 0.0
    head = row.head
    if head is None:
        return 0.0, poor
    if head.errors is None:
        return float("inf"), poor
    return (head.errors.adf_mm, poor) if head.errors.adf_mm is not None else (0.0, 1 - head.errors.dice)


def _overlay(one: Looked, root: Path, row: MaskRow, low: float, high: float) -> Overlay:
    region = edges(one.inside)
    picture = grey_or_colour(read(root / one.row.image).image, low, high)
    truth = [one.truth.ellipse.points(120)] if one.truth.ellipse is not None else edges(one.truth.mask)
    said = one.prediction
    if not isinstance(said, HeadPrediction):
        return Overlay(picture=picture, row=row, truth=truth, predicted=region, region=region)
    measured = [] if said.ellipse is None else [said.ellipse.points(120)]
    return Overlay(picture=picture, row=row, truth=truth, predicted=measured, region=region)


def edges(mask: NDArray[np.bool_]) -> list[Line]:
    """Return the edge of each piece of a mask and of each hole, between the pixels inside and those outside.

    Shape:
        (H, W) -> closed lines of x and y, (N, 2) each
    """
    double = np.repeat(np.repeat(np.pad(mask, 1), 2, axis=0), 2, axis=1).view(np.uint8)
    lines, _ = cv2.findContours(np.ascontiguousarray(double), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    simple = (cv2.approxPolyDP(line, 2 * SIMPLE, True)[:, 0].astype(np.float64) for line in lines)
    return [(line - 0.5) / 2 - 1 for line in simple if len(line) > 2]


def grey_or_colour(image: NDArray[np.generic], low: float, high: float) -> NDArray[np.uint8]:
    """Return an image (C, H, W) as 8-bit (H, W) or (H, W, 3), from the range that the network sees."""
    pixels = np.moveaxis(image, 0, -1)
    if pixels.dtype != np.uint8:
        scaled = (pixels.astype(np.float32) - low) * (255 / max(high - low, 1e-12))
        pixels = np.clip(scaled, 0, 255).astype(np.uint8)
    bright: NDArray[np.uint8] = np.ascontiguousarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    return bright
