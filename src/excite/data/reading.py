"""From an address (a file, a member of a zip, a page of a file) to bytes, and from bytes to a Sample."""

import lzma
import os
import zipfile
import zlib
from functools import lru_cache
from pathlib import Path

from excite.data.readers.image import IMAGE_SUFFIXES, decode_image
from excite.data.sample import Sample
from excite.errors import DataError
from excite.registry import nearest

MAX_BYTES = 2**30  # of one file or member, before anything of it is decoded
PAGE = "page="
BROKEN_ARCHIVE = (OSError, RuntimeError, NotImplementedError, ValueError, EOFError, zipfile.BadZipFile, zlib.error,
                  lzma.LZMAError)


def read(path: Path) -> Sample:
    """Return the sample at an address.

    Args:
        path: `file`, `archive.zip#member`, `file#page=2` (pages count from 1) or `archive.zip#member#page=2`.

    Raises:
        DataError: there is no such file or member, or it cannot be used; the message names it, the cause, the remedy.
    """
    return decode(read_bytes(path), path)


def decode(content: bytes, path: Path) -> Sample:
    """Return the sample in the bytes of the file at an address, so that who hashes the bytes reads them once."""
    file, member, page = split_address(path)
    suffix = Path(member or file).suffix.lower()
    if suffix not in IMAGE_SUFFIXES:
        raise DataError(f"files of kind {suffix or '(no suffix)'!r} cannot be read", where=path,
                        fix=f"known: {', '.join(IMAGE_SUFFIXES)}")
    return decode_image(content, source=path, page=page)


def read_bytes(path: Path) -> bytes:
    """Return the bytes of the file or zip member at an address, after a look at their number.

    Raises:
        DataError: missing, unreadable or larger than the limit of one file.
    """
    file, member, _ = split_address(path)
    try:
        if member is None:
            _check_size(file.stat().st_size, path)
            return file.read_bytes()
        archive = _open_zip(file)
        info = archive.getinfo(member)
        _check_size(info.file_size, path)
        with archive.open(info) as stream:
            content = stream.read(info.file_size + 1)  # a header that lies about the size yields no more than this
    except KeyError:
        near = nearest(member or "", archive.namelist())
        raise DataError("the archive has no such member", where=path, fix=f"{near}list it with `unzip -l`") from None
    except IsADirectoryError:
        raise DataError("is a folder, not an image", where=path, fix="name the file") from None
    except FileNotFoundError:
        raise DataError("the file does not exist", where=path, fix="check the path and --root") from None
    except BROKEN_ARCHIVE as fault:
        raise DataError("the file cannot be read", where=path, why=_cause(fault),
                        fix="restore it from its source") from None
    return content


def exists(path: Path) -> bool:
    """Return whether there is a file or member at an address."""
    file, member, _ = split_address(path)
    if member is None or not file.is_file():
        return member is None and file.is_file()
    try:
        return member in _members(file)
    except BROKEN_ARCHIVE:
        return False


def split_address(path: Path) -> tuple[Path, str | None, int | None]:
    """Return file, member and page of an address. A file whose own name has a `#` is that file."""
    text = str(path)
    if "#" not in text or path.is_file():
        return path, None, None
    page = None
    head, _, tail = text.rpartition("#")
    if tail.startswith(PAGE):
        number = tail.removeprefix(PAGE)
        if not number.isdecimal() or int(number) < 1:
            raise DataError(f"{tail!r} names no page", where=path, fix="pages count from 1: file#page=1")
        page, text = int(number), head
    place = text.lower().find(".zip#")
    if place < 0 or Path(text).is_file():
        return Path(text), None, page
    member = text[place + len(".zip#"):].replace("\\", "/")
    return Path(text[:place + len(".zip")]), member, page


def _check_size(size: int, path: Path) -> None:
    if size > MAX_BYTES:
        raise DataError(f"the file has {size / 2**20:.0f} MB, the limit of one file is {MAX_BYTES / 2**20:.0f} MB",
                        where=path, fix="cut it into smaller images")


def _open_zip(file: Path) -> zipfile.ZipFile:
    status = file.stat()
    return _zip(file, status.st_mtime_ns, status.st_size, os.getpid())


def _members(file: Path) -> frozenset[str]:
    status = file.stat()
    return _names(file, status.st_mtime_ns, status.st_size)


# Reading the directory of a large archive once a member would be quadratic. A forked process has its own handle:
# two that share a file position would read each other's bytes.
@lru_cache(maxsize=4)
def _zip(file: Path, changed: int, size: int, process: int) -> zipfile.ZipFile:
    return zipfile.ZipFile(file)


@lru_cache(maxsize=4)
def _names(file: Path, changed: int, size: int) -> frozenset[str]:
    with zipfile.ZipFile(file) as archive:
        return frozenset(info.filename for info in archive.infolist() if not info.is_dir())


def _cause(fault: Exception) -> str:
    return getattr(fault, "strerror", None) or str(fault) or type(fault).__name__
