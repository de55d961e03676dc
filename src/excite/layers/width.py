"""Channels times a width multiplier: the two published ways of rounding."""

from collections.abc import Callable
from typing import Literal

from excite.errors import UsageError
from excite.layers.options import check_choice

Rounding = Literal["divisible", "truncate"]


def make_divisible(channels: float, divisor: int = 8) -> int:
    """Round `channels` to a multiple of `divisor`, never by more than 10 % down.

    Source: the MobileNet authors' reference code; Sandler et al., arXiv:1801.04381, uses it for every width.
    """
    rounded = max(divisor, int(channels + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * channels else rounded


def check_width(width: float) -> None:
    """Raise a UsageError where `width` is not above 0 and at most 10."""
    if not 0 < width <= 10:
        raise UsageError(f"width must be above 0 and at most 10, got {width!r}", fix="1 is the paper's network")


def scaling(width: float, rounding: Rounding = "divisible", divisor: int = 8) -> Callable[[int], int]:
    """Return the function from a layer's channels at width 1 to those at `width`.

    Args:
        width: The multiplier.
        rounding: "divisible": to multiples of `divisor`; "truncate": int(channels * width).
        divisor: For "divisible".

    Raises:
        UsageError: a name or number is wrong; or, from the function, no channel would be left.
    """
    check_choice("rounding", rounding, Rounding)
    if not isinstance(divisor, int) or divisor < 1:
        raise UsageError(f"round_nearest must be a whole number of at least 1, got {divisor!r}",
                         fix="8 is the usual one")

    def scaled(channels: int) -> int:
        found = make_divisible(channels * width, divisor) if rounding == "divisible" else int(channels * width)
        if found < 1:
            raise UsageError(f"width {width!r} leaves no channel of {channels}", fix=f"1/{channels} is the least")
        return found

    return scaled
