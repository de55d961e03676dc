"""Whether one of two classifiers is right more often on the same samples: McNemar's exact test.

Source: McNemar, "Note on the sampling error of the difference between correlated proportions", Psychometrika 1947.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr

from excite.errors import UsageError


class McNemar(NamedTuple):
    """Samples that A alone and B alone has right, and the exact p, two-sided."""

    a_only: int
    b_only: int
    p: float


def mcnemar(right_a: NDArray[Any], right_b: NDArray[Any]) -> McNemar:
    """Return McNemar's test of two classifiers; the samples must be independent of each other.

    The exact p is twice the smaller tail of a binomial distribution with p = 1/2 over the samples that one of both has
    right, 1 at most.

    Args:
        right_a: Whether A has each sample right.
        right_b: Whether B has.

    Shape:
        (N,), (N,)

    Raises:
        UsageError: they are not one a sample.
    """
    first, second = np.asarray(right_a, bool), np.asarray(right_b, bool)
    if first.ndim != 1 or first.shape != second.shape:
        raise UsageError(f"right_a and right_b must be one a sample, got {first.shape} and {second.shape}")
    a_only, b_only = int((first & ~second).sum()), int((second & ~first).sum())
    return McNemar(a_only, b_only, min(1.0, 2 * float(bdtr(min(a_only, b_only), a_only + b_only, 0.5))))
