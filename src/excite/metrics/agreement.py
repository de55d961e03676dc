"""How two ways to measure one length agree: median and limits of the differences, with intervals over units.

Source: Bland and Altman, "Statistical methods for assessing agreement between two methods of clinical measurement",
Lancet 1986: the limits are the mean difference and 1.96 standard deviations (of n - 1) on either side. They hold 95 %
of the differences where these are normal; a few gross errors widen them, which the median does not show.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from excite.errors import DataError, UsageError
from excite.metrics.intervals import Interval, bootstrap
from excite.metrics.ranking import Float, ratio
from excite.progress import Progress

WIDE = 1.96  # standard deviations


def agreement(differences: Sequence[float] | Float, units: Sequence[str], *, resamples: int = 1000, seed: int = 0,
              progress: Progress | None = None) -> dict[str, Interval]:
    """Return median_adf_mm, the median absolute difference, and loa_low_mm and loa_high_mm, the limits of agreement.

    Args:
        differences: Predicted minus true, mm, of each image.
        units: What each image belongs to and is not independent of.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: a difference is NaN or infinite; the row is named. UsageError: not one unit an image.
    """
    values = np.asarray(differences, np.float64)
    if len(values) != len(units):
        raise UsageError(f"units must have one name an image ({len(values)}), got {len(units)}")
    if not np.isfinite(values).all():
        row = int((~np.isfinite(values)).argmax())
        raise DataError(f"a difference is {values[row]:g}", where=f"row {row} (counted from 0)",
                        fix="leave images without a measurement out")

    def measure(weights: Float) -> Mapping[str, Float]:
        low, high = limits(values, weights)
        return {"median_adf_mm": weighted_median(np.abs(values), weights), "loa_low_mm": low, "loa_high_mm": high}

    return bootstrap(measure, units, resamples=resamples, seed=seed, progress=progress)


def limits(values: Float, weights: Float) -> tuple[Float, Float]:
    """Return mean minus and plus 1.96 standard deviations for each row of weights; NaN where they count to 1 or less.

    Shape:
        values (N,), weights (R, N) -> (R,), (R,)
    """
    count = weights.sum(axis=1)
    mean = ratio(weights @ values, count)
    apart = (values[None] - mean[:, None]) ** 2
    spread = np.sqrt(ratio((weights * apart).sum(axis=1), np.maximum(count - 1, 0)))
    return mean - WIDE * spread, mean + WIDE * spread


def weighted_median(values: Float, weights: Float) -> Float:
    """Return the median of the values, each as often as its weight says: of an even number the middle two's mean.

    Shape:
        values (N,), weights (R, N) of whole numbers -> (R,), NaN where a row has no weight
    """
    order = np.argsort(values)
    running = np.cumsum(weights[:, order], axis=1)
    half = running[:, -1:] / 2
    last = len(values) - 1
    lower = values[order][np.minimum((running < half).sum(axis=1), last)]
    upper = values[order][np.minimum((running <= half).sum(axis=1), last)]
    return np.where(running[:, -1] > 0, (lower + upper) / 2, np.nan)
