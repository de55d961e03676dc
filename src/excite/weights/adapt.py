"""Fitting a first convolution to another number of input channels."""

from typing import Literal

import torch
from torch import Tensor

from excite.errors import UsageError
from excite.layers.options import check_choice

Channels = Literal["sum", "mean", "repeat"]


def adapt_channels(weight: Tensor, in_channels: int, *, mode: Channels = "sum") -> Tensor:
    """Return a convolution's weight for another number of input channels.

    For C old channels and n new ones, and a grey image being the same in every channel:

    | mode     | weight of new channel j        | answer to a grey image, over the old one's        |
    |----------|--------------------------------|---------------------------------------------------|
    | "sum"    | sum of the old / n             | 1, exactly, for any n                             |
    | "mean"   | sum of the old / C             | n / C: a third where one channel replaces three   |
    | "repeat" | old channel j mod C, times C/n | 1 where n is 1 or a multiple of C, about 1 else   |

    "repeat" keeps the channels apart, which suits channels that are like the old ones; for n = 1 it is "sum".

    Args:
        weight: Of the convolution that was trained.
        in_channels: How many the new one has, n.
        mode: One of the three. "mean" is what many listings do; batch statistics measured in colour do not fit it.

    Shape:
        (D, C, *kernel) -> (D, in_channels, *kernel)

    Raises:
        UsageError: `in_channels` is not positive, or `mode` is none of them.

    Source:
        "repeat": timm's adapt_input_conv.
    """
    if in_channels < 1:
        raise UsageError(f"in_channels must be at least 1, got {in_channels}")
    check_choice("mode", mode, Channels, fix="'sum' answers to a grey image as before")
    old = weight.shape[1]
    if mode == "repeat" and in_channels > 1:
        return weight[:, torch.arange(in_channels) % old] * (old / in_channels)
    one = weight.mean(1, keepdim=True) if mode == "mean" else weight.sum(1, keepdim=True) / in_channels
    return one.repeat_interleave(in_channels, dim=1)
