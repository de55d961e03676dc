"""The folder of weights on this machine: what is at hand, and whether it is whole. Nothing here needs torch."""

import hashlib
import json
import os
import re
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.folders import own_folder
from excite.progress import Progress
from excite.registry import nearest
from excite.weights.catalog import CATALOG, Row, find, recognise, rows_of

SUFFIX, CHECKSUM = ".safetensors", ".sha256"
TAG = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
PICKLES = (".pth", ".pt", ".pkl", ".pickle", ".npy", ".npz", ".bin", ".ckpt", ".tar")
LARGEST_HEADER = 100_000_000  # bytes, the format's own limit


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What a check of a file found."""

    ok: bool
    sha256: str
    text: str


def folder() -> Path:
    """Return where weights are kept: EXCITE_WEIGHTS, else excite/weights in the user's cache folder."""
    return own_folder("EXCITE_WEIGHTS", "weights")


def make_folder() -> None:
    """Make the store's folder.

    Raises:
        EnvironmentFault: it cannot be made.
    """
    try:
        folder().mkdir(parents=True, exist_ok=True)
    except OSError as fault:
        raise EnvironmentFault("the folder of weights cannot be made", where=folder(), why=str(fault),
                               fix="set EXCITE_WEIGHTS to a folder that can be written") from None


def path_of(row: Row) -> Path:
    """Return where a row's weights are kept, there or not."""
    return stored_path(row.backbone, row.tag)


def stored_path(backbone: str, tag: str) -> Path:
    """Return the file in the store of any backbone and tag.

    Raises:
        UsageError: one of the two is no plain word (it becomes part of a file name).
    """
    for word in (backbone, tag):
        if not TAG.fullmatch(word):
            raise UsageError(f"a name of weights must be letters, digits, '.', '_' and '-', got {word!r}",
                             fix="--tag NAME such as imagenet or ours-2024")
    return folder() / f"{backbone}-{tag}{SUFFIX}"


def at_hand(row: Row) -> Path | None:
    """Return the file of a row in the store, or None."""
    path = path_of(row)
    return path if path.is_file() else None


def own_files() -> list[Path]:
    """Return the files of the store that belong to no row of the catalog."""
    known = {path_of(row) for row in CATALOG}
    return sorted(path for path in folder().glob(f"*{SUFFIX}") if path not in known)


def files_of(names: list[str]) -> list[tuple[Path, Row | None]]:
    """Return the files that networks or paths mean, each with its row; everything at hand for no names.

    Raises:
        EnvironmentFault: nothing of a network is at hand.
    """
    everything: list[tuple[Path, Row | None]] = [(path, row) for row in CATALOG if (path := at_hand(row))]
    everything += [(path, None) for path in own_files()]
    if not names:
        return everything
    found: list[tuple[Path, Row | None]] = []
    for name in names:
        if name.endswith(SUFFIX):
            found.append((Path(name), None))
            continue
        here = [(path, row) for path, row in everything if path.name.startswith(f"{name}-") or path.stem == name]
        if not here:
            raise EnvironmentFault(f"no weights of {name!r} are at hand", where=folder(),
                                   fix="excite weights list, then excite weights get NAME")
        found += here
    return found


def resolve(name: str | Path | None, backbone: str) -> Path | None:
    """Return the file that `model.weights` means for a backbone; None where random values are asked for.

    Args:
        name: A tag, a path of a .safetensors file, or None or "none" for random values.
        backbone: The network's name in create_model.

    Raises:
        EnvironmentFault: the weights are not at hand; the message names the three ways on.
        UsageError: the tag is unknown. ModelError: the path is of a pickle.
    """
    if name is None or str(name).lower() == "none":
        return None
    if is_path(name):
        return _given(Path(name).expanduser())
    row = find(backbone, str(name))
    found = path_of(row) if row else stored_path(backbone, str(name))
    if found.is_file():
        return found
    if row is not None:
        raise _not_at_hand(row)
    tags = [row.tag for row in rows_of(backbone)]
    if not tags:
        raise EnvironmentFault(f"no weights called {name!r} are known for {backbone}",
                               fix=f"--weights FILE{SUFFIX} for your own, or --weights none for random values")
    raise UsageError(f"unknown weights {str(name)!r} for {backbone}",
                     fix=f"{nearest(str(name), tags)}known: {', '.join(tags)}, a file, or none")


def is_path(name: str | Path) -> bool:
    """Return whether `name` means a file and no tag."""
    path = Path(name).expanduser()
    return isinstance(name, Path) or path.suffix.lower() in (SUFFIX, *PICKLES) or len(path.parts) > 1


def _given(path: Path) -> Path:
    if not path.is_file():
        raise EnvironmentFault("there is no such weights file", where=path,
                               fix="check the path, or `excite weights list` for what is at hand")
    refuse_pickle(path)
    return path


