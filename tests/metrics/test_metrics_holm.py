"""Holm's procedure by hand."""

import pytest

from excite.errors import UsageError
from excite.metrics.holm import holm


def test_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.6, 0.04]) == pytest.approx([1.0, 1.0, 0.12])
    assert holm([0.02]) == [0.02] and holm([]) == []


def test_a_later_one_is_never_below_an_earlier_one() -> None:
    assert holm([0.01, 0.011, 0.012]) == pytest.approx([0.03, 0.03, 0.03])


def test_what_was_not_tested_is_refused() -> None:
    with pytest.raises(UsageError, match="p_values must be from 0 to 1, got nan at place 1"):
        holm([0.1, float("nan")])
