"""One set of stored images on disk: data.bin, memory-mapped, and index.json, written whole or not at all.

data.bin holds for each image its pixels (h, w, C) and its fingerprint's thumbnail (float32), each at a multiple of 64
bytes. index.json holds the rest, the sha256 of data.bin, and the sha256 of itself.
"""

import errno
import hashlib
import json
import os
import shutil
import time
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.data.fingerprint import Fingerprint
from excite.errors import EnvironmentFault

FORMAT = 2
DATA, INDEX = "data.bin", "index.json"
ALIGN = 64
STALE = 24 * 3600.0  # seconds after which an unfinished folder is nobody's


class Entry(NamedTuple):
    """Where one image lies and what is known of it; a row of index.json."""

    content: str
    pixels: str
    original: tuple[int, ...]
    constant: bool
    depth: str
    shape: tuple[int, int, int]
    offset: int
    thumbnail: int  # floats, behind the pixels
    original_depth: str


class Damaged(Exception):
    """A set that is not as it was written."""


class Pack:
    """An opened set: images and fingerprints by content.

    Args:
        folder: Where data.bin and index.json lie.
        note: What the set says about itself (the preprocessing's stored_key).

    Raises:
        Damaged: a file is missing, cut, changed or of another format.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        index = read_index(folder)
        self.note: str = index["note"]
        self.entries = {row[0]: Entry(row[0], row[1], tuple(row[2]), row[3], row[4], tuple(row[5]), row[6], row[7],
                                     row[8])
                        for row in index["entries"]}
        try:
            self._data = np.asarray(np.memmap(folder / DATA, dtype=np.uint8, mode="r"))
        except (OSError, ValueError) as fault:
            raise Damaged(str(fault)) from None
        if self._data.size != index["bytes"] or hashlib.sha256(self._data.data).hexdigest() != index["sha256"]:
            raise Damaged(f"{DATA} is not as it was written")

    def image(self, content: str) -> NDArray[Any]:
        """Return (h, w, C), a read-only view of the file."""
        entry = self.entries[content]
        depth = np.dtype(entry.depth)
        end = entry.offset + entry.shape[0] * entry.shape[1] * entry.shape[2] * depth.itemsize
        return self._data[entry.offset:end].view(depth).reshape(entry.shape)

    def fingerprint(self, content: str) -> Fingerprint:
        """Return the fingerprint of the original."""
        entry = self.entries[content]
        begin = _aligned(entry.offset + int(np.prod(entry.shape)) * np.dtype(entry.depth).itemsize)
        thumbnail = self._data[begin:begin + 4 * entry.thumbnail].view(np.float32)
        return Fingerprint(content=entry.content, pixels=entry.pixels, thumbnail=thumbnail, shape=entry.original,
                           constant=entry.constant, depth=entry.original_depth)


def read_index(folder: Path) -> dict[str, Any]:
    """Return a set's index, checked against its own sha256.

    Raises:
        Damaged: it is missing, cut, changed or of another format.
    """
    try:
        index = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        told = index.pop("index_sha256")
        if index["format"] != FORMAT or told != _digest(index):
            raise Damaged(f"{INDEX} is not as it was written")
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise Damaged(f"{INDEX}: {fault}") from None
    return dict(index)


def write_pack(folder: Path, images: Iterable[tuple[NDArray[Any], Fingerprint]], *, note: str, room: int) -> None:
    """Write a set beside `folder`, then give it that name in one step.

    Where another process was faster its set stays and ours goes: both hold the same.

    Args:
        images: Stored pixels (h, w, C) and the original's fingerprint, each content once.
        room: Bytes that may be written.

    Raises:
        EnvironmentFault: the set grows beyond `room`, the disk is full, or the folder cannot be written.
    """
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        aside.mkdir(mode=0o700, parents=True)
        entries, size, digest = _write_data(aside / DATA, images, room)
        index: dict[str, Any] = {"format": FORMAT, "note": note, "bytes": size, "sha256": digest, "entries": entries}
        index["index_sha256"] = _digest(index)
        with (aside / INDEX).open("w", encoding="utf-8", newline="\n") as stream:
            json.dump(index, stream)
            _flush(stream)
        _sync_folder(aside)
        try:
            aside.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
        _sync_folder(folder.parent)
    except OSError as fault:
        raise _no_room(fault, folder.parent) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove(folder: Path) -> None:
    """Remove a set, or what is left of one; whoever has it open keeps what is mapped."""
    aside = folder.with_name(f".{folder.name}.{uuid.uuid4().hex}.tmp")
    try:
        folder.rename(aside)
    except FileNotFoundError:
        return
    except OSError as fault:  # Windows, while another process has it open
        raise EnvironmentFault("a set of the image cache cannot be removed", where=folder, why=str(fault),
                               fix="end the process that uses it") from None
    shutil.rmtree(aside, ignore_errors=True)


def sweep(root: Path) -> None:
    """Remove unfinished folders that no living process can be writing any more."""
    for folder in root.glob(".*.tmp"):
        newest = max((file.stat().st_mtime for file in (folder, *folder.glob("*"))), default=0.0)
        if time.time() - newest > STALE:
            shutil.rmtree(folder, ignore_errors=True)


def _write_data(file: Path, images: Iterable[tuple[NDArray[Any], Fingerprint]],
                room: int) -> tuple[list[Entry], int, str]:
    entries, size, digest = [], 0, hashlib.sha256()
    with file.open("wb") as stream:
        for pixels, print_ in images:
            thumbnail = np.ascontiguousarray(print_.thumbnail, dtype=np.float32).ravel()
            block = _padded(np.ascontiguousarray(pixels).tobytes()) + _padded(thumbnail.tobytes())
            if size + len(block) > room:
                raise EnvironmentFault(f"the image cache grows beyond the {room / 1e9:.3g} GB that are left to it",
                                       where=file.parents[1], fix="excite cache clear, or raise cache.limit_gb")
            stream.write(block)
            digest.update(block)
            height, width, channels = pixels.shape
            entries.append(Entry(print_.content, print_.pixels, tuple(map(int, print_.shape)), bool(print_.constant),
                                 pixels.dtype.name, (height, width, channels), size, thumbnail.size, print_.depth))
            size += len(block)
        _flush(stream)
    return entries, size, digest.hexdigest()


def _padded(block: bytes) -> bytes:
    return block + bytes(_aligned(len(block)) - len(block))


def _aligned(place: int) -> int:
    return -(-place // ALIGN) * ALIGN


def _digest(index: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(index, sort_keys=True).encode()).hexdigest()


def _flush(stream: Any) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def _sync_folder(folder: Path) -> None:
    if os.name == "posix":  # elsewhere a folder cannot be opened
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _no_room(fault: OSError, root: Path) -> EnvironmentFault:
    if fault.errno == errno.ENOSPC:
        free = shutil.disk_usage(root).free / 1e6 if root.exists() else 0.0
        return EnvironmentFault(f"disk full: {free:.0f} MB are left", where=root,
                                fix="make room, or set EXCITE_CACHE to a folder on another disk")
    return EnvironmentFault("the image cache cannot be written", where=root, why=str(fault),
                            fix="set EXCITE_CACHE or cache.folder to a folder that can")
