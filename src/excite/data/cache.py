"""Images decoded once: stored small, in their own depth, in one memory-mapped file a set.

A set is named by what it holds (the sha256 of each file's bytes, with the page of a file of several) and how
(Preprocess.stored_key, and this version of excite), so a changed file, another size or a newer reader is another set.
Every file is hashed on every opening (1 to 2 GB/s a core; a memory of size and time would miss some changes) and the
set's own checksums are verified.
"""

import hashlib
import json
import re
import shutil
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from excite import __version__
from excite.data.fingerprint import Fingerprint, fingerprint
from excite.data.pack import FORMAT, Damaged, Pack, read_index, remove, sweep, write_pack
from excite.data.preprocess import Preprocess, mixed_depths
from excite.data.reading import decode, read_bytes, split_address
from excite.data.sections import CacheSection
from excite.errors import DataError, EnvironmentFault
from excite.folders import own_folder
from excite.machine import usable_cores
from excite.progress import Progress, silent

SHOWN = 10   # faults that an error lists
PROBE = 8    # images that the need of a set is estimated from
SET = re.compile(r"[0-9a-f]{32}")
Stored = tuple[NDArray[Any], Fingerprint]
T = TypeVar("T")


class ImageCache:
    """Stored images and their fingerprints, in the order of `files`.

    Made by `ImageCache.build`. Two files of the same bytes share one place.
    """

    def __init__(self, pack: Pack, contents: Sequence[str]) -> None:
        self.folder = pack.folder
        self.contents = tuple(contents)
        self._pack = pack

    def __len__(self) -> int:
        return len(self.contents)

    def __getitem__(self, index: int) -> NDArray[Any]:
        """Return image `index` as (h, w, C) in its own depth, a read-only view of the file."""
        return self._pack.image(self.contents[index])

    def channels(self, index: int) -> int:
        """Return the channels of image `index` without touching its pixels."""
        return self._pack.entries[self.contents[index]].shape[2]

    @cached_property
    def fingerprints(self) -> list[Fingerprint]:
        """Return the fingerprint of each file's image as it was before storing."""
        return [self._pack.fingerprint(content) for content in self.contents]

    @classmethod
    def build(cls, files: Sequence[Path], preprocess: Preprocess, section: CacheSection, *,
              progress: Progress | None = None) -> "ImageCache":
        """Return the cache of `files`, decoded now where there is none; said where it lies and how large it is.

        Decoding runs in a few threads with a bounded number of images in memory. A damaged set is built again, and
        said. Two processes that build the same set do not disturb each other: one of the two results stays.

        Raises:
            DataError: files that cannot be read (all of them are listed, the first 10 by name), or several depths.
            EnvironmentFault: the set does not fit the limit or the disk, or the folder cannot be written.
        """
        progress = progress or silent()
        if not files:
            raise DataError("there is no image to decode", fix="check the table")
        faults: dict[int, str] = {}
        contents = _hash(files, faults, progress)
        folder = cache_folder(section) / _key(contents, preprocess)
        pack = None if faults else _open(folder, progress)
        if pack is None:
            _decode(files, contents, faults, folder, preprocess, section, progress)
            pack = _fresh(folder)
        cache = cls(pack, contents)
        cache._one_depth(files)
        size = (folder / "data.bin").stat().st_size
        progress.say(f"image cache: {len(pack.entries)} images, {size / 1e6:.1f} MB, in {folder}")
        return cache

    def _one_depth(self, files: Sequence[Path]) -> None:
        examples: dict[str, str] = {}
        for file, content in zip(files, self.contents, strict=True):
            examples.setdefault(self._pack.entries[content].depth, file.name)
        if len(examples) > 1:
            raise mixed_depths(examples)


def cache_folder(section: CacheSection | None = None) -> Path:
    """Return where sets are kept: cache.folder, else EXCITE_CACHE, else excite/images in the user's cache folder."""
    if section is not None and section.folder is not None:
        return section.folder.expanduser().absolute()
    return own_folder("EXCITE_CACHE", "images")


def cache_info(section: CacheSection) -> dict[str, Any]:
    """Return the folder, its limit and size in bytes, and its sets with images, bytes and state."""
    root = cache_folder(section)
    sets = []
    for folder in _sets(root):
        try:
            index = read_index(folder)
            images, state = len(index["entries"]), "ok"
        except Damaged:
            images, state = 0, "damaged"
        sets.append({"name": folder.name, "images": images, "bytes": _size(folder), "state": state})
    return {"folder": str(root), "limit_gb": section.limit_gb, "bytes": _size(root), "sets": sets}


def clear_cache(section: CacheSection) -> dict[str, Any]:
    """Remove all sets and unfinished ones, nothing else; return the folder, the sets removed and the bytes freed."""
    root = cache_folder(section)
    before, sets = _size(root), _sets(root)
    for folder in sets:
        remove(folder)
    for folder in (*_unfinished(root), root / "features"):  # of frozen trunks, see jobs/feature_cache.py
        shutil.rmtree(folder, ignore_errors=True)
    return {"folder": str(root), "removed": len(sets), "freed_bytes": before - _size(root)}


