"""Splits of several cubes by patient: nobody is in two parts, every class is trained on, what is doubtful is told."""

from collections.abc import Sequence
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.scenes.group_split import numbers_of, patient_split, seen_before
from excite.data.scenes.mosaic import extent, lay_out
from excite.data.scenes.scene import Piece
from excite.data.scenes.split import PARTS, given_split, random_split
from excite.errors import DataError, UsageError

Made = tuple[NDArray[np.int32], list[Piece]]
SIDE = 12


def made(owners: Sequence[str | None], held: Sequence[Sequence[int]] | None = None, *, seed: int = 0) -> Made:
    """Return labels of cubes on a canvas; `held` are the classes of each cube."""
    random = np.random.default_rng(seed)
    places = lay_out([(SIDE, SIDE + number % 3) for number in range(len(owners))], gap=4)
    labels = np.zeros(extent(places), np.int32)
    for number, place in enumerate(places):
        classes = (1, 2, 3) if held is None else held[number]
        labels[place.inside] = random.choice(classes, place[2:])
    return labels, [Piece(name=f"c{number}", patient=owner, place=place)
                    for number, (owner, place) in enumerate(zip(owners, places, strict=True))]


TWO_EACH = [f"P{number // 2}" for number in range(20)]


def test_every_patient_is_in_one_part_with_all_its_labelled_pixels() -> None:
    labels, pieces = made(TWO_EACH)
    labels[2, 3] = 0
    split = patient_split(labels, pieces, window=5)
    found: dict[str, set[int]] = {}
    for piece in pieces:
        inside = split.parts[piece.place.inside][labels[piece.place.inside] > 0]
        found.setdefault(piece.unit, set()).update(np.unique(inside).tolist())
    assert all(len(parts) == 1 and 0 not in parts for parts in found.values())
    for code, part in enumerate(PARTS, 1):
        assert {name for name, parts in found.items() if parts == {code}} == set(split.members[part])
        assert sum(split.counts[part]) == np.count_nonzero(split.parts == code)
    assert split.kind == "patient" and not split.parts[labels == 0].any()
    assert (split.overlap.inside, split.overlap.windows, split.overlap.sharing) == (0, 0, 0)
    assert len(np.unique(split.unit[split.parts == 3])) == len(split.members["test"]) == 3
    for piece in pieces:
        assert len(np.unique(split.unit[piece.place.inside][split.parts[piece.place.inside] > 0])) == 1
    told = split.to_json()
    assert told["patients"] == {part: list(split.members[part]) for part in PARTS}
    assert split.notes[0] == "whole patients were given away: 5 to train, 2 to val, 3 to test"


def test_every_patient_is_a_unit_of_its_own() -> None:
    labels, pieces = made(TWO_EACH)
    split = patient_split(labels, pieces, window=5)
    units = {(piece.unit, int(number)) for piece in pieces for number in np.unique(split.unit[piece.place.inside])
             if number}
    assert len(units) == len({unit for unit, _ in units}) == len({number for _, number in units}) == 10


def test_a_class_of_two_patients_is_trained_on_and_tested() -> None:
    held = [[1, 2, 3]] * 2 + [[1, 2]] * 4
    labels, pieces = made([f"P{number}" for number in range(6)], held)
    for seed in range(20):  # rather than chosen on, which it could be by the same two
        counts = patient_split(labels, pieces, window=5, seed=seed).counts
        assert counts["train"][2] and counts["test"][2] and not counts["val"][2]


@pytest.mark.parametrize(("patients", "shares", "expected"), [
    (3, (0.6, 0.15, 0.25), (1, 1, 1)), (4, (0.6, 0.15, 0.25), (2, 1, 1)), (6, (0.6, 0.15, 0.25), (3, 1, 2)),
    (20, (0.6, 0.15, 0.25), (12, 3, 5)), (5, (0.1, 0.3, 0.6), (1, 1, 3)), (3, (0.98, 0.01, 0.01), (1, 1, 1)),
    (100, (0.5, 0.2, 0.3), (50, 20, 30)), (4, (0.7, 0.0, 0.3), (3, 0, 1)), (2, (0.7, 0.0, 0.3), (1, 0, 1)),
    (9, (0.01, 0.9, 0.09), (1, 7, 1)),
])
def test_every_part_has_a_patient(patients: int, shares: Any, expected: tuple[int, int, int]) -> None:
    assert numbers_of(patients, shares=shares) == expected


def test_the_seed_decides_and_the_order_of_the_table_does_not() -> None:
    labels, pieces = made(TWO_EACH)
    first = patient_split(labels, pieces, window=5)
    assert first.members == patient_split(labels, pieces[::-1], window=5).members
    assert (first.parts == patient_split(labels, pieces[::-1], window=5).parts).all()
    other = {patient_split(labels, pieces, window=5, seed=seed).members["test"] for seed in range(8)}
    assert len(other) > 4  # repeats with other seeds test on others
    small, few = made([f"P{n}" for n in range(6)])
    assert len({patient_split(small, few, window=5, seed=seed).members["test"] for seed in range(12)}) > 6


