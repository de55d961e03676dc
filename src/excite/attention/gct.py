"""Gated channel transformation: channels compete or help each other, with three numbers a channel.

    s_c  = alpha_c * sqrt(sum over space of x_c^2 + eps)                    (global context embedding)
    s'_c = s_c / sqrt(mean over channels of s^2 + eps)                      (channel normalisation)
    y_c  = x_c * (1 + tanh(gamma_c * s'_c + beta_c))                        (gating adaptation)

alpha = 1, gamma = 0 and beta = 0 at first: the gate is exactly 1, so the published start is the open one.

Source: Yang et al. "Gated Channel Transformation for Visual Recognition", CVPR 2020, arXiv:1909.11519; eps = 1e-5 and
the mean, beside which the paper's eps is divided by C, from the authors' code (github.com/z-x-yang/GCT).
"""

import torch
from torch import Tensor, nn

from excite.attention.registry import ATTENTION
from excite.layers.dims import axes
from excite.layers.gate import Gate, Start

EPS = 1e-5


@ATTENTION.register("gct")
class GatedChannelTransformation(Gate):
    """Scale each channel by a gate computed from its size among the others.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3; the weights are the same for both.
        start: "paper" or "open"; here both are one form, and weights load from either into either.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, or `start` is unknown.
    """

    def __init__(self, channels: int, *, dims: int = 2, start: Start = "paper") -> None:
        super().__init__(start=start)
        self.start = "open"  # as published
        self.set_form(embedding="l2")
        self.axes = axes(dims)
        self.alpha = nn.Parameter(torch.ones(channels))
        self.gamma = nn.Parameter(torch.zeros(channels))
        self.beta = nn.Parameter(torch.zeros(channels))

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, C, 1, ...), every value from 0 to 2; in fp32 inside, where squares do not overflow."""
        alpha, gamma, beta = (one.view(1, -1, *[1] * len(self.axes)) for one in (self.alpha, self.gamma, self.beta))
        wide = x.float() if x.dtype in (torch.float16, torch.bfloat16) else x
        embedding = alpha * (wide.square().sum(dim=self.axes, keepdim=True) + EPS).sqrt()
        normal = embedding * (embedding.square().mean(dim=1, keepdim=True) + EPS).rsqrt()
        return (1 + torch.tanh(gamma * normal + beta)).to(x.dtype)
