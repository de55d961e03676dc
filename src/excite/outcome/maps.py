"""Maps of a network's outputs, brought back to the pixels of the original image before anything is read off them.

They are brought back as logits, by cubic interpolation, and become probabilities there: a probability map of a sharp
edge is a step, which interpolation rounds off. Points are (x, y), pixel centres at whole numbers.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.errors import ModelError

Float = NDArray[np.float32]
Box = tuple[slice, slice]
FAR = 30.0      # a logit that no one doubts
_WHOLE = 1e-6   # of a pixel: what counts as a whole number


class Place(NamedTuple):
    """Where an image lies in the network's input.

    Args:
        inverse: From pixel centres of the input to pixel centres of the image, (2, 3); axes stay axes.
        shape: Of the image, (H, W).
    """

    inverse: NDArray[np.float64]
    shape: tuple[int, int]

    @property
    def forward(self) -> NDArray[np.float64]:
        """Return the map from pixel centres of the image to pixel centres of the input, (2, 3)."""
        across, down = 1 / self.inverse[0, 0], 1 / self.inverse[1, 1]
        return np.array([[across, 0, -self.inverse[0, 2] * across], [0, down, -self.inverse[1, 2] * down]])

    @property
    def area(self) -> float:
        """Return how many pixels of the image lie in one of the input."""
        return float(self.inverse[0, 0] * self.inverse[1, 1])

    def seen(self, size: tuple[int, int]) -> Box:
        """Return the rows and columns of the image whose centres lie inside an input of (h, w)."""
        rows, columns = ((self.inverse[axis, axis], self.inverse[axis, 2]) for axis in (1, 0))
        found = []
        for (step, start), inner, outer in zip((rows, columns), size, self.shape, strict=True):
            first, last = np.ceil(start - step / 2 - _WHOLE), np.floor(start + step * (inner - 0.5) + _WHOLE)
            found.append(slice(max(0, int(first)), max(0, min(outer, int(last) + 1))))
        return found[0], found[1]

    def box(self, size: tuple[int, int]) -> Box | None:
        """Return the rows and columns of an input of (h, w) that the image fills; None: no whole ones, or not all."""
        found = []
        for axis, inner, outer in zip((1, 0), size, self.shape, strict=True):
            step, start = self.inverse[axis, axis], self.inverse[axis, 2]
            first, count = 0.5 - (start + 0.5) / step, outer / step
            whole = round(first), round(first + count)
            if max(abs(first - whole[0]), abs(first + count - whole[1])) > _WHOLE or whole[0] < 0 or whole[1] > inner:
                return None
            found.append(slice(*whole))
        return found[0], found[1]


def mirrored_back(maps: Float) -> Float:
    """Return the maps of a mirror image as they lie on the image."""
    return np.ascontiguousarray(maps[..., ::-1])


def to_original(maps: NDArray[np.float32], place: Place) -> Float:
    """Return logits at the pixels of the original image.

    Beyond the image's border its own outermost values go on: the black that fills an input up is no background of the
    image, and would cut a structure that reaches over the border. What the input does not show (mode crop) is
    background: the first of several maps, and none of one.

    Shape:
        (K, h, w) -> (K, H, W)
    """
    if maps.ndim != 3:
        raise ModelError(f"maps must have the shape (classes, height, width), got {maps.shape}")
    height, width = place.shape
    size = (maps.shape[1], maps.shape[2])
    inner = place.box(size)
    if inner is not None:
        return np.stack([cv2.resize(np.ascontiguousarray(one[inner]), (width, height), interpolation=cv2.INTER_CUBIC)
                         for one in maps])
    found = np.full((len(maps), height, width), -FAR, np.float32)
    if len(maps) > 1:
        found[0] = FAR
    rows, columns = place.seen(size)
    moved = np.stack([cv2.warpAffine(one, place.inverse, (width, height), flags=cv2.INTER_CUBIC,
                                     borderMode=cv2.BORDER_REPLICATE) for one in maps])
    found[:, rows, columns] = moved[:, rows, columns]
    return found


def unseen_note(place: Place, size: tuple[int, int]) -> tuple[str, ...]:
    """Return a sentence where the network's input (h, w) does not show all of the image."""
    rows, columns = place.seen(size)
    share = (rows.stop - rows.start) * (columns.stop - columns.start) / (place.shape[0] * place.shape[1])
    if share >= 1:
        return ()
    return (f"{100 * (1 - share):.0f} % of the image are outside the network's input and count as background",)


def sigmoid(logits: NDArray[np.float32]) -> Float:
    """Return probabilities in float32; large outputs do not overflow."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -80, 80))), np.float32)


def cut_of(level: float) -> float:
    """Return the logit whose sigmoid is `level`."""
    return float(np.log(level) - np.log1p(-level))


def bounds(inside: NDArray[np.bool_], *, margin: int = 1) -> Box | None:
    """Return the rows and columns that hold all true pixels and `margin` around them; None where there is none."""
    left, top, width, height = cv2.boundingRect(inside.view(np.uint8))
    if not width:
        return None
    return (slice(max(0, top - margin), min(inside.shape[0], top + height + margin)),
            slice(max(0, left - margin), min(inside.shape[1], left + width + margin)))
