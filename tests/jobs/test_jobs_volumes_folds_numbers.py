"""The numbers of a cross-validation: over all rows, fold by fold, and files that lie in two folds."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score, log_loss

from excite.data.row import Row
from excite.jobs.volumes.folds.numbers import Predicted, measured
from excite.jobs.volumes.nested.loop import GAIN, compared

ROWS = tuple(Row(image=f"{row}.nii", line=row + 2, label="x") for row in range(60))


def made(*, graded=True, better=1.5, seed=0):
    draw = np.random.default_rng(seed)
    truth = np.arange(60) % 3
    shares = np.exp(draw.normal(size=(60, 3)) + better * np.eye(3)[truth])
    shares /= shares.sum(1, keepdims=True)
    raw = shares**2 / (shares**2).sum(1, keepdims=True)
    return Predicted(classes=("none", "mild", "severe"), graded=graded, rows=ROWS, fold=np.arange(60) // 12 + 1,
                     units=tuple(f"P{row}" for row in range(60)), unit_kind="patient", truth=truth, shares=shares,
                     raw=raw)


def test_numbers_are_those_of_scikit_learn():
    predicted = made()
    found = measured(predicted, by="network")
    said = predicted.shares.argmax(1)
    assert found.grades["kappa_quadratic"].value == pytest.approx(
        cohen_kappa_score(predicted.truth, said, weights="quadratic"))
    assert found.before["nll"] == pytest.approx(log_loss(predicted.truth, predicted.raw))
    assert len(found.each) == 5 and found.each[2]["balanced_accuracy"] == pytest.approx(
        balanced_accuracy_score(predicted.truth[24:36], said[24:36]))
    assert found.evaluation.part == "all 5 folds" and found.evaluation.n_units == 60
    text = found.text()
    assert "mild or worse: sensitivity at 0.9" in text and "kappa quadratic" in text and "fold by fold: " in text
    tree = found.to_json()
    assert tree["folds"] == 5 and [one["name"] for one in tree["questions"]] == ["mild or worse", "severe"]


def test_without_an_order_there_are_no_grades():
    found = measured(made(graded=False), by="head")
    assert not found.grades and [one.name for one in found.answers] == ["none", "mild", "severe"]


def test_patients_with_several_examinations_are_drawn_whole():
    several = replace(made(), units=tuple(f"P{row // 2}" for row in range(60)))
    found = measured(several, by="network")
    assert several.sample == "examination" and "60 examinations, 30 units" in found.text()
    alone = measured(made(), by="network")
    assert made().sample == "patient" and found.answers[0].auroc.value == alone.answers[0].auroc.value
    assert found.answers[0].auroc.low != alone.answers[0].auroc.low


def test_the_gain_is_measured_in_pairs():
    same = compared(made(), made())
    assert same[GAIN].value == same[GAIN].low == same[GAIN].high == 0
    worse = compared(made(), made(better=0.0, seed=1))
    assert worse[GAIN].low > 0.1
    assert worse[GAIN].value == pytest.approx(compared(made(), made())["auroc_macro"].value
                                              - worse["auroc_macro"].value)
