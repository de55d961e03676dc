"""The interval holds what it promises on simulated errors, and is the one that a slow, plain computation gives."""

import math

import numpy as np
import pytest
from scipy import stats

from excite.errors import DataError, UsageError
from excite.metrics.conformal import HeadInterval, fit_interval

DRAWS = 1000


def heteroscedastic(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Return errors whose size follows the spread: mostly clear images, a fifth unsure."""
    spread = np.where(rng.random(count) < 0.8, rng.uniform(0.2, 0.6, count), rng.uniform(3, 6, count))
    return rng.normal(0, 1, count) * (0.4 + spread), spread


@pytest.mark.parametrize(("level", "n"), [(0.9, 40), (0.8, 99), (0.95, 19)])
def test_covers_a_new_image_as_often_as_promised(level: float, n: int) -> None:
    rng, inside = np.random.default_rng(7), 0
    for _ in range(DRAWS):
        errors, spreads = heteroscedastic(rng, n + 1)
        found = fit_interval(errors[:n], spreads[:n], level=level)
        low, high = found.around(200.0 + errors[n], float(spreads[n]))
        inside += low <= 200.0 <= high
    promised = math.ceil((n + 1) * level - 1e-9) / (n + 1)  # exact for exchangeable scores without ties
    low, high = stats.binom.interval(0.999, DRAWS, promised)
    assert low <= inside <= high


def test_one_width_fails_in_groups_where_this_one_holds() -> None:
    rng = np.random.default_rng(3)
    errors, spreads = heteroscedastic(rng, 4000)
    new_errors, new_spreads = heteroscedastic(rng, 20000)
    ours = fit_interval(errors, spreads)
    flat = fit_interval(errors, np.zeros_like(spreads))
    unsure = new_spreads > 1

    def shares(half: np.ndarray) -> tuple[float, float]:
        inside = np.abs(new_errors) <= half
        return float(inside[~unsure].mean()), float(inside[unsure].mean())

    local = shares(ours.quantile * (ours.base_mm + new_spreads))
    constant = shares(np.full(len(new_spreads), flat.half_mm(0.0)))
    assert constant[0] > 0.98 and constant[1] < 0.65
    assert all(abs(share - 0.9) < 0.03 for share in local), local


def test_equals_the_rank_taken_by_hand() -> None:
    errors, spreads = [-3.0, 1.0, 0.5, 2.0, -0.1, 4.0, 0.2, 0.3, 1.5], [1.0, 2.0, 0.5, 0.5, 1.5, 2.5, 1.0, 0.0, 3.0]
    found = fit_interval(errors, spreads, level=0.8)
    quotients = sorted(abs(e) / (1.0 + s) for e, s in zip(errors, spreads, strict=True))  # median spread 1.0
    assert found == HeadInterval(level=0.8, quantile=quotients[8 - 1], base_mm=1.0, n=9)
    assert found.around(100.0, 0.5) == (100 - found.quantile * 1.5, 100 + found.quantile * 1.5)


def test_spreads_of_zero_give_one_width() -> None:
    found = fit_interval(np.arange(1.0, 20.0), np.zeros(19), level=0.9)
    assert found.base_mm == 1.0 and found.quantile == 18.0


def test_goes_through_json() -> None:
    found = fit_interval(np.arange(1.0, 20.0), np.ones(19), level=0.9)
    assert HeadInterval.from_json(found.to_json()) == found


def test_lower_end_is_never_negative() -> None:
    assert HeadInterval(level=0.9, quantile=3.0, base_mm=1.0, n=10).around(2.0, 5.0)[0] == 0.0


def test_too_few_images_are_refused_with_the_number_needed() -> None:
    with pytest.raises(DataError, match="needs at least 9 images, got 8"):
        fit_interval(np.ones(8), np.ones(8), level=0.9)
    assert fit_interval(np.ones(9), np.ones(9), level=0.9).n == 9


@pytest.mark.parametrize(("errors", "spreads", "told"), [
    ([1.0, math.nan], [1.0, 1.0], "row 1"), ([1.0, 1.0], [-1.0, 1.0], "a spread is -1"),
    ([1.0, 1.0], [1.0, math.inf], "row 1")])
def test_impossible_numbers_name_their_row(errors: list[float], spreads: list[float], told: str) -> None:
    with pytest.raises(DataError, match=told):
        fit_interval(errors, spreads, level=0.5)


def test_arguments_are_checked() -> None:
    with pytest.raises(UsageError, match="level must be between 0 and 1"):
        fit_interval([1.0], [1.0], level=1.0)
    with pytest.raises(UsageError, match="one an error"):
        fit_interval([1.0, 2.0], [1.0])
    with pytest.raises(DataError, match="spread_mm must be"):
        HeadInterval(level=0.9, quantile=1.0, base_mm=1.0, n=10).half_mm(math.nan)
    with pytest.raises(DataError, match="must have the numbers"):
        HeadInterval.from_json({"level": 0.9})
    with pytest.raises(DataError, match="a base_mm above 0"):
        HeadInterval.from_json({"level": 0.9, "quantile": 1, "base_mm": 0, "n": 5})
