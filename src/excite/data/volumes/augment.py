"""Random changes of a training sample: one move of all its maps, then each map's own levels."""

from dataclasses import dataclass
from math import cos, radians, sin

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.grid import linear_weights
from excite.errors import UsageError

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class VolumeAugment:
    """How far a sample may be changed; ranges are plus and minus, levels in standard deviations of the training voxels.

    Args:
        flip: Axes (0 D, 1 H, 2 W) that are turned round in half of the samples. Left and right kidney, heart and liver
            have sides: none unless it is known to do no harm.
        turn: Axes that a sample is turned around, one of them each time; slices that are far apart allow D alone.
        rotation: Degrees.
        scale: Part of the size.
        shift: Millimetres along each axis.
        bias: Standard deviation of a smooth field that is added.
        contrast: Part of the levels' distance from their mean.
        gamma: Exponents from 1 / (1 + gamma) to 1 + gamma, over the range of the sample's map.
        noise: Greatest standard deviation of what is added to each voxel.

    Raises:
        UsageError: a number that cannot be.
    """

    flip: tuple[int, ...] = ()
    turn: tuple[int, ...] = (0,)
    rotation: float = 10.0
    scale: float = 0.1
    shift: float = 5.0
    bias: float = 0.1
    contrast: float = 0.1
    gamma: float = 0.0
    noise: float = 0.1

    def __post_init__(self) -> None:
        for name in ("flip", "turn"):
            axes = getattr(self, name)
            if len(set(axes)) < len(axes) or not set(axes) <= {0, 1, 2}:
                raise UsageError(f"{name} must be different axes out of 0 (D), 1 (H) and 2 (W), got {axes}")
        for name, most in (("rotation", 180), ("scale", 0.9), ("shift", 1000), ("bias", 10), ("contrast", 0.9),
                           ("gamma", 9), ("noise", 10)):
            if not 0 <= getattr(self, name) <= most:
                raise UsageError(f"{name} must be from 0 to {most}, got {getattr(self, name)}")
        if self.rotation and not self.turn:
            raise UsageError(f"turn must name an axis where rotation is above 0, got rotation {self.rotation:g}",
                             fix="set rotation to 0")


@dataclass(frozen=True, kw_only=True)
class Move:
    """One turn around an axis, a scaling and a shift, as what each voxel of the result is read from.

    Args:
        axis: That which the sample is turned around.
        plane: Voxel of the two other axes to that of the source. Shape (2, 3).
        along: Voxel of `axis` to that of the source: factor and offset.
    """

    axis: int
    plane: Numbers
    along: tuple[float, float]

    def apply(self, values: Floats, *, order: int = 1) -> Floats:
        """Return moved values (D, H, W), 0 where nothing is; linear in all three axes at once, or the nearest voxel."""
        stack = np.ascontiguousarray(np.moveaxis(values, self.axis, 0))
        count, height, width = stack.shape
        places: Numbers = self.along[0] * np.arange(count, dtype=np.float64) + self.along[1]
        inside = (places > -0.5) & (places < count - 0.5)
        if order == 0:
            stack = stack[np.clip(np.floor(places + 0.5).astype(int), 0, count - 1)]
        elif not np.array_equal(places, np.arange(count)):
            stack = (linear_weights(places, count) @ stack.reshape(count, -1)).reshape(stack.shape)
        way = cv2.WARP_INVERSE_MAP | (cv2.INTER_LINEAR if order else cv2.INTER_NEAREST)
        moved = np.zeros_like(stack)
        for place in np.flatnonzero(inside):
            moved[place] = cv2.warpAffine(stack[place], self.plane, (width, height), flags=way,
                                          borderMode=cv2.BORDER_CONSTANT, borderValue=0)
        return np.ascontiguousarray(np.moveaxis(moved, 0, self.axis))


