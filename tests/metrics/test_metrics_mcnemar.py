"""McNemar's exact test equals scipy's binomial test and the numbers of a published table."""

import numpy as np
import pytest
from scipy.stats import binomtest

from excite.errors import UsageError
from excite.metrics.mcnemar import mcnemar


def sides(both: int, a_only: int, b_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    return tuple(np.repeat(values, (both, a_only, b_only, neither)) for values in ((1, 1, 0, 0), (1, 0, 1, 0)))


@pytest.mark.parametrize(("a_only", "b_only"), [(0, 1), (3, 9), (9, 3), (6, 6), (40, 61), (0, 12)])
def test_the_exact_p_is_that_of_a_binomial_test(a_only: int, b_only: int) -> None:
    found = mcnemar(*sides(20, a_only, b_only, 7))
    assert (found.a_only, found.b_only) == (a_only, b_only)
    assert found.p == pytest.approx(binomtest(a_only, a_only + b_only).pvalue)


def test_the_published_example_of_airway_hyper_responsiveness() -> None:
    """Fagerland, Lydersen and Laake, BMC Medical Research Methodology 13:91, 2013, table 2: 1, 1, 7, 12; p = 0.070."""
    assert round(mcnemar(*sides(1, 1, 7, 12)).p, 3) == 0.070


def test_as_many_each_way_or_none_at_all_shows_nothing() -> None:
    assert mcnemar(*sides(2, 4, 4, 2)) == (4, 4, 1.0)
    assert mcnemar([True, False], [True, False]) == (0, 0, 1.0)


def test_sides_of_other_lengths_are_refused() -> None:
    with pytest.raises(UsageError, match=r"right_a and right_b must be one a sample, got \(2,\) and \(3,\)"):
        mcnemar([True, False], [True, False, True])
