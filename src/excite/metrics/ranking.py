"""How well a score ranks one class above the rest: AUROC, average precision, ROC curve; many weightings at a time.

A weighting is a column, so that sorting it copies whole rows. The running sums of many weightings go over blocks of
`STRIDE` rows side by side, not one row after the other, and are read only where they are needed: at the samples of the
class (benchmarks/compare.py measures it).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Int = NDArray[np.int64]
STRIDE = 32     # rows of a block
CACHED = 2**18  # numbers at a time that stay in a processor's cache; so many weightings are measured at once, but
NARROW, WIDE = 32, 1024  # no fewer and no more than these
TINY = 1e-300   # in place of no weight at all: nothing divided by nothing is then 0


class Ranking:
    """Samples in the order of a score, made once, asked for many weightings.

    Args:
        positive: Which samples are of the class, (N,).
        score: The higher, the surer, (N,).
    """

    def __init__(self, positive: NDArray[np.bool_], score: NDArray[Any]) -> None:
        order = np.argsort(score, kind="stable")
        of_class, ranked = np.asarray(positive, dtype=bool)[order], np.asarray(score)[order]
        mine, others = ranked[of_class], ranked[~of_class]
        below, tied = np.searchsorted(others, mine, "left"), np.searchsorted(others, mine, "right")
        self._mine = order[of_class]
        self._same = _Running(self._mine, np.searchsorted(mine, mine, "left"))
        self._rest = [_Running(order[~of_class], places)
                      for places in ([below] if np.array_equal(below, tied) else [below, tied])]

    def __call__(self, weights: Float) -> tuple[Float, Float]:
        """Return AUROC and average precision for each row of weights; NaN where either side weighs nothing.

        AUROC is the chance that a sample of the class scores higher than another one, a tie counting half (the rank
        form). Average precision is the sum over thresholds of (step of recall) x precision, without interpolation.

        Shape:
            (R, N) -> (R,) and (R,).
        """
        rows, count = weights.shape
        width = min(WIDE, max(NARROW, CACHED // count))
        found = [self._some(weights[begin : begin + width]) for begin in range(0, rows, width)]
        auroc, precision = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return auroc, precision

    def _some(self, weights: Float) -> tuple[Float, Float]:
        """Return both for as many rows as are taken at once."""
        columns = np.empty((weights.shape[1] + 1, len(weights)))
        columns[:-1], columns[-1] = weights.T, 0
        mine = columns[self._mine]
        whole, before = self._same(columns)
        rest, below = self._rest[0](columns)
        under = below if len(self._rest) == 1 else (below + self._rest[1](columns)[1]) / 2
        both = np.where((whole > 0) & (rest > 0), whole * rest, 0.0)
        auroc = ratio(np.einsum("nr,nr->r", mine, under), both)
        reached = np.subtract(whole, before, out=before)
        chosen = np.subtract(rest, below, out=below)
        chosen += reached
        reached /= np.maximum(chosen, TINY, out=chosen)
        return auroc, ratio(np.einsum("nr,nr->r", mine, reached), np.where(both > 0, whole, 0.0))


class _Running:
    """Sums of chosen samples, in their order, up to given places; both fixed once."""

    def __init__(self, order: Int, places: Int) -> None:
        self._blocks = len(order) // STRIDE + 1
        padded = np.full(self._blocks * STRIDE, -1)  # -1: the last row of the columns, which is 0
        padded[: len(order)] = order
        self._order = padded.reshape(self._blocks, STRIDE).T.ravel()
        self._block = places // STRIDE
        self._place = places % STRIDE * self._blocks + self._block

    def __call__(self, columns: Float) -> tuple[Float, Float]:
        """Return the sum of all chosen samples, (R,), and for each place that of those before it, (P, R)."""
        width = columns.shape[1]
        sums = np.empty((STRIDE + 1, self._blocks, width))  # [row]: of a block's rows before it
        sums[0] = 0
        np.take(columns, self._order, axis=0, out=sums[1:].reshape(-1, width), mode="wrap")
        for row in range(1, STRIDE):
            sums[row + 1] += sums[row]
        blocks = np.zeros((self._blocks + 1, width))
        np.cumsum(sums[-1], axis=0, out=blocks[1:])
        found: Float = blocks[self._block]
        found += sums.reshape(-1, width)[self._place]
        return blocks[-1], found


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
