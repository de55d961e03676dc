"""A prediction drawn on its image: the outline that was found, the ellipse, the numbers."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction

Picture = NDArray[np.uint8]
OUTLINE = ((0, 114, 178), (230, 159, 0), (0, 158, 115), (204, 121, 167))  # RGB, told apart by the colour-blind
ELLIPSE = (240, 228, 66)
_SUB = 4  # bits of a pixel's fraction in drawing


def overlay(image: NDArray[Any], one: HeadPrediction | MaskPrediction, *, level: float,
            value_range: tuple[float, float] = (0.0, 255.0)) -> Picture:
    """Return the image with what was found drawn on it, and the numbers in its upper left corner.

    Args:
        image: As its file has it.
        one: With probabilities.
        level: Probability from which a pixel is inside.
        value_range: Of the image, shown as black and white, where it is not of 8 bits.

    Shape:
        image (1 or 3, H, W) -> (H, W, 3), RGB
    """
    picture = shown(image, value_range)
    if one.probabilities is not None:
        for place, inside in enumerate(_masks(one.probabilities, level)):
            lines, _ = cv2.findContours(inside.view(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(picture, lines, -1, OUTLINE[place % len(OUTLINE)], 1)
    if isinstance(one, HeadPrediction) and one.ellipse is not None:
        points = np.rint(one.ellipse.points(360) * 2**_SUB).astype(np.int32)
        cv2.polylines(picture, [points], isClosed=True, color=ELLIPSE, thickness=1, lineType=cv2.LINE_AA, shift=_SUB)
    return _written(picture, _lines(one))


def shown(image: NDArray[Any], value_range: tuple[float, float]) -> Picture:
    """Return an image (1 or 3, H, W) as 8-bit RGB, (H, W, 3), a copy; `value_range` is shown as black and white."""
    pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
    if pixels.dtype != np.uint8:
        low, high = value_range
        pixels = np.clip((pixels.astype(np.float32) - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.repeat(pixels, 3, axis=2) if pixels.shape[2] == 1 else pixels).copy()


def _masks(probabilities: NDArray[np.float32], level: float) -> list[NDArray[np.bool_]]:
    if probabilities.ndim == 2:
        return [probabilities >= np.float32(level)]
    best = probabilities.argmax(axis=0)
    return [best == place for place in range(1, len(probabilities))]


def _lines(one: HeadPrediction | MaskPrediction) -> list[str]:
    """Return what is written on the picture."""
    if isinstance(one, HeadPrediction):
        if one.ellipse is None:
            return ["no head was found"]
        if one.hc_mm is None:
            return [f"HC {one.ellipse.circumference:.0f} pixels; their size is not known"]
        interval = "" if one.interval_mm is None else " [{:.1f}, {:.1f}]".format(*one.interval_mm)
        return [f"HC {one.hc_mm:.1f} mm{interval}", f"BPD {one.bpd_mm:.1f} mm  OFD {one.ofd_mm:.1f} mm"]
    areas = one.of_classes or {one.classes[0]: one.whole}
    return [f"{name}: " + (f"{area.area_px} pixels" if area.area_mm2 is None else f"{area.area_mm2:.1f} mm2")
            + f", {100 * area.share:.1f} %" for name, area in areas.items()]


def _written(picture: Picture, lines: list[str]) -> Picture:
    """Write lines into the upper left corner, light on a dark edge; letters that the font lacks become ?."""
    size = max(0.35, picture.shape[0] / 1000)
    for place, line in enumerate(lines):
        text = line.encode("ascii", "replace").decode("ascii")
        x, y = round(12 * size), round((place + 1) * 36 * size)
        for across, down in ((-1, -1), (-1, 1), (1, -1), (1, 1), (0, 0)):  # a thicker line would be a wider font
            colour = (0, 0, 0) if across else (255, 255, 255)
            cv2.putText(picture, text, (x + across, y + down), cv2.FONT_HERSHEY_SIMPLEX, size, colour, 1, cv2.LINE_AA)
    return picture
