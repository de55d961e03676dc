"""Folds: every unit tested once, none in two parts, classes alike."""

from pathlib import Path

import pytest

from excite.data.folds import fold_split, make_folds
from excite.data.manifest import Manifest
from excite.data.row import Row
from excite.data.sections import SplitSection
from excite.errors import DataError, UsageError


def manifest(patients=30, each=2):
    rows = tuple(Row(image=f"{number}-{one}", line=2 + number * each + one, patient=f"p{number}",
                     label="ab"[number % 3 == 0]) for number in range(patients) for one in range(each))
    return Manifest(rows=rows, root=Path(), source=Path("table.csv"), layout="table")


def test_every_row_is_tested_once_and_no_patient_is_in_two_parts():
    table = manifest()
    folds, tested = make_folds(table, 5, seed=1), []
    for number in range(1, 6):
        split = fold_split(table, folds, number, SplitSection(val=0.16, test=0.2))
        units = [{split.units[row] for row in rows} for rows in split.parts.values()]
        assert not (units[0] & units[1] or units[0] & units[2] or units[1] & units[2])
        assert sorted(sum(map(list, split.parts.values()), [])) == list(range(60))
        assert len(split.test) == 12 and len(split.val) == 10 and f"fold {number} of 5 is the test part" in split.notes
        assert sum(table.rows[row].label == "b" for row in split.test) == 4
        tested += split.test
    assert sorted(tested) == list(range(60))


def test_the_folds_depend_on_the_seed_not_on_the_order_of_rows():
    table = manifest()
    turned = table.select(range(59, -1, -1))
    assert make_folds(table, 3, seed=1).of == make_folds(turned, 3, seed=1).of[::-1] != make_folds(table, 3, seed=2).of


def test_too_few_are_refused():
    with pytest.raises(UsageError, match="folds must be at least 2, got 1"):
        make_folds(manifest(), 1, seed=0)
    with pytest.raises(DataError, match=r"3 patient unit\(s\) cannot be divided into 5 folds"):
        make_folds(manifest(3), 5, seed=0)
