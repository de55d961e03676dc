"""Predictions as pictures in the original size: masks for a program, overlays for an eye.

Two images of one name get two pictures: the second is NAME-2. A file that is there already is replaced only where
excite wrote it, which it says inside; the masks that a data set came with are safe.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from excite.data.reading import read, split_address
from excite.errors import EnvironmentFault, ExciteError, UsageError
from excite.outcome.anything import Prediction
from excite.outcome.heads import HeadPrediction
from excite.outcome.masks import MaskPrediction
from excite.outcome.overlay import overlay

MARK = "excite predict"  # in the PNG's text "Software"
_UNSAFE = re.compile(r'[<>:"/\\|?*#\x00-\x1f]+')


class Pictures:
    """Writes what is asked for, one prediction after another.

    Args:
        sources: Of the images, in their order; None for one that has no picture.
        masks: Folder of masks: 0 and 255, or the number of the class where there are several; None for none.
        overlays: Folder of overlays; None for none.
        level: Probability from which a pixel is inside.
        value_range: Values of the images that are shown as black and white, where they are not of 8 bits.

    Raises:
        UsageError: a file would be overwritten that excite did not write. EnvironmentFault: a folder cannot be made.
    """

    def __init__(self, sources: Sequence[Path | None], *, masks: Path | None, overlays: Path | None, level: float,
                 value_range: tuple[float, float]) -> None:
        self.masks, self.overlays, self.level, self.value_range = masks, overlays, level, value_range
        self._sources = list(sources)
        self._names = names_of(self._sources)
        for folder in (masks, overlays):
            if folder is not None:
                _make(folder)
        for name in self._names:
            for file in self._files(name) if name else ():
                if file is not None and file.exists() and not _ours(file):
                    raise UsageError("a file that excite did not write would be overwritten", where=file,
                                     fix="name another folder")

    def add(self, one: Prediction, place: int) -> Prediction:
        """Write the pictures of a prediction, the `place`-th, and return it with its mask's name."""
        name, source = self._names[place], self._sources[place]
        if name is None or source is None or not isinstance(one, HeadPrediction | MaskPrediction) \
                or one.probabilities is None:
            return one
        mask, picture = self._files(name)
        try:
            if mask is not None:
                _write(mask_of(one.probabilities, self.level), mask)
                one = replace(one, mask=str(mask))
            if picture is not None:
                _write(overlay(read(source).image, one, level=self.level, value_range=self.value_range), picture)
        except ExciteError:
            raise
        except OSError as fault:
            raise EnvironmentFault("a picture cannot be written", where=fault.filename or mask or picture,
                                   why=fault.strerror or str(fault), fix="choose another folder") from None
        return one

    def _files(self, name: str) -> tuple[Path | None, Path | None]:
        return (None if self.masks is None else self.masks / f"{name}_mask.png",
                None if self.overlays is None else self.overlays / f"{name}_overlay.png")


def mask_of(probabilities: NDArray[np.float32], level: float) -> NDArray[np.uint8]:
    """Return a mask: 255 where the probability reaches the level; of several classes the number of the likeliest.

    Shape:
        (H, W) or (K, H, W) -> (H, W)
    """
    if probabilities.ndim == 3:
        return np.asarray(probabilities.argmax(axis=0), np.uint8)
    return np.asarray(np.where(probabilities >= np.float32(level), 255, 0), np.uint8)


def names_of(sources: Sequence[Path | None]) -> list[str | None]:
    """Return a name for each image's pictures, all different on every file system, whatever folders they are from."""
    own = [None if source is None else _name(source) for source in sources]
    first = {name.casefold() for name in own if name is not None}
    taken: set[str] = set()
    found: list[str | None] = []
    for name in own:
        if name is None:
            found.append(None)
            continue
        chosen, number = name, 2
        while chosen.casefold() in taken or (chosen != name and chosen.casefold() in first):
            chosen, number = f"{name}-{number}", number + 1
        taken.add(chosen.casefold())
        found.append(chosen)
    return found


def _name(source: Path) -> str:
    file, member, page = split_address(source)
    stem = Path(member or file.name).stem
    return _UNSAFE.sub("_", f"{stem}-page{page}" if page else stem)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise EnvironmentFault("the folder cannot be made", where=folder, why=fault.strerror or str(fault),
                               fix="choose another place") from None


def _ours(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            return image.info.get("Software") == MARK
    except OSError:
        return False


def _write(pixels: NDArray[np.uint8], file: Path) -> None:
    """Write a PNG that says who wrote it, whole or not at all."""
    said = PngImagePlugin.PngInfo()
    said.add_text("Software", MARK)
    aside = file.with_name(f".{file.name}.tmp")
    try:
        Image.fromarray(pixels).save(aside, format="PNG", pnginfo=said, compress_level=3)
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
