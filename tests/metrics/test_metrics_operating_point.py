"""Thresholds against every one there is, against scikit-learn's curve, and on a set that they were not chosen on."""

import json

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, roc_curve

from excite.errors import DataError, UsageError
from excite.metrics.operating_point import OperatingPoint, RateAt, apply_point, choose_point, rate_at

BOTH = pytest.mark.parametrize("held", ["specificity", "sensitivity"])


def samples(count=80, seed=0, digits=1):
    """Return truth and scores with many ties."""
    rng = np.random.default_rng(seed)
    truth = rng.random(count) < 0.4
    return truth, np.round(rng.normal(truth * 1.0, 1.0), digits)


def rates(truth, called):
    (right, false), (missed, hit) = confusion_matrix(truth, called, labels=[False, True])
    return hit / (hit + missed), right / (right + false)


def by_hand(truth, score, held, at_least):
    """Return the best pair of rates over every threshold: most of the other, then most of the held one."""
    pairs = [rates(truth, score >= one) for one in [*set(score), max(score) + 1]]
    if held == "specificity":
        return max((pair for pair in pairs if pair[1] >= at_least - 1e-12), key=lambda one: (one[0], one[1]))
    return max((pair for pair in pairs if pair[0] >= at_least - 1e-12), key=lambda one: (one[1], one[0]))


@BOTH
@pytest.mark.parametrize("at_least", [0.05, 0.5, 0.8, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_no_threshold_is_better(held, at_least, seed):
    truth, score = samples(seed=seed)
    point = choose_point(truth, score, held=held, at_least=at_least)
    assert (point.sensitivity, point.specificity) == pytest.approx(by_hand(truth, score, held, at_least))
    assert rates(truth, score >= point.threshold) == pytest.approx((point.sensitivity, point.specificity))
    assert point.n == 80 and (point.note is None) == (point.sensitivity > 0)


def test_it_is_a_corner_of_scikit_learns_curve():
    truth, score = samples(200, digits=3)
    false, true, _ = roc_curve(truth, score)
    point = choose_point(truth, score, held="specificity", at_least=0.9)
    assert point.sensitivity == pytest.approx(true[false <= 0.1 + 1e-12].max())


def test_nine_of_ten_is_ninety_percent():
    truth, score = np.r_[np.zeros(10), 1, 1], np.r_[np.arange(10), 8.5, 20]
    point = choose_point(truth, score, held="specificity", at_least=0.9)
    assert (point.threshold, point.sensitivity, point.specificity) == (8.5, 1.0, 0.9)


def test_where_the_promise_is_kept_only_by_finding_nothing_it_says_so():
    point = choose_point([0, 1, 0, 1], [0.9, 0.8, 0.1, 0.3], held="specificity", at_least=0.99)
    assert (point.sensitivity, point.specificity) == (0.0, 1.0) and 0.9 < point.threshold < 0.9001
    assert point.note == "no threshold that keeps the promise finds a sample of the class: none is called so"


def test_a_threshold_is_applied_as_it_is_on_other_samples():
    point = choose_point(*samples(60, seed=3), held="specificity", at_least=0.9)
    truth, score = samples(300, seed=4)
    units = [str(row // 2) for row in range(300)]
    found = apply_point(point, truth, score, units, resamples=400)
    assert (found["sensitivity"].value, found["specificity"].value) == pytest.approx(
        rates(truth, score >= point.threshold))
    (right, false), (missed, hit) = confusion_matrix(truth, score >= point.threshold)
    assert found["ppv"].value == pytest.approx(hit / (hit + false))
    assert found["npv"].value == pytest.approx(right / (right + missed))
    assert all(one.low < one.value < one.high for one in found.values())
    own = choose_point(truth, score, held="specificity", at_least=0.9)
    assert own.threshold != point.threshold  # nothing was chosen again


def test_choice_and_measurement_on_one_set_promise_more_than_they_keep():
    inside, outside = [], []
    for seed in range(60):
        truth, score = samples(40, seed=seed, digits=6)
        point = choose_point(truth, score, held="specificity", at_least=0.9)
        inside.append(point.sensitivity + point.specificity)
        outside.append(sum(rates(*_called(point, samples(400, seed=1000 + seed, digits=6)))))
    assert np.mean(inside) > np.mean(outside) + 0.02


def _called(point, pair):
    return pair[0], pair[1] >= point.threshold


@BOTH
def test_rate_at_chooses_anew_in_every_resample(held):
    truth, score = samples(40)
    measure = RateAt(truth, score, held=held, at_least=0.8)
    often = np.random.default_rng(1).integers(0, 3, (20, 40))
    for row, found in zip(often, *measure(often.astype(float)).values(), strict=True):
        rows = np.repeat(np.arange(40), row)
        expected = by_hand(truth[rows], score[rows], held, 0.8)
        assert found == pytest.approx(expected[0 if held == "specificity" else 1])
    one = rate_at(truth, score, [str(row) for row in range(40)], held=held, at_least=0.8, resamples=200)
    assert one.value == pytest.approx(by_hand(truth, score, held, 0.8)[0 if held == "specificity" else 1])
    assert one.low <= one.value <= one.high and one.low < one.high


def test_one_class_alone_is_not_defined():
    point = OperatingPoint(threshold=0.5, held="specificity", at_least=0.9, sensitivity=1.0, specificity=1.0, n=9)
    found = apply_point(point, [1, 1, 1], [0.6, 0.7, 0.1], list("abc"), resamples=150)
    assert found["specificity"].value is None
    assert found["specificity"].note == "not defined: every sample is of the class"
    assert found["sensitivity"].value == pytest.approx(2 / 3) and found["ppv"].value == 1.0
    none = apply_point(point, [0, 0], [0.1, 0.2], list("ab"), resamples=150)
    assert none["sensitivity"].note == "not defined: no sample of the class"
    assert none["ppv"].note == "not defined: no sample is called of the class"
    assert apply_point(point, [0, 0], [0.6, 0.7], list("ab"), resamples=150)["npv"].note == (
        "not defined: every sample is called of the class")
    for truth, word in (([1, 1], "every"), ([0, 0], "no")):
        one = rate_at(truth, [0.1, 0.2], ["a", "b"], held="specificity", at_least=0.9)
        assert one.value is None and one.note == f"not defined: {word} sample is of the class"
        with pytest.raises(DataError, match="needs samples of the class and others"):
            choose_point(truth, [0.1, 0.2], held="specificity", at_least=0.9)


def test_arguments_are_checked_and_it_goes_into_json():
    with pytest.raises(UsageError, match="held must be 'sensitivity' or 'specificity', got 'recall'"):
        choose_point([0, 1], [0.1, 0.2], held="recall", at_least=0.9)
    for wrong in (0, 1.01, float("nan")):
        with pytest.raises(UsageError, match="at_least must be above 0 and at most 1"):
            choose_point([0, 1], [0.1, 0.2], held="specificity", at_least=wrong)
    with pytest.raises(DataError, match="NaN or infinite"):
        rate_at([0, 1], [0.1, float("inf")], ["a", "b"], held="specificity", at_least=0.9)
    point = choose_point([0, 1, 0], [0.1, 0.2, 0.3], held="specificity", at_least=0.99)
    assert OperatingPoint(**json.loads(json.dumps(point.to_json()))) == point
