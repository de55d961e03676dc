"""Whether one of two scores ranks a class better on the same samples: DeLong's test of two areas under the ROC curve.

Source: DeLong, DeLong and Clarke-Pearson, Biometrics 44:837, 1988; in the fast form by ranks of Sun and Xu, IEEE Signal
Processing Letters 21:1389, 2014 (10.1109/LSP.2014.2337313). Sums over units in place of samples: Obuchowski,
"Nonparametric analysis of clustered ROC curve data", Biometrics 53:567, 1997.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from excite.errors import DataError
from excite.metrics.binary import binary, only
from excite.metrics.ranking import Float


class DeLong(NamedTuple):
    """AUROC of A and of B, B minus A with its 95 % interval and standard error, z, and p (two-sided)."""

    auroc_a: float
    auroc_b: float
    difference: float
    low: float
    high: float
    error: float
    z: float
    p: float


def delong(truth: NDArray[Any] | Sequence[float], score_a: NDArray[Any] | Sequence[float],
           score_b: NDArray[Any] | Sequence[float], units: Sequence[str] | None = None) -> DeLong:
    """Return DeLong's test of two correlated AUROCs.

    Args:
        truth: Whether a sample is of the class: 0 or 1.
        score_a: Of A, the higher the surer.
        score_b: Of B.
        units: What each sample belongs to and is not independent of; None: the samples are independent.

    Shape:
        (N,), (N,), (N,)

    Raises:
        DataError: a value cannot be, or one side has fewer than two samples. UsageError: the shapes differ.
    """
    of_class, first = binary(truth, score_a, units)
    _, second = binary(truth, score_b, units)
    if only(of_class) or min(of_class.sum(), (~of_class).sum()) < 2:
        raise DataError("the class and the rest must have at least two samples each",
                        why=f"they have {int(of_class.sum())} and {int((~of_class).sum())}")
    (auroc_a, of_a), (auroc_b, of_b) = components(of_class, first), components(of_class, second)
    error = float(np.sqrt((by_unit(of_b - of_a, units) ** 2).sum()))
    difference = auroc_b - auroc_a
    z = difference / error if error else 0.0 if not difference else float(np.copysign(np.inf, difference))
    reach = float(ndtri(0.975)) * error
    return DeLong(auroc_a, auroc_b, difference, difference - reach, difference + reach, error, z,
                  float(2 * ndtr(-abs(z))))


def components(of_class: NDArray[np.bool_], score: Float) -> tuple[float, Float]:
    """Return the AUROC, and what each sample adds to its error: the sum of squares is DeLong's variance.

    A sample adds its placement, the share of the other side that it is ranked right of, minus the AUROC, divided by
    the root of n (n - 1) of its own side. Differences of two scores' parts give the variance of the difference, with
    the covariance in it.

    Shape:
        (N,), (N,) -> (N,)
    """
    there, count = int(of_class.sum()), len(of_class)
    rest = count - there
    ranks = _ranks(score)
    placed = np.empty(count)
    placed[of_class] = (ranks[of_class] - _ranks(score[of_class])) / rest
    placed[~of_class] = 1 - (ranks[~of_class] - _ranks(score[~of_class])) / there
    area = float(placed[of_class].mean())
    size = np.where(of_class, there, rest)
    added: Float = (placed - area) / np.sqrt(size * np.maximum(size - 1, 1))
    return area, added


def _ranks(values: Float) -> Float:
    """Return the rank of each value from 1 on, equal ones having their mean."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Float = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks


def by_unit(values: Float, units: Sequence[str] | None) -> Float:
    """Return the sums of values over units; the values themselves where there are none."""
    if units is None:
        return values
    _, unit = np.unique(np.asarray(units, dtype=object).astype(str), return_inverse=True)
    return np.bincount(unit, values).astype(np.float64)
