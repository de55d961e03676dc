"""What this machine and this installation are: for `excite info`, run folders and bundles."""

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from excite.machine import usable_cores

PACKAGES = ("numpy", "scipy", "pillow", "opencv-python-headless", "onnxruntime", "safetensors", "pydantic", "torch",
            "scikit-learn", "onnx", "onnxscript")
EXTRAS = {
    "train": ("torch", "sklearn", "onnx", "onnxscript"),
    "serve": ("fastapi", "uvicorn", "python_multipart"),
    "tables": ("pyarrow", "openpyxl"),
    "matlab": ("h5py",),
}
FEATURES = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8", "asimd", "bf16")


def cpu() -> dict[str, object]:
    """Return the processor's name, this process's cores and the features that matter here."""
    name, flags = platform.processor() or platform.machine(), set[str]()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model"):
                name = value.strip()
            elif key.strip() in ("flags", "Features"):
                flags = set(value.split())
                break
    return {"name": name, "cores": usable_cores(), "features": [feature for feature in FEATURES if feature in flags]}


def versions() -> dict[str, str]:
    """Return the versions of Python, excite and what it stands on; a package that is missing is left out."""
    found = {"python": platform.python_version(), "excite": _version("excite") or "not installed"}
    found |= {name: text for name in PACKAGES if (text := _version(name))}
    return found


def extras() -> dict[str, bool]:
    """Return for each extra whether all of its packages are there."""
    return {extra: all(find_spec(name) for name in names) for extra, names in EXTRAS.items()}


def environment(threads: int) -> dict[str, object]:
    """Return what a run depends on: a run resumes only where this is the same."""
    return {"system": platform.system(), "machine": platform.machine(), "cpu": cpu(), "threads": threads,
            "versions": versions()}


def executable() -> str:
    """Return how this Python was started."""
    return sys.executable


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
