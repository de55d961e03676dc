"""The pictures of a report: a grid of test predictions and the worst mistakes."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.cache import ImageCache
from excite.data.preprocess import Preprocess
from excite.report.page import Picture

SIDE = 160  # pixels of a thumbnail
GRID, WORST = 10, 12


def gallery(cache: ImageCache, preprocess: Preprocess, rows: Sequence[int], names: Sequence[str],
            truth: Sequence[int], probabilities: NDArray[np.float64], classes: Sequence[str]
            ) -> tuple[list[Picture], list[Picture]]:
    """Return pictures of the first test images in file order, and of the surest mistakes, worst first."""
    predicted = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    wrong = [place for place in range(len(rows)) if predicted[place] != truth[place]]
    worst = sorted(wrong, key=lambda place: (-sure[place], place))[:WORST]
    step = max(1, len(rows) // GRID)

    def picture(place: int) -> Picture:
        return Picture(file=names[place], truth=classes[truth[place]], label=classes[int(predicted[place])],
                       probability=float(sure[place]), thumbnail=_thumbnail(cache[rows[place]], preprocess))

    return [picture(place) for place in range(0, len(rows), step)][:GRID], [picture(place) for place in worst]


def _thumbnail(stored: NDArray[np.generic], preprocess: Preprocess) -> NDArray[np.uint8]:
    """Return what the network saw, 8-bit, its longer side `SIDE` pixels."""
    low, high = preprocess.low, preprocess.high
    height, width = preprocess.height, preprocess.width
    seen = np.zeros((height, width, stored.shape[2]), stored.dtype)
    preprocess.render(stored, out=seen)
    bright = np.clip((seen.astype(np.float32) - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    scale = SIDE / max(height, width)
    small = cv2.resize(bright, (max(1, round(scale * width)), max(1, round(scale * height))),
                       interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)
