"""What is said of one image whose pixels were told apart: how much of it is inside, in how many pieces."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray


class Area(NamedTuple):
    """Of one class.

    Args:
        area_px: Pixels of the original image.
        area_mm2: The same in square millimetres; None without a pixel size.
        share: Of the image's pixels.
        regions: Pieces, joined by the sides of their pixels.
    """

    area_px: int
    area_mm2: float | None
    share: float
    regions: int


@dataclass(frozen=True, kw_only=True)
class MaskPrediction:
    """What is inside, in pixels of the original image and in square millimetres where the pixel size is known.

    Args:
        file: The image, as it was asked for.
        classes: Names of the network's maps; of several the first is the background.
        mask: File of the mask in the original size, where one was written.
        area_px: Pixels inside: of the only class, or of all but the background.
        area_mm2: The same in square millimetres; None without a pixel size.
        share: Of the image's pixels.
        regions: Pieces, joined by the sides of their pixels.
        of_classes: The same for each class but the background, where there are several.
        notes: What has to be known to trust it, each a sentence.
        probabilities: Of being inside, (H, W), or of each class, (K, H, W), where they were asked for.
    """

    file: str
    classes: tuple[str, ...]
    mask: str | None = None
    area_px: int = 0
    area_mm2: float | None = None
    share: float = 0.0
    regions: int = 0
    of_classes: Mapping[str, Area] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    probabilities: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)

    @property
    def whole(self) -> Area:
        """Return the numbers of all that is inside."""
        return Area(self.area_px, self.area_mm2, self.share, self.regions)

    def to_json(self) -> dict[str, Any]:
        """Return plain data; classes only where there are several, notes only where there are any."""
        found: dict[str, Any] = {"file": self.file, "mask": self.mask, **self.whole._asdict()}
        if self.of_classes:
            found["classes"] = {name: dict(one._asdict()) for name, one in self.of_classes.items()}
        if self.notes:
            found["notes"] = list(self.notes)
        return found


def area_of(inside: NDArray[np.bool_], spacing: tuple[float, ...] | None) -> Area:
    """Return how large a mask (H, W) is.

    Args:
        spacing: Millimetres a pixel down and to the right, or one value for both; None: not known.
    """
    count = int(np.count_nonzero(inside))
    pieces = cv2.connectedComponents(inside.view(np.uint8), connectivity=4)[0] - 1 if count else 0
    return Area(area_px=count, area_mm2=None if spacing is None else count * spacing[0] * spacing[-1],
                share=count / inside.size, regions=int(pieces))
