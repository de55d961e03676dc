"""Where excite keeps files of its own on this machine."""

import os
import sys
from pathlib import Path


def own_folder(variable: str, name: str) -> Path:
    """Return the folder that an environment variable names, else excite/`name` in the user's cache folder."""
    named = os.environ.get(variable)
    if named:
        return Path(named).expanduser().absolute()
    if sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    elif os.name == "nt":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "excite" / name
