"""The bundle: one folder that predicts, written whole or not at all, read only where every checksum holds."""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from excite.deploy.card import card
from excite.deploy.info import FORMAT_VERSION, BundleInfo, faults_of
from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.registry import nearest

__all__ = ["BundleInfo", "find_bundle", "read_bundle", "update_bundle", "write_bundle"]

WEIGHTS, ONNX, INFO, CARD, SUMS = "weights.safetensors", "model.onnx", "bundle.json", "card.md", "bundle.sha256"
_HASHED = (WEIGHTS, ONNX, CARD)
_ABSOLUTE = re.compile(r"^(?:/|[A-Za-z]:[\\/]|\\\\).*[\\/](?=[^\\/]+[\\/]?$)")


def write_bundle(folder: Path, info: BundleInfo, *, weights: Path, onnx: Path) -> BundleInfo:
    """Write a bundle and return its info with the checksums; an older bundle in `folder` is replaced as a whole.

    The new one is built beside `folder` and renamed: whenever the power fails there is the old bundle, the new one,
    or, between two renames, the old one under the name `.NAME.previous`, which the next write puts back.

    Args:
        weights: A safetensors file, copied; it may be that of the bundle being replaced.
        onnx: An ONNX file in one piece, copied.

    Raises:
        UsageError: `folder` holds other files and no bundle. EnvironmentFault: it cannot be written.
    """
    _check(info, where=folder / INFO)
    aside, previous = folder.with_name(f".{folder.name}.tmp"), folder.with_name(f".{folder.name}.previous")
    _refuse_strangers(folder)
    try:
        if previous.exists() and not folder.exists():
            previous.rename(folder)
        for left in (aside, previous):
            shutil.rmtree(left, ignore_errors=True)
        aside.mkdir(parents=True)
        shutil.copyfile(weights, aside / WEIGHTS)
        shutil.copyfile(onnx, aside / ONNX)
        info = _write_texts(aside, info)
        for file in (*aside.iterdir(), aside):
            _sync(file)
        if folder.exists():
            folder.rename(previous)
        aside.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(previous, ignore_errors=True)
    except OSError as fault:
        if previous.exists() and not folder.exists():
            with suppress(OSError):
                previous.rename(folder)
        raise EnvironmentFault("the bundle cannot be written", where=folder, why=str(fault),
                               fix="free some disk space, or choose a folder that you may write") from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return info


def update_bundle(folder: Path, **changes: Any) -> BundleInfo:
    """Change fields of a bundle's info (temperature=1.3, metrics={...}); weights and network stay as they are."""
    return write_bundle(folder, replace(read_bundle(folder), **changes), weights=folder / WEIGHTS, onnx=folder / ONNX)


def find_bundle(path: Path) -> Path:
    """Return the bundle folder that `path` is, or the one inside it where it is a run.

    Raises:
        ModelError: there is none; a single file, such as a pickled .pt, is never a bundle.
    """
    for folder in (path, path / "bundle"):
        if (folder / INFO).is_file():
            return folder
    if path.is_file():
        raise ModelError("this is a file, not a bundle folder", where=path, why="pickled models are never read",
                         fix="name the folder that excite train or excite export made")
    if (path / "config.yaml").is_file():
        raise ModelError("this run has no bundle yet", where=path, why="its training has not ended",
                         fix="resume it with the excite train command that began it")
    if not path.exists():
        previous = path.with_name(f".{path.name}.previous")
        raise ModelError("the bundle does not exist", where=path, fix=f"a replacement was cut short: rename {previous}"
                         if previous.is_dir() else "check the path")
    raise ModelError(f"no bundle here: {INFO} is missing", where=path, fix="name the folder that excite train made")


def read_bundle(folder: Path, *, verify: bool = True) -> BundleInfo:
    """Return what a bundle says of itself, after checking its files.

    Args:
        verify: Compare the sha256 of every file; without it only bundle.json is checked.

    Raises:
        ModelError: a file is missing, damaged or changed, the format is unknown, or a key is unknown.
    """
    sums = _read_sums(folder)
    raw = _bytes(folder / INFO)
    _compare(folder / INFO, raw, sums.get(INFO))
    try:
        tree = json.loads(raw)
        if not isinstance(tree, dict):
            raise ValueError("it holds no mapping")
    except ValueError as fault:
        raise ModelError("bundle.json is not JSON", where=folder / INFO, why=str(fault), fix=_AGAIN) from None
    info = _info(tree, where=folder / INFO)
    for name in _HASHED if verify else ():
        _compare(folder / name, _bytes(folder / name), info.sha256.get(name))
    return info


