"""Windows and tiles of a large picture: what a window reaches, what the windows of a tile cover, what lies beyond.

A window of an even side reaches one pixel farther down and to the right. Training, whole scenes and bundles share this.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.errors import UsageError

Border = Literal["reflect", "zero"]


class Tile(NamedTuple):
    """Some rows and columns of a scene."""

    top: int
    left: int
    height: int
    width: int

    @property
    def inside(self) -> tuple[slice, slice]:
        """Return its place in the scene."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)


def reach(window: int) -> tuple[int, int]:
    """Return how many pixels a window reaches up and left, and down and right.

    Raises:
        UsageError: the window is below 1.
    """
    if window < 1:
        raise UsageError(f"window must be at least 1, got {window}")
    return (window - 1) // 2, window // 2


def tiles(sizes: tuple[int, int], side: int) -> list[Tile]:
    """Return a scene cut into tiles of at most `side` a side, row by row, as equal as whole pixels allow.

    Raises:
        UsageError: the side is below 1.
    """
    if side < 1:
        raise UsageError(f"tile must be at least 1, got {side}")
    edges = [[length * number // -(-length // side) for number in range(-(-length // side) + 1)] for length in sizes]
    rows, columns = (list(pairwise(each)) for each in edges)
    return [Tile(top, left, bottom - top, right - left) for top, bottom in rows for left, right in columns]


class Cover:
    """The rows and columns that the windows of a tile's pixels cover.

    Beyond the border lie the mirror image of the scene, the outermost pixel not repeated, or zeros.

    Args:
        part: Of the scene.
        sizes: (H, W) of the scene.
        window: Pixels along a window.
        border: What lies beyond.
    """

    def __init__(self, part: Tile, sizes: Sequence[int], *, window: int, border: Border) -> None:
        before, _ = reach(window)
        self.border = border
        self.taken: list[NDArray[np.int_]] = []
        self.beyond: list[NDArray[np.bool_]] = []
        for first, length, size in zip(part[:2], part[2:], sizes, strict=True):
            places = np.arange(first - before, first - before + length + window - 1)
            self.beyond.append((places < 0) | (places >= size))
            self.taken.append(mirrored(places, size) if border == "reflect" else places.clip(0, size - 1))

    def read(self, values: NDArray[Any]) -> NDArray[Any]:
        """Return (H, W, ...) -> (height + window - 1, width + window - 1, ...), a copy; nothing else is read."""
        rows, columns = self.taken
        top, left = int(rows.min()), int(columns.min())
        near = np.asarray(values[top:int(rows.max()) + 1, left:int(columns.max()) + 1])
        found: NDArray[Any] = near[np.ix_(rows - top, columns - left)]
        return found

    def blank(self, block: NDArray[Any]) -> NDArray[Any]:
        """Set what lies beyond a border of zeros to zero, in place, and return the block."""
        if self.border == "zero":
            block[self.beyond[0]], block[:, self.beyond[1]] = 0, 0
        return block


def mirrored(places: NDArray[np.int_], size: int) -> NDArray[np.int_]:
    """Return the places inside that places beyond are the mirror image of, however far beyond they lie."""
    period = max(1, 2 * (size - 1))
    folded = np.abs(places) % period
    found: NDArray[np.int_] = np.where(folded < size, folded, period - folded)
    return found
