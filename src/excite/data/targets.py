"""What a network for masks learns from: the covered share of each pixel, wherever the image is moved to.

An outline is kept as its ellipse: it moves exactly and is drawn anew for each view, with covered areas. A region is
kept in the pixels of the stored image, as a PNG of a few KB, and warped as the image is.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.masks import outline_of, read_drawn, read_mask
from excite.data.reading import read_bytes, split_address
from excite.data.row import MASK_SEPARATOR, Row
from excite.ellipse import Ellipse
from excite.errors import DataError
from excite.progress import Progress, silent

SHOWN = 10
Kind = Literal["ellipse", "region", "empty"]
Shape = tuple[int, int]


class Target(Protocol):
    """The truth of one image."""

    @property
    def kind(self) -> Kind:
        """Return what it is."""

    def render(self, matrix: NDArray[np.float64], shape: Shape) -> NDArray[np.float32]:
        """Return the covered share of each pixel of the input.

        Args:
            matrix: From pixels of the stored image to pixels of the input, (2, 3).
            shape: Of the input, (H, W).
        """


@dataclass(frozen=True)
class Outline:
    """An ellipse in pixels of the stored image."""

    ellipse: Ellipse
    kind: Kind = "ellipse"

    def render(self, matrix: NDArray[np.float64], shape: Shape) -> NDArray[np.float32]:
        """Return the covered share of each pixel, (H, W)."""
        return self.ellipse.mapped(matrix).coverage(shape)


@dataclass(frozen=True)
class Region:
    """A mask in pixels of the stored image: its covered shares as an 8-bit PNG, b"" where nothing is covered."""

    png: bytes
    kind: Kind = "region"

    def render(self, matrix: NDArray[np.float64], shape: Shape) -> NDArray[np.float32]:
        """Return the covered share of each pixel, (H, W)."""
        if not self.png:
            return np.zeros(shape, np.float32)
        stored = np.asarray(cv2.imdecode(np.frombuffer(self.png, np.uint8), cv2.IMREAD_GRAYSCALE), np.float32)
        moved = cv2.warpAffine(stored, matrix, shape[::-1], flags=cv2.INTER_LINEAR)
        return np.asarray(moved / np.float32(255), np.float32)


def read_targets(rows: Sequence[Row], root: Path, shapes: Sequence[Shape], stored: Callable[[Shape], Shape], *,
                 progress: Progress | None = None) -> list[Target]:
    """Return the truth of each row, every mask read and checked now, not in the middle of a training.

    Args:
        rows: With masks.
        root: Folder that their paths start from.
        shapes: Of their images, (H, W).
        stored: From the shape of an image to that of its stored form.

    Raises:
        DataError: masks that cannot be used; the first ten are named with their reason, the rest counted.
    """
    progress = progress or silent()

    def one(place: int) -> Target | DataError:
        try:
            return _target(rows[place], root, shapes[place], stored(shapes[place]))
        except DataError as fault:
            return fault

    found: list[Target] = []
    faults: list[str] = []
    with ThreadPoolExecutor() as pool:
        for done, target in enumerate(pool.map(one, range(len(rows))), start=1):
            progress.step("reading masks", done, len(rows))
            if isinstance(target, DataError):
                faults.append(str(target))
            else:
                found.append(target)
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise DataError(f"{len(faults)} of {len(rows)} masks cannot be used", why="; ".join(faults[:SHOWN]) + more,
                        fix="mend them, or leave the rows out; an image in which nothing is has a black mask")
    return found


def mask_contents(rows: Sequence[Row], root: Path) -> list[str]:
    """Return what tells the masks of each row from all others: the sha256 of each file, and its page, in their order.

    Behind `read_targets` the files come from memory: 0.04 s for 420 outlines of HC18, whose decoding takes 1.7 s.

    Raises:
        DataError: a file cannot be read.
    """

    def one(row: Row) -> str:
        return MASK_SEPARATOR.join(_content(root / mask) for mask in row.masks)

    with ThreadPoolExecutor() as pool:
        return list(pool.map(one, rows))


def _content(file: Path) -> str:
    page = split_address(file)[2]
    return hashlib.sha256(read_bytes(file)).hexdigest() + (f"#page={page}" if page else "")


def _target(row: Row, root: Path, shape: Shape, stored: Shape) -> Target:
    across, down = stored[1] / shape[1], stored[0] / shape[0]
    if len(row.masks) == 1:
        ellipse = outline_of(read_drawn(root / row.masks[0], shape))
        if ellipse is not None:
            return Outline(ellipse.mapped(np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5]])))
    covered = read_mask(row, root, shape)
    if not covered.any():
        return Region(b"", kind="empty")
    return Region(_png(covered, stored))


def _png(covered: NDArray[Any], stored: Shape) -> bytes:
    """Return covered shares at the stored size, area by area, as a PNG."""
    small = covered if covered.shape == stored else cv2.resize(covered, stored[::-1], interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".png", np.rint(small * 255).astype(np.uint8))
    if not done:
        raise DataError("a mask cannot be kept", fix="report it with the mask")
    return content.tobytes()
