"""Predicting a large scene into files, tile by tile: what was killed goes on, and processes share the tiles.

A folder holds labels.npy and probabilities.npy, written in place; plan.json, what was asked for; and for each finished
tile tile-N.json with the sha256 of its values. A process computes a tile while it holds the lock on tile-N.claim, which
a killed one lets go of. The same plan gives the same bytes on the same kind of processor, whoever computes which tile.
"""

import errno
import hashlib
import json
import math
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from excite.config import differences
from excite.errors import DataError, UsageError
from excite.jobs.run_folder import lock_file, written
from excite.machine import usable_cores
from excite.models.measure import using_threads
from excite.models.scene_prediction import TILE, Cube, Method, TiledScene
from excite.models.whole_scene import Precision
from excite.progress import Progress, silent
from excite.tiling import Border, Tile

PLAN, LABELS, PROBABILITIES = "plan.json", "labels.npy", "probabilities.npy"
BLOCK = 2**24  # bytes of zeros at a time
WAIT = 0.2  # seconds between two looks at tiles that others compute
_writing = partial(written, what="the prediction", again="the same call", otherwise="name another folder")


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneFiles:
    """A predicted scene on disk.

    Args:
        labels: (H, W), counted from 0, a memory map.
        probabilities: (H, W, K), a memory map.
        computed: Tiles that this call computed; the others were there or came from another process.
        tiles: All of them.
    """

    labels: NDArray[np.int32]
    probabilities: NDArray[np.float32]
    computed: int
    tiles: int


def predict_into(folder: Path, model: nn.Module, cube: Cube, *, window: int | None = None, method: Method = "whole",
                 tile: int = TILE, border: Border = "reflect", precision: Precision = "float32", batch: int = 128,
                 threads: int | None = None, progress: Progress | None = None) -> SceneFiles:
    """Predict a scene into files of `folder`; the same call goes on where another was killed, or works beside it.

    Args:
        folder: Made where it does not exist.
        threads: None: all usable cores; or what the folder's plan says, because other threads round differently.

    The other arguments are those of predict_scene.

    Raises:
        UsageError: an argument is wrong, or the folder began with another model, scene or option; the difference is
            named. DataError: the cube is not a scene for this model, or the folder's arrays are not its own.
            EnvironmentFault: the folder cannot be written, or the disk has no room for the arrays.
    """
    progress = progress or silent()
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    threads = threads or _planned_threads(folder) or usable_cores()
    with using_threads(threads), _writing(folder):
        scene = TiledScene(model, cube, window=window, method=method, tile=tile, border=border, precision=precision,
                           batch=batch)
        _begin(folder, scene, {
            "sizes": list(scene.sizes), "tile": tile, "window": scene.window, "border": border, "method": method,
            "precision": precision, "batch": batch if method == "windows" else None, "threads": threads,
            "weights": weights_digest(model), "cube": cube_digest(cube)})
        labels, probabilities = (_opened(folder / name, shape, kind)
                                 for name, (shape, kind) in _arrays(scene).items())
        computed = _compute(folder, scene, labels, probabilities, progress)
    return SceneFiles(labels=labels, probabilities=probabilities, computed=computed, tiles=len(scene.tiles))


def weights_digest(model: nn.Module) -> str:
    """Return the sha256 of all that a model has learned, names included."""
    found = hashlib.sha256()
    for name, value in model.state_dict().items():
        found.update(f"{name} {value.dtype} {tuple(value.shape)};".encode())
        found.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()


def cube_digest(cube: Cube) -> str:
    """Return the sha256 of a cube's values, read some rows at a time."""
    found = hashlib.sha256(f"{cube.dtype} {cube.shape};".encode())
    for row in cube:
        found.update(np.ascontiguousarray(row).data)
    return found.hexdigest()


def _begin(folder: Path, scene: TiledScene, plan: dict[str, Any]) -> None:
    """Make the files and the plan, or see that the plan is the same.

    Raises:
        UsageError: it is another.
    """
    while True:
        with _claim(folder / "begin.claim") as mine:
            if not mine:
                time.sleep(WAIT)
                continue
            old = _read(folder / PLAN)
            if old is None:
                for name, (shape, kind) in _arrays(scene).items():
                    _make(folder / name, shape, kind)
                _write(folder / PLAN, plan)
            elif found := differences(old, plan):
                raise UsageError(f"this prediction began with another plan: {'; '.join(found)}", where=folder,
                                 fix="undo the change to go on, or name another folder")
            return


