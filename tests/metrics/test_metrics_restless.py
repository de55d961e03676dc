"""How much trainings differ by their seed: pooled, the own where larger, and restless arms set apart."""

import numpy as np
import pytest
from scipy.stats import f

from excite.metrics.restless import ALPHA, Chance, chance_of


def values_of(*deviations: float) -> np.ndarray:
    """Return three seeds an arm with these standard deviations."""
    return np.array([[0.8 - one, 0.8, 0.8 + one] for one in deviations])


def chance(*deviations: float) -> Chance:
    found = chance_of(values_of(*deviations))
    assert found is not None
    return found


def test_of_arms_alike_all_seeds_count_for_each() -> None:
    found = chance(0.02, 0.02, 0.03, 0.01)
    assert not found.restless.any() and found.pooled == pytest.approx((4 + 4 + 9 + 1) / 4 * 1e-4)
    assert found.variance(np.array([1.0, 0, 0, 1.0])) == pytest.approx((9e-4, 8.0))  # less than the pool
    assert found.variance(np.array([0.0, 1.0, 1.0, 0])) == pytest.approx((13e-4, 8.0))  # more: their own


def test_an_arm_far_more_restless_counts_its_own_and_is_no_part_of_the_pool() -> None:
    found = chance(0.02, 0.02, 0.4, 0.02)
    assert found.restless.tolist() == [False, False, True, False] and found.pooled == pytest.approx(4e-4)
    assert found.variance(np.array([1.0, 1.0, 0, 0])) == pytest.approx((8e-4, 6.0))
    variance, freedom = found.variance(np.array([1.0, 0, 1.0, 0]))
    assert variance == pytest.approx(0.1604)
    assert freedom == pytest.approx(0.1604**2 / (0.16**2 / 2 + 4e-4**2 / 6))  # Satterthwaite, of the two by hand


def test_the_step_is_cochrans_largest_variance() -> None:
    # C = largest / sum is above c where F = (others) C / (1 - C) is above the F quantile at ALPHA / arms.
    limit = float(f.isf(ALPHA / 4, 2, 6))
    for factor, apart in ((0.99, False), (1.01, True)):
        assert chance(0.02, 0.02, 0.02, 0.02 * (limit * factor) ** 0.5).restless.any() == apart


def test_several_are_set_apart_one_after_the_other() -> None:
    assert chance(0.001, 0.001, 0.001, 0.001, 0.2, 3.0).restless.tolist() == [False] * 4 + [True, True]


def test_one_seed_says_nothing_and_seeds_that_are_equal_have_no_chance() -> None:
    assert chance_of(np.array([[0.8], [0.9]])) is None
    assert chance(0.0, 0.0).variance(np.ones(2)) == pytest.approx((0.0, 4.0))


def test_among_arms_alike_few_are_set_apart() -> None:
    rng = np.random.default_rng(0)
    apart = np.mean([chance_of(rng.normal(size=(5, 3))).restless.any() for _ in range(1500)])  # type: ignore[union-attr]
    assert apart <= 0.03  # 2 % and its chance
