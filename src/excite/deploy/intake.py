"""From files and arrays to the network's input: read, checked, prepared."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sample import Sample
from excite.deploy.session import first_line
from excite.errors import DataError, ExciteError, UsageError

Float = NDArray[np.float32]
Source = str | Path | NDArray[Any]
Spacing = tuple[float, ...] | None
_DTYPES = (np.uint8, np.uint16, np.float32)


@dataclass(frozen=True, kw_only=True)
class Ready:
    """An image that is ready for the network, or why it cannot be used.

    Args:
        name: As it was asked for.
        image: The network's input, (C, H, W).
        shape: Of the original image, (H, W).
        spacing: Millimetres a pixel of the original, down and to the right; None: not known.
        notes: What its reader had to decide.
        error: What is wrong, why, and what to do.
    """

    name: str
    image: Float | None = None
    shape: tuple[int, int] = (0, 0)
    spacing: Spacing = None
    notes: tuple[str, ...] = ()
    error: str | None = None


class Intake:
    """Reads and prepares images.

    Args:
        preprocess: The bundle's.
    """

    def __init__(self, preprocess: Preprocess) -> None:
        self.preprocess = preprocess

    def take(self, source: Source, *, index: int = 0, spacing: Spacing = None, otherwise: Spacing = None) -> Ready:
        """Return a file or array as the network takes it.

        Args:
            source: A path, or an array (H, W), (H, W, 3) or (C, H, W).
            index: Of an array, for its name.
            spacing: What is known of its pixels from elsewhere; it counts more than the file's own.
            otherwise: What holds where neither says anything.

        Raises:
            DataError: it cannot be read, has values that are not finite, or a spacing that cannot be.
        """
        if isinstance(source, np.ndarray):
            sample = Sample(image=_channels_first(source, index), source=Path(f"array {index}"))
        else:
            sample = read(Path(source))
        if sample.image.dtype.kind == "f" and not np.isfinite(sample.image).all():
            raise DataError("the image has values that are not finite", where=sample.source,
                            why="NaN or infinity", fix="repair it, or leave it out")
        known = spacing or sample.spacing or otherwise
        if known is not None:
            check_spacing(known, where=sample.source)
        height, width = sample.image.shape[-2:]
        return Ready(name=_name(source, index), image=self.preprocess(sample.image), shape=(height, width),
                     spacing=known, notes=sample.notes)

    def jobs(self, sources: Iterable[Source], spacings: Sequence[Spacing] | None, *, otherwise: Spacing
             ) -> Iterator[Callable[[], Ready]]:
        """Yield for each source what reads and prepares it, in any thread, and tells what became of it.

        Raises:
            UsageError: there are spacings, and not one a source.
        """
        for index, (source, spacing) in enumerate(_paired(sources, spacings)):
            yield partial(self._ready, index, source, spacing, otherwise)

    def _ready(self, index: int, source: Source, spacing: Spacing, otherwise: Spacing) -> Ready:
        name = _name(source, index)
        try:
            return self.take(source, index=index, spacing=spacing, otherwise=otherwise)
        except ExciteError as fault:
            return Ready(name=name, error=fault.message() if fault.where else f"{name}: {fault.message()}")
        except Exception as fault:  # a decoder's own kind: this file is reported, the others are done
            return Ready(name=name, error=f"{name}: cannot be used ({type(fault).__name__}: {first_line(fault)})")


def check_spacing(spacing: tuple[float, ...], *, where: str | Path | None = None) -> None:
    """Raise a DataError unless it is one or two positive numbers."""
    if len(spacing) not in (1, 2) or not all(0 < value < float("inf") for value in spacing):
        raise DataError(f"spacing must be one or two positive numbers, got {spacing}", where=where,
                        fix="millimetres a pixel, down and to the right")


def batches(ready: Iterator[Ready], size: int) -> Iterator[list[Ready]]:
    """Yield lists of what is ready, each with up to `size` images that can be used."""
    while slots := list(_batch(ready, size)):
        yield slots


def _batch(ready: Iterator[Ready], size: int) -> Iterator[Ready]:
    good = 0
    for slot in islice(ready, None):
        yield slot
        good += slot.image is not None
        if good == size:
            return


def _paired(sources: Iterable[Source], spacings: Sequence[Spacing] | None) -> Iterator[tuple[Source, Spacing]]:
    count = 0
    for source in sources:
        if spacings is not None and count >= len(spacings):
            break
        yield source, None if spacings is None else spacings[count]
        count += 1
    else:
        if spacings is None or count == len(spacings):
            return
    raise UsageError(f"spacings must be one a source, got {len(spacings or ())} for "
                     f"{'more' if spacings and count == len(spacings) else count}", fix="None where it is not known")


def _name(source: Source, index: int) -> str:
    return f"array {index}" if isinstance(source, np.ndarray) else str(source)


def _channels_first(image: NDArray[Any], index: int) -> NDArray[Any]:
    """Return (C, H, W) for an array in one of the three forms.

    Raises:
        DataError: another form or depth, or one that can be read in two ways.
    """
    where, allowed = f"array {index}", "(H, W), (H, W, 3) or (C, H, W) with C 1 or 3"
    if image.dtype not in _DTYPES:
        raise DataError(f"an array must be uint8, uint16 or float32, got {image.dtype}", where=where,
                        fix="convert it to the depth of the training images")
    if image.ndim == 2 and image.size:
        return image[None]
    if image.ndim != 3 or not image.size:
        raise DataError(f"an array must have the shape {allowed}, got {image.shape}", where=where)
    first, last = image.shape[0] in (1, 3), image.shape[-1] == 3
    if first and last:
        raise DataError(f"an array of shape {image.shape} can be read in two ways", where=where,
                        fix="give it as (H, W), or with sizes other than 1 and 3")
    if not first and not last:
        raise DataError(f"an array must have the shape {allowed}, got {image.shape}", where=where)
    return image if first else np.ascontiguousarray(np.moveaxis(image, -1, 0))
