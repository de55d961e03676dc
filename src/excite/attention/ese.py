"""Effective Squeeze-Excitation: one layer that keeps every channel.

    z = mean of X over space;  A = sigma(W z + b), W of C x C;  X' = A * X

SE squeezes z to C / r numbers and back and loses channel information on the way; here nothing is squeezed.

Source: Lee, Park. "CenterMask: Real-Time Anchor-Free Instance Segmentation", CVPR 2020, arXiv:1911.06667, section 3.3;
sigma is the authors' code's: a hard sigmoid, min(max(z + 3, 0), 6) / 6.
"""

from torch import Tensor

from excite.attention.registry import ATTENTION
from excite.layers.dims import axes, conv
from excite.layers.gate import Gate, Squash, Start, squash


@ATTENTION.register("ese")
class EffectiveSqueezeExcitation(Gate):
    """Scale each channel by a gate computed from the spatial means of all.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3.
        gate: "hard_sigmoid", the authors' code's, or "sigmoid".
        start: "paper"; or "open" for twice the sigmoid with the layer at zero: exactly 1 at first, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, or a name is unknown.
        ModelError: weights of another form are loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, gate: Squash = "hard_sigmoid", start: Start = "paper") -> None:
        super().__init__(start=start, gate=gate)
        self.axes, self.squash = axes(dims), squash(gate)
        self.excite = conv(dims)(channels, channels, kernel_size=1)
        self.open_at(self.excite)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, C, 1, ...), every value from 0 to `scale`."""
        gate: Tensor = self.scale * self.squash(self.excite(x.mean(dim=self.axes, keepdim=True)))
        return gate
