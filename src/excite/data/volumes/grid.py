"""Where a volume's voxels lie in millimetres, and a volume's values on another such grid."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan, sqrt
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from excite.data.volumes.volume import Volume
from excite.errors import UsageError

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
COARSER = 1.5  # times the spacing from which what the coarser grid cannot hold is smoothed away first
EXACT = 1e-4   # of a voxel: places that differ less are the same, as affines are often stored as float32
DRIFT = 1e-3   # of a voxel over a whole grid: axes that stray less are parallel
WIDTH = sqrt(8 * log(2))  # full width at half maximum of a Gaussian, in its standard deviations


@dataclass(frozen=True, eq=False)
class Grid:
    """Voxels and their places.

    Args:
        shape: Voxels along D, H and W.
        affine: Voxel index (d, h, w) to RAS millimetres (x, y, z). Shape (4, 4).

    Raises:
        UsageError: an axis without voxels, an affine that cannot be turned round.
    """

    shape: tuple[int, int, int]
    affine: Numbers

    def __post_init__(self) -> None:
        if len(self.shape) != 3 or min(self.shape) < 1:
            raise UsageError(f"shape must be three numbers of voxels above 0, got {self.shape}")
        affine = np.array(self.affine, np.float64)
        if affine.shape != (4, 4) or not np.isfinite(affine).all() or np.linalg.matrix_rank(affine) < 4:
            raise UsageError(f"affine must be an invertible matrix (4, 4), got {affine.tolist()}")
        affine.flags.writeable = False
        object.__setattr__(self, "affine", affine)

    @classmethod
    def of(cls, volume: Volume) -> "Grid":
        """Return the grid of a volume."""
        return cls(volume.shape, volume.affine)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Millimetres between voxels along D, H and W."""
        depth, height, width = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(depth), float(height), float(width)

    @property
    def extent(self) -> Numbers:
        """Millimetres along D, H and W, from the outer side of the first voxel to that of the last. Shape (3,)."""
        extent: Numbers = np.multiply(self.shape, self.spacing)
        return extent

    @property
    def centre(self) -> Numbers:
        """RAS millimetres of the middle. Shape (3,)."""
        centre: Numbers = self.affine[:3, :3] @ ((np.array(self.shape) - 1) / 2) + self.affine[:3, 3]
        return centre

    @property
    def directions(self) -> Numbers:
        """Unit vectors along D, H and W, the columns. Shape (3, 3)."""
        directions: Numbers = self.affine[:3, :3] / self.spacing
        return directions

    def centred(self, *, shape: Sequence[int] | None = None, spacing: Sequence[float] | None = None) -> "Grid":
        """Return a grid of the same centre and directions: a crop, a pad, another spacing.

        Args:
            shape: Voxels along D, H and W; None: as many as cover the same extent.
            spacing: Millimetres along D, H and W; None: the same.

        Raises:
            UsageError: a number that is not above 0, or not three of them.
        """
        steps = np.array(self.spacing if spacing is None else spacing, np.float64)
        if steps.shape != (3,) or not (np.isfinite(steps) & (steps > 0)).all():
            raise UsageError(f"spacing must be three numbers of millimetres above 0, got {spacing}")
        counts = np.maximum(np.rint(self.extent / steps), 1) if shape is None else np.array(shape)
        if counts.shape != (3,) or (counts < 1).any():
            raise UsageError(f"shape must be three numbers of voxels above 0, got {shape}")
        affine = np.eye(4)
        affine[:3, :3] = self.directions * steps
        affine[:3, 3] = self.centre - affine[:3, :3] @ ((counts - 1) / 2)
        depth, height, width = (int(count) for count in counts)
        return Grid((depth, height, width), affine)


