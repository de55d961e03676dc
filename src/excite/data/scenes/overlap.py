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


def box_sum(mask: NDArray[Any], before: int, after: int) -> NDArray[np.int64]:
    """Return for each pixel the sum of `mask` in the box from `before` up and left to `after` down and right."""
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

    What is mirrored beyond the border is inside the window already, save that an even window around the last row, or
    column, shows one more row above: as if it lay one row higher. A border of zeros shows none; it is counted all the
    same.

    Raises:
        UsageError: there is no test pixel.
    """
    if not test.any():
        raise UsageError("the test part must have a pixel to measure overlap on, got none")
    before, after = reach(window)
    middles = np.zeros(train.shape, np.int64)
    np.add.at(middles, _middles(train, window), 1)
    over = box_sum(middles, after, before)[test]  # those whose windows reach a pixel lie up to `after` above it
    sharing = box_sum(middles, window - 1, window - 1)[_middles(test, window)]
    return Overlap(inside=float((over > 0).mean()), windows=float(over.mean()), sharing=float((sharing > 0).mean()))


def _middles(mask: Mask, window: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return rows and columns around which the windows of pixels lie, mirrored pixels included."""
    last = [length - 1 if window % 2 else max(0, length - 2) for length in mask.shape]
    rows, columns = np.nonzero(mask)
    return np.minimum(rows, last[0]), np.minimum(columns, last[1])


def _edges(length: int, before: int, after: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    places = np.arange(length)
    return np.clip(places - before, 0, length), np.clip(places + after + 1, 0, length)
