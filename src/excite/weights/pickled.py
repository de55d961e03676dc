"""Reading published .pth and .pt files, the only place where excite opens a pickle.

torch.load(weights_only=True) builds tensors and plain containers and imports nothing. It is a hardening and no border,
so a file comes in once, by `excite weights import`, and lives on as safetensors.
"""

import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor

from excite.errors import ModelError

WRAPPERS = ("state_dict", "model_state_dict", "model", "net", "weights")
FORBIDDEN = re.compile(r"(?:GLOBAL|global|class)\s+([\w.]+)")


def import_pth(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a .pth or .pt file.

    Raises:
        ModelError: it is damaged, holds anything but tensors under names, or asks for code to be run.
    """
    _refuse_packed(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on pickle protocols; what matters raises
            found = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as fault:  # torch, zip and pickle raise eleven kinds here; each means that the file is no good
        asked = FORBIDDEN.search(str(fault))
        if asked or isinstance(fault, UnpicklingError):
            why = f"it names {asked[1]}, which is not imported" if asked else "it holds more than tensors under names"
            raise ModelError("refused: the file is no plain state dict, and reading it whole could run code",
                             where=path, why=why, fix="ask its author for a plain state dict, or for safetensors"
                             ) from None
        raise ModelError("the file cannot be read as weights", where=path, why=_first_line(fault),
                         fix="download it again; it should be a state dict saved by torch.save") from None
    return _tensors(_unwrapped(found), path)


def _refuse_packed(path: Path) -> None:
    """Raise for a zip whose entries are compressed: torch.save never does that, a decompression bomb does."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
            raise ModelError("refused: the file is a compressed archive", where=path,
                             why="torch.save stores its parts as they are; a packed one can fill the memory",
                             fix="unpack it if it is a zip of a .pth file, or ask its author for safetensors")


def _unwrapped(found: object) -> object:
    """Return the state dict inside a checkpoint that holds more, such as an epoch and an optimiser."""
    if isinstance(found, Mapping) and not any(isinstance(value, Tensor) for value in found.values()):
        for name in WRAPPERS:
            if isinstance(found.get(name), Mapping):
                return found[name]
    return found


def _tensors(found: object, path: Path) -> dict[str, Tensor]:
    if not isinstance(found, Mapping) or not found:
        raise ModelError(f"the file holds {'nothing' if found == {} else type(found).__name__}, not named tensors",
                         where=path, fix="it should be a state dict: torch.save(model.state_dict(), FILE)")
    strangers = [str(key) for key, value in found.items() if not isinstance(value, Tensor)]
    if strangers:
        raise ModelError(f"{len(strangers)} entries are no tensors: {', '.join(strangers[:5])}", where=path,
                         fix="it should be a state dict: torch.save(model.state_dict(), FILE)")
    tensors = {str(key): value.detach().contiguous().clone() for key, value in found.items()}
    if all(key.startswith("module.") for key in tensors):  # saved from a DataParallel wrapper
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}
    return tensors


def _first_line(fault: Exception) -> str:
    lines = [line.strip() for line in str(fault).splitlines() if line.strip()]
    return lines[0][:160] if lines else type(fault).__name__
