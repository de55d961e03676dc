"""DeLong's test equals its definition over all pairs; the parts of average precision are its derivative."""

import numpy as np
import pytest
from scipy.stats import norm

from excite.errors import DataError
from excite.metrics.delong import components, delong
from excite.metrics.precision_error import precision_components
from excite.metrics.ranking import Ranking

MODEL_A = (0.1, 0.2, 0.05, 0.3, 0.1, 0.6, 0.6, 0.7, 0.8, 0.99, 0.8, 0.67, 0.5)
MODEL_B = (0.3, 0.6, 0.2, 0.1, 0.1, 0.9, 0.23, 0.7, 0.9, 0.4, 0.77, 0.3, 0.89)
ILL = (0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1)


def by_pairs(truth: np.ndarray, *scores: np.ndarray) -> tuple[list[float], float]:
    """The definition: psi of every pair, two covariance matrices of the placements."""
    areas, tens, ones = [], [], []
    for score in scores:
        one, other = score[truth == 1], score[truth == 0]
        psi = np.where(one[:, None] > other, 1.0, np.where(one[:, None] == other, 0.5, 0.0))
        areas.append(float(psi.mean()))
        tens.append(psi.mean(axis=1))
        ones.append(psi.mean(axis=0))
    total = np.cov(tens) / len(tens[0]) + np.cov(ones) / len(ones[0])
    return areas, float(total[0, 0] + total[1, 1] - 2 * total[0, 1])


@pytest.mark.parametrize("digits", [1, 8])
@pytest.mark.parametrize("count", [12, 61, 300])
def test_it_is_the_definition_over_all_pairs_ties_and_all(count: int, digits: int) -> None:
    rng = np.random.default_rng(count)
    truth = np.r_[1, 1, 0, 0, rng.integers(0, 2, count - 4)]
    first = np.round(rng.random(count) + 0.3 * truth, digits)
    second = np.round(0.5 * first + 0.6 * rng.random(count), digits)
    (area_a, area_b), variance = by_pairs(truth, first, second)
    found = delong(truth, first, second)
    assert (found.auroc_a, found.auroc_b) == pytest.approx((area_a, area_b), abs=1e-12)
    assert found.error**2 == pytest.approx(variance, rel=1e-9)


def test_z_p_and_interval_follow_from_the_definition() -> None:
    found = delong(ILL, MODEL_A, MODEL_B)
    areas, variance = by_pairs(*map(np.array, (ILL, MODEL_A, MODEL_B)))
    assert found.z == pytest.approx((areas[1] - areas[0]) / variance**0.5)
    assert found.p == pytest.approx(2 * norm.sf(abs(found.z)))
    assert (found.low, found.high) == pytest.approx(norm.interval(0.95, areas[1] - areas[0], variance**0.5))


def test_units_of_one_sample_change_nothing_and_doubled_samples_change_nothing_by_unit() -> None:
    alone = delong(ILL, MODEL_A, MODEL_B, [str(place) for place in range(13)])
    assert alone.p == pytest.approx(delong(ILL, MODEL_A, MODEL_B).p)
    units = [str(place) for place in range(13)] * 4
    by_unit = delong(ILL * 4, MODEL_A * 4, MODEL_B * 4, units)
    naive = delong(ILL * 4, MODEL_A * 4, MODEL_B * 4)
    assert by_unit.error == pytest.approx(alone.error, rel=0.1)
    assert naive.error < 0.55 * by_unit.error, "copies of samples would look like news"


def test_equal_scores_differ_by_nothing_and_one_sample_of_a_side_is_refused() -> None:
    same = delong(ILL, MODEL_A, MODEL_A)
    assert (same.difference, same.z, same.p) == (0, 0, 1)
    with pytest.raises(DataError, match="at least two samples each"):
        delong([1, 0, 0], [0.1, 0.2, 0.3], [0.1, 0.2, 0.3])


@pytest.mark.parametrize("digits", [1, 8])
def test_parts_of_average_precision_are_its_derivative_by_each_weight(digits: int) -> None:
    rng = np.random.default_rng(4)
    truth, score = rng.random(40) < 0.4, np.round(rng.random(40), digits)
    value, parts = precision_components(truth, score)
    ranking, step = Ranking(truth, score), 1e-6
    weights = np.ones((41, 40)) + step * np.eye(41, 40, k=0)
    weights[40] = 1
    measured = ranking(weights)[1]
    assert value == pytest.approx(measured[40], abs=1e-12)
    np.testing.assert_allclose(parts, (measured[:40] - measured[40]) / step, atol=1e-5)
    assert components(truth, score)[0] == pytest.approx(ranking(weights)[0][40])
