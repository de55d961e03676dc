"""What a network for masks learns from: the covered share of each pixel, wherever the image is moved to.

An outline is kept as its ellipse: it moves exactly and is drawn anew for each view, with covered areas. A region is
kept in the pixels of the stored image, as a PNG of a few KB, and warped as the image is. Whether masks are outlines is
settled once for the whole table: a ring that is itself the structure looks like one, among masks that do not.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.masks import Mask, covered, masks_of
from excite.data.reading import read_bytes, split_address
from excite.data.row import MASK_SEPARATOR, Row
from excite.data.sections import Outlines
from excite.ellipse import Ellipse
from excite.errors import DataError
from excite.progress import Progress, silent

SHOWN = 10
Kind = Literal["ellipse", "region", "empty"]
Shape = tuple[int, int]
RULES: dict[Outlines, bool | None] = {"auto": None, "yes": True, "no": False}


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


@dataclass(frozen=True, kw_only=True)
class Truths:
    """The truth of every row, and how its masks were read.

    Args:
        targets: One a row.
        outlines: "yes": masks are outlines, their ellipses the truth; "no": what is drawn is the truth.
        alike: Rows with a mask that looks like an outline.
    """

    targets: list[Target]
    outlines: Outlines
    alike: int


def read_targets(rows: Sequence[Row], root: Path, shapes: Sequence[Shape], stored: Callable[[Shape], Shape], *,
                 outlines: Outlines = "auto", progress: Progress | None = None) -> Truths:
    """Return the truth of each row, every mask read and checked now, not in the middle of a training.

    Args:
        rows: With masks.
        root: Folder that their paths start from.
        shapes: Of their images, (H, W).
        stored: From the shape of an image to that of its stored form.
        outlines: Whether masks are outlines; auto: where every one that is not empty looks like one.

    Raises:
        DataError: masks that cannot be used; the first ten are named with their reason, the rest counted.
    """
    def read(places: Sequence[int], rule: Outlines) -> list[tuple[Target, Look]]:
        def one(place: int) -> tuple[Target, Look] | DataError:
            try:
                return _target(rows[place], root, shapes[place], stored(shapes[place]), RULES[rule])
            except DataError as fault:
                return fault

        return _all_of(one, places, progress or silent())

    seen = read(range(len(rows)), outlines)
    settled = settle([look for _, look in seen]) if outlines == "auto" else outlines
    alike = [place for place, (_, look) in enumerate(seen) if look.outlines]
    if outlines == "auto" and settled == "no":
        for place, again in zip(alike, read(alike, "no"), strict=True):
            seen[place] = again
    return Truths(targets=[target for target, _ in seen], outlines=settled, alike=len(alike))


class Look(NamedTuple):
    """How many masks of a row look like outlines, and how many others are not empty."""

    outlines: int
    regions: int


def look_at(masks: Sequence[Mask]) -> Look:
    """Return what the masks of a row look like."""
    outlines = sum(mask.ellipse is not None for mask in masks)
    return Look(outlines, sum(bool(mask.drawn.any()) for mask in masks) - outlines)


def settle(looks: Sequence[Look]) -> Outlines:
    """Return "yes" where every mask of a table that is not empty looks like an outline, and there is one."""
    return "yes" if any(look.outlines for look in looks) and not any(look.regions for look in looks) else "no"


def _all_of(one: Callable[[int], tuple[Target, Look] | DataError], places: Sequence[int], progress: Progress
            ) -> list[tuple[Target, Look]]:
    """Return what `one` gives for each place; raise for all faults together."""
    found, faults = [], []
    with ThreadPoolExecutor() as pool:
        for done, seen in enumerate(pool.map(one, places), start=1):
            progress.step("reading masks", done, len(places))
            if isinstance(seen, DataError):
                faults.append(str(seen))
            else:
                found.append(seen)
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise DataError(f"{len(faults)} of {len(places)} masks cannot be used", why="; ".join(faults[:SHOWN]) + more,
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


def _target(row: Row, root: Path, shape: Shape, stored: Shape, outline: bool | None) -> tuple[Target, Look]:
    masks = masks_of(row, root, shape)
    look = look_at(masks)
    ellipse = masks[0].ellipse if len(masks) == 1 and outline is not False else None
    if ellipse is not None:
        across, down = stored[1] / shape[1], stored[0] / shape[0]
        moved = ellipse.mapped(np.array([[across, 0, across / 2 - 0.5], [0, down, down / 2 - 0.5]]))
        return Outline(moved), look
    shares = covered(masks, shape, outline=outline)
    return (Region(_png(shares, stored)) if shares.any() else Region(b"", kind="empty")), look


def _png(shares: NDArray[Any], stored: Shape) -> bytes:
    """Return covered shares at the stored size, area by area, as a PNG."""
    small = shares if shares.shape == stored else cv2.resize(shares, stored[::-1], interpolation=cv2.INTER_AREA)
    done, content = cv2.imencode(".png", np.rint(small * 255).astype(np.uint8))
    if not done:
        raise DataError("a mask cannot be kept", fix="report it with the mask")
    return content.tobytes()
