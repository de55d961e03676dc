"""Coordinate attention: one gate along each axis of space.

    z_h(h) = mean of X over w;  z_w(w) = mean of X over h                                   (eq. 4, 5)
    f      = h_swish(BN(F1([z_h, z_w]))), one 1x1 convolution for both, C to max(8, C / r)    (eq. 6)
    g_h    = sigmoid(F_h(f_h));  g_w = sigmoid(F_w(f_w)), f split again                       (eq. 7, 8)
    y(i,j) = x(i,j) * g_h(i) * g_w(j)                                                       (eq. 9)

A volume has three: along its depth, height and width, each from the mean over the other two.

Source: Hou, Zhou, Feng. "Coordinate Attention for Efficient Mobile Network Design", CVPR 2021, arXiv:2103.02907; the
least of 8 channels, the biases and h_swish from the authors' code (github.com/houqb/CoordAttention, coordatt.py).
"""

from math import prod

import torch
from torch import Tensor, nn
from torch.nn import functional

from excite.attention.registry import ATTENTION
from excite.attention.se import squeezed_channels
from excite.layers.dims import axes, conv, norm
from excite.layers.gate import Gate, Start, scaled


@ATTENTION.register("coordinate")
class CoordinateAttention(Gate):
    """Scale each place by one gate for each of its coordinates, all from the means along the other axes.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3: as many gates.
        reduction: C is squeezed to C // reduction.
        min_channels: But to no fewer than so many.
        bias: Biases in all convolutions, as in the authors' code; the first one's is lost in the norm that follows.
        start: "paper" (a fresh one is about a quarter, an eighth in 3-D); or "open" for twice the sigmoids with the
            last layers at zero: exactly 1 at first, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, a number is not positive and whole, or `start` is unknown.
        ModelError: weights of the other start are loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, reduction: int = 32, min_channels: int = 8, bias: bool = True,
                 start: Start = "paper") -> None:
        super().__init__(start=start)
        squeezed = squeezed_channels(channels, reduction, min_channels=min_channels)
        self.axes = axes(dims)
        self.squeeze = conv(dims)(channels, squeezed, kernel_size=1, bias=bias)
        self.norm = norm(dims)(squeezed)
        self.excite = nn.ModuleList(conv(dims)(squeezed, channels, kernel_size=1, bias=bias) for _ in self.axes)
        self.open_at(*self.excite)

    def axis_gates(self, x: Tensor) -> list[Tensor]:
        """Return the gate along each axis, (N, C, H, 1) and (N, C, 1, W), every value from 0 to `scale`."""
        means = [x.mean(dim=[other for other in self.axes if other != axis], keepdim=True) for axis in self.axes]
        row = torch.cat([mean.flatten(2) for mean in means], dim=2)
        row = row.view(*row.shape, *[1] * (len(self.axes) - 1))
        row = functional.hardswish(self.norm(self.squeeze(row)))
        parts = torch.split(row, [prod(mean.shape[2:]) for mean in means], dim=2)
        return [self.scale * torch.sigmoid(excite(part)).view(mean.shape)
                for excite, part, mean in zip(self.excite, parts, means, strict=True)]

    def gate(self, x: Tensor) -> Tensor:
        """Return the gates' product, (N, C, *S)."""
        first, *others = self.axis_gates(x)
        for other in others:
            first = first * other
        return first

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """Return x * gate(x) + add."""
        *gates, last = self.axis_gates(x)
        for gate in gates:
            x = x * gate
        return scaled(x, last, add)
