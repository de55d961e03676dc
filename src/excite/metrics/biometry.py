"""From a probability map to millimetres: the head's outline, its ellipse, its circumference and diameters.

Everything is measured in the pixels of the original image: upsample the probabilities first, then call these. A pixel
of radial error is 0.75 mm of circumference at 0.12 mm a pixel, three times that on a 256 x 256 grid.

Source: van den Heuvel et al., "Automated measurement of fetal head circumference using 2D ultrasound images", PLoS ONE
13(8) e0200412, 2018 (HC, the ellipse as truth); Rousseeuw and Leroy, "Robust regression and outlier detection", 1987
(least median of squares).
"""

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.ellipse import (
    FEWEST,
    Ellipse,
    circumference,
    fit_conics,
    fit_ellipse,
    from_conic,
    monomials,
    moved,
)
from excite.errors import DataError

__all__ = ["Contour", "Ellipse", "Head", "Measurement", "circumference", "contour", "ellipse_of", "fit_ellipse",
           "measure", "robust_ellipse"]

Float = NDArray[np.float64]
SMALLEST = 100      # pixels of a region that is measured
TRIALS = 200        # samples of six points: one is free of outliers for certain with a third of the outline wrong
JUDGES = 250        # points that the samples are judged by
WIDE = 3.0          # robust standard deviations beyond which a point is no part of the outline
STEADY = 0.35       # pixels, the least standard deviation that is taken for real: a pixel grid's own
UNSEEN = 0.4        # share of the ellipse without outline from which on its axes are guesswork


class Measurement(NamedTuple):
    """Circumference, shorter and longer diameter (biparietal, occipitofrontal) in mm; None without a spacing."""

    hc_mm: float | None
    bpd_mm: float | None
    ofd_mm: float | None
    note: str | None = None


class Contour(NamedTuple):
    """The outline of the largest region.

    Args:
        points: x and y (N, 2) where the map crosses the level, to a fraction of a pixel, by angle around their middle;
            what lies on the image's border is no outline and not among them.
        pixels: Size of the region, holes filled.
        regions: How many regions there are.
        cut: Whether it touches the image's border.
    """

    points: Float
    pixels: int
    regions: int
    cut: bool


class Head(NamedTuple):
    """What was found.

    Args:
        ellipse: In pixels; None where there is none, and the notes say why.
        notes: What has to be known to trust it, each a sentence.
        misfit: Root mean squared distance of the outline from the ellipse in pixels, outliers and all.
    """

    ellipse: Ellipse | None
    notes: tuple[str, ...] = ()
    misfit: float | None = None


def measure(ellipse: Ellipse, spacing: tuple[float, ...] | None) -> Measurement:
    """Return the measurements of an ellipse, which is taken to millimetres first: pixels need not be square.

    Args:
        ellipse: In pixels of the original image.
        spacing: Millimetres a pixel along rows and columns (down, to the right), or one value for both.

    Raises:
        DataError: the spacing is not one or two positive numbers.
    """
    if spacing is None:
        return Measurement(None, None, None, note="no pixel spacing is known, so nothing is stated in millimetres")
    if len(spacing) not in (1, 2) or not all(0 < value < float("inf") for value in spacing):
        raise DataError(f"spacing must be one or two positive numbers, got {spacing}",
                        fix="millimetres a pixel, down and to the right")
    real = ellipse.scaled(spacing[-1], spacing[0])
    return Measurement(hc_mm=real.circumference, bpd_mm=2 * real.b, ofd_mm=2 * real.a)


def contour(probabilities: NDArray[Any], *, level: float = 0.5) -> Contour:
    """Return the outline of the largest region that reaches the level, by linear interpolation between pixels.

    Args:
        probabilities: Of the head, in 0..1, at the original image's size.
        level: What counts as inside.

    Shape:
        probabilities (H, W)

    Raises:
        DataError: not two axes, NaN among the values, or a level outside 0..1.
    """
    values = np.asarray(probabilities, np.float32)
    if values.ndim != 2:
        raise DataError(f"probabilities must have two axes, got shape {values.shape}", fix="one image, one class")
    if not 0 < level < 1:
        raise DataError(f"level must be between 0 and 1, got {level}")
    if np.isnan(values).any():
        raise DataError("probabilities must be numbers, got NaN", fix="the network or its input is broken")
    region, regions = _largest(values >= level)
    if not region.any():
        return Contour(points=np.zeros((0, 2)), pixels=0, regions=0, cut=False)
    points = np.concatenate([_crossings(values.T, region.T, level)[:, ::-1], _crossings(values, region, level)])
    about = points - points.mean(axis=0) if len(points) else points
    cut = bool(region[[0, -1]].any() or region[:, [0, -1]].any())
    return Contour(points=points[np.argsort(np.arctan2(about[:, 1], about[:, 0]))], pixels=int(region.sum()),
                   regions=regions, cut=cut)


