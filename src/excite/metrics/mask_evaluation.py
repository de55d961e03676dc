"""The evaluation of a network for masks on one part of the data: every number with its interval, and what to beware of.

Masks are compared in the pixels of the original images. Of heads, an ellipse each, the numbers of HC18 come besides:
`df_mm`, `adf_mm`, `head_hd_mm` and `head_dice`, all of the ellipses; `found` is the share of images with a head.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from excite.errors import DataError, UsageError
from excite.metrics.agreement import agreement
from excite.metrics.intervals import Interval
from excite.metrics.mask_image import MILLIMETRES, PIXELS, MaskRow
from excite.metrics.mask_notes import notes_of, unproven
from excite.metrics.mask_slices import Slice, slices_by_size, slices_by_width
from excite.metrics.mask_table import mask_lines
from excite.metrics.measured import MeasuredPart
from excite.metrics.segmentation import means
from excite.progress import Progress

TASKS = ("segmentation", "heads")
ORDER = ("adf_mm", "median_adf_mm", "df_mm", "loa_low_mm", "loa_high_mm", "coverage", "width_mm", "found", "dice",
         "head_dice", "head_hd_mm", "iou", "sensitivity", "specificity", "hd_mm", "hd95_mm", "assd_mm", "surface_dice",
         "hd_px", "hd95_px", "assd_px", "surface_dice_px")


@dataclass(frozen=True, kw_only=True)
class MaskEvaluation(MeasuredPart):
    """What a network for masks does on one part of the data: means over images, coverage and limits of agreement.

    Args:
        task: "segmentation", or "heads".
        rows: The images one by one; not in the JSON.
        slices: The same for thirds of the images by true size.
        widths: Coverage for thirds by the width of the interval.
        promised: Share of images whose interval is meant to hold the truth; None: there are no intervals.
        level: Probability from which a pixel is inside.
        tolerance: Of the surface Dice: {"mm": 1.0, "px": 2.0}.
    """

    task: str
    rows: tuple[MaskRow, ...] = field(default=(), repr=False)
    slices: tuple[Slice, ...] = ()
    widths: tuple[Slice, ...] = ()
    promised: float | None = None
    level: float = 0.5
    tolerance: dict[str, float] = field(default_factory=lambda: {"mm": MILLIMETRES, "px": PIXELS})

    def to_json(self) -> dict[str, Any]:
        """Return plain data without the single images; a number that is not defined is null and has a note."""
        return {"part": self.part, "n": self.n, "n_units": self.n_units, "unit_kind": self.unit_kind,
                "task": self.task, "classes": list(self.classes), "level": self.level, "tolerance": self.tolerance,
                "promised": self.promised, "metrics": {key: one.to_json() for key, one in self.metrics.items()},
                "slices": [one.to_json() for one in self.slices], "widths": [one.to_json() for one in self.widths],
                "notes": list(self.notes), "failed": list(self.failed)}

    def text(self, names: Sequence[str] = ()) -> str:
        """Return the numbers as text for a terminal: those of `names`, or every one."""
        return "\n".join(mask_lines(self, names))


def evaluate_masks(rows: Sequence[MaskRow], *, task: str, classes: Sequence[str], part: str, unit_kind: str,
                   level: float = 0.5, promised: float | None = None, tolerance_mm: float = MILLIMETRES,
                   tolerance_px: float = PIXELS, notes: Sequence[str] = (), failed: Sequence[dict[str, str]] = (),
                   resamples: int = 1000, seed: int = 0, progress: Progress | None = None) -> MaskEvaluation:
    """Return every number of a network for masks with a 95 % interval from a bootstrap over units.

    Args:
        rows: The images, in the table's order.
        task: "segmentation", or "heads".
        classes: What is drawn.
        part: Name of the part.
        unit_kind: What a unit is.
        level: Probability from which a pixel was taken to be inside.
        promised: What the intervals are meant to cover.
        tolerance_mm: That the rows' surface Dice was computed with.
        tolerance_px: Where the pixel size is not known.
        notes: What is known about the data already.
        failed: {"file", "error"} of the images that could not be used.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: there is no image, or a number is NaN or infinite; the row is named. UsageError: no such task.
    """
    if task not in TASKS:
        raise UsageError(f"task must be {' or '.join(TASKS)}, got {task!r}")
    if not rows:
        raise DataError("there is no image to measure", where=part)
    units = [row.unit for row in rows]
    table = [numbers_of(row, _names(rows), heads=task == "heads") for row in rows]
    metrics = means(table, units, resamples=resamples, seed=seed, progress=progress)
    slices: tuple[Slice, ...] = ()
    widths: tuple[Slice, ...] = ()
    if task == "heads":
        metrics |= _of_differences(rows, resamples=resamples, seed=seed)
        slices = slices_by_size(rows, table, resamples=resamples, seed=seed)
        widths = slices_by_width(rows, table, resamples=resamples, seed=seed)
    metrics = {name: metrics[name] for name in sorted(metrics, key=_place)}
    said = [*unproven(rows, metrics, task), *notes,
            *notes_of(rows, task=task, unit_kind=unit_kind, level=level, promised=promised, tolerance_mm=tolerance_mm,
                      tolerance_px=tolerance_px, resamples=resamples, seed=seed)]
    return MaskEvaluation(
        part=part, n=len(rows), n_units=len(set(units)), unit_kind=unit_kind, classes=tuple(classes), task=task,
        metrics=metrics, rows=tuple(rows), slices=slices, widths=widths, promised=promised, level=level,
        tolerance={"mm": tolerance_mm, "px": tolerance_px}, notes=tuple(said), failed=tuple(failed))


def numbers_of(row: MaskRow, names: Sequence[str], *, heads: bool) -> dict[str, float | None]:
    """Return the numbers of one image by name, those of its head too; None: not defined for it."""
    found: dict[str, float | None] = {name: row.scores.get(name) for name in names}
    if not heads:
        return found
    head, errors = row.head, row.head.errors if row.head else None
    inside = head.inside if head else None
    missing = 0.0 if head else None  # a head that was not found has a Dice of 0; without a true one there is none
    return {**found, "df_mm": errors.df_mm if errors else None, "adf_mm": errors.adf_mm if errors else None,
            "head_hd_mm": errors.hd_mm if errors else None, "head_dice": errors.dice if errors else missing,
            "found": float(errors is not None) if head else None, "width_mm": head.width_mm if head else None,
            "coverage": None if inside is None else float(inside)}


def _names(rows: Sequence[MaskRow]) -> list[str]:
    """Return the names of all images' numbers: distances are in mm for some and in pixels for others."""
    found: dict[str, None] = {}
    for row in rows:
        found.update(dict.fromkeys(row.scores))
    return list(found)


def _of_differences(rows: Sequence[MaskRow], *, resamples: int, seed: int) -> dict[str, Interval]:
    known: list[tuple[float, str]] = [(row.head.errors.df_mm, row.unit) for row in rows
                                      if row.head and row.head.errors and row.head.errors.df_mm is not None]
    if not known:
        none = Interval(value=None, low=None, high=None, note="no image has a circumference in millimetres")
        return dict.fromkeys(("median_adf_mm", "loa_low_mm", "loa_high_mm"), none)
    return agreement(np.array([one for one, _ in known]), [unit for _, unit in known], resamples=resamples, seed=seed)


def _place(name: str) -> int:
    return ORDER.index(name) if name in ORDER else len(ORDER)
