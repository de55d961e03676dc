"""Pooling: the mean over space that ends a classifier, the published max pools, a mean in the plane."""

from torch import Tensor, nn
from torch.nn import functional

from excite.errors import DataError
from excite.layers.dims import axes, max_pool


class GlobalMean(nn.Module):
    """Mean over the spatial axes, for inputs of any size.

    Shape:
        (N, C, *S) -> (N, C).
    """

    def __init__(self, *, dims: int = 2) -> None:
        super().__init__()
        self.axes = axes(dims)

    def forward(self, x: Tensor) -> Tensor:
        """Return one vector a sample."""
        return x.mean(dim=self.axes)


class MaxPool(nn.Module):
    """Maximum over 3 x 3 (x 3), stride 2, of a map without negative values.

    Args:
        dims: Spatial dimensions, 2 or 3.
        ceil: No padding, sizes rounded up, as Caffe does; written as one zero on the far side and a pool that rounds
            down, which is bit-equal after a ReLU and exports. Padded by one on both sides otherwise.
        thin: A volume may be one slice thick: its depth is padded on both sides, with `ceil` too.

    Shape:
        (N, C, *S) -> (N, C, *T), T = S / 2, rounded up; with `ceil`, rounded down for odd S.

    Raises:
        DataError: with `ceil`, the map is less than 2 wide or high.
    """

    def __init__(self, *, dims: int = 2, ceil: bool = False, thin: bool = True) -> None:
        super().__init__()
        self.pool = max_pool(dims)(3, stride=2, padding=0 if ceil else 1)
        depth = () if dims == 2 else (1, 1) if thin else (0, 1)
        self.pad = (0, 1, 0, 1, *depth) if ceil else None

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled map."""
        if self.pad is not None:
            short = x.shape[2:] if self.pad[-2] == 0 else x.shape[-2:]
            if min(short) < 2:
                least, got = " x ".join(["2"] * len(short)), " x ".join(map(str, short))
                raise DataError(f"the first pool needs maps of at least {least}, got {got}",
                                fix="give images of at least 3 pixels a side, or build it with ceil_pool=False")
            x = functional.pad(x, self.pad)
        y: Tensor = self.pool(x)
        return y


class FarPool(nn.Module):
    """Maximum over 3 x 3 (x 3), stride 2, of a map without negative values, the windows beginning at its first place.

    Unlike MaxPool(ceil=True), to which it is equal else, it takes maps of one place.

    Args:
        dims: Spatial dimensions, 2 or 3.
        up: Odd sizes are rounded up, as those of a convolution beside it; rounded down, as Caffe does, otherwise.
        thin: A volume may be one slice thick: its depth is padded on both sides.

    Shape:
        (N, C, *S) -> (N, C, *T), T = S / 2, at least 1.
    """

    def __init__(self, *, dims: int = 2, up: bool = False, thin: bool = True) -> None:
        super().__init__()
        self.pool = max_pool(dims)(3, stride=2)
        self.up, self.thin = up, thin and dims == 3

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled map."""
        around: list[int] = []
        for axis, size in enumerate(x.shape[2:]):
            far = (1, 1) if self.thin and axis == 0 else (0, 2 if self.up or size == 1 else 1)
            around = [*far, *around]  # functional.pad wants the last axis first
        y: Tensor = self.pool(functional.pad(x, around))
        return y


class PlaneMean(nn.Module):
    """Mean over 3 x 3 with one zero around, which counts; of a volume in each slice, every `stride`-th.

    A volume that repeats one image along its depth is answered as that image.

    Shape:
        (N, C, *S) -> (N, C, *T), T = S / stride, rounded up.
    """

    def __init__(self, *, dims: int = 2, stride: int = 1) -> None:
        super().__init__()
        axes(dims)
        self.pool = nn.AvgPool2d(3, stride) if dims == 2 else nn.AvgPool3d((1, 3, 3), (stride, stride, stride))

    def forward(self, x: Tensor) -> Tensor:
        """Return the pooled map."""
        y: Tensor = self.pool(functional.pad(x, (1, 1, 1, 1)))  # AvgPool3d's own padding refuses maps of 2 x 2
        return y
