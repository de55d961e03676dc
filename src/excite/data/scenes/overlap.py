"""What training windows see of the test pixels, counted exactly by sums over boxes.

Two pixels may be in different parts and still share almost all of their windows: in a random 30/70 split with windows
of 25 every test pixel lies in some 80 training windows.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from excite.errors import UsageError
from excite.tiling import reach

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Overlap:
    """How much of the test part the training windows cover.

    Args:
        inside: Share of the test pixels that lie in a training window.
        windows: Training windows over a test pixel, mean.
        sharing: Share of the test windows that share a pixel with a training window.
    """

    inside: float
    windows: float
    sharing: float

    def __str__(self) -> str:
        return (f"{self.inside:.1%} of the test pixels lie in a training window (in {self.windows:.1f} on average), "
                f"{self.sharing:.1%} of the test windows share pixels with one")

    def to_json(self) -> dict[str, Any]:
        """Return the three numbers by name."""
        return asdict(self)


def box_sum(mask: Mask, before: int, after: int) -> NDArray[np.int64]:
    """Return for each pixel how many of `mask` are in the box from `before` up and left to `after` down and right."""
    height, width = mask.shape
    table = np.zeros((height + 1, width + 1), np.int64)
    np.cumsum(np.cumsum(mask, axis=0, dtype=np.int64), axis=1, out=table[1:, 1:])
    top, bottom = _edges(height, before, after)
    left, right = _edges(width, before, after)
    lower, upper = table[bottom], table[top]
    return lower[:, right] - lower[:, left] - upper[:, right] + upper[:, left]


def near(mask: Mask, distance: int) -> Mask:
    """Return where a pixel of `mask` is at most `distance` away, the larger of the two axes counting (Chebyshev)."""
    grown: Mask = ndimage.maximum_filter(mask, size=2 * distance + 1, mode="constant", cval=0)
    return grown


def measure_overlap(train: Mask, test: Mask, window: int) -> Overlap:
    """Return what windows of `window` pixels around the training pixels cover of the test pixels.

    Windows end at the border of the scene here: what is mirrored beyond it is, for an odd window, inside it already.

    Raises:
        UsageError: there is no test pixel.
    """
    if not test.any():
        raise UsageError("the test part must have a pixel to measure overlap on, got none")
    before, after = reach(window)
    over = box_sum(train, after, before)[test]  # those whose windows reach a pixel lie up to `after` above it
    sharing = box_sum(train, window - 1, window - 1)[test]
    return Overlap(inside=float((over > 0).mean()), windows=float(over.mean()), sharing=float((sharing > 0).mean()))


def _edges(length: int, before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    places = np.arange(length)
    return np.clip(places - before, 0, length), np.clip(places + after + 1, 0, length)
