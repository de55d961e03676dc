"""What the report of a cross-validation tells of its numbers and its folds, however they were predicted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from excite.data.volumes.volume_table import VolumeTable
from excite.jobs.volumes.folds.numbers import FoldNumbers
from excite.jobs.volumes.folds.questions import SPECIFICITY, Answer
from excite.jobs.volumes.leaks import in_two
from excite.jobs.volumes.sections import VolumeSplitSection


def told_of(numbers: FoldNumbers, table: VolumeTable, hashes: Sequence[Sequence[str | None]]) -> dict[str, Any]:
    """Return what the report says of the numbers and the tested rows, as arguments of `FoldsData`.

    Args:
        hashes: Of each file of each row, None where a map is missing.
    """
    found = numbers.predicted
    names = {number: f"fold {number}" for number in found.folds}
    counts = {name: np.bincount(found.truth[found.fold == number], minlength=len(found.classes)).tolist()
              for number, name in names.items()}
    return {
        "classes": found.classes, "evaluation": numbers.evaluation.to_json(), "before": numbers.before,
        "grades": {name: one.to_json() for name, one in numbers.grades.items()}, "specificity": SPECIFICITY,
        "sample": found.sample,
        "answers": [answer_told(one) for one in numbers.answers], "unit_kind": found.unit_kind,
        "counts": {name: dict(zip(found.classes, of, strict=True)) for name, of in counts.items()},
        "units": {name: len({unit for unit, one in zip(found.units, found.fold, strict=True) if one == number})
                  for number, name in names.items()},
        "leaks": [vars(fault) for fault in in_two(table, [names[one] for one in found.fold.tolist()], hashes,
                                                  kind="folds")],
        "split_notes": table.manifest.notes}


def missing_of(numbers: FoldNumbers, table: VolumeTable, number: int) -> dict[str, int]:
    """Return how many tested rows of a fold lack each map."""
    tested = np.flatnonzero(numbers.predicted.fold == number)
    return {name: sum(table.files[row][place] is None for row in tested) for place, name in enumerate(table.maps)}


def made_by(section: VolumeSplitSection, table: VolumeTable, unit_kind: str, count: int) -> list[str]:
    """Return how the folds were made, each a sentence."""
    said = [f"the units ({unit_kind}) were divided into {count} folds of alike size"
            + (" and classes" if section.stratify else ", classes not looked at") + f", seed {section.seed}",
            "each fold is tested once and chose nothing of what predicts it"]
    if any(row.split for row in table.manifest.rows):
        said.append("the table's own split column plays no part")
    return said


def answer_told(one: Answer) -> dict[str, Any]:
    """Return an answer with its curves, as the report draws it."""
    return {"name": one.name, "n": one.n, "positives": one.positives, "auroc": one.auroc.to_json(),
            "sensitivity": one.sensitivity.to_json(), "roc": one.roc, "calibration": one.calibration,
            "curve": one.curve.to_json(), "useful": one.curve.useful()}
