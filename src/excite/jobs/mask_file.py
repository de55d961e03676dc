"""The table of an evaluation of masks: one row an image, empty where a number is not defined."""

import csv
from collections.abc import Sequence
from io import StringIO

from excite.ellipse import Ellipse
from excite.jobs.prediction_table import cell
from excite.metrics.mask_evaluation import ORDER, MaskEvaluation
from excite.metrics.mask_image import MaskRow

_ELLIPSE = (*(f"{name}_px" for name in Ellipse._fields[:4]), "angle_rad")
_HEAD = ("hc_mm", "true_hc_mm", "df_mm", "low_mm", "high_mm", "inside", "spread_mm", "head_hd_mm", "head_dice",
         *_ELLIPSE, *(f"true_{name}" for name in _ELLIPSE))


def mask_table(found: MaskEvaluation) -> str:
    """Return the images of an evaluation as CSV.

    Columns: file, line, unit, true_px, predicted_px, the numbers of the masks, those of heads where they are heads
    (`inside`: yes or no, whether the true circumference lies in the interval), notes.
    """
    names = sorted({name for row in found.rows for name in row.scores}, key=ORDER.index)
    heads = found.task == "heads"
    stream = StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["file", "line", "unit", "true_px", "predicted_px", *names, *(_HEAD if heads else ()), "notes"])
    for row in found.rows:
        writer.writerow([cell(row.file, path=True), row.line, cell(row.unit), row.sizes.truth, row.sizes.predicted,
                         *(_number(row.scores.get(name)) for name in names), *(_of_head(row) if heads else ()),
                         cell("; ".join(row.notes))])
    return stream.getvalue()


def _of_head(row: MaskRow) -> list[str]:
    head = row.head
    if head is None:
        return [""] * len(_HEAD)
    errors = head.errors
    low, high = head.interval_mm or (None, None)
    inside = {None: "", True: "yes", False: "no"}[head.inside]
    return [_number(head.hc_mm), _number(head.true_hc_mm), _number(errors.df_mm if errors else None), _number(low),
            _number(high), inside, _number(head.spread_mm), _number(errors.hd_mm if errors else None),
            _number(errors.dice if errors else None), *_numbers(head.ellipse), *_numbers(head.truth)]


def _numbers(ellipse: Ellipse | None) -> Sequence[str]:
    return [""] * len(_ELLIPSE) if ellipse is None else [_number(value) for value in ellipse]


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.9g}"
