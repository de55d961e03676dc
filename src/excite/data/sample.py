"""One image or volume as it came from its file."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An image in its own depth.

    Args:
        image: (C, *S) uint8, uint16 or float32; C is 1 (grey) or 3 (RGB) for pictures.
        spacing: Millimetres a pixel along each axis of S; None where unknown: no spacing, no millimetres.
        source: The file it was read from.
        notes: What the reader had to decide ("alpha composited over black"), each a sentence.
    """

    image: NDArray[Any]
    source: Path
    spacing: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()

    @property
    def dims(self) -> int:
        """Return the number of spatial dimensions."""
        return int(np.ndim(self.image)) - 1