def robust_ellipse(points: NDArray[Any], *, seed: int = 0) -> Ellipse:
    """Return the ellipse of most points, whatever the others do; the same points give the same ellipse.

    The start has the least median distance of many six-point ellipses; then points nearer than three robust standard
    deviations are fitted by least squares until they stay the same.

    Args:
        points: x and y of each; up to a third may be wrong.
        seed: Of the samples.

    Shape:
        points (N, 2), N >= 6

    Raises:
        DataError: too few points, or they lie on no ellipse.
    """
    points = np.asarray(points, np.float64)
    best = fit_ellipse(points)
    if float(np.abs(best.distances(points)).max()) <= WIDE * STEADY:
        return best
    best = _of_samples(points, seed, best)
    kept = None
    for _ in range(20):
        distances = np.abs(best.distances(points))
        near = distances <= WIDE * max(STEADY, 1.4826 * float(np.median(distances)))
        if near.sum() < FEWEST or (kept is not None and np.array_equal(near, kept)):
            break
        best, kept = fit_ellipse(points[near]), near
    return best


def ellipse_of(probabilities: NDArray[Any], *, level: float = 0.5, smallest: int = SMALLEST) -> Head:
    """Return the ellipse of the largest region, or why there is none.

    Args:
        probabilities: Of the head, in 0..1, at the original image's size.
        level: What counts as inside.
        smallest: Pixels of the smallest region that is measured.

    Shape:
        probabilities (H, W)
    """
    outline = contour(probabilities, level=level)
    if not outline.pixels:
        return Head(None, (f"no pixel reaches {level:g}: no head was found",))
    if outline.pixels < smallest:
        return Head(None, (f"the largest region has {outline.pixels} pixels, fewer than {smallest}: "
                           "no head was found",))
    notes = [f"{outline.regions} regions were found, the largest counts"] if outline.regions > 1 else []
    try:
        ellipse = robust_ellipse(outline.points)
    except DataError as fault:
        return Head(None, (*notes, f"the outline is no ellipse: {fault}"))
    if outline.cut:
        notes.append("the head is cut by the image's border: the ellipse is fitted to the outline inside")
    unseen = _unseen(ellipse, outline.points)
    if unseen > UNSEEN:
        notes.append(f"{100 * unseen:.0f} % of the ellipse have no outline beside them: its size is a guess")
    misfit = float(np.sqrt(np.mean(ellipse.distances(outline.points) ** 2)))
    return Head(ellipse, tuple(notes), misfit)


def _of_samples(points: Float, seed: int, otherwise: Ellipse) -> Ellipse:
    """Return the ellipse of least median distance among `otherwise` and many through six points each."""
    centre = points.mean(axis=0)
    scale = float(np.abs(points - centre).max())
    unit = (points - centre) / scale
    drawn = unit[np.random.default_rng(seed).integers(len(unit), size=(TRIALS, FEWEST))]
    conics = fit_conics(drawn, np.ones(drawn.shape[:2]))
    judged = unit[:: max(1, len(unit) // JUDGES)]
    x, y = judged.T
    none, one = np.zeros_like(x), np.ones_like(x)
    across = conics @ np.stack([2 * x, y, none, one, none, none])
    down = conics @ np.stack([none, x, 2 * y, none, one, none])
    slope = np.maximum(np.sqrt(across * across + down * down), 1e-12)
    spread = np.median(np.abs(conics @ monomials(judged).T) / slope, axis=1) * scale
    for place in np.argsort(spread):
        found = from_conic(conics[place])
        if found is not None and found.a < 2:  # twice the reach of the points: a flat arc fits as well
            found = moved(found, centre, scale)
            return found if spread[place] < np.median(np.abs(otherwise.distances(points))) else otherwise
    return otherwise


def _unseen(ellipse: Ellipse, points: Float) -> float:
    """Return the share of 72 sectors of the ellipse, even in its parameter, without a point."""
    local = (points - [ellipse.x, ellipse.y]) @ np.linalg.inv(ellipse.axes).T
    sector = np.floor(np.arctan2(local[:, 1], local[:, 0]) / (2 * np.pi) * 72).astype(int) % 72
    return 1 - len(np.unique(sector)) / 72


def _largest(inside: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], int]:
    """Return the largest region of pixels joined by their sides, holes filled, and the number of regions."""
    count, labels = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
    if count < 2:
        return np.zeros_like(inside), 0
    region = inside if count == 2 else labels == 1 + int(np.bincount(labels.ravel())[1:].argmax())
    around = np.pad(region.astype(np.uint8), 1)
    cv2.floodFill(around, None, (0, 0), 2, flags=8)
    filled: NDArray[np.bool_] = around[1:-1, 1:-1] != 2
    return filled, count - 1


def _crossings(values: NDArray[np.float32], region: NDArray[np.bool_], level: float) -> Float:
    """Return where the level lies between neighbours of one row of which one is in the region: column and row."""
    row, column = np.nonzero(region[:, 1:] != region[:, :-1])
    left, right = values[row, column].astype(np.float64), values[row, column + 1].astype(np.float64)
    return np.stack([column + (level - left) / (right - left), row], axis=1)
