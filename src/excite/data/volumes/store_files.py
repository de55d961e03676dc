"""The folder of prepared volumes: what lies in it, its drafts, and removing both."""

import os
import platform
import re
import shutil
import time
from pathlib import Path
from typing import Any

from excite.folders import own_folder

SET = re.compile(r"([0-9a-f]{32})(\.npy|\.json|-labels)|pooled-[0-9a-f]{32}\.npy")
STALE = 24 * 3600.0  # seconds after which a draft is nobody's


def volumes_folder(folder: Path | None = None) -> Path:
    """Return where prepared volumes are kept: the folder given, else EXCITE_CACHE, else one in the user's cache."""
    return own_folder("EXCITE_CACHE", "volumes") if folder is None else folder.expanduser().absolute()


def draft_of(file: Path) -> Path:
    """Return where this process writes a file before it is whole; the name tells whose draft it is."""
    return file.with_name(f".{file.name}.{platform.node()}.{os.getpid()}.part")


def reserve(file: Path) -> None:
    """Give a file all the room that its length asks for.

    A sparse file has none yet, and writing to its map on a full disk ends the process without an error.

    Raises:
        OSError: there is not enough.
    """
    if hasattr(os, "posix_fallocate"):
        with file.open("r+b") as stream:
            os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)


def sweep(folder: Path) -> None:
    """Remove the drafts of processes of this machine that have ended, and those that are a day old."""
    for draft in [*folder.glob(".*.part"), *folder.glob("*-labels/.*.part")]:
        try:
            if _ended(draft.name) or time.time() - draft.stat().st_mtime > STALE:
                draft.unlink()
        except OSError:  # another process was faster, or the file is not ours
            continue


def volumes_info(folder: Path | None = None) -> dict[str, Any]:
    """Return the folder, its sets and their bytes, drafts included."""
    root = volumes_folder(folder)
    return {"folder": str(root), "sets": len(_names(root)), "bytes": _size(root)}


def clear_volumes(folder: Path | None = None) -> dict[str, Any]:
    """Remove all sets and what `sweep` removes, nothing else; return the folder, the sets and the bytes freed."""
    root = volumes_folder(folder)
    before, names = _size(root), _names(root)
    for path in _sets(root):
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    sweep(root)
    return {"folder": str(root), "removed": len(names), "freed_bytes": before - _size(root)}


def _ended(name: str) -> bool:
    """Return whether a draft is of a process of this machine that has ended."""
    start, _, number = name.removesuffix(".part").rpartition(".")
    if os.name == "nt" or not start.endswith(f".{platform.node()}") or not number.isdecimal():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _sets(root: Path) -> list[Path]:
    return [path for path in root.glob("*") if SET.fullmatch(path.name)]


def _names(root: Path) -> set[str]:
    """Return the sets; a set's values and page are one."""
    return {path.name.removesuffix(".npy").removesuffix(".json") for path in _sets(root)}


def _size(root: Path) -> int:
    """Return the bytes of sets and drafts."""
    files = [*_sets(root), *root.glob(".*.part")]
    return sum(one.stat().st_size for path in files for one in (path.rglob("*") if path.is_dir() else [path])
               if one.is_file())
