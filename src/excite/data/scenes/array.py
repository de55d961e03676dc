"""Arrays of NumPy files: .npy mapped, .npz member by member; pickles are refused."""

import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.variables import Shapes, choose_variable
from excite.errors import DataError, EnvironmentFault, UsageError

BROKEN = "the file was cut or damaged on its way; fetch it again from its source"
SUFFIX, MAGIC = ".npy", b"\x93NUMPY"
LARGE, BLOWN = 2**30, 200  # bytes, and times the file: an array that is more of both is refused before it is unpacked


def read_npy(path: Path) -> NDArray[Any]:
    """Return the array of a .npy file as a view into the file.

    Raises:
        DataError: it is no such file, cut, or holds Python objects.
    """
    try:
        with path.open("rb") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise DataError("the file is no NumPy array", where=path, fix="save it by np.save(path, array)")
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except DataError:
        raise
    except (OSError, ValueError, EOFError) as fault:
        raise _unreadable(path, fault) from None


def read_npz(path: Path, variable: str | None = None, *, axes: int) -> NDArray[Any]:
    """Return one array of a .npz file, in memory: what is packed cannot be mapped.

    Args:
        path: A .npz file.
        variable: Its name; None for the only one with so many axes.
        axes: 3 for a cube, 2 for labels.

    Raises:
        UsageError: there is no such array. DataError: none or several fit, it is damaged, holds Python objects, or
            is far larger than the file. EnvironmentFault: no memory for it.
    """
    try:
        name = choose_variable(_shapes(path), variable, axes=axes, where=path)
        with np.load(path, allow_pickle=False) as archive:
            return np.asarray(archive[name])
    except (DataError, UsageError):
        raise
    except MemoryError:
        raise EnvironmentFault(f"no memory for the array {name!r}", where=path,
                               fix="save it by np.save, and it is read piece by piece") from None
    except Exception as fault:  # zlib, zipfile and NumPy raise whatever damaged bytes lead them to
        raise _unreadable(path, fault) from None


def check_size(path: Path, name: str, size: int) -> None:
    """Raise where an array would be far larger than the file that it is packed in.

    Raises:
        DataError: it would.
    """
    packed = path.stat().st_size
    if size > max(LARGE, BLOWN * packed):
        raise DataError(f"the array {name!r} would take {size / 2**30:,.1f} GB, {size / packed:,.0f} times the file",
                        where=path, why="so small a file that fills the memory is damaged or meant to",
                        fix="fetch it again from its source; or save the array unpacked, by np.save")


def _shapes(path: Path) -> Shapes:
    """Return name and shape of each numeric array, from the headers alone."""
    shapes = {}
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            member = info.filename
            if member.endswith(SUFFIX):
                check_size(path, member.removesuffix(SUFFIX), info.file_size)
                with archive.open(info) as file:
                    version = np.lib.format.read_magic(file)
                    read = np.lib.format.read_array_header_1_0 if version == (1, 0) \
                        else np.lib.format.read_array_header_2_0
                    shape, _, dtype = read(file)
                if not dtype.hasobject and math.prod(shape) * dtype.itemsize > info.file_size:
                    raise ValueError(f"{member} is said to be {shape} of {dtype}, and has {info.file_size} bytes")
                if dtype.kind in "iufb":
                    shapes[member.removesuffix(SUFFIX)] = shape
    return shapes


def _unreadable(path: Path, fault: Exception) -> DataError:
    if "Python objects" in str(fault) or "Object arrays" in str(fault):
        return DataError("the file holds Python objects", where=path,
                         why="reading them can run any program that someone put there",
                         fix="save numbers alone: np.save(path, array.astype(np.float32))")
    return DataError("the NumPy file cannot be read", where=path, why=str(fault).split("\n")[0] or type(fault).__name__,
                     fix=BROKEN)
