"""How far predicted heads are from the true ones, in the numbers that HC18 reports, with intervals over examinations.

Source: van den Heuvel et al., PLoS ONE 13(8) e0200412, 2018, "Evaluation": difference (DF), absolute difference (ADF)
and Hausdorff distance (HD) in mm, Dice's coefficient (DSC), all of ellipses.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.ellipse import Ellipse
from excite.errors import DataError
from excite.metrics.biometry import measure
from excite.metrics.intervals import Interval, bootstrap

DIRECTIONS = 1440  # of the support functions; the Hausdorff distance is then within 1e-5 of its size


class HeadErrors(NamedTuple):
    """One head against the truth: predicted minus true circumference, its size, Hausdorff distance (mm); Dice."""

    df_mm: float | None
    adf_mm: float | None
    hd_mm: float | None
    dice: float


def head_errors(predicted: Ellipse, truth: Ellipse, spacing: tuple[float, ...] | None, *,
                shape: tuple[int, int] | None = None, hc_mm: float | None = None) -> HeadErrors:
    """Return the errors of one head; without a spacing there are no millimetres.

    Args:
        predicted: In pixels of the original image.
        truth: Likewise.
        spacing: Millimetres a pixel along rows and columns, or one value for both.
        shape: Of the image (H, W); regions count inside it only. None: wherever they are.
        hc_mm: The true circumference where a table states it; None: that of `truth`.
    """
    dice = ellipse_dice(predicted, truth, shape=shape)
    found, true = measure(predicted, spacing).hc_mm, measure(truth, spacing).hc_mm
    if spacing is None or found is None or true is None:
        return HeadErrors(None, None, None, dice)
    difference = found - (true if hc_mm is None else hc_mm)
    millimetres = [ellipse.scaled(spacing[-1], spacing[0]) for ellipse in (predicted, truth)]
    return HeadErrors(difference, abs(difference), hausdorff(*millimetres), dice)


def hausdorff(first: Ellipse, second: Ellipse) -> float:
    """Return the Hausdorff distance of two ellipse regions, in the unit of the axes.

    For convex bodies it is the largest difference of their support functions (Schneider, "Convex bodies: the
    Brunn-Minkowski theory", 1993, lemma 1.8.14); the outlines have the same distance (Wills 2007).
    """
    turn = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
    directions = np.stack([np.cos(turn), np.sin(turn)], axis=1)
    return float(np.abs(_support(first, directions) - _support(second, directions)).max())


def ellipse_dice(first: Ellipse, second: Ellipse, *, shape: tuple[int, int] | None = None) -> float:
    """Return Dice's coefficient of two ellipse regions from the covered areas of pixels: twice the shared by the sum.

    Args:
        first: In pixels.
        second: Likewise.
        shape: Of the image (H, W) that both are cut to; None: they are whole.
    """
    if shape is None:
        low = np.floor(np.minimum(_corner(first, -1), _corner(second, -1))) - 1
        high = np.ceil(np.maximum(_corner(first, 1), _corner(second, 1))) + 2
        first, second = (ellipse._replace(x=ellipse.x - low[0], y=ellipse.y - low[1]) for ellipse in (first, second))
        shape = (int(high[1] - low[1]), int(high[0] - low[0]))
    one, two = first.coverage(shape), second.coverage(shape)
    whole = float(one.sum(dtype=np.float64) + two.sum(dtype=np.float64))
    if whole == 0:
        raise DataError("both ellipses lie outside the image", fix="they and the image belong together")
    return float(2 * np.minimum(one, two).sum(dtype=np.float64) / whole)


def head_report(errors: Sequence[HeadErrors | None], units: Sequence[str], *, resamples: int = 1000,
                seed: int = 0) -> dict[str, Interval]:
    """Return the means of df_mm, adf_mm, hd_mm and dice, and found, the share of images with a head.

    Images without a head have no error in mm: they are out of those means, counted in `found`, and 0 in Dice.

    Args:
        errors: Of each image; None where no head was found.
        units: The examination of each image: resampled as a whole.
        resamples: Of the bootstrap.
        seed: Of its draws.
    """
    if len(errors) != len(units):
        raise DataError(f"units must name the examination of each of {len(errors)} images, got {len(units)}")
    table = np.full((len(errors), 5), np.nan)
    for place, error in enumerate(errors):
        table[place] = (np.nan, np.nan, np.nan, 0.0, 0.0) if error is None else (*map(_number, error), 1.0)
    names = (*HeadErrors._fields, "found")

    def means(weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
        known = ~np.isnan(table)
        total = weights @ np.where(known, table, 0)
        count = weights @ known
        share = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
        return {name: share[:, place] for place, name in enumerate(names)}

    return bootstrap(means, units, resamples=resamples, seed=seed)


def _number(value: float | None) -> float:
    return np.nan if value is None else value


def _support(ellipse: Ellipse, directions: NDArray[np.float64]) -> NDArray[np.float64]:
    reach: NDArray[np.float64] = np.linalg.norm(directions @ ellipse.axes, axis=1)
    return directions @ [ellipse.x, ellipse.y] + reach


def _corner(ellipse: Ellipse, sign: int) -> NDArray[np.float64]:
    reach: NDArray[np.float64] = np.linalg.norm(ellipse.axes, axis=1)
    return np.array([ellipse.x, ellipse.y]) + sign * reach
