"""Atrous spatial pyramid pooling.

    y = project(1x1(x), 3x3 at each rate(x), 1x1(mean over space of x) everywhere), side by side

Source: Chen et al. "Rethinking Atrous Convolution for Semantic Image Segmentation", arXiv:1706.05587, section 3.3;
the separable form: Chen et al., ECCV 2018, arXiv:1802.02611, section 3.1.
"""

import warnings
from collections.abc import Sequence
from functools import partial
from math import gcd, prod

import torch
from torch import Tensor, nn

from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.dims import axes
from excite.layers.form import Formed
from excite.layers.norm import GROUPS

RATES = (6, 12, 18)  # of the paper, at output stride 16


class ASPP(Formed):
    """Convolutions of one map at several rates, and its mean, joined by a 1x1.

    Warns once where a rate reaches the map: the kernel's outer taps then see nothing but padding, never learn, and only
    decay. At 256 x 256 and output stride 32 that is so for two of the three published rates.

    Args:
        in_channels: Channels of the input.
        out_channels: Of every branch and of the output.
        rates: Dilations of the 3x3 branches.
        dropout: Rate behind the projection.
        groupnorm: The mean's branch has group normalisation (32 groups, fewer below 64 channels), which a batch of one
            can train; batch normalisation otherwise. All other norms are of the batch, either way.
        separable: Each 3x3 as a depth-wise and a 1x1 convolution.
        dims: Spatial dimensions, 2 or 3.

    Shape:
        (N, in_channels, *S) -> (N, out_channels, *S).

    Raises:
        UsageError: a number is out of its range. DataError: in training, a norm would have one value to measure.
        ModelError: weights of other rates are loaded; their shapes would not tell.
    """

    def __init__(self, in_channels: int, out_channels: int, *, rates: Sequence[int] = RATES, dropout: float = 0.5,
                 groupnorm: bool = True, separable: bool = False, dims: int = 2) -> None:
        super().__init__()
        self.rates = _checked(rates)
        for name, value, least in (("in_channels", in_channels, 1), ("out_channels", out_channels, 2)):
            if not isinstance(value, int) or value < least:
                raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if not 0 <= dropout < 1:
            raise UsageError(f"dropout must be at least 0 and below 1, got {dropout!r}")
        self.axes, self.out_channels = axes(dims), out_channels
        self.set_form(rates=",".join(map(str, self.rates)))
        self.told = False
        brick = partial(ConvNormAct, dims=dims)
        self.point = brick(in_channels, out_channels, 1)
        self.atrous = nn.ModuleList(
            nn.Sequential(brick(in_channels, in_channels, 3, groups=in_channels, dilation=rate),
                          brick(in_channels, out_channels, 1)) if separable else
            brick(in_channels, out_channels, 3, dilation=rate) for rate in self.rates)
        self.pool = brick(in_channels, out_channels, 1)
        if groupnorm:
            self.pool.norm = nn.GroupNorm(_groups(out_channels), out_channels)
        self.project = brick(out_channels * (2 + len(self.rates)), out_channels, 1)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Return the joined map."""
        if not self.told and not torch.compiler.is_compiling():
            self._tell_dead(tuple(x.shape[2:]))
        mean: Tensor = self.pool(x.mean(dim=self.axes, keepdim=True))
        branches = [self.point(x), *(branch(x) for branch in self.atrous)]
        branches.append(mean.expand_as(branches[0]))
        y: Tensor = self.dropout(self.project(torch.cat(branches, dim=1)))
        return y

    def dead(self, sizes: Sequence[int]) -> dict[int, int]:
        """Return {rate: weights that see nothing but padding} on a map of `sizes`; no entry where there are none."""
        found: dict[int, int] = {}
        for rate, branch in zip(self.rates, self.atrous, strict=True):
            kernel = next(branch.parameters())
            taps = 3 ** len(sizes)
            alive = prod(3 if rate < size else 1 for size in sizes)
            if alive < taps:
                found[rate] = kernel.numel() // taps * (taps - alive)
        return found

    def _tell_dead(self, sizes: tuple[int, ...]) -> None:
        """Warn of rates that reach a map of `sizes`."""
        dead = self.dead(sizes)
        if dead:
            self.told = True
            rates = " and ".join(map(str, dead))
            warnings.warn(
                f"ASPP: {'rates' if len(dead) > 1 else 'rate'} {rates} reach{'' if len(dead) > 1 else 'es'} the "
                f"{' x '.join(map(str, sizes))} map: {sum(dead.values()):,} of the kernels' weights see nothing but "
                "padding and never learn; give smaller rates, larger images or a smaller output stride", stacklevel=3)


def _groups(channels: int) -> int:
    """Return how many groups: each has two channels at least, for the mean over space is one value a channel."""
    return gcd(GROUPS, channels // 2) if channels % 2 == 0 else 1


def _checked(rates: Sequence[int]) -> tuple[int, ...]:
    """Return the rates as a tuple.

    Raises:
        UsageError: there are none, or one is not positive and whole.
    """
    found = tuple(rates) if isinstance(rates, Sequence) and not isinstance(rates, str) else ()
    if not found or any(not isinstance(rate, int) or isinstance(rate, bool) or rate < 1 for rate in found):
        raise UsageError(f"rates must be whole numbers of at least 1, got {rates!r}",
                         fix="(6, 12, 18) are the paper's; (1, 2, 3) suit a map of 8 x 8")
    return found
