"""From the maps of a head network to its circumference in millimetres, and how far off that may be.

The number is measured at the pixels of the original image. How much it hangs on the view of the image and on the level
is a difference of two numbers, for which the network's own grid is fine enough (tests/deploy/test_deploy_measuring.py).
"""

from collections.abc import Sequence
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray

from excite.ellipse import FEWEST, Ellipse, fit_conics, from_conic, moved
from excite.metrics.biometry import SMALLEST, STEADY, WIDE, Head, Measurement, contour, ellipse_of, measure
from excite.outcome.maps import Place, bounds, cut_of, sigmoid

Float = NDArray[np.float32]
Points = NDArray[np.float64]
POINTS = 720          # of an outline on the network's grid
ROUNDS = 3            # of the fit to them
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
    levels = [float(np.clip(level + step, *_ENDS)) for step in (-STEP, STEP)]
    looked = [(one, level) for one in views if len(views) > 1] + [(mean, one) for one in levels]
    ellipses = _fitted([_outline(logits, place, level=one) for logits, one in looked], start)
    values = [one and measure(one.mapped(place.inverse), spacing).hc_mm for one in ellipses]
    of_views, of_levels = values[:-len(levels)], values[-len(levels):]
    misfit = (found.misfit or 0.0) * sqrt(spacing[0] * spacing[-1])
    return hypot(_half_range(of_views, size.hc_mm), _half_range(of_levels, size.hc_mm), misfit)


def _outline(logits: Float, place: Place, *, level: float) -> Points | None:
    """Return POINTS of the outline on the network's own grid, even by their angle; None where there is no head."""
    box = bounds(logits >= cut_of(level))
    if box is None:
        return None
    found = contour(sigmoid(logits[box]), level=level)
    count = len(found.points)
    if found.pixels < SMALLEST / place.area or count < FEWEST:
        return None
    corner = np.array([box[1].start, box[0].start], np.float64)
    return found.points[np.arange(POINTS) * count // POINTS] + corner


def _fitted(outlines: Sequence[Points | None], start: Ellipse) -> list[Ellipse | None]:
    """Return the ellipse of most points of each outline; None where there is no outline, or no ellipse along it.

    The ellipse known from the original pixels takes the place of the robust fit's search: a third of its time. All
    outlines are fitted at once, around that ellipse's centre: half of what is left.
    """
    points = np.stack([start.points(POINTS) if outline is None else outline for outline in outlines])
    centre = np.array([start.x, start.y])
    found: list[Ellipse | None] = [None if outline is None else start for outline in outlines]
    for _ in range(ROUNDS):
        distances = np.abs([(one or start).distances(outline) for one, outline in zip(found, points, strict=True)])
        wide = WIDE * np.maximum(STEADY, 1.4826 * np.median(distances, axis=1, keepdims=True))
        conics = fit_conics((points - centre) / start.a, (distances <= wide).astype(np.float64))
        fitted = [one and from_conic(conic) for one, conic in zip(found, conics, strict=True)]
        found = [one and moved(one, centre, start.a) for one in fitted]
    return found


def _half_range(values: Sequence[float | None], whole: float) -> float:
    known = [value for value in values if value is not None]
    return whole if len(known) < len(values) else (max(known) - min(known)) / 2 if known else 0.0
