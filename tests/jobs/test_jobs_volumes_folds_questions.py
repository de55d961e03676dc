"""Yes-or-no questions behind classes and grades: their names, their numbers, their groups of like chance."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn.calibration import calibration_curve
from sklearn.metrics import roc_auc_score, roc_curve

from excite.jobs.volumes.folds.questions import answered, calibration, questions

GRADES = ("none", "mild", "severe")


def made(rows=90, classes=3, seed=0):
    draw = np.random.default_rng(seed)
    truth = np.arange(rows) % classes
    shares = np.exp(draw.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[truth])
    shares /= shares.sum(1, keepdims=True)
    raw = shares**3
    return truth, shares, raw / raw.sum(1, keepdims=True)


def test_grades_are_asked_as_this_or_worse():
    truth, shares, raw = made()
    first, second = questions(truth, shares, raw, GRADES, graded=True)
    assert (first.name, second.name) == ("mild or worse", "severe")
    assert (first.truth == (truth > 0)).all() and np.allclose(first.chance, 1 - shares[:, 0])
    assert (second.truth == (truth == 2)).all() and np.allclose(second.raw, raw[:, 2])


def test_two_classes_are_one_question_and_classes_without_order_one_each():
    truth, shares, raw = made(classes=2)
    [one] = questions(truth, shares, raw, ("healthy", "ill"), graded=True)
    assert one.name == "ill" and np.allclose(one.chance, shares[:, 1])
    truth, shares, raw = made()
    assert [one.name for one in questions(truth, shares, raw, GRADES, graded=False)] == list(GRADES)


def test_an_answer_is_what_scikit_learn_says():
    truth, shares, raw = made()
    question = questions(truth, shares, raw, GRADES, graded=True)[0]
    found = answered(question, [f"P{row}" for row in range(len(truth))])
    assert found.auroc.value == pytest.approx(roc_auc_score(question.truth, question.chance))
    assert found.auroc.low < found.auroc.value < found.auroc.high
    false, true, _ = roc_curve(question.truth, question.chance)
    assert found.sensitivity.value == pytest.approx(true[false <= 0.1 + 1e-9].max())
    assert (found.positives, found.n) == (60, 90) and found.curve.thresholds[0] == 0.01
    assert found.to_json()["sensitivity at 0.9"]["value"] == found.sensitivity.value


def test_where_all_are_so_there_is_no_number():
    truth, shares, raw = made()
    found = answered(questions(np.full(90, 2), shares, raw, GRADES, graded=True)[0], ["a", "b"] * 45)
    assert found.auroc.value is None and found.auroc.note == "not defined: every sample is of the class"
    assert found.roc is None and found.sensitivity.value is None


def test_groups_of_like_chance():
    truth, shares, _ = made(rows=100)
    ill, chance = truth == 1, np.round(shares[:, 1], 2)  # with ties
    found = calibration(ill, chance)
    assert sum(found["count"]) == 100 and len(found["count"]) == 5 and found["chance"] == sorted(found["chance"])
    order = np.random.default_rng(1).permutation(100)
    assert calibration(ill[order], chance[order])["count"] == found["count"]
    lowest = chance <= np.sort(chance)[int(found["count"][0]) - 1]
    assert lowest.sum() == found["count"][0]
    assert found["share"][0] == pytest.approx(ill[lowest].mean()) and found["chance"][0] == pytest.approx(
        chance[lowest].mean())
    low, high = binomtest(int(ill[lowest].sum()), int(lowest.sum())).proportion_ci(method="wilson")
    assert (found["low"][0], found["high"][0]) == pytest.approx((low, high))
    assert len(calibration(ill[:20], chance[:20])["count"]) == 2
    assert calibration(np.array([True, False]), np.array([0.5, 0.5]))["share"] == [0.5]


@pytest.mark.parametrize("digits", [1, 2, 6])
def test_groups_with_equal_chances_are_those_of_scikit_learn(digits):
    truth, shares, _ = made(rows=100)
    ill, chance = truth == 1, np.round(shares[:, 1], digits)
    found = calibration(ill, chance)
    share, mean = calibration_curve(ill, chance, n_bins=5, strategy="quantile")
    assert found["share"] == pytest.approx(share) and found["chance"] == pytest.approx(mean)