def _key(contents: Sequence[str], preprocess: Preprocess) -> str:
    parts = [FORMAT, __version__, preprocess.stored_key, sorted(set(contents))]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:32]


def _open(folder: Path, progress: Progress) -> Pack | None:
    """Return the set, or None where it is missing or was damaged and is now removed."""
    if not folder.exists():
        return None
    try:
        return Pack(folder)
    except Damaged as fault:
        progress.say(f"image cache: {folder} is damaged ({fault}); it is built again")
        remove(folder)
        return None


def _fresh(folder: Path) -> Pack:
    try:
        return Pack(folder)
    except Damaged as fault:
        raise EnvironmentFault("the image cache changed while it was opened", where=folder, why=str(fault),
                               fix="run the same again; if it stays, the disk is at fault") from None


def _hash(files: Sequence[Path], faults: dict[int, str], progress: Progress) -> list[str]:
    """Return the sha256 of each file; one that cannot be read goes to `faults` and has none."""
    contents = []
    for place, found in enumerate(_in_threads(_content, files)):
        contents.append(found if isinstance(found, str) else "")
        if isinstance(found, DataError):
            faults[place] = str(found)
        progress.step("hashing images", place + 1, len(files))
    return contents


def _content(file: Path) -> str:
    return _name(read_bytes(file), file)


def _name(content: bytes, file: Path) -> str:
    """Return what tells an image from all others: the sha256 of its file, and its page."""
    page = split_address(file)[2]
    return hashlib.sha256(content).hexdigest() + (f"#page={page}" if page else "")


def _decode(files: Sequence[Path], contents: Sequence[str], faults: dict[int, str], folder: Path,
            preprocess: Preprocess, section: CacheSection, progress: Progress) -> None:
    """Write the set of all files, or raise with all that cannot be read."""
    unique = {content: place for place, content in reversed(list(enumerate(contents))) if content}
    places = sorted(unique.values())

    def store(place: int) -> Stored:
        content = read_bytes(files[place])
        if _name(content, files[place]) != contents[place]:
            raise DataError("the file changed while it was read", where=files[place], fix="run the same again")
        sample = decode(content, files[place])
        return preprocess.store(sample.image), fingerprint(sample, contents[place])

    def good() -> Iterator[Stored]:
        for done, (place, found) in enumerate(zip(places, _in_threads(store, places), strict=True)):
            progress.step("decoding images", done + 1, len(places))
            if isinstance(found, DataError):
                faults[place] = str(found)
            else:
                yield found
        if faults:
            raise _unreadable(faults, len(files))

    root = folder.parent
    progress.say(f"image cache: decoding {len(places)} images into {folder} (limit {section.limit_gb:g} GB)")
    sweep(root)
    write_pack(folder, good(), note=preprocess.stored_key, room=_room(store, places, root, section))


def _room(store: Callable[[int], Stored], places: Sequence[int], root: Path, section: CacheSection) -> int:
    """Return the bytes that may be written, after a look at whether a few images times their number would fit."""
    used = _size(root)
    there = next(parent for parent in (root, *root.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    room = int(min(section.limit_gb * 1e9 - used, free))
    probe = [places[i] for i in np.unique(np.linspace(0, len(places) - 1, PROBE).astype(int))] if places else []
    sizes = [found[0].nbytes + found[1].thumbnail.nbytes for found in _in_threads(store, probe)
             if not isinstance(found, DataError)]
    need = int(np.mean(sizes) * len(places)) if sizes else 0
    if need > room:
        full = free < section.limit_gb * 1e9 - used
        raise EnvironmentFault(
            f"the image cache needs about {need / 1e9:.3g} GB and {max(room, 0) / 1e9:.3g} GB are left", where=root,
            why="the disk is nearly full" if full else
            f"the limit is {section.limit_gb:g} GB, other sets take {used / 1e9:.3g} GB",
            fix="make room, or set EXCITE_CACHE to a folder on another disk" if full else
            f"excite cache clear, or --set cache.limit_gb={np.ceil((need + used) / 1e8) / 10:g}")
    return room


def _in_threads(work: Callable[[Any], T], items: Sequence[Any]) -> Iterator[T | DataError]:
    """Yield work(item) in order, or the fault of a file; no more than a few items are under way or waiting."""

    def guarded(item: Any) -> T | DataError:
        try:
            return work(item)
        except DataError as fault:
            return fault

    threads = min(4, usable_cores())
    under_way: deque[Future[T | DataError]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            for item in items:
                under_way.append(pool.submit(guarded, item))
                if len(under_way) >= 4 * threads:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()
        finally:
            for future in under_way:
                future.cancel()


def _unreadable(faults: dict[int, str], total: int) -> DataError:
    shown = "; ".join(faults[place] for place in sorted(faults)[:SHOWN])
    more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
    return DataError(f"{len(faults)} of {total} images cannot be read: {shown}{more}",
                     fix="excite check TABLE --write-clean OUT.csv writes a table without them")


def _sets(root: Path) -> list[Path]:
    return sorted(folder for folder in root.glob("*") if SET.fullmatch(folder.name) and folder.is_dir())


def _unfinished(root: Path) -> list[Path]:
    return [folder for folder in root.glob(".*.tmp") if SET.fullmatch(folder.name.split(".")[1])]


def _size(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
