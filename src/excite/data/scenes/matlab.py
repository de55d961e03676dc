"""Arrays of MATLAB files: version 5 by SciPy, version 7.3 (HDF5) by the extra `matlab`."""

import importlib
import math
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.io import loadmat, whosmat

from excite.data.scenes.array import check_size
from excite.data.scenes.variables import Shapes, choose_variable
from excite.errors import DataError, EnvironmentFault

HEAD, PACKED = 128, 15  # bytes before the first variable of version 5, and the type of packed ones
HDF5 = b"\x89HDF\r\n\x1a\n"
NUMERIC = ("double", "single", "logical", *(f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)))
BROKEN = "the file was cut or damaged on its way; fetch it again from its source"


def list_arrays(path: Path) -> Shapes:
    """Return name and shape of every numeric array, in MATLAB's order of axes, without reading any.

    Raises:
        DataError: it is no MATLAB file, or damaged. EnvironmentFault: version 7.3 without the extra `matlab`.
    """
    if is_hdf5(path):
        with _hdf5(path) as file:
            return {name: _shape(item) for name, item in file.items() if _is_numeric(item)}
    try:
        return {name: tuple(shape) for name, shape, kind in whosmat(str(path)) if kind in NUMERIC}
    except Exception as fault:  # SciPy raises whatever damaged bytes lead it to
        raise _unreadable(path, fault) from None


def read_array(path: Path, variable: str | None = None, *, axes: int) -> NDArray[Any]:
    """Return one array of a MATLAB file, in its own depth and MATLAB's order of axes.

    Args:
        path: A .mat file.
        variable: Its name; None for the only one with so many axes.
        axes: 3 for a cube, 2 for labels.

    Raises:
        UsageError: there is no such variable. DataError: none or several fit, the file is damaged, or the array would
            be far larger than it.
        EnvironmentFault: version 7.3 without the extra `matlab`.
    """
    shapes = list_arrays(path)
    name = choose_variable(shapes, variable, axes=axes, where=path)
    check_size(path, name, math.prod(shapes[name]))  # bytes at least
    try:
        if is_hdf5(path):
            with _hdf5(path) as file:
                item = file[name]
                check_size(path, name, item.nbytes)
                values: NDArray[Any] = np.asarray(item[()])
                return values.T if _is_matlab(item) else values
        check_size(path, name, _unpacked(path))
        return np.asarray(loadmat(str(path), variable_names=[name])[name])
    except (DataError, EnvironmentFault):
        raise
    except Exception as fault:
        raise _unreadable(path, fault) from None


def read_names(path: Path, variable: str) -> tuple[str, ...]:
    """Return a list of texts of a version 5 file, empty where it has none of this name."""
    if is_hdf5(path):
        return ()
    found = loadmat(str(path), variable_names=[variable]).get(variable)
    return () if found is None else tuple(str(np.squeeze(item)).strip() for item in np.ravel(found))


def is_hdf5(path: Path) -> bool:
    """Return whether a file is of version 7.3: HDF5, as a rule behind 512 bytes of MATLAB's own.

    Raises:
        DataError: the file cannot be read, or is empty.
    """
    try:
        with path.open("rb") as file:
            head = file.read(512 + len(HDF5))
    except OSError as fault:
        raise DataError("the file cannot be read", where=path, why=fault.strerror or str(fault),
                        fix="check the path and its permissions") from None
    if not head:
        raise DataError("the file is empty (0 bytes)", where=path, fix="fetch it again from its source")
    return head.startswith(HDF5) or head[512:] == HDF5


def _unpacked(path: Path) -> int:
    """Return the bytes of the largest packed variable of a version 5 file, as its first bytes say; 0 for none."""
    largest = 0
    with path.open("rb") as file:
        order = {b"IM": "<", b"MI": ">"}.get(file.read(HEAD)[-2:])
        while order and len(tag := file.read(8)) == 8:
            kind, length = struct.unpack(f"{order}2I", tag)
            end = file.tell() + length
            if kind == PACKED:
                inner = zlib.decompressobj().decompress(file.read(min(length, HEAD)), 8)
                largest = max(largest, struct.unpack(f"{order}2I", inner)[1])
            file.seek(end)
    return largest


def _hdf5(path: Path) -> Any:
    try:
        h5py = importlib.import_module("h5py")
    except ImportError:
        raise EnvironmentFault("MATLAB files of version 7.3 need another package", where=path,
                               why="h5py is not installed",
                               fix="pip install 'excite[matlab]', or save it in MATLAB by save(..., '-v7')") from None
    try:
        return h5py.File(path, "r")
    except OSError as fault:
        raise _unreadable(path, fault) from None


def _is_numeric(item: Any) -> bool:
    return getattr(getattr(item, "dtype", None), "kind", "") in tuple("iufb") and "MATLAB_empty" not in item.attrs


def _is_matlab(item: Any) -> bool:
    """Return whether MATLAB wrote it, which stores its axes in reversed order."""
    return "MATLAB_class" in item.attrs


def _shape(item: Any) -> tuple[int, ...]:
    return tuple(item.shape[::-1] if _is_matlab(item) else item.shape)


def _unreadable(path: Path, fault: Exception) -> DataError:
    return DataError("the MATLAB file cannot be read", where=path,
                     why=str(fault).split("\n")[0] or type(fault).__name__, fix=BROKEN)
