"""Pixels without data: by a value that stands for none, or because they hold no number."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.blocks import row_blocks
from excite.data.scenes.cube import Cube, shortened
from excite.errors import DataError, UsageError

NoData = float | Literal["nan"] | None
DROP = "(scene.drop_bands in training, else --drop-bands)"


def mark_gaps(cube: Cube, *, no_data: NoData = None, numbers: Sequence[int] | None = None) -> Cube:
    """Return the cube with `valid` where some of its pixels hold no data.

    A pixel holds none where all of its bands are `no_data`. Where only some are, it holds none either, except for 0,
    which can be a measurement: those pixels are kept and counted in a note.

    Args:
        cube: Its values are looked at in blocks of rows.
        no_data: The value that stands for none; "nan" for anything that is no finite number; None for no such value.
        numbers: Those of its bands in the file, for messages; None where none was dropped.

    Raises:
        DataError: pixels that hold data are not finite, or no pixel holds data.
        UsageError: `no_data` is no number.
    """
    value, numbers = _value(no_data), range(cube.bands) if numbers is None else numbers
    by_nan = value is not None and not np.isfinite(value)
    real = cube.values.dtype.kind == "f"
    if not real and (by_nan or value is None):
        return cube
    valid = np.ones(cube.shape, np.bool_) if cube.valid is None else cube.valid.copy()
    odd_bands, odd_everywhere = np.zeros(cube.bands, np.bool_), np.ones(cube.bands, np.bool_)
    odd_pixels = parts = 0
    for rows in row_blocks(cube.values):
        block = np.asarray(cube.values[rows])
        if value is not None and not by_nan:
            gone, part = _without(block, value)
            valid[rows] &= ~gone
            parts += int(part.sum())
        odd = ~np.isfinite(block) & valid[rows][..., None] if real else np.zeros((1, 1, cube.bands), np.bool_)
        odd_bands |= odd.any(axis=(0, 1))
        odd_everywhere &= odd.all(axis=(0, 1))
        odd_pixels += int(odd.any(axis=2).sum())
        if by_nan:
            valid[rows] &= ~odd.any(axis=2)
    if odd_pixels and not by_nan:
        raise _not_finite(cube, odd_pixels, _numbers(numbers, odd_bands))
    if not valid.any():
        raise DataError(f"no pixel holds data, no_data is {no_data}", where=cube.source,
                        why=_everywhere(_numbers(numbers, odd_everywhere)),
                        fix=f"drop such bands {DROP}, or correct the no-data value")
    return _noted(cube, valid, no_data, parts)


def _value(no_data: NoData) -> float | None:
    if no_data is None or no_data == "nan":
        return None if no_data is None else float("nan")
    if isinstance(no_data, str | bool):
        raise UsageError(f"no_data must be a number or nan, got {no_data!r}")
    return float(no_data)


def _without(block: NDArray[Any], value: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which pixels hold no data, and which hold the value in some bands only."""
    there = block == (block.dtype.type(value) if block.dtype.kind == "f" else value)
    whole, some = there.all(axis=2), there.any(axis=2)
    return whole if value == 0 else some, some & ~whole


def _numbers(numbers: Sequence[int], bands: NDArray[np.bool_]) -> list[int]:
    return [numbers[place] for place in np.flatnonzero(bands).tolist()]


def _not_finite(cube: Cube, pixels: int, found: list[int]) -> DataError:
    return DataError(f"{pixels} of {cube.shape[0] * cube.shape[1]} pixels hold NaN or infinity, in {len(found)} of "
                     f"{cube.bands} bands", where=cube.source,
                     why=f"bands {shortened(found)} of the file, counted from 0",
                     fix="treat these pixels as no data (scene.no_data=nan in training, else --no-data nan), or drop "
                     f"these bands {DROP}")


def _everywhere(found: list[int]) -> str | None:
    return f"bands {shortened(found)} of the file are not finite in any pixel" if found else None


def _noted(cube: Cube, valid: NDArray[np.bool_], no_data: NoData, parts: int) -> Cube:
    gone = int((~valid).sum())
    notes = [f"{gone} of {valid.size} pixels hold no data (no_data is {no_data})"] if gone else []
    if parts:
        notes.append(f"{parts} pixels hold the no-data value {no_data} in some of their bands and "
                     + ("are kept: 0 can be a measurement" if no_data == 0 else "count as no data"))
    return replace(cube, valid=None if valid.all() else valid, notes=(*cube.notes, *notes))
