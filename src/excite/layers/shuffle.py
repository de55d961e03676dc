"""Channel shuffle: what lets the groups of one convolution after another exchange what they know.

Source: Zhang et al., CVPR 2018, arXiv:1707.01083, section 3.1.
"""

import torch
from torch import Tensor, nn

from excite.errors import UsageError
from excite.layers.volume import at_work


def channel_shuffle(x: Tensor, groups: int) -> Tensor:
    """Return `x` with its channels dealt out: the first of each group, then the second of each.

    Twelve channels in three groups come in the order 0 4 8 1 5 9 2 6 10 3 7 11. A shuffle by channels / groups undoes
    it.

    Args:
        x: (N, C, *S).
        groups: Parts of C that lie together before.

    Shape:
        (N, C, *S) -> (N, C, *S).

    Raises:
        UsageError: `groups` does not divide C.
    """
    check_groups(groups, x.shape[1])
    if at_work(x) and x.stride(1) == 1:  # channels come last in memory, and stay there
        return torch.unflatten(x.movedim(1, -1), -1, (groups, -1)).transpose(-1, -2).flatten(-2).movedim(-1, 1)
    return torch.unflatten(x, 1, (groups, x.shape[1] // groups)).transpose(1, 2).flatten(1, 2)


class ChannelShuffle(nn.Module):
    """`channel_shuffle` as a layer; arguments, shape and faults are the function's."""

    def __init__(self, groups: int) -> None:
        super().__init__()
        check_groups(groups)
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        """Return the shuffled map."""
        return channel_shuffle(x, self.groups)

    def extra_repr(self) -> str:
        """Return the groups, for print."""
        return f"groups={self.groups}"


def check_groups(groups: int, channels: int | None = None, *, what: str = "channels") -> None:
    """Raise where `groups` is no whole number of at least 1, or does not divide `channels`.

    Raises:
        UsageError: with both numbers.
    """
    if not isinstance(groups, int) or isinstance(groups, bool) or groups < 1:
        raise UsageError(f"groups must be a whole number of at least 1, got {groups!r}")
    if channels is not None and channels % groups:
        fitting = ", ".join(str(n) for n in range(1, channels + 1) if channels % n == 0)
        raise UsageError(f"groups must divide the {channels} {what}, got {groups}", fix=f"these do: {fitting}")
