"""Convolution, normalisation, activation: the brick that every network here is made of."""

from collections.abc import Sequence

from torch import nn

from excite.layers.depthwise import StridedDepthwise
from excite.layers.dims import conv, norm


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round `channels` to a multiple of `divisor`, never by more than 10 % down.

    Source: the MobileNet authors' reference code; Sandler et al., arXiv:1801.04381, uses it for every width.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, activation.

    Args:
        stride: One number, or one for each spatial dimension.
        act: Class of the activation; None for a linear layer.

    Shape:
        (N, in_channels, *S) -> (N, out_channels, *T), T = ceil(S / stride).
    """

    conv: nn.Module

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, *, dims: int = 2,
                 stride: int | Sequence[int] = 1, groups: int = 1, act: type[nn.Module] | None = nn.ReLU) -> None:
        super().__init__()
        strided = dims == 2 and groups == in_channels == out_channels and stride != 1 and kernel_size % 2 == 1
        kind = StridedDepthwise if strided else conv(dims)
        self.conv = kind(in_channels, out_channels, kernel_size, stride, kernel_size // 2,
                         groups=groups, bias=False)
        self.norm = norm(dims)(out_channels)
        if act is not None:
            self.act = act(inplace=True)
