"""What a reader of the numbers of masks has to know, each a sentence."""

import re
from collections.abc import Mapping, Sequence

import numpy as np

from excite.metrics.evaluation import FEW
from excite.metrics.intervals import Interval, wilson
from excite.metrics.mask_image import HeadRow, MaskRow
from excite.metrics.measured import UNPROVEN

GROSS = 10.0  # mm of error that must not go unnoticed


def notes_of(rows: Sequence[MaskRow], *, task: str, unit_kind: str, level: float, promised: float | None,
             tolerance_mm: float, tolerance_px: float, resamples: int, seed: int) -> list[str]:
    """Return how the numbers were made and what to beware of."""
    count = len({row.unit for row in rows})
    said = [f"intervals: 95 %, percentiles of {resamples} bootstrap resamples of {count} whole units ({unit_kind}), "
            f"seed {seed}"]
    if count < FEW:
        said.append(f"fewer than {FEW} units: the intervals are rough, and rather too narrow")
    said.append(f"a pixel counts as predicted from a probability of {level:g} on, as true where half of it is covered; "
                "all in the pixels of the original images")
    said += [*_unit_notes(rows, tolerance_mm, tolerance_px), *_empty_notes(rows)]
    return [*said, *_head_notes(rows, promised)] if task == "heads" else said


def unproven(rows: Sequence[MaskRow], metrics: Mapping[str, Interval], task: str) -> list[str]:
    """Return the note that the network may be no better than one answer for every image; none where it is better."""
    if task == "heads":
        known = [row.head.true_hc_mm for row in rows if row.head and row.head.true_hc_mm is not None]
        adf = metrics["adf_mm"]
        if len(known) < 2 or adf.value is None:
            return []
        middle = float(np.median(known))
        error = float(np.abs(np.array(known) - middle).mean())
        if (adf.value if adf.high is None else adf.high) < error:
            return []
        return [f"{UNPROVEN} {middle:.1f} mm: ADF {adf.text()} mm, that answer's {error:.3f}"]
    shares = [2 * row.sizes.truth / (row.sizes.image + row.sizes.truth) for row in rows if row.sizes.truth]
    dice = metrics["dice"]
    if not shares or dice.value is None or (dice.value if dice.low is None else dice.low) > np.mean(shares):
        return []
    return [f"{UNPROVEN} the whole image: Dice {dice.text()}, that answer's {np.mean(shares):.3f}"]


def _unit_notes(rows: Sequence[MaskRow], tolerance_mm: float, tolerance_px: float) -> list[str]:
    unknown = sum("hd_px" in row.scores for row in rows)
    said = []
    if unknown < len(rows):
        said.append(f"surface Dice: share of both boundaries within {tolerance_mm:g} mm of the other")
    if unknown:
        said.append(f"no pixel size is known for {unknown} of {len(rows)} images: their distances are in pixels (names "
                    f"end with px, surface Dice within {tolerance_px:g} pixels), and nothing of them is in millimetres")
    return said


def _empty_notes(rows: Sequence[MaskRow]) -> list[str]:
    empty = [row for row in rows if not row.sizes.truth]
    said = []
    if empty:
        false = sum(row.sizes.predicted > 0 for row in empty)
        told = [f"{false} have a prediction and count as Dice 0"] if false else []
        right = {row.scores.get("dice") for row in empty if not row.sizes.predicted}
        if right:
            rule = "are left out of Dice and IoU" if right == {None} else "count as Dice 1"
            told.append(f"{len(empty) - false} have none, rightly, and {rule}")
        said.append(f"{len(empty)} of {len(rows)} true masks are empty: {', '.join(told)}")
    missed = sum(row.sizes.truth > 0 and not row.sizes.predicted for row in rows)
    if missed:
        said.append(f"nothing was predicted in {missed} of {len(rows)} images where something is: Dice 0, and no "
                    "distance to average, so the means of distances look better than the network is")
    return said


def _head_notes(rows: Sequence[MaskRow], promised: float | None) -> list[str]:
    heads = [(row, row.head) for row in rows if row.head]
    said = ["dice, iou and the distances are of pixels; df_mm, adf_mm, head_hd_mm and head_dice are of ellipses, as "
            "HC18 reports them"]
    lost = [_name(row.file) for row, head in heads if head.ellipse is None]
    if lost:
        said.append(f"no head was found in {len(lost)} of {len(heads)} images ({_first(lost)}): no error in mm there")
    false = sum(row.false_head for row in rows)
    if false:
        said.append(f"a head was found in {false} images whose true mask is empty")
    return [*said, *_coverage_notes([head for _, head in heads], promised), *_worst_notes(heads)]


def _coverage_notes(heads: Sequence[HeadRow], promised: float | None) -> list[str]:
    known = [head.inside for head in heads if head.inside is not None]
    if not known:
        return ["how far off a circumference may be is not known: no interval is stated"]
    right, count = sum(known), len(known)
    low, high = wilson(right, count)
    told = (f"coverage: the truth lies in {right} of {count} intervals ({100 * right / count:.1f} %; Wilson's 95 % "
            f"interval, which takes all images as independent, is {100 * low:.1f} to {100 * high:.1f} %)")
    if promised is None:
        return [told]
    verdict = ("less than" if high < promised else "more than" if low > promised else "as far as these images tell, as")
    return [f"{told}; {100 * promised:g} % are promised: {verdict} promised"]


def _worst_notes(heads: Sequence[tuple[MaskRow, HeadRow]]) -> list[str]:
    known = [(head.errors.adf_mm, row.file, head) for row, head in heads
             if head.errors is not None and head.errors.adf_mm is not None]
    if not known:
        return []
    error, file, _ = max(known, key=lambda one: one[0])
    gross = [head for size, _, head in known if size > GROSS]
    said = f"largest error: {error:.1f} mm ({_name(file)}); {len(gross)} of {len(known)} are above {GROSS:g} mm"
    if gross and any(head.inside is not None for head in gross):
        said += f", and of these {sum(head.inside is True for head in gross)} lie in their own interval"
    return [said]


def _name(file: str) -> str:
    """Return a file's own name: notes are shipped with the network, and folders are nobody's business."""
    return re.split(r"[/\\]", file)[-1]


def _first(names: Sequence[str], shown: int = 5) -> str:
    return ", ".join(names[:shown]) + (f" and {len(names) - shown} more" if len(names) > shown else "")
