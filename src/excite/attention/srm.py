"""Style-based recalibration: each gate from the mean and the spread of its channel.

    t = [mean of X over space, standard deviation of X over space]              (style pooling)
    z_c = w_c . t_c, two weights a channel                                      (channel-wise fully connected layer)
    g = sigmoid(BN(z));  X' = g * X                                             (style integration)

Source: Lee, Kim, Nam. "SRM: A Style-based Recalibration Module for Convolutional Neural Networks", ICCV 2019,
arXiv:1903.10829, section 3; weights that begin at zero from the authors' code
(github.com/hyunjaelee410/style-based-recalibration-module), whose spread divides by one place less.
"""

import torch
from torch import Tensor, nn

from excite.attention.registry import ATTENTION
from excite.layers.dims import axes, norm
from excite.layers.gate import Gate, Start
from excite.layers.norm import OVER_BATCH, refuse_single

EPS = 1e-5  # under the root, so that a constant channel has a gradient


@ATTENTION.register("srm")
class StyleRecalibration(Gate):
    """Scale each channel by a gate computed from its own mean and standard deviation, four numbers a channel.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3.
        start: "paper", whose fresh gates are a half; or "open" for twice the sigmoid with the norm's weight at zero:
            exactly 1 at first, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, or `start` is unknown.
        ModelError: weights of the other start are loaded.
        DataError: in training, a batch of one: the norm would have one value a channel to measure.
    """

    def __init__(self, channels: int, *, dims: int = 2, start: Start = "paper") -> None:
        super().__init__(start=start)
        self.axes = axes(dims)
        self.style = nn.Parameter(torch.zeros(channels, 2))
        if start == "open":  # the norm is the last layer and zero, so this one must not be
            nn.init.normal_(self.style, std=0.1)
        self.norm = norm(dims)(channels)
        setattr(self.norm, OVER_BATCH, True)  # of one value a channel, which groups cannot normalise
        self.open_at(self.norm)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, C, 1, ...), every value from 0 to `scale`."""
        mean = x.mean(dim=self.axes, keepdim=True)
        spread = (x.var(dim=self.axes, correction=0, keepdim=True) + EPS).sqrt()
        of_mean, of_spread = self.style.unbind(1)
        shape = (1, -1, *[1] * len(self.axes))
        z = of_mean.view(shape) * mean + of_spread.view(shape) * spread
        refuse_single(z, self.norm, None)
        gate: Tensor = self.scale * torch.sigmoid(self.norm(z))
        return gate.to(x.dtype)
