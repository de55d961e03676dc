"""Masks to the share of each pixel that is inside: regions as they are, outlines by the ellipse through their middle.

A mask says inside and outside by two values, 0 and another; several masks of an image stand for their union. A thin
closed stroke along an ellipse, as sonographers draw around a head, is an OUTLINE: its pixels are all within a few
pixels of the ellipse fitted to them. The truth is the ellipse through the stroke's centre line. Filling the outline
instead adds half the stroke: +1.1 mm of circumference on HC18, two thirds of the best known error.

A thin ring that is itself the structure, such as a vessel's wall, has the same pixels: a single mask cannot tell. So
the table does: masks are outlines where every one that is not empty looks like one, or where `data.outlines` says so.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.reading import read
from excite.data.row import Row
from excite.ellipse import FEWEST, Ellipse, fit_ellipse
from excite.errors import DataError

SHOWN = 8           # unknown values that an error names
THIN = 0.1          # half the stroke by the ellipse's shorter semi-axis, at most
ROUND = 0.5         # share of the ellipse that the stroke runs along, at least
HOLLOW = 3.0        # enclosed by drawn pixels from which on a mask is taken for an outline


class MaskFault(DataError):
    """A mask that can be read and cannot be used.

    Args:
        kind: "mask-size", "mask-value" or "mask-outline", as `excite check` counts it.
    """

    def __init__(self, what: str, *, kind: str, where: Path, why: str | None = None, fix: str) -> None:
        super().__init__(what, where=where, why=why, fix=fix)
        self.kind = kind


class Mask(NamedTuple):
    """One mask of an image.

    Args:
        place: Its file.
        drawn: Pixels that are not 0, (H, W).
        ellipse: Through the middle of what is drawn, where that looks like an outline.
    """

    place: Path
    drawn: NDArray[np.bool_]
    ellipse: Ellipse | None


def read_mask(row: Row, root: Path, shape: tuple[int, int], *, outline: bool | None = None) -> NDArray[np.float32]:
    """Return the share of each pixel that the row's masks cover, 0 to 1; see `masks_of` and `covered`."""
    return covered(masks_of(row, root, shape), shape, outline=outline)


def masks_of(row: Row, root: Path, shape: tuple[int, int] | None) -> list[Mask]:
    """Return the masks of a row, each with the ellipse of the outline that it looks like.

    Args:
        row: Names the masks.
        root: Folder that their paths start from.
        shape: Of the image, (H, W); None: any.

    Raises:
        DataError: no mask, one that cannot be read, of another size, or with more than two values.
    """
    if not row.masks:
        raise DataError("the row has no mask", where=row.image, fix="name its mask, or leave the row out")
    drawn = [(root / mask, read_drawn(root / mask, shape)) for mask in row.masks]
    return [Mask(place, pixels, outline_of(pixels)) for place, pixels in drawn]


def covered(masks: Sequence[Mask], shape: tuple[int, int], *, outline: bool | None) -> NDArray[np.float32]:
    """Return the share of each pixel that masks cover, 0 to 1.

    Args:
        masks: Of one image.
        shape: Of the image, (H, W).
        outline: True: they are outlines, False: regions; None: each by its pixels.

    Shape:
        (H, W)

    Raises:
        MaskFault: what is drawn is not what `outline` says, or an outline that is no ellipse.
    """
    refuse_other(masks, outline=outline)
    found = np.zeros(shape, np.float32)
    for mask in masks:
        filled = None if outline is False or mask.ellipse is None else mask.ellipse.coverage(shape)
        np.maximum(found, mask.drawn if filled is None else filled, out=found, casting="same_kind")
    return found


