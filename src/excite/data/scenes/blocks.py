"""Large cubes a few rows at a time: what is mapped from a file is never in memory as a whole."""

import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from excite.errors import EnvironmentFault

BLOCK_BYTES = 2**25


def row_blocks(values: NDArray[Any], *, block_bytes: int = BLOCK_BYTES) -> Iterator[slice]:
    """Return slices of rows that cover an array, each of about `block_bytes`, at least one row."""
    rows = max(1, block_bytes // max(1, values[0].size * values.itemsize))
    for start in range(0, values.shape[0], rows):
        yield slice(start, min(start + rows, values.shape[0]))


def by_rows(values: NDArray[Any], change: Callable[[NDArray[Any]], NDArray[Any]], *, bands: int,
            dtype: DTypeLike) -> NDArray[Any]:
    """Return a cube changed block by block: in memory, or in a file without a name where `values` is mapped from one.

    Args:
        values: (H, W, bands).
        change: Blocks of rows to blocks of as many rows.
        bands: How many bands `change` returns.
        dtype: Type of the result.

    Raises:
        EnvironmentFault: the disk is full.
    """
    shape = (*values.shape[:2], bands)
    if not isinstance(values, np.memmap):
        result = np.empty(shape, dtype)
        for rows in row_blocks(values):
            result[rows] = change(values[rows])
        return result
    try:
        with tempfile.TemporaryFile(prefix="excite-cube-") as file:
            for rows in row_blocks(values):
                file.write(np.ascontiguousarray(change(np.asarray(values[rows])), dtype).tobytes())
            file.flush()
            return np.memmap(file, dtype, "r", shape=shape)
    except OSError as fault:
        size = np.prod(shape, dtype=np.int64) * np.dtype(dtype).itemsize / 2**20
        raise EnvironmentFault(f"no room for a copy of the cube, {size:.0f} MB", where=tempfile.gettempdir(),
                               why=fault.strerror or str(fault),
                               fix="set TMPDIR to a folder on a larger disk") from None
