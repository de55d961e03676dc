"""SimAM: each value by how much it stands out from its channel, without a parameter.

    mu, v  = mean of X over space; sum over space of (X - mu)^2 / n, n = H * W - 1
    1 / e* = (X - mu)^2 / (4 * (v + lambda)) + 1/2                          (the inverse of the least energy, eq. 5)
    X'     = X * sigmoid(1 / e*)                                            (eq. 6)

Source: Yang et al. "SimAM: A Simple, Parameter-Free Attention Module for Convolutional Neural Networks", ICML 2021,
PMLR 139 (yang21o); n from the authors' code (github.com/ZjjConan/SimAM), in 3-D D * H * W - 1.
"""

from math import prod

import torch
from torch import Tensor

from excite.attention.registry import ATTENTION
from excite.errors import UsageError
from excite.layers.dims import axes
from excite.layers.gate import Gate, Start


@ATTENTION.register("simam")
class SimpleAttention(Gate):
    """Scale each value by a gate from 0.62 to 1 that grows with its distance from the channel's mean.

    Args:
        channels: Channels of the input; nothing depends on them.
        dims: Spatial dimensions, 2 or 3.
        regulariser: The paper's lambda; 1e-4 is its default, its ImageNet networks have 0.1.
        start: "paper" only: without a parameter it cannot be 1 at first and learn to be another.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, `regulariser` is not above 0, or `start` is not "paper".
        ModelError: a state of another `regulariser` is loaded.
    """

    def __init__(self, channels: int, *, dims: int = 2, regulariser: float = 1e-4, start: Start = "paper") -> None:
        if start == "open":
            raise UsageError("start must be 'paper' for simam, got 'open'",
                             why="it has no parameter, so it can neither be 1 at first nor learn",
                             fix="use start='paper', or a kind with parameters")
        if not regulariser > 0:
            raise UsageError(f"regulariser must be above 0, got {regulariser!r}", fix="1e-4 is the paper's lambda")
        super().__init__(start=start, regulariser=float(regulariser))
        self.axes, self.regulariser = axes(dims), float(regulariser)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, C, *S); in fp32 inside, where squares do not overflow."""
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        apart = (wide - wide.mean(dim=self.axes, keepdim=True)).square()
        others = max(prod(x.shape[2:]) - 1, 1)  # a map of one place has no others
        spread = apart.sum(dim=self.axes, keepdim=True) / others
        return torch.sigmoid(apart / (4 * (spread + self.regulariser)) + 0.5).to(x.dtype)
