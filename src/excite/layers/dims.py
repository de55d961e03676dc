"""Layers chosen by the number of spatial dimensions: 2 for images, 3 for volumes."""

from torch import nn

from excite.errors import UsageError

_CONV: dict[int, type[nn.Module]] = {2: nn.Conv2d, 3: nn.Conv3d}
_NORM: dict[int, type[nn.Module]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
_MAX_POOL: dict[int, type[nn.Module]] = {2: nn.MaxPool2d, 3: nn.MaxPool3d}


def conv(dims: int) -> type[nn.Module]:
    """Return the convolution class for `dims`."""
    return _pick(_CONV, dims)


def norm(dims: int) -> type[nn.Module]:
    """Return the batch-normalisation class for `dims`."""
    return _pick(_NORM, dims)


def max_pool(dims: int) -> type[nn.Module]:
    """Return the maximum-pooling class for `dims`."""
    return _pick(_MAX_POOL, dims)


def axes(dims: int) -> tuple[int, ...]:
    """Return the spatial axes of (N, C, *S); fixed at construction, so that a network can be traced."""
    _pick(_CONV, dims)
    return tuple(range(2, 2 + dims))


def _pick(table: dict[int, type[nn.Module]], dims: int) -> type[nn.Module]:
    if dims not in table:
        raise UsageError(f"dims must be 2 (images) or 3 (volumes), got {dims!r}")
    return table[dims]
