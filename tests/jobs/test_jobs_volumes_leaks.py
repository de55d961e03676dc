"""What is told: one patient in two parts, and clinical columns that are the label, or known because of it."""

from types import SimpleNamespace

import numpy as np
import pytest

from excite.data.row import Row
from excite.data.split import Split
from excite.jobs.volumes.leaks import tell_the_label, twins

CLASSES = ("none", "mild", "severe")
LABELS = [0, 1, 2] * 8
ROWS = range(24)


def told(values, *, rows=ROWS, labels=LABELS, classes=CLASSES):
    table = SimpleNamespace(columns=("egfr",), clinical=np.array(values, np.float32)[:, None])
    return [one.message for one in tell_the_label(table, labels, classes, rows)]


def in_two_parts(hashes, patients=("A", "B", "C", "D")):
    """Return what is told of four rows, of which the last but one is for validation and the last for tests."""
    rows = [Row(image=f"{line}.nii", line=line, label="a", patient=patient)
            for line, patient in enumerate(patients, start=2)]
    table = SimpleNamespace(manifest=SimpleNamespace(rows=rows), maps=("t1", "adc"), files=hashes)
    split = Split(train=(0, 1), val=(2,), test=(3,), units=tuple("abcd"), unit_kind="patient")
    return [(one.kind, one.row, one.file, one.message)
            for one in twins(table, split, SimpleNamespace(hashes=hashes))]


def test_one_file_in_two_parts_is_told_whatever_the_other_maps_are():
    assert in_two_parts([("a", "b"), ("c", None), ("d", "e"), ("f", "a")]) == [
        ("same-files-in-two-splits", 5, "5.nii",
         "the adc of line 5 is a file of line 2, which is in train while this is in test")]
    [(_, _, _, message)] = in_two_parts([("a", "b"), ("c", None), ("d", "e"), ("a", None)])
    assert message.startswith("the t1 of line 5 is a file of line 2")
    [(_, _, _, message)] = in_two_parts([("a", "b"), ("c", None), ("a", "b"), ("g", None)])
    assert message == "the files of line 4 are those of line 2, which is in train while this is in val"
    assert not in_two_parts([("a", "b"), ("a", "b"), ("c", "d"), ("e", None)])  # both are trained on


def test_ids_spelt_alike_in_two_parts_are_told():
    hashes = [("a", None), ("b", None), ("c", None), ("d", None)]
    assert in_two_parts(hashes, ("P1", "p1", "P2", "p 1")) == [
        ("patient-in-two-splits", 5, "5.nii",
         "patient 'p 1' of line 5 is spelt like 'P1' of line 2, which is in train while this is in test")]
    assert not in_two_parts(hashes, ("P1", "p1", "P11", "P-1"))


def noise(seed=0):
    return np.random.default_rng(seed).normal(60, 15, 24)


@pytest.mark.parametrize("of_class", [(0, 1, 2), (2, 1, 0), (0, 7, 3), (90.5, 60.1, 14)])
def test_a_function_of_the_label_is_told(of_class):
    [message] = told([of_class[label] for label in LABELS])
    assert message.startswith("egfr alone tells '") and "AUROC 1.000 on 24 training rows" in message
    assert "is it the label under another name, or known only after it?" in message


def test_one_class_against_the_rest_is_enough():
    [message] = told([noise()[row] - 200 * (label == 2) for row, label in enumerate(LABELS)])
    assert message.startswith("egfr alone tells 'severe' from the rest")


def test_codes_without_an_order_are_told():
    [message] = told([{0: row % 2 * 4, 1: 2, 2: 2}[label] for row, label in enumerate(LABELS)])
    assert message.startswith("each value of egfr goes with one answer to whether it is 'none'")


def test_a_column_known_of_one_class_only_is_told():
    [message] = told([noise()[row] if label == 2 else np.nan for row, label in enumerate(LABELS)])
    assert message.startswith("whether the egfr is known tells 'severe' from the rest")


def test_what_helps_or_says_nothing_is_not_told():
    assert told(noise()) == [] and told(noise() - 10 * np.array(LABELS)) == []
    gaps = np.where(np.random.default_rng(2).random(24) < 0.3, np.nan, noise())
    assert told(gaps) == [] and told(np.arange(24) % 2) == []


def test_few_rows_say_nothing_and_only_training_rows_count():
    few = [0, 1] * 4
    assert told([float(label) for label in few], rows=range(8), labels=few, classes=("a", "b")) == []
    more = [0, 1] * 5
    assert told([float(label) for label in more], rows=range(10), labels=more, classes=("a", "b"))
    values = noise()
    values[16:] = 1000 * np.array(LABELS[16:])
    assert told(values, rows=range(16)) == []
