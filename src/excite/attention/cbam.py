"""Convolutional Block Attention Module: what first, then where.

    Mc(F)  = sigmoid(MLP(AvgPool(F)) + MLP(MaxPool(F))), pools over space, one MLP for both           (eq. 2)
    F'     = Mc(F) * F                                                                              (eq. 1)
    Ms(F') = sigmoid(f_7x7([mean of F'; max of F'])), mean and max over the channels                  (eq. 3)
    F''    = Ms(F') * F'

No place attends to another: the spatial half is a convolution over two maps, not self-attention.

Source: Woo et al. "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv:1807.06521; `norm` from the authors'
code (github.com/Jongchan/attention-module, MODELS/cbam.py), which also gives the convolution the maximum first: its
weights need their two input channels swapped.
"""

from math import prod

import torch
from torch import Tensor, nn

from excite.attention.registry import ATTENTION
from excite.attention.se import squeezed_channels
from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.dims import axes, conv
from excite.layers.gate import Gate, Start, scaled


@ATTENTION.register("cbam")
class ConvolutionalBlockAttention(Gate):
    """Scale each channel by a gate from its spatial mean and maximum, then each place by one from those over channels.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3; in 3-D the kernel has `kernel_size` slices too.
        reduction: The MLP squeezes C to C // reduction, at least 1.
        bias: Biases in both layers of the MLP, as in the authors' code.
        kernel_size: Of the convolution over space, odd.
        norm: Batch normalisation after that convolution (eps 1e-5, momentum 0.01), as in the authors' code, where its
            weight is zero at first: all places start alike. Without it, as the paper's equation has it.
        spatial: The second half; False is the channel half alone.
        start: "paper"; or "open" for twice the sigmoids with the MLP's last layer and the convolution, or its norm, at
            zero: exactly 1 at first, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, a number is not positive and whole, or `start` is unknown.
        ModelError: weights of the other start are loaded.
        DataError: in training, the norm would have one value to measure.
    """

    def __init__(self, channels: int, *, dims: int = 2, reduction: int = 16, bias: bool = True, kernel_size: int = 7,
                 norm: bool = False, spatial: bool = True, start: Start = "paper") -> None:
        if not isinstance(kernel_size, int) or isinstance(kernel_size, bool) or kernel_size < 1 or kernel_size % 2 == 0:
            raise UsageError(f"kernel_size must be an odd whole number, got {kernel_size!r}", fix="7 is the paper's")
        super().__init__(start=start, squeeze="both")
        squeezed = squeezed_channels(channels, reduction)
        self.axes = axes(dims)
        self.squeeze = conv(dims)(channels, squeezed, kernel_size=1, bias=bias)
        self.excite = conv(dims)(squeezed, channels, kernel_size=1, bias=bias)
        self.open_at(self.excite)
        self.spatial = _spatial(kernel_size, norm, dims) if spatial else None
        if isinstance(self.spatial, ConvNormAct):
            nn.init.zeros_(self.spatial.norm.get_parameter("weight"))  # the norm's bias is zero as it comes
        elif self.spatial is not None:
            self.open_at(self.spatial)

    def channel_gate(self, x: Tensor) -> Tensor:
        """Return Mc, (N, C, 1, ...), every value from 0 to `scale`."""
        pooled = x.mean(dim=self.axes, keepdim=True), x.amax(dim=self.axes, keepdim=True)
        mean, most = (self.excite(self.squeeze(one).relu()) for one in pooled)
        gate: Tensor = self.scale * torch.sigmoid(mean + most)
        return gate

    def spatial_gate(self, x: Tensor, spatial: nn.Module) -> Tensor:
        """Return Ms, (N, 1, *S), every value from 0 to `scale`, of a map that the channel gate has scaled."""
        maps = torch.cat((x.mean(dim=1, keepdim=True), x.amax(dim=1, keepdim=True)), dim=1)
        gate: Tensor = self.scale * torch.sigmoid(spatial(maps))
        return gate

    def gate(self, x: Tensor) -> Tensor:
        """Return both gates' product, (N, C, *S); without the spatial half (N, C, 1, ...)."""
        channel = self.channel_gate(x)
        return channel if self.spatial is None else channel * self.spatial_gate(x * channel, self.spatial)

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """Return x * gate(x) + add, the scaled map computed once."""
        channel = self.channel_gate(x)
        if self.spatial is None:
            return scaled(x, channel, add)
        x = x * channel
        return scaled(x, self.spatial_gate(x, self.spatial), add)


class NormedConvolution(ConvNormAct):
    """The convolution of eq. 3 and its norm, also where group normalisation has one value: that is its own mean."""

    def forward(self, x: Tensor) -> Tensor:
        """Return the map before the sigmoid."""
        if isinstance(self.norm, nn.GroupNorm) and prod(x.shape[2:]) == 1:
            y = self.conv(x)
            normal: Tensor = self.norm(torch.cat((y, y), dim=-1))  # torch refuses a value alone
            return normal[..., :1]
        return super().forward(x)


def _spatial(kernel_size: int, norm: bool, dims: int) -> nn.Module:
    """Return the convolution of eq. 3, with its norm where there is one."""
    if norm:
        return NormedConvolution(2, 1, kernel_size, dims=dims, act=None, momentum=0.01)
    return conv(dims)(2, 1, kernel_size=kernel_size, padding=kernel_size // 2, bias=False)
