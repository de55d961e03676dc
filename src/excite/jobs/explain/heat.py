"""Importance drawn over an image: clear where nothing speaks for the answer, bright where most does."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.errors import EnvironmentFault
from excite.outcome.maps import Place

Floats = NDArray[np.float32]
Picture = NDArray[np.uint8]
COVER = 0.65                # of the image under the most important place
LINE = (0, 114, 178)        # RGB, of a region's outline
_COLOURS = cv2.cvtColor(cv2.applyColorMap(np.arange(256, dtype=np.uint8)[None], cv2.COLORMAP_INFERNO),
                        cv2.COLOR_BGR2RGB)
# Fast and no larger than by a sixth: what is written is a photograph, which deflate's search hardly makes smaller.
_PNG = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_HUFFMAN_ONLY)


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
    clear = cv2.convertScaleAbs(level, alpha=-COVER, beta=255)
    picture = np.asarray(cv2.add(cv2.multiply(shown(image, value_range), clear, scale=1 / 255),
                                 cv2.multiply(cv2.LUT(level, _COLOURS), level, scale=COVER / 255)), np.uint8)
    if region is not None:
        lines, _ = cv2.findContours(region.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
        cv2.drawContours(picture, lines, -1, LINE, max(1, round(max(region.shape) / 400)))
    return picture


def shown(image: NDArray[Any], value_range: tuple[float, float]) -> Picture:
    """Return an image (1 or 3, H, W) as 8-bit RGB, (H, W, 3)."""
    pixels = image.transpose(1, 2, 0)
    if pixels.dtype != np.uint8:
        low, high = value_range
        pixels = np.clip((pixels.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


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
    _, content = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), _PNG)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        aside.write_bytes(content.tobytes())
        aside.replace(file)
    except OSError as fault:
        raise EnvironmentFault("a picture cannot be written", where=file, why=fault.strerror or str(fault),
                               fix="choose another folder with --out") from None
    return file
