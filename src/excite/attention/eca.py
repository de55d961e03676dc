"""Efficient Channel Attention: each gate from its channel and the neighbouring ones.

    z = mean of X over space;  omega = sigmoid(Conv1D_k(z));  X' = omega * X
    k = |log2(C) / gamma + b / gamma| to the nearest odd number, gamma = 2, b = 1               (eq. 12)

Halfway between two odd numbers k is the larger, as in the authors' code: 3 from 8 channels on, 5 from 128, 7 from 2048.
Below 8 channels the equation gives 1, so that a channel sees itself only; timm takes no less than 3 there, for which
there is `kernel_size`. The 80 parameters that the abstract counts in ResNet-50 are `kernel_size` (3, 5, 5, 7), one a
stage; the equation gives 86.

Source: Wang et al. "ECA-Net: Efficient Channel Attention for Deep Convolutional Neural Networks", CVPR 2020,
arXiv:1910.03151.
"""

from math import log2

import torch
from torch import Tensor, nn

from excite.attention.registry import ATTENTION
from excite.errors import UsageError
from excite.layers.dims import axes
from excite.layers.gate import Gate, Start

GAMMA, B = 2, 1  # of eq. 12, as section 3.2.3 sets them


@ATTENTION.register("eca")
class EfficientChannelAttention(Gate):
    """Scale each channel by a gate computed from the spatial means of its neighbours.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3; the weights are the same for both.
        kernel_size: Channels that a gate sees, odd; None: by eq. 12 from C.
        start: "paper"; or "open" for twice the sigmoid with the kernel at zero: exactly 1 at first, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, `kernel_size` is not odd, or `start` is unknown.
        ModelError: weights of the other start are loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, kernel_size: int | None = None, start: Start = "paper") -> None:
        size = neighbours(channels) if kernel_size is None else kernel_size
        if not isinstance(size, int) or isinstance(size, bool) or size < 1 or size % 2 == 0:
            raise UsageError(f"kernel_size must be an odd whole number, got {size!r}",
                             fix="leave it out for the paper's, from the number of channels")
        super().__init__(start=start)
        self.axes = axes(dims)
        self.excite = nn.Conv1d(1, 1, size, padding=size // 2, bias=False)
        self.open_at(self.excite)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, C, 1, ...), every value from 0 to `scale`."""
        means = x.mean(dim=self.axes, keepdim=True)
        found = self.excite(means.flatten(2).transpose(1, 2))
        gate: Tensor = self.scale * torch.sigmoid(found).view(means.shape)
        return gate


def neighbours(channels: int) -> int:
    """Return the kernel size for so many channels, by eq. 12."""
    wanted = int(abs(log2(channels) + B) / GAMMA)
    return wanted if wanted % 2 else wanted + 1
