"""Checkpoints that survive kill -9, a full disk and flipped bits: written aside, checked by hash, the previous kept.

A checkpoint is two files, tensors and then a JSON with their sha256 and its own: without its JSON it does not count.
"""

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as to_bytes
from torch import Tensor

from excite.errors import EnvironmentFault, ModelError

FORMAT = 1
PREFIX, ASIDE = "checkpoint-", ".tmp-"
FULL = (errno.ENOSPC, errno.EDQUOT) if hasattr(errno, "EDQUOT") else (errno.ENOSPC,)


@dataclass(frozen=True)
class Checkpoint:
    """A moment of a training.

    Args:
        tensors: Everything large, by name.
        values: Everything small, as JSON; floats come back exactly as they were.
        passed_over: One line for each newer checkpoint that was damaged; only from `load_latest`.
    """

    tensors: Mapping[str, Tensor]
    values: Mapping[str, Any]
    passed_over: tuple[str, ...] = field(default=(), compare=False)


def save(folder: Path, state: Checkpoint, *, keep: int = 2) -> Path:
    """Write a checkpoint, then remove all but the newest `keep`; returns its JSON file.

    Raises:
        EnvironmentFault: the disk is full or the folder cannot be written; the checkpoints before it are intact.
    """
    _make(folder)
    number = max((_number(file) for file in _descriptions(folder)), default=0) + 1
    file = folder / f"{PREFIX}{number:06d}.json"
    # One copy of each: tensors that share memory cannot be written.
    tensors = {name: value.detach().to("cpu", copy=True).contiguous() for name, value in state.tensors.items()}
    data = to_bytes(tensors)
    content: dict[str, Any] = {"format": FORMAT, "bytes": len(data), "tensors": hashlib.sha256(data).hexdigest(),
                               "values": state.values}
    content["sha256"] = _hash(content)
    _write(file.with_suffix(".safetensors"), data)
    _write(file, json.dumps(content, allow_nan=False).encode())
    for old in _descriptions(folder)[:-keep]:
        old.unlink(missing_ok=True)  # the JSON first: tensors alone do not count
        old.with_suffix(".safetensors").unlink(missing_ok=True)
    return file


def load_latest(folder: Path) -> Checkpoint | None:
    """Return the newest intact checkpoint, or None where there is none at all.

    A damaged one is passed over: it is renamed to *.damaged and told in `passed_over`.

    Raises:
        ModelError: all of them are damaged, or another version wrote the newest.
    """
    damaged: list[tuple[Path, str]] = []
    for file in reversed(_descriptions(folder)):
        try:
            found = _read(file)
        except ModelError:
            raise
        except (ValueError, KeyError, TypeError, FileNotFoundError, SafetensorError) as fault:
            damaged.append((file, f"checkpoint {file.name} is damaged ({fault})"))
            continue
        for one, _ in damaged:
            for part in (one, one.with_suffix(".safetensors")):
                if part.exists():
                    part.replace(part.with_name(f"{part.name}.damaged"))
        words = tuple(f"{text}; the one before it, {file.name}, is used" for _, text in damaged)
        return Checkpoint(found.tensors, found.values, passed_over=words)
    if damaged:
        raise ModelError("every checkpoint of this run is damaged", where=folder,
                         why="; ".join(text for _, text in damaged),
                         fix="check the disk, and start again in a new folder with --out")
    return None


def sweep(folder: Path) -> list[str]:
    """Remove what a kill left behind, half-written files and tensors without their JSON; returns their names."""
    if not folder.is_dir():
        return []
    left = [file for file in sorted(folder.iterdir())
            if file.name.startswith(ASIDE) or (file.name.startswith(PREFIX) and file.suffix == ".safetensors"
                                               and not file.with_suffix(".json").exists())]
    for file in left:
        file.unlink(missing_ok=True)
    return [file.name for file in left]


def _read(file: Path) -> Checkpoint:
    content = json.loads(file.read_bytes())
    if content.pop("sha256") != _hash(content):
        raise ValueError("its JSON does not fit its sha256")
    if content["format"] != FORMAT:
        raise ModelError(f"the checkpoint's format is {content['format']}, this version reads {FORMAT}", where=file,
                         fix="resume with the version of excite that began the run")
    data = file.with_suffix(".safetensors").read_bytes()
    if len(data) != content["bytes"]:
        raise ValueError(f"cut: {len(data)} of {content['bytes']} bytes")
    if hashlib.sha256(data).hexdigest() != content["tensors"]:
        raise ValueError("its tensors do not fit their sha256")
    return Checkpoint(from_bytes(data), content["values"])


def _hash(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _descriptions(folder: Path) -> list[Path]:
    """Return the JSON files, oldest first."""
    return sorted(folder.glob(f"{PREFIX}*.json"), key=_number)


def _number(file: Path) -> int:
    text = file.stem.removeprefix(PREFIX)
    return int(text) if text.isdecimal() else -1


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise _unwritable(folder, fault, need=0) from None


def _write(file: Path, data: bytes) -> None:
    """Write a file whole or not at all: aside in the same folder, to the disk, then in its place."""
    aside = file.with_name(f"{ASIDE}{file.name}")
    try:
        with aside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        aside.replace(file)
        _flush(file.parent)
    except OSError as fault:
        aside.unlink(missing_ok=True)
        raise _unwritable(file.parent, fault, need=len(data)) from None


def _flush(folder: Path) -> None:
    """Bring the folder's entries to the disk, where the system can."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _unwritable(folder: Path, fault: OSError, *, need: int) -> EnvironmentFault:
    if fault.errno in FULL:
        free = shutil.disk_usage(folder).free / 1e6
        return EnvironmentFault(f"disk full: need {need / 1e6:.1f} MB, have {free:.1f} MB at {folder}",
                                fix="make room, then the same command resumes from the last checkpoint")
    return EnvironmentFault("checkpoints cannot be written", where=folder, why=fault.strerror or str(fault),
                            fix="make the folder writable, then the same command resumes")
