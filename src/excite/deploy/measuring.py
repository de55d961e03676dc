"""From the maps of a head network to its circumference in millimetres, and how far off that may be.

The number is measured at the pixels of the original image. How much it hangs on the view of the image and on the level
is a difference of two numbers, for which the network's own grid is fine enough (tests/deploy/test_deploy_measuring.py).
"""

from collections.abc import Sequence
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from excite.ellipse import FEWEST, Ellipse, fit_ellipse, moved
from excite.errors import DataError
from excite.metrics.biometry import SMALLEST, STEADY, WIDE, Head, Measurement, contour, ellipse_of, measure
from excite.outcome.maps import Place, bounds, cut_of, sigmoid

Float = NDArray[np.float32]
ROUNDS = 3            # of the fit on the network's grid
STEP = 0.2            # between the level and those that the outline is looked for at, besides it
_ENDS = 0.02, 0.98    # of such a level


def head_in(logits: Float, *, level: float, smallest: int = SMALLEST) -> Head:
    """Return the ellipse of the largest region whose probability reaches the level; see `ellipse_of`.

    Only the rectangle around what reaches it is turned into probabilities and looked at.

    Shape:
        logits (H, W)
    """
    box = bounds(logits >= cut_of(level))
    if box is None:
        return ellipse_of(np.zeros((1, 1), np.float32), level=level)
    found = ellipse_of(sigmoid(logits[box]), level=level, smallest=smallest)
    if found.ellipse is None:
        return found
    corner = np.array([box[1].start, box[0].start], np.float64)
    return found._replace(ellipse=moved(found.ellipse, corner, 1.0))


def spread_mm(found: Head, size: Measurement, views: Sequence[Float], mean: Float, place: Place, *, level: float,
              spacing: tuple[float, ...]) -> float | None:
    """Return how far views, levels and the outline disagree on the circumference, in mm; None without a head.

    The square root of v^2 + s^2 + m^2: v is half the range over the views, s half the difference between the levels
    0.2 below and above, m the outline's root mean squared distance from the ellipse. A view or level at which there is
    no head counts with the whole circumference.

    Args:
        found: At the pixels of the original image, by the mean of the views.
        size: Its measurements.
        views: Logits on the network's grid.
        mean: Of the views.
        place: Of the image in the network's input.

    Shape:
        views, mean (h, w)
    """
    if found.ellipse is None or size.hc_mm is None:
        return None
    start = found.ellipse.mapped(place.forward)
    of_views = [_coarse(one, start, place, level, spacing) for one in views] if len(views) > 1 else []
    levels = [float(np.clip(level + step, *_ENDS)) for step in (-STEP, STEP)]
    of_levels = [_coarse(mean, start, place, one, spacing) for one in levels]
    misfit = (found.misfit or 0.0) * sqrt(spacing[0] * spacing[-1])
    return hypot(_half_range(of_views, size.hc_mm), _half_range(of_levels, size.hc_mm), misfit)


def _coarse(logits: Float, start: Ellipse, place: Place, level: float, spacing: tuple[float, ...]) -> float | None:
    """Return the circumference in mm as the network's own grid tells it; None where there is no head.

    The ellipse known from the original pixels takes the place of the robust fit's search: a third of its time.
    """
    box = bounds(logits >= cut_of(level))
    if box is None:
        return None
    outline = contour(sigmoid(logits[box]), level=level)
    points, found = outline.points + [box[1].start, box[0].start], start
    if outline.pixels < SMALLEST / place.area or len(points) < FEWEST:
        return None
    try:
        for _ in range(ROUNDS):
            distances = np.abs(found.distances(points))
            found = fit_ellipse(points[distances <= WIDE * max(STEADY, 1.4826 * float(np.median(distances)))])
    except DataError:
        return None
    return measure(found.mapped(place.inverse), spacing).hc_mm


def _half_range(values: Sequence[float | None], whole: float) -> float:
    known = [value for value in values if value is not None]
    return whole if len(known) < len(values) else (max(known) - min(known)) / 2 if known else 0.0
