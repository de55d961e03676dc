"""Fitting a first convolution to another number of input channels."""

from typing import Literal

from torch import Tensor

from excite.errors import UsageError


def adapt_channels(weight: Tensor, in_channels: int, *, mode: Literal["sum", "mean"] = "sum") -> Tensor:
    """Return a convolution's weight for another number of input channels, all of them alike.

    Args:
        weight: Of the convolution that was trained.
        in_channels: How many the new one has.
        mode: "sum" answers to a grey image as the old one to the same image repeated over its channels, whatever the
            number of new channels; "mean" takes the old channels' mean for each new one, so that one channel in place
            of three answers with a third.

    Shape:
        (D, C, *kernel) -> (D, in_channels, *kernel)

    Raises:
        UsageError: `in_channels` is not positive, or `mode` is neither.
    """
    if in_channels < 1:
        raise UsageError(f"in_channels must be at least 1, got {in_channels}")
    if mode not in ("sum", "mean"):
        raise UsageError(f"mode must be 'sum' or 'mean', got {mode!r}")
    one = weight.sum(1, keepdim=True) / in_channels if mode == "sum" else weight.mean(1, keepdim=True)
    return one.repeat_interleave(in_channels, dim=1)