def refuse_other(masks: Sequence[Mask], *, outline: bool | None) -> None:
    """Raise a MaskFault for the first mask that is not what `outline` says; see `covered`."""
    for mask in masks:
        if outline is False or mask.ellipse is not None or not mask.drawn.any():
            continue
        if outline:
            raise MaskFault("the mask is no outline along an ellipse", kind="mask-outline", where=mask.place,
                            why="data.outlines is yes, or the masks of other heads are outlines",
                            fix="draw it as one; where masks are regions: data.outlines=no")
        if hollow(mask.drawn):
            raise MaskFault("the mask is an outline, and no ellipse", kind="mask-outline", where=mask.place,
                            why="the drawn line itself would be taken for the structure",
                            fix="fill it, so that the mask is the region; where the line is the structure: "
                                "data.outlines=no")


def read_drawn(path: Path, shape: tuple[int, int] | None = None) -> NDArray[np.bool_]:
    """Return which pixels of a mask are drawn: those that are not 0.

    Args:
        path: Of the mask.
        shape: Of the image, (H, W); None: any.

    Shape:
        (H, W)

    Raises:
        DataError: unreadable, of another size, in colour, or with values besides 0 and one other.
    """
    pixels = read(path).image
    if pixels.shape[0] != 1:
        raise MaskFault("the mask is a colour picture", kind="mask-value", where=path,
                        why="nothing says which colours are inside", fix="save it in grey: 0 outside, 255 inside")
    plane = pixels[0]
    if shape is not None and plane.shape != tuple(shape):
        raise MaskFault(f"the mask has {plane.shape[1]} x {plane.shape[0]} pixels, its image {shape[1]} x {shape[0]}",
                        kind="mask-size", where=path,
                        fix="a mask lies pixel by pixel on its image: export it at the image's size")
    _check_values(plane, path)
    drawn: NDArray[np.bool_] = plane != 0
    return drawn


def outline_of(drawn: NDArray[np.bool_]) -> Ellipse | None:
    """Return the ellipse through the centre line of a stroke, in pixels; None where the pixels are no such stroke.

    Shape:
        drawn (H, W)
    """
    rows, columns = np.nonzero(drawn)
    if len(rows) < 4 * FEWEST or 2 * len(rows) > (np.ptp(rows) + 1) * (np.ptp(columns) + 1):
        return None
    points = np.stack([columns, rows], axis=1).astype(np.float64)
    try:
        ellipse = fit_ellipse(points)
    except DataError:
        return None
    if float(np.abs(ellipse.distances(points)).max()) > max(1.5, THIN * ellipse.b) or ellipse.b < 4:
        return None
    local = (points - [ellipse.x, ellipse.y]) @ np.linalg.inv(ellipse.axes).T
    sectors = np.unique(np.floor(np.arctan2(local[:, 1], local[:, 0]) * (18 / np.pi)).astype(int) % 36)
    return ellipse if len(sectors) >= ROUND * 36 else None


def hollow(drawn: NDArray[np.bool_]) -> bool:
    """Return whether drawn pixels enclose several times their own area, as an outline does and a region does not."""
    around = np.pad(drawn.astype(np.uint8), 1)
    cv2.floodFill(around, None, (0, 0), 2, flags=4)
    return float((around == 0).sum()) > HOLLOW * float(drawn.sum())


def _check_values(plane: NDArray[Any], path: Path) -> None:
    values = np.nonzero(np.bincount(plane.ravel()))[0] if plane.dtype.kind == "u" else np.unique(plane)
    others = values[values != 0]
    whole = (1, np.iinfo(plane.dtype).max) if plane.dtype.kind in "ui" else (1.0, 255.0)
    if len(others) > 1 or (len(others) == 1 and others[0] not in (*whole, 255)):
        told = ", ".join(f"{value:g}" for value in values[:SHOWN]) + (", ..." if len(values) > SHOWN else "")
        more = f" and {len(values) - SHOWN} more" if len(values) > SHOWN else ""
        raise MaskFault(f"the mask has the values {told.removesuffix(', ...')}{more}", kind="mask-value", where=path,
                        why="a mask has two: 0 outside, 255 or 1 inside",
                        fix="export it without smoothing, as PNG and not as JPEG; one file a class")
