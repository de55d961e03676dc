"""Ellipses: fitted to points, measured, drawn. Pixel centres have whole coordinates; x to the right, y down.

Source: Fitzgibbon, Pilu, Fisher, "Direct least square fitting of ellipses", IEEE TPAMI 21(5), 1999, in the numerically
stable form of Halir and Flusser, WSCG 1998; Ramanujan, "Modular equations and approximations to pi", 1914 (perimeter).
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError

Float = NDArray[np.float64]
FEWEST = 6  # points, one more than an ellipse has parameters
SLICES = 8  # of a pixel's width, when its covered area is summed


class Ellipse(NamedTuple):
    """Centre, semi-axes a >= b, and the angle of the first from the x axis towards the y axis, radians."""

    x: float
    y: float
    a: float
    b: float
    angle: float

    @property
    def axes(self) -> Float:
        """Return the matrix (2, 2) that takes the unit circle to the outline around its centre."""
        c, s = np.cos(self.angle), np.sin(self.angle)
        return np.array([[c * self.a, -s * self.b], [s * self.a, c * self.b]])

    @property
    def circumference(self) -> float:
        """Return the perimeter, in the unit of the axes."""
        return circumference(self.a, self.b)

    def points(self, count: int = 360) -> Float:
        """Return points (count, 2) on the outline, evenly in the parameter, as x and y."""
        turn = 2 * np.pi * np.arange(count) / count
        outline: Float = np.stack([np.cos(turn), np.sin(turn)], axis=1) @ self.axes.T + [self.x, self.y]
        return outline

    def distances(self, points: NDArray[Any]) -> Float:
        """Return the signed distance of points (N, 2) from the outline, positive outside, to first order (Sampson)."""
        local = (np.asarray(points, np.float64) - [self.x, self.y]) @ np.linalg.inv(self.axes).T
        level = np.hypot(local[:, 0], local[:, 1])
        slope = np.hypot(local[:, 0] / self.a, local[:, 1] / self.b)
        near: Float = (level - 1) * level / np.maximum(slope, 1e-300)
        return np.where(level > 0, near, -self.b)

    def scaled(self, x: float, y: float) -> "Ellipse":
        """Return the exact image of the ellipse under (x, y) -> factors times (x, y): pixels to millimetres."""
        return _from_axes(self.x * x, self.y * y, np.array([[x], [y]]) * self.axes)

    def mapped(self, matrix: NDArray[Any]) -> "Ellipse":
        """Return the exact image of the ellipse under an affine map (2, 3) of x and y."""
        linear, shift = np.asarray(matrix, np.float64)[:2, :2], np.asarray(matrix, np.float64)[:2, 2]
        x, y = linear @ [self.x, self.y] + shift
        return _from_axes(x, y, linear @ self.axes)

    def coverage(self, shape: tuple[int, int]) -> NDArray[np.float32]:
        """Return the share of each pixel of an image (H, W) that the ellipse covers."""
        height, width = shape
        picture = np.zeros(shape, np.float32)
        form = np.linalg.inv(self.axes @ self.axes.T)
        reach = np.sqrt(np.diag(self.axes @ self.axes.T))  # half the bounding box
        left, top = max(0, int(np.floor(self.x - reach[0]))), max(0, int(np.floor(self.y - reach[1])))
        right, low = min(width, int(self.x + reach[0]) + 2), min(height, int(self.y + reach[1]) + 2)
        if right <= left or low <= top:
            return picture
        across = left - 0.5 + (np.arange((right - left) * SLICES) + 0.5) / SLICES - self.x
        root = np.maximum(form[1, 1] - np.linalg.det(form) * across**2, 0)
        middle, half = self.y + 0.5 - form[0, 1] / form[1, 1] * across, np.sqrt(root) / form[1, 1]
        rows = np.arange(low - top, dtype=np.float32)[:, None]
        first, last = ((middle + sign * half - top).astype(np.float32) for sign in (-1, 1))
        chords = np.clip(last - rows, 0, 1) - np.clip(first - rows, 0, 1)
        picture[top:low, left:right] = chords.reshape(low - top, right - left, SLICES).mean(axis=2)
        return picture


def circumference(a: float, b: float) -> float:
    """Return the perimeter of an ellipse by Ramanujan's second approximation: within 1e-9 of it up to a = 2 b.

    Args:
        a: One semi-axis.
        b: The other.
    """
    h = ((a - b) / (a + b)) ** 2
    return float(np.pi * (a + b) * (1 + 3 * h / (10 + np.sqrt(4 - 3 * h))))


def fit_ellipse(points: NDArray[Any], weights: NDArray[Any] | None = None) -> Ellipse:
    """Return the ellipse of least squared algebraic distance; an arc is enough, and it is always an ellipse.

    Args:
        points: x and y of each.
        weights: Of each squared distance; None: equal.

    Shape:
        points (N, 2), weights (N,), N >= 6

    Raises:
        DataError: fewer than six points, or they lie on no ellipse: a line, a point.
    """
    points = np.asarray(points, np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) < FEWEST:
        raise DataError(f"points must be at least {FEWEST} pairs x, y, got shape {points.shape}",
                        fix="the outline is too short for an ellipse")
    if not np.isfinite(points).all():
        raise DataError("points must be finite, got NaN or infinity")
    centre = points.mean(axis=0)
    scale = max(float(np.abs(points - centre).max()), 1e-300)
    weigh = np.ones(len(points)) if weights is None else np.asarray(weights, np.float64)
    found = from_conic(fit_conics((points - centre)[None] / scale, weigh[None])[0])
    if found is None:
        raise DataError("the points lie on no ellipse", why="they are on a line, or nearly so",
                        fix="check the outline they come from")
    return moved(found, centre, scale)


def fit_conics(points: Float, weights: Float) -> Float:
    """Return a, b, c, d, e, f of the ellipse a x^2 + b xy + c y^2 + d x + e y + f = 0 of each set of points around 0.

    Shape:
        points (S, N, 2) within about -1 to 1, weights (S, N) -> (S, 6)
    """
    terms = monomials(points)
    moments = (terms * weights[..., None]).transpose(0, 2, 1) @ terms
    s1, s2, s3 = moments[:, :3, :3], moments[:, :3, 3:], moments[:, 3:, 3:]
    back = -np.linalg.pinv(s3, hermitian=True) @ s2.transpose(0, 2, 1)
    reduced = s1 + s2 @ back
    _, vectors = np.linalg.eig(np.stack([reduced[:, 2] / 2, -reduced[:, 1], reduced[:, 0] / 2], axis=1))
    vectors = np.real(vectors)
    kind = 4 * vectors[:, 0] * vectors[:, 2] - vectors[:, 1] ** 2  # positive for the one that is an ellipse
    chosen = vectors[np.arange(len(kind)), :, kind.argmax(axis=1)]
    return np.concatenate([chosen, (back @ chosen[..., None])[..., 0]], axis=1)


def monomials(points: Float) -> Float:
    """Return x^2, xy, y^2, x, y, 1 of points: (..., 2) -> (..., 6)."""
    x, y = points[..., 0], points[..., 1]
    return np.stack([x * x, x * y, y * y, x, y, np.ones_like(x)], axis=-1)


def from_conic(conic: Float) -> Ellipse | None:
    """Return the ellipse of a x^2 + b xy + c y^2 + d x + e y + f = 0, None where that is none."""
    a, b, c, d, e, f = conic if conic[0] >= 0 else -conic
    form = np.array([[a, b / 2], [b / 2, c]])
    if not np.isfinite(conic).all() or 4 * a * c - b * b <= 1e-12 * (a + c) ** 2:
        return None
    middle = np.linalg.solve(form, [-d / 2, -e / 2])
    size = -(f + d * middle[0] / 2 + e * middle[1] / 2)
    if size <= 0:
        return None
    values, vectors = np.linalg.eigh(form / size)
    return _from_axes(middle[0], middle[1], vectors / np.sqrt(values))


def moved(ellipse: Ellipse, centre: Float, scale: float) -> Ellipse:
    """Return the ellipse `scale` times as large, then moved by `centre`."""
    return Ellipse(float(centre[0] + scale * ellipse.x), float(centre[1] + scale * ellipse.y), scale * ellipse.a,
                   scale * ellipse.b, ellipse.angle)


def _from_axes(x: float, y: float, axes: Float) -> Ellipse:
    """Return the ellipse that is the image of the unit circle under `axes` around a centre."""
    vectors, lengths, _ = np.linalg.svd(axes)
    angle = float(np.arctan2(vectors[1, 0], vectors[0, 0])) % np.pi
    return Ellipse(float(x), float(y), float(lengths[0]), float(lengths[1]), 0.0 if np.pi - angle < 1e-12 else angle)
