"""How well a score ranks one class above the rest: AUROC, average precision, ROC curve; many weightings at a time."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


class Ranking:
    """Samples in the order of a score, ties in one group; made once, asked for many weightings.

    Args:
        positive: Which samples are of the class, (N,).
        score: The higher, the surer, (N,).
    """

    def __init__(self, positive: NDArray[np.bool_], score: NDArray[Any]) -> None:
        self.order = np.argsort(score, kind="stable")
        ranked = np.asarray(score)[self.order]
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self._positive = np.asarray(positive, dtype=bool)[self.order, None]

    def __call__(self, weights: Float) -> tuple[Float, Float]:
        """Return AUROC and average precision for each row of weights; NaN where either side weighs nothing.

        AUROC is the chance that a sample of the class scores higher than another one, a tie counting half (the rank
        form). Average precision is the sum over thresholds of (step of recall) x precision, without interpolation.

        Shape:
            (R, N) -> (R,) and (R,).
        """
        ranked = weights.T[self.order]
        of_class = self._grouped(np.where(self._positive, ranked, 0.0))
        rest = self._grouped(np.where(self._positive, 0.0, ranked))
        positives, negatives = of_class.sum(axis=0), rest.sum(axis=0)
        defined = (positives > 0) & (negatives > 0)
        below = np.cumsum(rest, axis=0) - rest / 2
        auroc = ratio((of_class * below).sum(axis=0), np.where(defined, positives * negatives, 0.0))
        found = np.cumsum(of_class[::-1], axis=0)
        chosen = found + np.cumsum(rest[::-1], axis=0)
        precision = np.divide(found, chosen, out=np.zeros_like(found), where=chosen > 0)
        return auroc, ratio((of_class[::-1] * precision).sum(axis=0), np.where(defined, positives, 0.0))

    def _grouped(self, ranked: Float) -> Float:
        """Return the sums over each group of ties, (G, R)."""
        if len(self.starts) == len(ranked):
            return ranked
        sums: Float = np.add.reduceat(ranked, self.starts, axis=0)
        return sums


def roc(positive: NDArray[np.bool_], score: NDArray[Any]) -> tuple[Float, Float] | None:
    """Return false and true positive rates from (0, 0) to (1, 1), corners only; None where one side has no sample."""
    positive = np.asarray(positive, dtype=bool)
    if positive.all() or not positive.any():
        return None
    order = np.argsort(-np.asarray(score, dtype=np.float64), kind="stable")
    ranked, hits = np.asarray(score)[order], positive[order]
    ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
    true, false = np.cumsum(hits)[ends], np.cumsum(~hits)[ends]
    if len(ends) > 2:  # points on a straight line say nothing
        turns = np.r_[True, (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0), True]
        true, false = true[turns], false[turns]
    return np.r_[0.0, false / false[-1]], np.r_[0.0, true / true[-1]]


def ratio(over: Float, under: Float) -> Float:
    """Return over / under, NaN where `under` is 0: not defined, never 0."""
    quotient: Float = np.divide(over, under, out=np.full(over.shape, np.nan), where=under > 0)
    return quotient