def augmented(images: Floats, *, augment: VolumeAugment, spacing: tuple[float, float, float],
              random: np.random.Generator, labels: Floats | None = None) -> tuple[Floats, Floats | None]:
    """Return a sample changed by chance: its maps and labels moved alike, then the levels of each map.

    As many numbers are drawn whatever is switched on, so that switching one change off does not move the others. A map
    of nothing but 0, a missing one, stays so.

    Args:
        images: Maps on one grid, their levels brought to mean 0 and standard deviation 1.
        augment: How far.
        spacing: Millimetres along D, H and W.
        random: Where chance comes from.
        labels: Of the same grid.

    Shape:
        images (M, D, H, W); labels (D, H, W); the results alike
    """
    move = draw_move(augment, shape=images.shape[1:], spacing=spacing, random=random)
    seeds = random.integers(2**63, size=len(images))
    results = np.zeros_like(images)
    for number, image in enumerate(images):
        if image.any():
            moved = move.apply(image)
            results[number] = _levelled(moved, augment, np.random.default_rng(seeds[number]))
    return results, None if labels is None else move.apply(labels, order=0)


def draw_move(augment: VolumeAugment, *, shape: tuple[int, ...], spacing: tuple[float, float, float],
              random: np.random.Generator) -> Move:
    """Return the move of one sample, around its centre."""
    u = random.random(9)
    axis = augment.turn[int(u[0] * len(augment.turn))] if augment.turn else 0
    angle = radians(augment.rotation * (2 * u[1] - 1))
    smaller = 1 / (1 + augment.scale * (2 * u[2] - 1))
    signs = np.array([-1.0 if at in augment.flip and u[3 + at] < 0.5 else 1.0 for at in range(3)])
    steps, middle = np.array(spacing), (np.array(shape) - 1) / 2
    matrix = np.eye(3)
    row, column = (at for at in range(3) if at != axis)
    matrix[np.ix_((row, column), (row, column))] = (cos(angle), -sin(angle)), (sin(angle), cos(angle))
    matrix = signs[:, None] * matrix * smaller * steps / steps[:, None]  # in voxels: millimetres, turned, and back
    offset = middle - matrix @ (middle + augment.shift * (2 * u[6:] - 1) / steps)
    (a, b), (c, d) = matrix[np.ix_((row, column), (row, column))]
    plane = np.array([[d, c, offset[column]], [b, a, offset[row]]])  # OpenCV has (x, y): column before row
    return Move(axis=axis, plane=plane, along=(float(matrix[axis, axis]), float(offset[axis])))


def _levelled(image: Floats, augment: VolumeAugment, random: np.random.Generator) -> Floats:
    """Return a map with another gamma and contrast, a smooth field and noise; the one given may be changed."""
    u, waves = random.random(3), random.standard_normal((3, 2))
    if augment.gamma:
        low, high = float(image.min()), float(image.max())
        span = np.float32(max(high - low, 1e-6))
        parts = ((image - np.float32(low)) / span).reshape(len(image), -1)
        image = cv2.pow(parts, (1 + augment.gamma) ** (2 * u[0] - 1)).reshape(image.shape) * span + np.float32(low)
    if augment.contrast:
        image *= np.float32(1 + augment.contrast * (2 * u[1] - 1))
    if augment.bias:
        image += _field(image.shape, augment.bias * waves)
    if augment.noise:
        image += random.standard_normal(image.shape, np.float32) * np.float32(augment.noise * u[2])
    return image


def _field(shape: tuple[int, ...], waves: Numbers) -> Floats:
    """Return a slope and a bend along each axis; of standard deviation about 1 where `waves` (3, 2) has it."""
    lines = ((np.linspace(-1, 1, count) if count > 1 else np.zeros(1)) for count in shape)
    d, h, w = ((slope * x + bend * (1.5 * x * x - 0.5) * 1.3) / 1.4 for (slope, bend), x in
               zip(waves, lines, strict=True))
    plane = (d[:, None] + h).astype(np.float32)
    return np.asarray(plane[..., None] + w.astype(np.float32))
