"""Patches of volumes: cut out for training, and a whole volume predicted patch by patch, middles weighing more."""

from collections.abc import Callable, Sequence
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import UsageError

Floats = NDArray[np.float32]
Triple = tuple[int, int, int]
OVERLAP = 0.5   # share of a patch by which neighbours overlap
SIGMA = 0.125   # of the weights' Gaussian, in sides of the patch
LEAST = 1e-3    # weight of a corner, of the middle's


def cut(values: NDArray[Any], start: Sequence[int], shape: Sequence[int]) -> NDArray[Any]:
    """Return a patch; what lies beyond the volume is 0.

    Args:
        values: Space is the last three axes.
        start: First voxel along D, H and W; below 0 where the patch begins before the volume.
        shape: Of the patch.
    """
    sides = values.shape[-3:]
    found = np.zeros((*values.shape[:-3], *shape), values.dtype)
    there = [(max(first, 0), min(first + length, side))
             for first, length, side in zip(start, shape, sides, strict=True)]
    if all(low < high for low, high in there):
        source = tuple(slice(low, high) for low, high in there)
        target = tuple(slice(low - first, high - first) for (low, high), first in zip(there, start, strict=True))
        everywhere = (slice(None),) * (values.ndim - 3)
        found[everywhere + target] = values[everywhere + source]
    return found


def centred(sides: Sequence[int], shape: Sequence[int]) -> Triple:
    """Return where a patch in the middle of a volume starts."""
    d, h, w = (-((length - side) // 2) if length > side else (side - length) // 2
               for side, length in zip(sides, shape, strict=True))
    return d, h, w


def starts(side: int, length: int, *, overlap: float = OVERLAP) -> list[int]:
    """Return where patches along an axis start: evenly from 0, the last one ending with the volume."""
    step = max(int(length * (1 - overlap)), 1)
    count = max(ceil((side - length) / step), 0) + 1
    return [min(place * step, side - length) for place in range(count)] if side > length else [0]


def weights(shape: Sequence[int]) -> Floats:
    """Return the weight of each voxel of a patch, a Gaussian around its middle.

    Source: Isensee et al., nnU-Net, arXiv:1904.08128; width and least weight as MONAI has them.
    """
    if min(shape) < 1:
        raise UsageError(f"shape must be numbers of voxels above 0, got {tuple(shape)}")
    lines = [np.exp(-((np.arange(side) - (side - 1) / 2) ** 2) / (2 * (SIGMA * side) ** 2)) for side in shape]
    found = np.einsum("d,h,w->dhw", *lines)
    weighted: Floats = np.maximum(found, max(float(found.min()), LEAST)).astype(np.float32)
    return weighted


def assembled(images: Floats, shape: Triple, predict: Callable[[Floats], Floats], *,
              overlap: float = OVERLAP) -> Floats:
    """Return the outputs for a whole volume: the weighted mean of those of overlapping patches.

    A volume that a patch holds is predicted at once, in the middle of it.

    Args:
        images: The volume's channels, as the network takes them.
        shape: Of a patch.
        predict: (1, C, *shape) -> (1, K, *shape).
        overlap: Share of a patch that neighbours have in common, from 0 to below 1.

    Shape:
        (C, D, H, W) -> (K, D, H, W)

    Raises:
        UsageError: an overlap that cannot be.
    """
    if not 0 <= overlap < 1:
        raise UsageError(f"overlap must be at least 0 and below 1, got {overlap}")
    sides = images.shape[1:]
    padded = tuple(max(side, length) for side, length in zip(sides, shape, strict=True))
    corner = [-first if first < 0 else 0 for first in centred(sides, shape)]
    inside = (slice(None), *(slice(first, first + side) for first, side in zip(corner, sides, strict=True)))
    values = images if padded == sides else cut(images, [-first for first in corner], padded)
    if padded == shape:
        return np.ascontiguousarray(predict(values[None])[0][inside])
    weight, share, total = weights(shape), np.zeros(padded, np.float32), list[Floats]()
    for start in product(*(starts(side, length, overlap=overlap)
                           for side, length in zip(padded, shape, strict=True))):
        box = tuple(slice(first, first + length) for first, length in zip(start, shape, strict=True))
        found = predict(np.ascontiguousarray(values[(slice(None), *box)])[None])[0]
        if not total:
            total.append(np.zeros((len(found), *padded), np.float32))
        total[0][(slice(None), *box)] += found * weight
        share[box] += weight
    return np.ascontiguousarray((total[0] / share)[inside])