def _compute(folder: Path, scene: TiledScene, labels: np.memmap[Any, Any],
             probabilities: np.memmap[Any, Any], progress: Progress) -> int:
    """Compute what nobody else has done or is at; return how many tiles, when all are done."""
    computed, done, left = 0, 0, list(enumerate(scene.tiles))
    while left:
        waiting = []
        for number, part in left:
            record, views = folder / f"tile-{number}.json", (labels[part.inside], probabilities[part.inside])
            if not _is_done(record, views):
                with _claim(record.with_suffix(".claim")) as mine:
                    if not mine:
                        waiting.append((number, part))
                        continue
                    if not _is_done(record, views):  # it may have been, just before the lock
                        for view, values in zip(views, scene.predict(part), strict=True):
                            view[...] = values
                        for array in (labels, probabilities):
                            array.flush()
                        _write(record, {"sha256": _digest(views)})
                        computed += 1
            done += 1
            progress.step("predicting tiles", done, len(scene.tiles))
        left = waiting
        if left:
            time.sleep(WAIT)
    return computed


def _is_done(record: Path, views: tuple[NDArray[Any], ...]) -> bool:
    """Return whether a tile's record is there and its values are those."""
    told = _read(record)
    return told is not None and told.get("sha256") == _digest(views)


def _digest(views: tuple[NDArray[Any], ...]) -> str:
    found = hashlib.sha256()
    for view in views:
        found.update(np.ascontiguousarray(view).data)
    return found.hexdigest()


def _arrays(scene: TiledScene) -> dict[str, tuple[tuple[int, ...], type[np.generic]]]:
    """Return shape and type of each array file."""
    classes = scene.logits(Tile(0, 0, 1, 1)).shape[2]
    return {LABELS: (scene.sizes, np.int32), PROBABILITIES: ((*scene.sizes, classes), np.float32)}


def _make(file: Path, shape: tuple[int, ...], kind: type[np.generic]) -> None:
    """Make an array file of zeros that has its room on the disk: a map into a file without kills the process."""
    np.lib.format.open_memmap(file, mode="w+", dtype=kind, shape=shape).flush()
    try:
        with file.open("r+b") as stream:
            _reserve(stream.fileno(), file.stat().st_size, math.prod(shape) * np.dtype(kind).itemsize)
    except OSError:
        file.unlink()  # what was reserved of it fills the disk
        raise


def _reserve(descriptor: int, size: int, zeros: int) -> None:
    """Give an open file of `size` bytes, the last `zeros` of them 0, its room on the disk.

    Raises:
        OSError: there is not so much.
    """
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(descriptor, 0, size)
            return
        except OSError as fault:
            if fault.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # these: not on this kind of disk
                raise
    os.lseek(descriptor, size - zeros, os.SEEK_SET)
    while zeros:
        zeros -= os.write(descriptor, bytes(min(zeros, BLOCK)))
    os.fsync(descriptor)


def _opened(file: Path, shape: tuple[int, ...], kind: type[np.generic]) -> np.memmap[Any, Any]:
    """Return an array file, to be written.

    Raises:
        DataError: it is damaged, or another one.
    """
    try:
        array = np.lib.format.open_memmap(file, mode="r+")
        found = f"{array.dtype} {array.shape}"
    except ValueError as fault:
        found = str(fault).split("\n")[0]
    if found != (wanted := f"{np.dtype(kind)} {shape}"):
        raise DataError(f"the array must be {wanted}, got {found}", where=file, why="it is not of this prediction",
                        fix="delete the folder, or name another one")
    return array


def _planned_threads(folder: Path) -> int | None:
    plan = _read(folder / PLAN)
    return None if plan is None else int(plan["threads"])


def _read(file: Path) -> dict[str, Any] | None:
    """Return what a JSON file says; None where there is none, or it was cut."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _write(file: Path, facts: dict[str, Any]) -> None:
    """Write a JSON file whole or not at all."""
    aside = file.with_name(f".{file.name}.{os.getpid()}.tmp")
    with aside.open("w", encoding="utf-8", newline="\n") as stream:
        json.dump(facts, stream, indent=1)
        stream.flush()
        os.fsync(stream.fileno())
    aside.replace(file)


@contextmanager
def _claim(file: Path) -> Iterator[bool]:
    """Hold a lock inside the block where nobody else does; say whether it is held. A killed process lets go of its."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            lock_file(descriptor)
        except OSError:
            yield False
            return
        yield True
        with suppress(OSError):  # Windows keeps an open file; whoever has it open sees the record first
            file.unlink()
    finally:
        os.close(descriptor)
