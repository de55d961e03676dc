"""Random changes of a training window: turned, mirrored, brighter or darker, noisier; from (seed, epoch, pixel)."""

import hashlib
import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.reduction import BandReduction
from excite.data.scenes.sections import SceneAugmentSection

Floats = NDArray[np.float32]
TABLE = 2**20  # normal numbers that the noise is cut from


@dataclass(frozen=True, kw_only=True)
class WindowChange:
    """What happens to one window; the defaults change nothing.

    Args:
        horizontal_flip: Left and right change places.
        vertical_flip: Top and bottom change places.
        quarters: Quarter turns, counter-clockwise, after the flips.
        gain: Factor on the whole spectrum.
        offset: Added to every band, as a part of the mean level of the training pixels.
        noise: Standard deviation, in those of the training pixels.
        start: Where the noise begins in its table, from 0 to 1.
    """

    horizontal_flip: bool = False
    vertical_flip: bool = False
    quarters: int = 0
    gain: float = 1.0
    offset: float = 0.0
    noise: float = 0.0
    start: float = 0.0

    def turned(self, window: NDArray[Any]) -> NDArray[Any]:
        """Return a view of a window (bands, w, w), mirrored and turned."""
        if self.horizontal_flip:
            window = window[:, :, ::-1]
        if self.vertical_flip:
            window = window[:, ::-1]
        return np.rot90(window, self.quarters, axes=(1, 2)) if self.quarters else window


def change_of(section: SceneAugmentSection, *, seed: int, epoch: int, index: int, repeat: int = 0) -> WindowChange:
    """Return the change of one window in one epoch; the same four numbers give the same change on every machine.

    Args:
        index: Number of the pixel in its scene.
        repeat: How often this epoch has used the pixel before.
    """
    if not section.enabled:
        return WindowChange()
    digest = hashlib.blake2b(f"window {seed} {epoch} {index} {repeat}".encode(), digest_size=32).digest()
    u = [word / 2**32 for word in struct.unpack("<8I", digest)]
    return WindowChange(
        horizontal_flip=u[0] < section.horizontal_flip,
        vertical_flip=u[1] < section.vertical_flip,
        quarters=int(4 * u[2]) if section.quarter_turns else 0,
        gain=1 + section.gain * (2 * u[3] - 1),
        offset=section.offset * (2 * u[4] - 1),
        noise=section.noise,
        start=u[5],
    )


class WindowNoise:
    """Changes the brightness of reduced windows as that of their spectra would change, and adds noise.

    A reduction is affine, so gain and offset of a spectrum are a gain around the reduced black spectrum and a step
    along the reduced grey one. Noise is cut from one table of normal numbers, far quicker than drawing it.

    Args:
        shape: Of a window, (bands, w, w).
        reduction: Which made the scene.
        seed: Of the table.
    """

    def __init__(self, shape: tuple[int, ...], reduction: BandReduction, *, seed: int) -> None:
        self._shape, self._seed = shape, seed
        self._black, self._grey, self._spread = (np.asarray(numbers, np.float32)[:, None, None] for numbers in
                                                 (reduction.offset, reduction.grey(), reduction.spread))
        self._table: Floats | None = None

    def add(self, image: Floats, change: WindowChange) -> None:
        """Change a window (bands, w, w) in place."""
        if change.gain != 1.0 or change.offset != 0.0:
            image *= np.float32(change.gain)
            image += np.float32(1 - change.gain) * self._black + np.float32(change.offset) * self._grey
        if change.noise > 0:
            size = image.size
            if self._table is None:
                self._table = np.random.default_rng([self._seed, 1]).standard_normal(max(TABLE, 2 * size), np.float32)
            first = int(change.start * (len(self._table) - size))
            image += self._table[first:first + size].reshape(self._shape) * (np.float32(change.noise) * self._spread)