def refuse_pickle(path: Path) -> None:
    """Raise for a file that is not safetensors by its name; a pickle can run code when it is read."""
    if path.suffix.lower() in (".pth", ".pt"):
        raise ModelError("a .pth file is not read directly", where=path, why="it is a pickle, which can hold code",
                         fix=f"excite weights import {path.name}, once; then --weights TAG")
    if path.suffix.lower() != SUFFIX:
        raise ModelError(f"weights are read from {SUFFIX} files only, got {path.suffix or 'no ending'}", where=path,
                         why="pickles and numpy object arrays can hold code",
                         fix="save the weights with safetensors, or `excite weights import` a .pth file")


def _not_at_hand(row: Row) -> EnvironmentFault:
    extra = "" if row.tag == "imagenet" else f" --tag {row.tag}"
    first = f"excite weights get {row.backbone}{extra}" if row.url else \
        f"excite weights import FILE (not offered for download: {row.note or row.source})"
    return EnvironmentFault(f"the weights {row.tag!r} of {row.backbone} are not at hand", where=path_of(row),
                            why="nothing is fetched unless asked for, and random values never stand in silently",
                            fix=f"choose one: {first}; --weights FILE; --weights none")


def row_of(path: Path) -> Row | None:
    """Return the catalog's row for a file, published or converted by an import; None for one of the user's own."""
    return recognise(digest(path)) or recognise(metadata(path).get("source_sha256", ""))


def digest(path: Path) -> str:
    """Return the sha256 of a file, in hex."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def checksum_file(path: Path) -> Path:
    """Return the file beside `path` that holds its sha256, in the form that `sha256sum -c` reads."""
    return path.with_name(path.name + CHECKSUM)


def stored_checksum(path: Path) -> str | None:
    """Return the sha256 that was written when `path` came into the store, or None."""
    file = checksum_file(path)
    words = file.read_text(encoding="utf-8", errors="replace").split() if file.is_file() else []
    return words[0] if words else None


def metadata(path: Path) -> dict[str, str]:
    """Return the words in the header of a safetensors file; nothing for one that cannot be read."""
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header: Any = json.loads(stream.read(length)) if length <= LARGEST_HEADER else {}
    except (OSError, ValueError, struct.error):
        return {}
    words = header.get("__metadata__", {}) if isinstance(header, dict) else {}
    return {str(key): str(value) for key, value in words.items()} if isinstance(words, dict) else {}


def verify(path: Path, row: Row | None = None) -> Verdict:
    """Check a file against its checksum, and against the catalog where it came from there.

    Args:
        row: The row that it should be; recognised otherwise.

    Raises:
        EnvironmentFault: there is no such file.
    """
    if not path.is_file():
        raise EnvironmentFault("there is no such weights file", where=path, fix="excite weights list")
    found, noted = digest(path), stored_checksum(path)
    known = recognise(found)
    if noted is not None and noted != found:
        return Verdict(ok=False, sha256=found, text=f"damaged: sha256 {found[:12]}..., but {noted[:12]}... was stored; "
                                                    "get or import it again")
    if row is not None and known not in (None, row):
        return Verdict(ok=False, sha256=found, text=f"another file: it is {known.name if known else 'unknown'}")
    if known is not None:
        return Verdict(ok=True, sha256=found, text=f"the published file of {known.name}: {_extent(known)} matches")
    if noted is None:
        return Verdict(ok=False, sha256=found, text="cannot be checked: in no catalog row, and no checksum beside it")
    origin = metadata(path).get("source_sha256", "")
    source = recognise(origin) if origin else None
    if row is not None and row.sha256 and source != row:
        return Verdict(ok=False, sha256=found, text=f"is whole, but was not made from the file of {row.name}")
    made = f"made from the published file, whose {_extent(source)} matched" if source else "from a file of your own"
    return Verdict(ok=True, sha256=found, text=f"whole, {made}")


def _extent(row: Row) -> str:
    return "whole sha256" if row.whole_hash else f"sha256 prefix {row.sha256} (the rest is not published)"


def get(row: Row, progress: Progress | None = None, *, local_http: bool = False) -> Path:
    """Fetch a row's weights, check them, convert them into the store; what is at hand is not fetched again.

    Args:
        local_http: Allow plain http, and only from 127.0.0.1.

    Raises:
        EnvironmentFault: nothing is offered for download, or the download failed.
        ModelError: what came is not the published file.
    """
    from excite.weights.download import download
    from excite.weights.intake import take_in

    present = at_hand(row)
    if present is not None:
        verdict = verify(present, row)
        if not verdict.ok:
            raise ModelError(f"the stored weights are not right: {verdict.text}", where=present,
                             fix="delete the file and get it again")
        return present
    if row.url is None:
        raise _not_at_hand(row)
    target = folder() / f".{row.name}.{os.getpid()}{Path(row.url).suffix}"
    make_folder()
    try:
        download(row.url, target, sha256=row.sha256, local_http=local_http, progress=progress)
        return take_in(target, row=row).path
    finally:
        target.unlink(missing_ok=True)
