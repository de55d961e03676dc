"""The mean of a map over a coarse grid of regions: a few vectors a map, where the mean over space would be one."""

from collections.abc import Sequence

import torch
from torch import Tensor


def region_means(x: Tensor, regions: Sequence[int]) -> Tensor:
    """Return the mean of each region: adaptive average pooling, one axis after the other.

    Unlike torch's own for volumes it exports whatever the sizes, and its gradients on a GPU repeat themselves. A map
    with fewer places than regions along an axis repeats them.

    Args:
        x: Maps.
        regions: How many along each axis.

    Shape:
        (N, C, *S) -> (N, C, *regions)
    """
    for axis, count in enumerate(regions, start=2):
        size = x.shape[axis]
        ends = [(index * size // count, -(-(index + 1) * size // count)) for index in range(count)]
        x = torch.stack([x.narrow(axis, begin, end - begin).mean(axis) for begin, end in ends], dim=axis)
    return x
