"""Squeeze-and-Excitation channel attention.

    z = mean of U over space                                (eq. 2)
    s = sigmoid(W2 relu(W1 z)), W1 of C/r x C               (eq. 3)
    X = s * U, channel by channel                           (eq. 4)

Source: Hu, Shen, Sun. "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507, eq. 2-4.
"""

from typing import Literal, get_args

from torch import Tensor

from excite.attention.registry import ATTENTION
from excite.errors import UsageError
from excite.layers.dims import axes, conv
from excite.layers.gate import Gate, Squash, Start, squash
from excite.layers.width import make_divisible

Squeeze = Literal["average", "max"]


@ATTENTION.register("se")
class SqueezeExcitation(Gate):
    """Scale each channel by a gate computed from its spatial mean.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3.
        reduction: C is squeezed to C // reduction; 16 in the paper.
        min_channels: No fewer than so many: 16 or 24 channels would be squeezed to one number, which all gates share.
        divisor: C // reduction is rounded to a multiple of it; 8 in MobileNetV3.
        bias: Biases in both layers, as the released networks have them.
        squeeze: "average" or "max" over space (the paper's ablation).
        gate: "sigmoid", or "hard_sigmoid" as in MobileNetV3.
        start: "paper" for sigmoid gates (a fresh one is about 0.5); "open" for 2 * sigmoid with the last
            layer at zero: exactly 1 at first, so a pretrained network keeps its outputs, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, a number is not positive and whole, or a name is unknown.
        ModelError: weights of another form are loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, reduction: int = 16, min_channels: int = 1, divisor: int = 1,
                 bias: bool = True, squeeze: Squeeze = "average", gate: Squash = "sigmoid",
                 start: Start = "paper") -> None:
        if squeeze not in get_args(Squeeze):
            raise UsageError(f"squeeze must be 'average' or 'max', got {squeeze!r}", fix="'average' is the paper's")
        super().__init__(start=start, gate=gate, squeeze=squeeze)
        squeezed = squeezed_channels(channels, reduction, min_channels=min_channels, divisor=divisor)
        self.axes, self.pooled, self.squash = axes(dims), squeeze, squash(gate)
        self.squeeze = conv(dims)(channels, squeezed, kernel_size=1, bias=bias)
        self.excite = conv(dims)(squeezed, channels, kernel_size=1, bias=bias)
        self.open_at(self.excite)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, C, 1, ...), every value from 0 to `scale`."""
        one = x.mean(dim=self.axes, keepdim=True) if self.pooled == "average" else x.amax(dim=self.axes, keepdim=True)
        gate: Tensor = self.scale * self.squash(self.excite(self.squeeze(one).relu()))
        return gate


def squeezed_channels(channels: int, reduction: int, *, min_channels: int = 1, divisor: int = 1) -> int:
    """Return how many channels are left of `channels` after a squeeze by `reduction`.

    Raises:
        UsageError: a number is not positive and whole.
    """
    for name, value in (("reduction", reduction), ("min_channels", min_channels), ("divisor", divisor)):
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"{name} must be a whole number of at least 1, got {value!r}",
                             fix="16 is the paper's" if name == "reduction" else "leave it out for the published form")
    squeezed = channels // reduction
    return max(1, min_channels, make_divisible(squeezed, divisor) if divisor > 1 else squeezed)
