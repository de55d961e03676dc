"""A bundle for label volumes at work: a scan's files to its labels, on its own grid, without torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.mask_preprocess import MaskPreprocess
from excite.data.volumes.store import Reading, open_patient
from excite.data.volumes.volume import Volume
from excite.deploy.bundle import ONNX, find_bundle, read_bundle
from excite.deploy.session import open_session
from excite.errors import ModelError, UsageError
from excite.machine import usable_cores
from excite.registry import nearest

Scan = Mapping[str, Path | str | Volume]  # map -> its file, or the volume itself


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelledScan:
    """What was found in a scan.

    Args:
        file: What was read.
        labels: (D, H, W) int16, the label value of each voxel, on the grid of `volume`.
        volume: The scan's first map, as it was read.
        sizes: Of each class but the background: voxels, and millilitres where the voxel size is known.
        notes: What was remarked.
    """

    file: str
    labels: NDArray[np.int16]
    volume: Volume
    sizes: dict[str, dict[str, float | None]]
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the labels."""
        return {"file": self.file, "classes": self.sizes, "notes": list(self.notes)}


class VolumeMaskPredictor:
    """A bundle at work.

    Args:
        bundle: A bundle folder, or a run folder with a bundle in it.
        threads: CPU threads; all usable cores otherwise.

    Raises:
        ModelError: the bundle is damaged, or for something else than label volumes.
    """

    def __init__(self, bundle: str | Path, *, threads: int | None = None) -> None:
        self.folder = find_bundle(Path(bundle))
        self.info = read_bundle(self.folder)
        if self.info.task != "volume_masks":
            raise ModelError(f"the bundle is for {self.info.task}, not for label volumes", where=self.folder)
        self.preprocess = MaskPreprocess.from_json(self.info.preprocess)
        self.how = Reading(**self.info.provenance["reading"])
        self.threads = threads or usable_cores()
        self._session = open_session(self.folder / ONNX, threads=self.threads)
        expected = [len(self.preprocess.maps), *self.preprocess.patch]
        if list(self._session.get_inputs()[0].shape[1:]) != expected or \
                len(self.info.classes) != len(self.preprocess.values):
            raise ModelError("the bundle's network takes other inputs than its preprocessing makes", where=self.folder,
                             why=f"{self._session.get_inputs()[0].shape[1:]} against {expected}",
                             fix="copy or export the bundle again")

    @property
    def classes(self) -> dict[str, int]:
        """Return the label value of each class but the background."""
        return dict(zip(self.info.classes[1:], self.preprocess.values[1:], strict=True))

    def logits(self, patches: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's outputs for prepared patches, (N, M, *patch) -> (N, K, *patch)."""
        found: NDArray[np.float32] = self._session.run(["logits"], {"images": np.ascontiguousarray(patches)})[0]
        return found

    def read(self, scan: Scan) -> dict[str, Volume]:
        """Return the volumes of a scan.

        Raises:
            UsageError: a name is none of the bundle's maps. DataError: a file cannot be used.
        """
        maps = self.preprocess.maps
        for name in scan:
            if name not in maps:
                raise UsageError(f"the bundle has no map {name!r}; {nearest(name, list(maps))}its maps: "
                                 f"{', '.join(maps)}")
        files = [Path(value) if isinstance(value := scan.get(name), str | Path) else None for name in maps]
        return open_patient(files, maps, self.how) | {name: value for name, value in scan.items()
                                                      if isinstance(value, Volume)}

    def __call__(self, scan: Scan) -> LabelledScan:
        """Return the labels of a scan.

        Raises:
            UsageError: a name is none of the bundle's maps. DataError: a file cannot be used, or a map is missing.
        """
        volumes = self.read(scan)
        values = self.preprocess.on_grid(volumes)
        first = volumes[self.preprocess.maps[0]]
        found = self.preprocess.labels(self.preprocess.probabilities(values, self.logits), first)
        return LabelledScan(file=", ".join(str(volumes[name].source) for name in self.preprocess.maps), labels=found,
                            volume=first, sizes={name: _size(found == value, first)
                                                 for name, value in self.classes.items()},
                            notes=tuple(self._notes(volumes, values)))

    def _notes(self, volumes: Mapping[str, Volume], values: NDArray[np.float32]) -> list[str]:
        notes = [f"{name}: {note}" for name, volume in volumes.items() for note in volume.notes]
        for name, level, one in zip(self.preprocess.maps, self.preprocess.levels, values, strict=True):
            if doubt := level.suspicious(one):
                notes.append(f"{name}: {doubt}")
        first, steps = volumes[self.preprocess.maps[0]], self.preprocess.spacing
        coarse = max(own / step for own, step in zip(first.spacing, steps, strict=True))
        if coarse > 2 or min(own / step for own, step in zip(first.spacing, steps, strict=True)) < 0.5:
            notes.append(f"its voxels are {_by(first.spacing)} mm, those of the training {_by(steps)} mm: it was "
                         "resampled, and brought back")
        return notes


def _size(mask: NDArray[np.bool_], volume: Volume) -> dict[str, float | None]:
    voxels = int(np.count_nonzero(mask))
    millilitres = voxels * float(np.prod(volume.spacing)) / 1000 if volume.spacing_known else None
    return {"voxels": voxels, "ml": millilitres}


def _by(numbers: tuple[float, ...]) -> str:
    return " x ".join(f"{one:.3g}" for one in numbers)
