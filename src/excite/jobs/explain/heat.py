"""Importance drawn over an image: clear where nothing speaks for the answer, bright where most does."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.errors import EnvironmentFault
from excite.jobs.explain.png import png
from excite.outcome.maps import Place
from excite.outcome.overlay import shown

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
COVER = 0.65                # of the image under the most important place
LINE = (0, 114, 178)        # RGB, of a region's outline
_LEVELS = np.arange(256, dtype=np.uint8)
_GLOW = np.rint(cv2.applyColorMap(_LEVELS[None], cv2.COLORMAP_INFERNO)[..., ::-1]
                * (COVER / 255 * _LEVELS[None, :, None])).astype(np.uint8)  # what is added at each level,
_CLEAR = np.rint(255 - COVER * _LEVELS).astype(np.uint8)                    # and how much of the image stays


def placed(importance: Floats, place: Place, size: tuple[int, int]) -> Floats:
    """Return importance at the pixels of the original image; 0 where the network's input does not show it.

    Args:
        importance: (h, w), whose cells cover the network's input.
        place: Where the image lies in the input.
        size: Of the input, (H, W).
    """
    down, across = (outer / inner for outer, inner in zip(size, importance.shape, strict=True))
    cells = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2], [0, 0, 1]])
    height, width = place.shape
    moved = cv2.warpAffine(importance, place.inverse @ cells, (width, height), flags=cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_REPLICATE)
    rows, columns = place.seen(size)
    found: Floats = np.zeros(place.shape, np.float32)
    found[rows, columns] = moved[rows, columns]
    return found


def overlaid(image: NDArray[Any], importance: Floats, *, value_range: tuple[float, float],
             region: NDArray[np.bool_] | None = None) -> Picture:
    """Return an image with its importance over it, and the outline of a region.

    Args:
        image: As its file has it.
        importance: 0 to 1.
        value_range: Values shown as black and white, where the image is not of 8 bits.

    Shape:
        image (1 or 3, H, W), importance and region (H, W) -> (H, W, 3), RGB
    """
    level = cv2.merge([cv2.convertScaleAbs(np.clip(importance, 0, 1), alpha=255)] * 3)
    picture = np.asarray(cv2.add(cv2.multiply(shown(image, value_range), cv2.LUT(level, _CLEAR), scale=1 / 255),
                                 cv2.LUT(level, _GLOW)), np.uint8)
    if region is not None:
        lines, _ = cv2.findContours(region.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, LINE, max(1, round(max(region.shape) / 400)))
    return picture


def unit(maps: Floats) -> Floats:
    """Return importance from 0 to 1: divided by its largest value; nothing stays nothing."""
    most = float(maps.max(initial=0))
    return np.asarray(maps / most if most > 0 else np.zeros_like(maps), np.float32)


def write_picture(file: Path, picture: Picture) -> Path:
    """Write a PNG, whole or not at all, and return its path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    aside = file.with_name(f".{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(png(picture))
        aside.replace(file)
    except OSError as fault:
        raise EnvironmentFault("a picture cannot be written", where=file, why=fault.strerror or str(fault),
                               fix="choose another folder with --out") from None
    return file
