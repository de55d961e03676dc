"""What of a training on volumes may have leaked: a patient in two parts, and clinical columns that are the label."""

from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from excite.data.fault import Fault
from excite.data.split import Split
from excite.data.volumes.store import VolumeStore
from excite.data.volumes.twins import alike_ids, same_files
from excite.data.volumes.volume_table import VolumeTable
from excite.metrics.ranking import Ranking
from excite.report.words import OF_LABELS

CERTAIN = 0.999  # AUROC of one column alone from which it is taken for the label under another name
CHANCE = 0.01    # of a column without meaning to do that, among all orders of the rows; where it is more, none is told


def twins(table: VolumeTable, split: Split, store: VolumeStore) -> list[Fault]:
    """Return a fault for each two rows in two parts that have a file in common or whose ids are spelt alike."""
    part = {row: name for name, rows in split.parts.items() for row in rows}
    return in_two(table, [part[row] for row in range(len(table.files))], store.hashes)


def in_two(table: VolumeTable, parts: Sequence[str], hashes: Sequence[Sequence[str | None]], *, kind: str = "splits"
           ) -> list[Fault]:
    """Return a fault for each two rows in two parts that have a file in common or whose ids are spelt alike.

    Args:
        parts: That of each row.
        hashes: Of each row those of its files, `VolumeStore.hashes`.
        kind: What parts are called in the kinds of faults.
    """
    rows, found = table.manifest.rows, list[Fault]()

    def add(what: str, row: int, other: int, text: str) -> None:
        if parts[other] != parts[row]:
            found.append(Fault(kind=f"{what}-in-two-{kind}", row=rows[row].line, file=rows[row].image, message=(
                f"{text}, which is in {parts[other]} while this is in {parts[row]}")))

    for twin in same_files(table.maps, hashes):
        add("same-files", twin.row, twin.other, twin.told(rows))
    for row, other in alike_ids(rows):
        add("patient", row, other, f"patient {rows[row].patient!r} of line {rows[row].line} is spelt like "
                                   f"{rows[other].patient!r} of line {rows[other].line}")
    return found


def tell_the_label(table: VolumeTable, labels: Sequence[int], classes: Sequence[str], rows: Sequence[int]
                   ) -> list[Fault]:
    """Return a fault for each clinical column that alone tells a class from the others, in the training rows.

    So does a column that is the label, or is computed from it, or was written down because of it; whether a value is
    known at all is looked at likewise.
    """
    found = []
    truth = np.array([labels[row] for row in rows])
    for place, name in enumerate(table.columns if table.clinical is not None else ()):
        values = np.asarray(table.clinical)[list(rows), place].astype(np.float64)
        known = ~np.isnan(values)
        said = _certain(values[known], truth[known], classes, f"{name} alone")
        if missing := _certain(known.astype(np.float64), truth, classes, f"whether the {name} is known"):
            said = f"{said}; {missing}" if said else missing
        if said:
            found.append(Fault(kind=OF_LABELS, message=(
                f"{said}: is it the label under another name, or known only after it? Leave it out of --clinical, "
                "unless it is known before the maps are read")))
    return found


def _certain(values: NDArray[np.float64], truth: NDArray[np.int64], classes: Sequence[str], what: str) -> str:
    """Return which class the values alone tell from the others, in words; nothing where they tell none."""
    for place, name in enumerate(classes):
        positive = truth == place
        if 2 / comb(len(positive), int(positive.sum())) > CHANCE:
            continue
        area = float(Ranking(positive, values)(np.ones((1, len(values))))[0][0])
        if max(area, 1 - area) >= CERTAIN:
            return (f"{what} tells {name!r} from the rest (AUROC {max(area, 1 - area):.3f} on {len(values)} training "
                    "rows)")
        if _fixes(values, positive):
            return f"each value of {what.removesuffix(' alone')} goes with one answer to whether it is {name!r}"
    return ""


def _fixes(values: NDArray[np.float64], positive: NDArray[np.bool_]) -> bool:
    """Return whether a few values that come again and again fix the answer, in whatever order."""
    distinct, place = np.unique(values, return_inverse=True)
    of_each = np.bincount(place)
    ones = np.bincount(place, weights=positive)
    return len(distinct) <= len(values) / 4 and bool(((ones == 0) | (ones == of_each)).all())
