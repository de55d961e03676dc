"""What each sample adds to the error of an average precision: the derivative of the number by the sample's weight."""

import numpy as np
from numpy.typing import NDArray

from excite.metrics.ranking import Float


def precision_components(of_class: NDArray[np.bool_], score: Float) -> tuple[float, Float]:
    """Return the average precision, and what each sample adds to its error: the sum of squares is the variance.

    With f and c the samples of the class and all samples that score at least as high as sample i of the class, the
    number is the mean of f / c over them. One more sample j changes f and c of those at or below it; one of the class
    comes in itself and counts in the mean.

    Shape:
        (N,), (N,) -> (N,)
    """
    values, place = np.unique(-score, return_inverse=True)
    mine = np.bincount(place, of_class, minlength=len(values))
    found, chosen = np.cumsum(mine), np.cumsum(np.bincount(place, minlength=len(values)))
    precision, whole = found / chosen, mine.sum()
    value = float((mine * precision).sum() / whole)

    def below(change: Float) -> Float:
        sums: Float = np.cumsum((mine * change)[::-1])[::-1]
        return sums

    lost = below(found / chosen**2)
    of_rest = -lost
    of_mine = precision + below(1 / chosen) - lost - value
    added: Float = np.where(of_class, of_mine[place], of_rest[place]) / whole
    return value, added
