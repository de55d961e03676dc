"""Whole units, shares, seeds, the table's own column, and every way a split can be wrong."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from excite.data.fingerprint import SIDE, Fingerprint
from excite.data.manifest import Manifest
from excite.data.row import Row
from excite.data.sections import SplitSection
from excite.data.split import Split, leaks, make_split
from excite.data.units import units_of
from excite.errors import DataError


def table(rows: list[Row]) -> Manifest:
    return Manifest(rows=tuple(rows), root=Path(), source=Path("table.csv"), layout="table")


def cohort(patients: int = 100, seed: int = 0) -> list[Row]:
    """Return rows of patients with 1 to 8 images in three unequal classes."""
    random = np.random.default_rng(seed)
    rows = []
    for patient in range(patients):
        for image in range(random.integers(1, 9)):
            label = random.choice(["a", "b", "c"], p=[0.6, 0.3, 0.1])
            rows.append(Row(image=f"{patient}_{image}.png", line=len(rows) + 2, label=str(label),
                            patient=f"P{patient}"))
    return rows


def prints(groups: list[int], seed: int = 1) -> list[Fingerprint]:
    """Return fingerprints that look the same within a group."""
    random = np.random.default_rng(seed)
    faces = random.standard_normal((max(groups) + 1, SIDE * SIDE)).astype(np.float32)
    faces /= np.linalg.norm(faces, axis=1, keepdims=True)
    return [Fingerprint(f"file{k}", f"pixels{k}", faces[group], (1, 64, 64), False, "uint8")
            for k, group in enumerate(groups)]


def shares(rows: list[Row], split: Split) -> dict[tuple[str, str], float]:
    total = Counter(row.label for row in rows)
    return {(part, str(label)): sum(rows[index].label == label for index in members) / number
            for part, members in split.parts.items() for label, number in total.items()}


def test_parts_are_whole_patients_in_the_asked_shares() -> None:
    rows = cohort()
    split = make_split(table(rows), SplitSection())
    assert sorted([*split.train, *split.val, *split.test]) == list(range(len(rows)))
    assert leaks(table(rows), split) == [] and split.unit_kind == "patient"
    for (part, label), share in shares(rows, split).items():
        assert share == pytest.approx({"train": 0.64, "val": 0.16, "test": 0.20}[part], abs=0.06), (part, label)


def test_the_order_of_rows_plays_no_part_and_the_seed_does() -> None:
    rows = cohort(seed=3)
    order = np.random.default_rng(0).permutation(len(rows))
    first = make_split(table(rows), SplitSection())
    second = make_split(table([rows[k] for k in order]), SplitSection())
    assert {rows[k].image for k in first.test} == {rows[order[k]].image for k in second.test}
    other = make_split(table(rows), SplitSection(seed=7))
    assert set(other.test) != set(first.test)


def test_a_large_patient_is_tested_on_in_some_seeds() -> None:
    rows = cohort() + [Row(image=f"big{k}.png", line=900 + k, label="a", patient="BIG") for k in range(20)]
    where = Counter(part for seed in range(40) for part, members in
                    make_split(table(rows), SplitSection(seed=seed)).parts.items() if len(rows) - 1 in members)
    assert where["train"] < 40 and where["test"] > 0


def test_a_pinned_split_stays_the_same_on_every_machine() -> None:
    rows = [Row(image=f"{k}.png", line=k + 2, label="ab"[k % 2], patient=f"P{k // 2}") for k in range(20)]
    split = make_split(table(rows), SplitSection())
    assert {part: sorted({rows[k].patient for k in members}) for part, members in split.parts.items()} == PINNED


PINNED = {"train": ["P0", "P1", "P3", "P4", "P5", "P8"], "val": ["P7", "P9"], "test": ["P2", "P6"]}


def test_patient_and_group_connect_through_each_other() -> None:
    rows = [Row(image="1", line=2, patient="A", group="x"), Row(image="2", line=3, patient="A"),
            Row(image="3", line=4, patient="B", group="x"), Row(image="4", line=5, group="y"),
            Row(image="5", line=6, patient="C", group="y"), Row(image="6", line=7)]
    units = units_of(rows)
    assert units.names == ("A +1", "A +1", "A +1", "C", "C", "6") and units.kind == "patient and group"
    assert "1 of 6 rows have no patient or group" in units.notes[0]


def test_ids_are_text_and_the_same_name_may_be_a_patient_and_a_group() -> None:
    rows = [Row(image="1", line=2, patient="7"), Row(image="2", line=3, patient="07"),
            Row(image="3", line=4, group="7")]
    assert len(set(units_of(rows).names)) == 3


def test_without_ids_look_alikes_are_the_units_and_the_notes_say_so() -> None:
    groups = [k // 3 for k in range(60)]
    rows = [Row(image=f"{k}.png", line=k + 2, label="ab"[k // 3 % 2]) for k in range(60)]
    split = make_split(table(rows), SplitSection(), prints(groups))
    assert split.unit_kind == "near-duplicate cluster" and "neither patient nor group is known" in split.notes[0]
    assert all(len({groups[k] for k in one} & {groups[k] for k in two}) == 0
               for one, two in ((split.train, split.test), (split.train, split.val), (split.val, split.test)))
    blind = make_split(table(rows), SplitSection())
    assert leaks(table(rows), blind, prints(groups))  # planted: nobody looked at the pictures


def test_look_alikes_of_two_patients_stay_together() -> None:
    rows = [Row(image=f"{k}.png", line=k + 2, label="ab"[k % 2], patient=f"P{k}") for k in range(40)]
    groups = [*range(20), *range(20)]
    split = make_split(table(rows), SplitSection(), prints(groups))
    assert leaks(table(rows), split, prints(groups)) == []
    assert any("20 units hold different ids" in note for note in split.notes)


def test_splitting_by_image_is_warned_about() -> None:
    rows = cohort(20)
    split = make_split(table(rows), SplitSection(by="image"))
    assert split.unit_kind == "image" and "leaky" in split.notes[0] and leaks(table(rows), split)


def with_column(rows: list[Row], *parts: str) -> list[Row]:
    from dataclasses import replace
    return [replace(row, split=parts[int(str(row.patient)[1:]) % len(parts)]) for row in rows]


def test_the_split_column_is_obeyed_and_a_missing_validation_part_is_cut_by_patient() -> None:
    rows = with_column(cohort(), "train", "test")
    split = make_split(table(rows), SplitSection())
    assert set(split.test) == {k for k, row in enumerate(rows) if row.split == "test"}
    assert leaks(table(rows), split) == [] and any("no validation part: 20%" in note for note in split.notes)
    rows_left = len(split.train) + len(split.val)
    assert len(split.val) / rows_left == pytest.approx(0.2, abs=0.04)
    ignored = make_split(table(rows), SplitSection(column=False))
    assert set(ignored.test) != set(split.test)


def test_a_full_split_column_is_left_as_it_is() -> None:
    rows = with_column(cohort(), "train", "val", "train", "test")
    split = make_split(table(rows), SplitSection())
    assert all(rows[k].split == part for part, members in split.parts.items() for k in members)


def test_near_duplicates_do_not_override_the_column_but_are_leaks() -> None:
    rows = [Row(image=f"{k}.png", line=k + 2, label="ab"[k % 2], split=("train", "val", "test")[k // 10])
            for k in range(30)]
    groups = [k % 10 for k in range(30)]
    split = make_split(table(rows), SplitSection(), prints(groups))
    assert split.train == tuple(range(10))
    assert {fault.kind for fault in leaks(table(rows), split, prints(groups))} == {"near-duplicates-in-two-splits"}


def test_equal_pixels_in_two_parts_are_a_leak() -> None:
    rows = [Row(image=f"{k}.png", line=k + 2, label="a", split=("train", "test")[k]) for k in range(2)]
    one = prints([0])[0]
    split = Split(train=(0,), val=(), test=(1,), units=("0", "1"), unit_kind="image")
    fault, = leaks(table(rows), split, [one, one])
    assert fault.kind == "same-pixels-in-two-splits" and fault.row == 3 and "0.png (row 2)" in fault.message


@pytest.mark.parametrize(("change", "words"), [
    (lambda rows: [*rows, Row(image="z", line=999, label="a", patient="P0", split="test")], "P0 (train and test)"),
    (lambda rows: [*rows, Row(image="z", line=999, label="a", patient="new")], "rows 999"),
    (lambda rows: [*rows, Row(image="z", line=999, label="rare", patient="new", split="test")], "class rare"),
])
def test_a_wrong_split_column_is_an_error(change, words: str) -> None:  # type: ignore[no-untyped-def]
    rows = with_column(cohort(), "train", "test", "val")
    rows = change(rows)
    with pytest.raises(DataError, match=words.replace("(", r"\(").replace(")", r"\)")):
        make_split(table(rows), SplitSection())


def test_a_column_without_training_part_is_an_error() -> None:
    with pytest.raises(DataError, match="no training part"):
        make_split(table(with_column(cohort(), "val", "test")), SplitSection())


def test_one_patient_cannot_be_divided() -> None:
    rows = [Row(image=str(k), line=k + 2, label="a", patient="P") for k in range(9)]
    with pytest.raises(DataError, match="1 patient unit"):
        make_split(table(rows), SplitSection())


def test_rare_classes_are_trained_on_and_said_to_be_missing_elsewhere() -> None:
    rows = [*cohort(40), Row(image="lone", line=900, label="lone", patient="L"),
            *(Row(image=f"r{k}", line=901 + k, label="rare", patient=f"R{k}") for k in range(3))]
    for seed in range(10):
        split = make_split(table(rows), SplitSection(seed=seed))
        held = {part: {rows[k].label for k in members} for part, members in split.parts.items()}
        assert "lone" in held["train"] and all("rare" in labels for labels in held.values())
        assert any("lone" in note and "test part" in note for note in split.notes)


def test_a_split_comes_back_from_json() -> None:
    split = make_split(table(cohort(20)), SplitSection())
    assert Split.from_json(split.to_json()) == split
    with pytest.raises(DataError, match="cannot be read"):
        Split.from_json({"train": [1]})


@pytest.mark.slow
def test_twelve_thousand_rows_take_seconds() -> None:
    import time
    rows = cohort(2700)
    begin = time.perf_counter()
    split = make_split(table(rows), SplitSection())
    assert len(rows) > 12_000 and time.perf_counter() - begin < 20
    for (part, _), share in shares(rows, split).items():
        assert share == pytest.approx({"train": 0.64, "val": 0.16, "test": 0.20}[part], abs=0.005)
