"""Random changes of a training image: one affine map and one tone curve, drawn from (seed, epoch, index)."""

import hashlib
import struct
from dataclasses import dataclass
from math import cos, radians, sin

import numpy as np
from numpy.typing import NDArray

from excite.data.sections import AugmentSection


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What happens to one image on its way into the network; the defaults change nothing.

    Args:
        horizontal_flip: Left and right change places, before the rotation.
        vertical_flip: Top and bottom change places, before the rotation.
        rotation: Degrees, clockwise on the screen, around the centre of the input.
        scale: Magnification around the centre; above 1 shows less of the image.
        shift: Right and down, as parts of the input's size.
        brightness: Added to values of 0..1.
        contrast: Factor on the distance from the middle, 0.5.
        gamma: Exponent of values of 0..1, last.
    """

    horizontal_flip: bool = False
    vertical_flip: bool = False
    rotation: float = 0.0
    scale: float = 1.0
    shift: tuple[float, float] = (0.0, 0.0)
    brightness: float = 0.0
    contrast: float = 1.0
    gamma: float = 1.0

    @property
    def affine(self) -> tuple[tuple[float, float, float], tuple[float, float, float]] | None:
        """Return the rows that map input points in units of its size, (0, 0) the centre, y down; None: none moves."""
        moved = self.rotation != 0.0 or self.scale != 1.0 or self.shift != (0.0, 0.0)
        if not (moved or self.horizontal_flip or self.vertical_flip):
            return None
        angle = radians(self.rotation)
        cosine, sine = self.scale * cos(angle), self.scale * sin(angle)
        across, down = -1.0 if self.horizontal_flip else 1.0, -1.0 if self.vertical_flip else 1.0
        return (cosine * across, -sine * down, self.shift[0]), (sine * across, cosine * down, self.shift[1])

    @property
    def changes_tones(self) -> bool:
        """Return whether `curve` is more than the identity."""
        return self.brightness != 0.0 or self.contrast != 1.0 or self.gamma != 1.0

    def curve(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values of 0..1 with contrast, brightness and gamma changed; below 0 is cut, above 1 is left."""
        toned = (values - 0.5) * self.contrast + (0.5 + self.brightness)
        np.maximum(toned, 0.0, out=toned)
        return toned if self.gamma == 1.0 else np.power(toned, self.gamma, out=toned)

    def table(self) -> NDArray[np.uint8]:
        """Return `curve` for 8-bit values as 256 entries, rounded and cut at 255."""
        return np.minimum(np.rint(self.curve(_EIGHT_BIT) * 255.0), 255.0).astype(np.uint8)


_EIGHT_BIT = np.arange(256) / 255.0


def draw(section: AugmentSection, *, seed: int, epoch: int, index: int, repeat: int = 0) -> Augmentation:
    """Return the change of one image in one epoch; the same four numbers give the same change on every machine.

    They are hashed into sixteen numbers (a microsecond; nothing is carried from image to image), each with its own
    use, so that switching one change off does not move the others.

    Args:
        index: Row of the image in its manifest.
        repeat: How often this epoch has used the image before (balanced sampling draws rare classes again).
    """
    if not section.enabled:
        return Augmentation()
    digest = hashlib.blake2b(f"augment {seed} {epoch} {index} {repeat}".encode(), digest_size=64).digest()
    u = [word / 2**32 for word in struct.unpack("<16I", digest)]
    return Augmentation(
        horizontal_flip=u[0] < section.horizontal_flip,
        vertical_flip=u[1] < section.vertical_flip,
        rotation=section.rotation * (2 * u[2] - 1),
        scale=1 + section.scale * (2 * u[3] - 1),
        shift=(section.shift * (2 * u[4] - 1), section.shift * (2 * u[5] - 1)),
        brightness=section.brightness * (2 * u[6] - 1),
        contrast=1 + section.contrast * (2 * u[7] - 1),
        gamma=(1 + section.gamma) ** (2 * u[8] - 1),
    )
