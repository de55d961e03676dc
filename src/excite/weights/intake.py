"""Taking a file into the store: recognised by its sha256, read safely, written anew as safetensors, atomically."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from excite.errors import EnvironmentFault, ModelError, UsageError
from excite.weights.catalog import Part, Row, recognise
from excite.weights.keymap import guess_layout
from excite.weights.parts import COUNTER
from excite.weights.pickled import import_pth
from excite.weights.store import checksum_file, digest, make_folder, refuse_pickle, stored_path

HEADS = ("classifier.", "last_linear.", "fc.")
Check = Callable[[Mapping[str, Tensor], "Entry"], None]


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A file in the store."""

    path: Path
    backbone: str
    tag: str
    part: str
    layout: str
    tensors: int
    values: int
    classes: int | None
    row: Row | None


def take_in(file: Path, *, row: Row | None = None, name: str | None = None, tag: str = "custom",
            layout: str = "auto", check: Check | None = None) -> Entry:
    """Convert `file` into the store.

    Args:
        file: A .safetensors, .pth or .pt file.
        row: The catalog row that it is; found by its sha256 otherwise.
        name: The backbone of a file that the catalog does not know.
        tag: What such a file will be called by `--weights`.
        layout: Its key names, "auto" to guess them.
        check: Called with the tensors and what is known of them before anything is written; may raise.

    Raises:
        EnvironmentFault: there is no such file, or the store cannot be written.
        UsageError: a stranger without `name`. ModelError: the file cannot be read as weights.
    """
    if not file.is_file():
        raise EnvironmentFault("there is no such weights file", where=file, fix="check the path")
    summed = digest(file)
    row = row or recognise(summed)
    if row is None and name is None:
        raise UsageError("the file is in no row of the catalog", where=file, why=f"its sha256 is {summed[:16]}...",
                         fix=f"say what it is: excite weights import {file.name} --name mobilenet_v2 --tag ours")
    state = read_state(file)
    known = row.layout_of(summed) if row else None
    layout = known or (guess_layout(state) if layout == "auto" else layout)
    backbone, tag = (row.backbone, row.tag) if row else (str(name), tag)
    part: Part = row.part if row else "all" if any(key.startswith(HEADS) for key in state) else "features"
    path = stored_path(backbone, tag)
    heads = [value for key, value in state.items() if key.startswith(HEADS) and value.ndim == 2]
    entry = Entry(path=path, backbone=backbone, tag=tag, part=part, layout=layout, tensors=len(state),
                  values=sum(value.numel() for key, value in state.items() if not key.endswith(COUNTER)), row=row,
                  classes=heads[-1].shape[0] if heads else None)
    if check is not None:
        check(state, entry)
    make_folder()
    write_state(path, state, {"backbone": backbone, "tag": tag, "part": part, "layout": layout,
                              "source_sha256": summed, "source_file": file.name.lstrip(".")})
    return entry


def read_state(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors, .pth or .pt file.

    Raises:
        ModelError: it is damaged, no file of weights, or holds values that are not finite.
    """
    state = import_pth(file) if file.suffix.lower() in (".pth", ".pt") else read_safetensors(file)
    bad = [key for key, value in state.items()
           if value.is_floating_point() and not bool(value.float().isfinite().all())]
    if bad:
        raise ModelError(f"{len(bad)} tensors hold values that are not finite: {', '.join(bad[:5])}", where=file,
                         why="a damaged file, or a training that broke", fix="get the file again")
    return state


def read_safetensors(file: Path) -> dict[str, Tensor]:
    """Return the tensors of a .safetensors file.

    Raises:
        ModelError: it is damaged or something else.
    """
    refuse_pickle(file)
    try:
        return dict(load_file(file))
    except (SafetensorError, OSError, ValueError, RuntimeError) as fault:
        raise ModelError("the file cannot be read as safetensors", where=file, why=" ".join(str(fault).split())[:160],
                         fix="it is cut, damaged or something else: get or save it again") from None


def write_state(path: Path, state: Mapping[str, Tensor], words: Mapping[str, str]) -> None:
    """Write tensors and their checksum, each atomically; an old file stays until the new one is whole."""
    data = save(dict(state), dict(words))
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with aside.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        checksum_file(path).unlink(missing_ok=True)  # a kill between the two leaves no checksum, never a wrong one
        aside.replace(path)
        note = aside.with_suffix(".note")
        note.write_text(f"{sha256(data).hexdigest()}  {path.name}\n", encoding="utf-8", newline="\n")
        note.replace(checksum_file(path))
    except OSError as fault:
        raise EnvironmentFault("the weights cannot be written", where=path.parent, why=str(fault),
                               fix="free some space, or choose another folder: EXCITE_WEIGHTS is that of the store"
                               ) from None
    finally:
        aside.unlink(missing_ok=True)
