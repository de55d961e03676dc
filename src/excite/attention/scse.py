"""Concurrent spatial and channel squeeze and excitation, for segmentation: cSE, sSE and both at once.

    cSE:   z = mean of U over space;  Uc = U * sigmoid(W2 relu(W1 z)), W1 of C/2 x C       (spatial squeeze)
    sSE:   q = Wsq * U, a 1x1 convolution to one channel;  Us = U * sigmoid(q)             (channel squeeze)
    scSE:  Uc + Us, or their element-wise maximum

The maximum is of the recalibrated maps: where U is negative it takes the smaller gate.

Source: Roy, Navab, Wachinger. "Concurrent Spatial and Channel Squeeze & Excitation in Fully Convolutional Networks",
MICCAI 2018, arXiv:1803.02579, section 2, where the maps are added; the authors' code takes the maximum
(github.com/ai-med/squeeze_and_excitation), which their later paper compares, arXiv:1808.08127.
"""

from typing import Literal

import torch
from torch import Tensor

from excite.attention.registry import ATTENTION
from excite.attention.se import SqueezeExcitation, squeezed_channels
from excite.layers.dims import axes, conv
from excite.layers.gate import Gate, Start
from excite.layers.options import check_choice

Combine = Literal["sum", "max"]


@ATTENTION.register("cse")
class ChannelSE(SqueezeExcitation):
    """Scale each channel by a gate from all spatial means: SE with the reduction of this paper.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3.
        reduction: C is squeezed to C // reduction, at least 1.
        start: As in SqueezeExcitation.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, `reduction` is not positive and whole, or `start` is unknown.
        ModelError: weights of another form are loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, reduction: int = 2, start: Start = "paper") -> None:
        super().__init__(channels, dims=dims, reduction=reduction, start=start)


@ATTENTION.register("sse")
class SpatialSE(Gate):
    """Scale each place by a gate from its channels.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3.
        start: "paper"; or "open" for twice the sigmoid with the layer at zero: exactly 1 at first, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, or `start` is unknown.
        ModelError: weights of the other start are loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, start: Start = "paper") -> None:
        super().__init__(start=start)
        self.spatial = conv(dims)(channels, 1, kernel_size=1)
        self.open_at(self.spatial)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, 1, *S), every value from 0 to `scale`."""
        gate: Tensor = self.scale * torch.sigmoid(self.spatial(x))
        return gate


@ATTENTION.register("scse")
class SpatialChannelSE(Gate):
    """Recalibrate by channel and by place, and join the two maps.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3.
        reduction: C is squeezed to C // reduction, at least 1; 2 in the paper.
        combine: "sum" of the two maps, or "max", element by element.
        start: "paper"; or "open" for last layers at zero, so that it is exactly 1 at first: the sum of two sigmoids as
            they are, the maximum of twice each.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, `reduction` is not positive and whole, or a name is unknown.
        ModelError: weights of another form are loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, reduction: int = 2, combine: Combine = "sum",
                 start: Start = "paper") -> None:
        check_choice("combine", combine, Combine, fix="'sum' is the paper's")
        super().__init__(start=start, combine=combine)
        if combine == "sum":
            self.scale = 1.0
        squeezed = squeezed_channels(channels, reduction)
        self.axes, self.combine = axes(dims), combine
        self.squeeze = conv(dims)(channels, squeezed, kernel_size=1)
        self.excite = conv(dims)(squeezed, channels, kernel_size=1)
        self.spatial = conv(dims)(channels, 1, kernel_size=1)
        self.open_at(self.excite, self.spatial)

    def gates(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gate of each channel, (N, C, 1, ...), and of each place, (N, 1, *S)."""
        mean = x.mean(dim=self.axes, keepdim=True)
        return (self.scale * torch.sigmoid(self.excite(self.squeeze(mean).relu())),
                self.scale * torch.sigmoid(self.spatial(x)))

    def gate(self, x: Tensor) -> Tensor:
        """Return the factors that both together are, (N, C, *S)."""
        channel, place = self.gates(x)
        if self.combine == "sum":
            return channel + place
        return torch.where(x < 0, torch.minimum(channel, place), torch.maximum(channel, place))

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """Return x * gate(x) + add."""
        if self.combine == "sum":
            return super().forward(x, add)
        channel, place = self.gates(x)
        y = torch.maximum(x * channel, x * place)
        return y if add is None else y + add
