"""An evaluation as lines for a terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from excite.metrics.evaluation import Evaluation

FIRST = ("balanced_accuracy", "auroc_macro", "accuracy", "f1_macro")
GROUPS = (("recall", "precision", "f1"), ("specificity", "auroc", "ap"))


def lines(found: "Evaluation", names: Sequence[str] = ()) -> list[str]:
    """Return numbers over all classes (`names`, or every one), tables by class, the confusion matrix and the notes.

    What says that the numbers prove nothing stands in front of them.
    """
    width = max(len(name) for name in (*found.classes, "true | predicted", *found.metrics))
    said = [f"{found.part}: {found.n} {found.sample}s, {found.n_units} units ({found.unit_kind}), 95 % intervals"]
    said += [f"  BEWARE: {note}" for note in found.unproven]
    order = [*(name for name in FIRST if name in found.metrics), *(name for name in found.metrics if name not in FIRST)]
    said += [f"  {name.replace('_', ' '):<{width}}  {found.metrics[name].text()}" for name in names or order]
    for group in GROUPS:
        cells = {name: ["not defined" if one[metric].value is None else one[metric].text() for metric in group]
                 for name, one in found.per_class.items()}
        sizes = [max(len(metric), *(len(row[place]) for row in cells.values())) for place, metric in enumerate(group)]
        said += ["", _row("class", f"{found.sample}s", group, width, sizes)]
        said += [_row(name, str(found.support[name]), row, width, sizes) for name, row in cells.items()]
    notes = [f"  note: {note}" for note in found.notes if note not in found.unproven]
    return [*said, "", *_confusion(found, width), "", *notes]


def _row(name: str, count: str, cells: Sequence[str], width: int, sizes: Sequence[int]) -> str:
    shown = "  ".join(f"{cell:<{size}}" for cell, size in zip(cells, sizes, strict=True))
    return f"  {name:<{width}}  {count:>6}  {shown}".rstrip()


def _confusion(found: "Evaluation", width: int) -> list[str]:
    """Return the confusion matrix, its true classes as rows."""
    rows = [[str(count) for count in row] for row in found.confusion.tolist()]
    sizes = [max(len(name), *(len(row[place]) for row in rows)) for place, name in enumerate(found.classes)]
    table = {"true | predicted": list(found.classes), **dict(zip(found.classes, rows, strict=True))}
    return [f"  {name:<{width}}  " + "  ".join(f"{cell:>{size}}" for cell, size in zip(row, sizes, strict=True))
            for name, row in table.items()]
