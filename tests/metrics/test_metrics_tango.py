"""Tango's interval equals published ones and the test that it turns round, solved by a general optimiser."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from excite.errors import UsageError
from excite.metrics.tango import tango


def test_the_published_example_of_airway_hyper_responsiveness() -> None:
    """Fagerland, Lydersen and Laake, Statistics in Medicine 33:2850, 2014 (Bentur et al.): 1, 1, 7 and 12."""
    assert np.round(tango(7, 1, 21), 3).tolist() == [-0.517, -0.026]


def brute_z(a_only: int, b_only: int, count: int, difference: float) -> float:
    """The score test of one difference: the likelihood's maximum by search."""
    least = max(0.0, -difference)
    most = (1 - difference) / 2

    def lost(share: float) -> float:
        parts = ((b_only, share + difference), (a_only, share), (count - a_only - b_only, 1 - 2 * share - difference))
        return -sum(number * np.log(max(chance, 1e-300)) for number, chance in parts if number)

    share = minimize_scalar(lost, bounds=(least, most), method="bounded", options={"xatol": 1e-13}).x
    return (b_only - a_only - count * difference) / np.sqrt(count * (2 * share + difference - difference**2))


@pytest.mark.parametrize(("a_only", "b_only", "count"), [(3, 9, 60), (9, 3, 60), (1, 0, 44), (0, 5, 12), (40, 61, 500),
                                                         (0, 0, 60)])
@pytest.mark.parametrize("level", [0.9, 0.95])
def test_its_ends_are_just_not_rejected(a_only: int, b_only: int, count: int, level: float) -> None:
    low, high = tango(a_only, b_only, count, level=level)
    reach = {0.9: 1.644854, 0.95: 1.959964}[level]
    assert brute_z(a_only, b_only, count, low) == pytest.approx(reach, abs=1e-3)
    assert brute_z(a_only, b_only, count, high) == pytest.approx(-reach, abs=1e-3)
    assert tango(b_only, a_only, count, level=level) == pytest.approx((-high, -low))


def test_the_same_answers_leave_a_difference_possible_and_all_others_reach_the_end() -> None:
    low, high = tango(0, 0, 60)
    assert high == -low == pytest.approx(1.959964**2 / (60 + 1.959964**2), abs=1e-6)
    assert tango(0, 30, 30)[1] == 1 and tango(30, 0, 30)[0] == -1


def test_counts_that_cannot_be_are_refused() -> None:
    with pytest.raises(UsageError, match="count their sum at least, level between 0 and 1, got 3, 4, 6 and 0.95"):
        tango(3, 4, 6)