_AGAIN = "copy or export the bundle again"


def _info(tree: Mapping[str, Any], *, where: Path) -> BundleInfo:
    """Return the info in `tree` if this version of excite understands all of it."""
    version = tree.get("format_version")
    if version != FORMAT_VERSION:
        raise ModelError(f"bundle format {version!r} is unknown", where=where,
                         why=f"this excite reads format {FORMAT_VERSION}", fix="use the excite that wrote the bundle")
    known = {one.name for one in fields(BundleInfo)}
    for key in tree:
        if key not in known:
            raise ModelError(f"unknown key {key!r} in bundle.json", where=where,
                             fix=f"{nearest(key, sorted(known))}known: {', '.join(sorted(known))}")
    missing = sorted({"name", "classes", "preprocess"} - set(tree))
    if missing:
        raise ModelError(f"bundle.json lacks {', '.join(missing)}", where=where, fix=_AGAIN)
    classes = tree["classes"] if isinstance(tree["classes"], list) else ()
    info = BundleInfo(**{**tree, "classes": tuple(classes)})
    _check(info, where=where)
    return info


def _check(info: BundleInfo, *, where: Path) -> None:
    """Raise where a field cannot be right: what predicts relies on these."""
    faults = faults_of(info)
    if faults:
        raise ModelError(f"bundle.json cannot be used: {'; '.join(faults)}", where=where, fix=_AGAIN)


def _write_texts(folder: Path, info: BundleInfo) -> BundleInfo:
    """Write card, bundle.json and the list of checksums; return the info with the checksums."""
    info = replace(info, provenance=_without_paths(info.provenance))
    (folder / CARD).write_text(card(info.to_json()), encoding="utf-8", newline="\n")
    info = replace(info, sha256={name: _sha256((folder / name).read_bytes()) for name in _HASHED})
    try:
        text = json.dumps(info.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    except (TypeError, ValueError) as fault:
        raise ModelError("bundle.json cannot hold these values", where=folder / INFO, why=str(fault),
                         fix="give plain numbers, texts, lists and mappings; None for what is not defined") from None
    (folder / INFO).write_text(text, encoding="utf-8", newline="\n")
    sums = {**info.sha256, INFO: _sha256((folder / INFO).read_bytes())}
    lines = "".join(f"{value}  {name}\n" for name, value in sorted(sums.items()))
    (folder / SUMS).write_text(lines, encoding="utf-8", newline="\n")
    return info


def _without_paths(value: Any) -> Any:
    """Return `value` with absolute paths cut to their last part: a folder's name can be a person's."""
    if isinstance(value, Mapping):
        return {key: _without_paths(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_paths(one) for one in value]
    return _ABSOLUTE.sub("", str(value)) if isinstance(value, (str, Path)) else value


def _read_sums(folder: Path) -> dict[str, str]:
    """Return the checksums of bundle.sha256, which `sha256sum -c` reads too."""
    pairs = [line.split(maxsplit=1) for line in _bytes(folder / SUMS).decode("utf-8", "replace").splitlines()]
    return {pair[1].strip(): pair[0] for pair in pairs if len(pair) == 2}


def _compare(file: Path, content: bytes, expected: str | None) -> None:
    if expected is None:
        raise ModelError("the file has no checksum in the bundle", where=file, fix=_AGAIN)
    if _sha256(content) != expected:
        raise ModelError("the file is damaged or was changed", where=file, why="its sha256 is not that of the bundle",
                         fix=_AGAIN)


def _bytes(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as fault:
        raise ModelError("a file of the bundle is missing or cannot be read", where=file,
                         why=fault.strerror or str(fault), fix=_AGAIN) from None


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _refuse_strangers(folder: Path) -> None:
    if folder.exists() and not (folder / INFO).is_file() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError("the folder holds other files and no bundle", where=folder, fix="name an empty or new folder")


def _sync(path: Path) -> None:
    """Flush a file or a folder to the disk; folders cannot be opened on Windows."""
    if path.is_dir() and os.name == "nt":
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError:
        if os.name != "nt":
            raise
    finally:
        os.close(handle)
