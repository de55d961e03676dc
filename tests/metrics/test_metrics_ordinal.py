"""Weighted kappa and grade error against scikit-learn, also of resamples; what is not defined."""

import numpy as np
import pytest
from sklearn.metrics import cohen_kappa_score, mean_absolute_error

from excite.errors import DataError, UsageError
from excite.metrics.ordinal import OrdinalMeasure, ordinal


def graded(count=90, grades=3, seed=0):
    """Return true grades, probabilities near them, and patients of two samples."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(grades, size=count)
    logits = -np.abs(np.arange(grades) - truth[:, None]) + rng.normal(0, 1.2, (count, grades))
    powers = np.exp(logits)
    return truth, powers / powers.sum(axis=1, keepdims=True), [f"p{row // 2}" for row in range(count)]


@pytest.mark.parametrize("grades", [2, 3, 5])
def test_all_equal_scikit_learns(grades):
    truth, chances, units = graded(grades=grades)
    found = ordinal(truth, chances, units, resamples=100)
    said = chances.argmax(axis=1)
    for name in ("quadratic", "linear"):
        assert found[f"kappa_{name}"].value == pytest.approx(cohen_kappa_score(truth, said, weights=name), abs=1e-12)
    assert found["grade_error"].value == pytest.approx(mean_absolute_error(truth, said), abs=1e-12)
    assert all(one.low < one.value < one.high for one in found.values())


def test_every_weighting_equals_scikit_learns_of_the_repeated_samples():
    truth, chances, _ = graded(30)
    often = np.random.default_rng(1).integers(0, 4, (10, 30))
    found = OrdinalMeasure(truth, chances)(often.astype(float))
    for place, row in enumerate(often):
        known, said = np.repeat(truth, row), np.repeat(chances.argmax(axis=1), row)
        assert found["kappa_quadratic"][place] == pytest.approx(cohen_kappa_score(known, said, weights="quadratic"))
        assert found["grade_error"][place] == pytest.approx(np.abs(known - said).mean())


def test_a_far_miss_costs_more_than_near_ones():
    truth, near, far = np.array([0, 1, 2, 2]), np.eye(3)[[0, 1, 1, 1]], np.eye(3)[[0, 1, 2, 0]]
    units = list("abcd")
    both = [ordinal(truth, one, units, resamples=5) for one in (near, far)]
    assert both[0]["grade_error"].value == both[1]["grade_error"].value == 0.5
    assert both[0]["kappa_quadratic"].value > both[1]["kappa_quadratic"].value  # accuracy says the reverse


def test_a_grade_that_nobody_has_changes_nothing():
    truth, chances, units = graded()
    wide = np.c_[chances, np.zeros(len(truth))]
    assert ordinal(truth, wide, units, resamples=5) == ordinal(truth, chances, units, resamples=5)


def test_one_grade_throughout_has_no_kappa():
    found = ordinal(np.ones(4, int), np.eye(3)[[1] * 4], list("abcd"), resamples=150)
    assert found["kappa_quadratic"].value is None and found["grade_error"].value == 0
    assert found["kappa_quadratic"].note == "not defined: truth and prediction are one grade throughout"
    wrong = ordinal(np.ones(4, int), np.eye(3)[[2] * 4], list("abcd"), resamples=150)
    assert wrong["kappa_quadratic"].value == 0 and wrong["grade_error"].value == 1


def test_arguments_are_checked():
    with pytest.raises(UsageError, match="K of at least 2 grades"):
        ordinal(np.zeros(3, int), np.ones((3, 1)), list("abc"))
    with pytest.raises(UsageError, match="one name a sample"):
        ordinal(np.zeros(3, int), np.eye(3), list("ab"))
    with pytest.raises(DataError, match="integer from 0 to 2"):
        ordinal(np.array([0, 1, 3]), np.eye(3), list("abc"))
    with pytest.raises(DataError, match="do not sum to 1"):
        ordinal(np.array([0, 1, 2]), 2 * np.eye(3), list("abc"))
