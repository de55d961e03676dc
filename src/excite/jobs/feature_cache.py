"""Vectors of a frozen trunk on disk: one file for the images of a part in one view, named by all that decides it."""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as to_bytes

from excite.data.cache import cache_folder
from excite.data.sections import CacheSection
from excite.progress import Progress

FORMAT = 1
Float = NDArray[np.float32]


class FeatureCache:
    """Files of vectors below the cache's folder; one that is damaged is said and made again.

    Args:
        section: Where, and how much there may be in all.
    """

    def __init__(self, section: CacheSection, *, progress: Progress) -> None:
        self.folder = cache_folder(section) / "features"
        self._limit, self._progress = section.limit_gb * 1e9, progress

    def file(self, facts: Mapping[str, Any]) -> Path:
        """Return where the vectors with these facts are kept: what they are of, through what, how."""
        text = json.dumps([FORMAT, facts], sort_keys=True)
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.safetensors"

    def load(self, facts: Mapping[str, Any], *, count: int) -> Float | None:
        """Return the vectors (count, F), or None where there are none."""
        file = self.file(facts)
        if not file.exists():
            return None
        try:
            with safe_open(file, framework="numpy") as stored:
                vectors: Float = stored.get_tensor("features")
                noted = (stored.metadata() or {}).get("sha256")
        except (OSError, SafetensorError, ValueError) as fault:
            why = str(fault)
        else:
            if vectors.ndim == 2 and len(vectors) == count and digest(vectors) == noted:
                return vectors
            why = f"its sha256 is of other vectors than its {vectors.dtype} {vectors.shape}"
        self._progress.say(f"features: {file} is damaged ({why}); it is made again")
        file.unlink(missing_ok=True)
        return None

    def save(self, facts: Mapping[str, Any], vectors: Float) -> None:
        """Keep vectors; where there is no room, or the folder cannot be written, that is said and they are not kept."""
        file = self.file(facts)
        aside = file.with_name(f".{file.stem}.{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            used = sum(one.stat().st_size for one in self.folder.parent.rglob("*") if one.is_file())
            if vectors.nbytes > min(self._limit - used, shutil.disk_usage(self.folder).free):
                self._progress.say(f"features: no room in {self.folder} for {vectors.nbytes / 1e6:.1f} MB, not kept")
                return
            aside.write_bytes(to_bytes({"features": np.ascontiguousarray(vectors)},
                                       metadata={"sha256": digest(vectors), "facts": json.dumps(facts)[:2000]}))
            aside.replace(file)
        except OSError as fault:
            aside.unlink(missing_ok=True)
            self._progress.say(f"features: {self.folder} cannot be written ({fault.strerror or fault}), not kept")

    def drop(self, facts: Mapping[str, Any]) -> None:
        """Forget vectors."""
        self.file(facts).unlink(missing_ok=True)


def digest(vectors: Float) -> str:
    """Return the sha256 of vectors: their shape and their values."""
    head = json.dumps([str(vectors.dtype), list(vectors.shape)]).encode()
    return hashlib.sha256(head + np.ascontiguousarray(vectors).tobytes()).hexdigest()
