"""Public packages to compare with: imported where they are there, and the reason told where they are not."""

import importlib
import warnings
from functools import cache
from importlib.metadata import version
from types import ModuleType

import torch

OPERATORS = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def imported(module: str) -> tuple[ModuleType | None, str]:
    """Return a module of a public package with the package's version, or None and why it cannot be had."""
    package = module.partition(".")[0]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = _imported(module)
    except (ImportError, RuntimeError, OSError) as fault:
        return None, f"{package} cannot be imported ({' '.join(str(fault).split())[:80]})"
    return found, f"{package} {version(package)}"


def _imported(module: str) -> ModuleType:
    """Import, where torchvision is built for another torch too: two of its operators are named then."""
    try:
        return importlib.import_module(module)
    except RuntimeError as fault:
        if "torchvision::nms" not in str(fault):
            raise
    _name_operators()
    return importlib.import_module(module)


@cache
def _name_operators() -> torch.library.Library:
    """Name torchvision's operators once and keep them: enough for its networks, which call none."""
    operators = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for name in ("nms", "qnms"):
        operators.define(name + OPERATORS)  # type: ignore[no-untyped-call]
    return operators
