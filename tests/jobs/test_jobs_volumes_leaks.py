"""Clinical columns that are the label, or known because of it, are told; those that only help are not."""

from types import SimpleNamespace

import numpy as np
import pytest

from excite.jobs.volumes.leaks import tell_the_label

CLASSES = ("none", "mild", "severe")
LABELS = [0, 1, 2] * 8
ROWS = range(24)


def told(values, *, rows=ROWS, labels=LABELS, classes=CLASSES):
    table = SimpleNamespace(columns=("egfr",), clinical=np.array(values, np.float32)[:, None])
    return [one.message for one in tell_the_label(table, labels, classes, rows)]


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