def resampled(volume: Volume, grid: Grid, *, order: Literal[0, 1] = 1, outside: float = nan) -> Floats:
    """Return a volume's values on another grid; bit-equal copies where the voxels are the same.

    Voxels reach half a spacing beyond their centres. What the volume does not see, beyond its outermost voxels or where
    it holds NaN, is `outside`. Where the grid is more than 1.5 times as coarse, values are smoothed before by the
    Gaussian that widens a voxel of the volume to one of the grid.

    Args:
        volume: Values in millimetres.
        grid: The new one.
        order: 1: linear; 0: the nearest voxel, for labels.
        outside: What stands where nothing was seen.

    Shape:
        result as the grid's

    Raises:
        UsageError: another order.

    Source: Cardoso et al., Scale factor point spread function matching, MICCAI 2015 (the width of the Gaussian).
    """
    if order not in (0, 1):
        raise UsageError(f"order must be 1 (linear) or 0 (nearest), got {order}")
    inverse = np.linalg.inv(volume.affine)
    matrix = inverse[:3, :3] @ grid.affine[:3, :3]
    start = inverse[:3, :3] @ grid.affine[:3, 3] + inverse[:3, 3]
    known, inside = np.isfinite(volume.values), _inside(volume.shape, grid.shape, matrix, start)
    if order == 0:
        values = _nearest(np.where(known, volume.values, np.float32(outside)), grid.shape, matrix, start)
    elif known.all():
        values = _linear(volume.values, grid.shape, matrix, start)
    else:
        share = _linear(known.astype(np.float32), grid.shape, matrix, start)
        inside = inside & (share >= 0.5)
        values = _linear(np.where(known, volume.values, np.float32(0)), grid.shape, matrix, start)
        np.divide(values, share, out=values, where=inside)
    return np.where(inside, values, np.float32(outside))


def _axis(matrix: Numbers, start: Numbers, axis: int, count: int) -> Numbers:
    """Return the source index of each voxel along one axis, where the axes are parallel."""
    places: Numbers = matrix[axis, axis] * np.arange(count) + start[axis]
    whole = np.abs(places - np.rint(places)) < EXACT
    places[whole] = np.rint(places[whole])
    return places


def _parallel(matrix: Numbers, shape: Sequence[int]) -> bool:
    """Return whether no axis runs across another by a noticeable part of a voxel over the whole grid."""
    across = np.abs(matrix - np.diag(np.diag(matrix))) * (np.array(shape) - 1)
    return bool(across.max() < DRIFT)


def _inside(source: Sequence[int], shape: Sequence[int], matrix: Numbers, start: Numbers) -> NDArray[np.bool_]:
    """Return which voxels' centres lie in the source's box."""
    inside = np.ones((1, 1, 1), bool)
    parallel = _parallel(matrix, shape)
    for axis, count in enumerate(source):
        if parallel:
            place = _axis(matrix, start, axis, shape[axis])
            place = place.reshape([-1 if at == axis else 1 for at in range(3)])
        else:
            d, h, w = (matrix[axis, at] * np.arange(shape[at]) for at in range(3))
            place = (d[:, None] + (h + start[axis]))[..., None] + w
        inside = inside & (place > -0.5 - EXACT) & (place < count - 0.5 + EXACT)
    return np.broadcast_to(inside, tuple(shape))


def _nearest(values: Floats, shape: Sequence[int], matrix: Numbers, start: Numbers) -> Floats:
    if not _parallel(matrix, shape):
        found: Floats = ndimage.affine_transform(values, matrix, start, tuple(shape), order=0, mode="nearest")
        return found
    places = [np.clip(np.floor(_axis(matrix, start, axis, shape[axis]) + 0.5).astype(int), 0, values.shape[axis] - 1)
              for axis in range(3)]
    return values[np.ix_(*places)]


def _linear(values: Floats, shape: Sequence[int], matrix: Numbers, start: Numbers) -> Floats:
    """Return linear values, those at the border continued outwards."""
    widths = np.linalg.norm(matrix, axis=1)  # of a voxel of the grid along each axis of the source
    sigmas = np.where(widths > COARSER, np.sqrt(np.maximum(widths ** 2 - 1, 0)) / WIDTH, 0)
    if not _parallel(matrix, shape):
        smooth = ndimage.gaussian_filter(values, sigmas, mode="nearest") if sigmas.any() else values
        found: Floats = ndimage.affine_transform(smooth, matrix, start, tuple(shape), order=1, mode="nearest")
        return found
    for axis in np.argsort(np.array(shape) / values.shape, kind="stable"):  # the axis that shrinks most first
        places = _axis(matrix, start, axis, shape[axis])
        if not np.array_equal(places, np.arange(values.shape[axis])):
            weights = linear_weights(places, values.shape[axis], sigmas[axis])
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis)), 0, axis)
    return values


def linear_weights(places: Numbers, count: int, sigma: float = 0.0) -> Floats:
    """Return what each of `count` voxels in a row gives to each place: smoothing, then linear interpolation."""
    places = np.clip(places, 0, count - 1)
    below = np.minimum(places.astype(int), max(count - 2, 0))
    rows, part = np.arange(len(places)), places - below
    weights = np.zeros((len(places), count))
    weights[rows, below] = 1 - part
    weights[rows, np.minimum(below + 1, count - 1)] += part
    if sigma > 0:
        weights = weights @ ndimage.gaussian_filter1d(np.eye(count), sigma, axis=0, mode="nearest")
    return weights.astype(np.float32)
