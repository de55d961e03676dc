"""The truth of one image with a mask, in the pixels of the original image."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.masks import covered, masks_of
from excite.data.reading import read
from excite.data.row import Row
from excite.ellipse import Ellipse
from excite.errors import DataError
from excite.metrics.biometry import ellipse_of

HALF = 0.5  # of a pixel, from which on it counts as inside


@dataclass(frozen=True, kw_only=True, eq=False)
class Truth:
    """What the masks of a row say.

    Args:
        mask: Pixels of which half or more is covered, (H, W).
        ellipse: Of a head; None where the mask is empty, or where none was asked for.
        drawn: Whether the mask is an outline, so that the ellipse is the truth itself and not fitted to a region.
        alike: Whether a mask looks like an outline and is taken for the structure all the same.
    """

    mask: NDArray[np.bool_]
    ellipse: Ellipse | None = None
    drawn: bool = False
    alike: bool = False


def truth_of(row: Row, root: Path, shape: tuple[int, int], *, head: bool, outline: bool | None = None) -> Truth:
    """Return the truth of a row: of an outline the ellipse through its centre line, of a region one fitted to it.

    Args:
        row: Names the masks.
        root: Folder that their paths start from.
        shape: Of the image, (H, W).
        head: Whether an ellipse is needed.
        outline: True: its masks are outlines, False: regions; None: each by its pixels.

    Raises:
        DataError: no mask, one that cannot be used, or, for a head, a region that is no ellipse.
    """
    masks = masks_of(row, root, shape)
    ellipse = masks[0].ellipse if len(masks) == 1 and outline is not False else None
    if ellipse is not None:
        return Truth(mask=ellipse.coverage(shape) >= HALF, ellipse=ellipse if head else None, drawn=True)
    shares = covered(masks, shape, outline=outline)
    mask = shares >= HALF
    if not head or not mask.any():
        return Truth(mask=mask, alike=outline is False and any(one.ellipse is not None for one in masks))
    found = ellipse_of(shares, level=HALF)
    if found.ellipse is None:
        raise DataError("the true mask is no head", where=root / row.masks[0], why="; ".join(found.notes),
                        fix="mend the mask, or leave the row out")
    return Truth(mask=mask, ellipse=found.ellipse)


def spacing_of(row: Row, path: Path) -> tuple[float, ...] | None:
    """Return the millimetres a pixel that the table states, or the image's own file; None: neither."""
    if row.spacing is not None:
        return row.spacing
    try:
        return read(path).spacing
    except DataError:  # the prediction tells of it
        return None
