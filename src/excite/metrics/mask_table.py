"""An evaluation of masks as lines for a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excite.metrics.mask_evaluation import MaskEvaluation
    from excite.metrics.mask_slices import Slice


def mask_lines(found: "MaskEvaluation", names: Sequence[str] = ()) -> list[str]:
    """Return the numbers (`names`, or every one), thirds by size and by width, and the notes.

    What says that the numbers prove nothing stands in front of them.
    """
    width = max(len(name) for name in found.metrics)
    said = [f"{found.part}: {found.n} images, {found.n_units} units ({found.unit_kind}), 95 % intervals"]
    said += [f"  BEWARE: {note}" for note in found.unproven]
    said += [f"  {name.replace('_', ' '):<{width}}  {found.metrics[name].text()}" for name in names or found.metrics]
    said += _thirds("true circumference, mm", found.slices) + _thirds("width of the interval, mm", found.widths)
    return [*said, "", *(f"  note: {note}" for note in found.notes if note not in found.unproven)]


def _thirds(title: str, slices: Sequence["Slice"]) -> list[str]:
    if not slices:
        return []
    columns = [name for name in slices[0].metrics if any(one.metrics[name].value is not None for one in slices)]
    rows = [[title, "images", *(name.replace("_", " ") for name in columns)]]
    rows += [[f"{one.low:.1f} to {one.high:.1f}", str(one.n), *(one.metrics[name].text() for name in columns)]
             for one in slices]
    sizes = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    return ["", *("  " + "  ".join(f"{cell:<{size}}" for cell, size in zip(row, sizes, strict=True)).rstrip()
                  for row in rows)]
