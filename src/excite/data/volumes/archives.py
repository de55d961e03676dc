"""Volumes in the arrays of a .npz file, as MedMNIST ships them: one is unpacked at a time, whatever the file holds."""

import math
import os
import re
import threading
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from excite.data.volumes.turning import LIMIT, check_shape, fill_gaps
from excite.data.volumes.volume import Volume
from excite.errors import DataError
from excite.registry import nearest

ADDRESS = re.compile(r"(?P<file>.+\.npz)#(?P<key>[^\[\]]+)(?:\[(?P<index>\d+)\])?", re.IGNORECASE)
BROKEN = "the file was cut or damaged on its way; fetch it again from its source"
NOTE = "the file says no voxel size: 1 mm is assumed, and the axes are taken as they are"
READING = threading.Lock()  # streams are kept open, and have one place each


class Member(NamedTuple):
    """An array of an archive, open for reading."""

    stream: IO[bytes]
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    start: int


def is_address(path: Path) -> bool:
    """Return whether a path is `file.npz#key` or `file.npz#key[index]`."""
    return ADDRESS.fullmatch(str(path)) is not None


def read_member(path: Path, *, fill: float | None = None, limit_bytes: int = LIMIT) -> Volume:
    """Return a volume of a .npz file.

    The stream of a packed array stays open where it was left, so that reading volumes in their order unpacks the file
    once; going back begins anew. Only the volume itself is in memory.

    Args:
        path: `file.npz#key[index]` for one of an array (N, D, H, W), `file.npz#key` for an array (D, H, W).
        fill: Stands in for NaN and infinite voxels; None where they are a fault.
        limit_bytes: Most that the voxels may take as float32.

    Raises:
        DataError: there is no such file, array or index, or it cannot be used; arrays of Python objects are refused.
    """
    found = ADDRESS.fullmatch(str(path))
    if found is None:
        raise DataError("the address names no array of a .npz file", where=path, fix="write FILE.npz#KEY[INDEX]")
    index = None if found["index"] is None else int(found["index"])
    try:
        with READING:
            status = Path(found["file"]).stat()
            member = _member(Path(found["file"]), status.st_mtime_ns, status.st_size, found["key"], os.getpid())
            shape = _shape(member, index, path)
            check_shape(shape, source=path, limit_bytes=limit_bytes)
            length = math.prod(shape) * member.dtype.itemsize
            member.stream.seek(member.start + (index or 0) * length)
            content = member.stream.read(length)
    except DataError:
        raise
    except FileNotFoundError:
        raise DataError("the file does not exist", where=found["file"], fix="check the path") from None
    except Exception as fault:  # zlib, zipfile and NumPy raise whatever damaged bytes lead them to
        _member.cache_clear()  # the stream may be anywhere
        raise DataError("the NumPy file cannot be read", where=path,
                        why=str(fault).split("\n")[0] or type(fault).__name__, fix=BROKEN) from None
    if len(content) < length:
        raise DataError("the array is cut: it ends before its header says", where=path, fix=BROKEN)
    with np.errstate(over="ignore"):
        values = np.frombuffer(content, member.dtype).reshape(shape).astype(np.float32)
    notes = (NOTE, *fill_gaps(values, fill=fill, source=path))
    return Volume(values=values, affine=np.eye(4)[:, [2, 1, 0, 3]], source=path, notes=notes, spacing_known=False)


# A forked process has its own stream: two that share a file position would read each other's bytes.
@lru_cache(maxsize=4)
def _member(file: Path, modified: int, size: int, key: str, process: int) -> Member:
    """Return an array of an archive, its header read."""
    archive = zipfile.ZipFile(file)
    names = [name.removesuffix(".npy") for name in archive.namelist() if name.endswith(".npy")]
    if key not in names:
        raise DataError(f"there is no array {key!r}", where=file,
                        fix=f"{nearest(key, names)}the file has {', '.join(names) or 'none'}")
    stream = archive.open(f"{key}.npy")
    version = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(stream)
    if dtype.kind not in "biuf" or fortran and len(shape) > 1:
        what = "Python objects" if dtype.hasobject else f"{dtype}" if not fortran else "numbers in Fortran order"
        raise DataError(f"the array {key!r} holds {what}", where=file,
                        why="objects can run any program; others are not read volume by volume",
                        fix="save numbers alone: np.savez(file, key=np.ascontiguousarray(array, np.float32))")
    return Member(stream, shape, dtype, stream.tell())


def _shape(member: Member, index: int | None, path: Path) -> tuple[int, ...]:
    """Return the shape of the volume that is meant."""
    shape = member.shape
    if index is None and len(shape) != 3 or index is not None and len(shape) != 4:
        raise DataError(f"the array has {len(shape)} axes ({' x '.join(map(str, shape))})", where=path,
                        fix="KEY[INDEX] needs an array (N, D, H, W), KEY alone one (D, H, W)")
    if index is not None and index >= shape[0]:
        raise DataError(f"there is no volume {index}", where=path, why=f"the array has {shape[0]}, counted from 0",
                        fix="check the index")
    return shape[-3:]