def test_a_class_of_one_patient_is_trained_on() -> None:
    held = [[1, 2]] * 19 + [[1, 2, 3]]
    labels, pieces = made([f"P{number:02d}" for number in range(20)], held)
    for seed in range(30):
        split = patient_split(labels, pieces, window=5, seed=seed, classes=("skin", "fat", "tumour"))
        assert "P19" in split.members["train"]
        assert "the test part has fewer than 10 pixels of class tumour (0)" in split.notes


def test_the_best_of_the_draws_is_near_the_best_there_is() -> None:
    held = [[1], [1], [2], [2], [3], [3], [1, 2, 3]]
    labels, pieces = made([f"P{number}" for number in range(7)], held)
    dealt = [0] * 4 + [1] + [2] * 2

    def tested(part: Sequence[int]) -> int:
        return len({one for number, place in enumerate(part) if place == 2 for one in held[number]})

    def trained(part: Sequence[int]) -> int:
        return len({one for number, place in enumerate(part) if place == 0 for one in held[number]})

    every = {part for part in permutations(dealt) if trained(part) == 3}
    best = max(map(tested, every))
    for seed in range(10):
        split = patient_split(labels, pieces, window=5, seed=seed)
        assert all(split.counts["train"])
        part = [PARTS.index(next(one for one in PARTS if f"P{n}" in split.members[one])) for n in range(7)]
        assert tested(part) >= best - 1 and trained(part) == 3


def test_without_patients_each_cube_counts_as_one_and_it_is_said() -> None:
    labels, pieces = made([None] * 8)
    split = patient_split(labels, pieces, window=5)
    assert split.kind == "cube" and set().union(*split.members.values()) == {f"c{n}" for n in range(8)}
    assert "the table names no patients: each cube counts as one, so cubes of one patient may be in training and test" \
        in split.notes
    assert split.to_json()["cubes"]["test"] == list(split.members["test"])


def test_few_test_patients_are_called_few() -> None:
    for patients, said in ((6, "the test part has 2 patients: fewer than 5 say little about other patients, and so do "
                               "intervals over them"), (4, "the test part has 1 patient: fewer than 5 say little")):
        labels, pieces = made([f"P{number}" for number in range(patients)])
        assert any(said in note for note in patient_split(labels, pieces, window=5).notes)
    labels, pieces = made([f"P{number}" for number in range(20)])
    assert not any("say little" in note for note in patient_split(labels, pieces, window=5).notes)


def test_a_patient_without_labels_is_in_no_part() -> None:
    labels, pieces = made([f"P{number}" for number in range(5)])
    labels[pieces[0].place.inside] = 0
    split = patient_split(labels, pieces, window=5)
    assert set().union(*split.members.values()) == {"P1", "P2", "P3", "P4"}
    assert "1 cube without a label is in no part" in split.notes
    assert not split.parts[pieces[0].place.inside].any()


@pytest.mark.parametrize(("owners", "held", "options", "message"), [
    (["a", "a"], None, {}, "a split by patient needs 3 patients with labels or more, there is 1 (each part gets whole "
                           "ones); add cubes of other patients; split.kind=block"),
    (["a", "b"], None, {}, "there are 2"),
    ([None, None], None, {}, "a split by cube needs 3 cubes with labels or more, there are 2"),
    (["a"], None, {"val": 0.0}, "a split by patient needs 2 patients"),
    (["a", "b", "c"], [[1], [2], [3]], {}, "no split by patient was found that has every class in train: at best none "
                                           "of class"),
    (["a", "b", "c", "d"], [[1], [2], [3], [1]], {}, "(2 of 4 patients are trained on); raise split.train, add "
                                                     "patients that have it, or drop or merge the class"),
])
def test_what_cannot_be_split(owners: list[str | None], held: Any, options: dict[str, float], message: str) -> None:
    labels, pieces = made(owners, held)
    with pytest.raises(DataError) as caught:
        patient_split(labels, pieces, window=5, classes=("skin", "fat", "tumour"), **options)  # type: ignore[arg-type]
    assert message in str(caught.value)


def test_shares_that_cannot_be() -> None:
    labels, pieces = made(TWO_EACH)
    with pytest.raises(UsageError, match="train must be above 0"):
        patient_split(labels, pieces, window=5, train=0.9, val=0.1)


def test_patients_in_training_and_test_are_told() -> None:
    labels, pieces = made(TWO_EACH)
    assert seen_before(patient_split(labels, pieces, window=5), pieces) == []
    leaky = random_split(labels, window=5)
    assert seen_before(leaky, pieces) == ["10 of 10 patients are in training and in test: numbers say nothing about a "
                                          "new patient"]
    assert seen_before(leaky, []) == []


def test_only_training_and_test_together_are_told() -> None:
    labels, pieces = made(["a", "a", "b", "b"])
    numbers = np.zeros(labels.shape, int)
    for number, piece in enumerate(pieces):
        numbers[piece.place.inside] = number + 1
    maps = {"train": (numbers == 1) | (numbers == 3), "val": numbers == 2, "test": numbers == 4}
    split = given_split(labels, {part: inside * labels for part, inside in maps.items()}, window=3)
    assert seen_before(split, pieces) == ["1 of 2 patients are in training and in test: numbers say nothing about a "
                                          "new patient"]
    split = given_split(labels, {"train": (numbers == 1) * labels, "val": (numbers == 2) * labels,
                                 "test": (numbers > 2) * labels}, window=3)
    assert seen_before(split, pieces) == []
