"""A bundle for volumes at work: files or arrays of a patient's maps to probabilities, without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.preprocess import VolumePreprocess
from excite.data.volumes.store import Reading, open_patient, prepared
from excite.data.volumes.volume import Volume
from excite.deploy.bundle import ONNX, find_bundle, read_bundle
from excite.deploy.session import open_session
from excite.errors import DataError, ModelError, UsageError
from excite.machine import usable_cores
from excite.outcome.decode import decode
from excite.outcome.prediction import ClassPrediction
from excite.registry import nearest

Patient = Mapping[str, Path | str | Volume]  # map -> its file, or the volume itself; a map may be missing


class VolumePredictor:
    """A bundle at work.

    Args:
        bundle: A bundle folder, or a run folder with a bundle in it.
        threads: CPU threads; all usable cores otherwise.

    Raises:
        ModelError: the bundle is damaged, or for something else than volumes.
    """

    def __init__(self, bundle: str | Path, *, threads: int | None = None) -> None:
        self.folder = find_bundle(Path(bundle))
        self.info = read_bundle(self.folder)
        if self.info.task != "volumes":
            raise ModelError(f"the bundle is for {self.info.task}, not for volumes", where=self.folder)
        self.preprocess = VolumePreprocess.from_json(self.info.preprocess)
        self.how = Reading(**self.info.provenance["reading"])
        self._session = open_session(self.folder / ONNX, threads=threads or usable_cores())
        expected = [len(self.preprocess.maps), *self.preprocess.shape]
        if list(self._session.get_inputs()[0].shape[1:]) != expected:
            raise ModelError("the bundle's network takes other inputs than its preprocessing makes", where=self.folder,
                             why=f"{self._session.get_inputs()[0].shape[1:]} against {expected}",
                             fix="copy or export the bundle again")

    def logits(self, images: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the network's outputs for prepared maps, (N, M, D, H, W) -> (N, K)."""
        found: NDArray[np.float32] = self._session.run(["logits"], {"images": np.ascontiguousarray(images)})[0]
        return found

    def __call__(self, patients: Sequence[Patient]) -> list[ClassPrediction]:
        """Return a prediction for each patient.

        Args:
            patients: Of each its maps, by name; those that are missing are left out.

        Raises:
            UsageError: a name is none of the bundle's maps. DataError: a file cannot be used, or there is no map.
        """
        return [self._one(one) for one in patients]

    def _one(self, patient: Patient) -> ClassPrediction:
        maps = self.preprocess.maps
        for name in patient:
            if name not in maps:
                raise UsageError(f"the bundle has no map {name!r}; {nearest(name, list(maps))}its maps: "
                                 f"{', '.join(maps)}")
        files = [Path(value) if isinstance(value := patient.get(name), str | Path) else None for name in maps]
        volumes = open_patient(files, maps, self.how)
        volumes |= {name: value for name, value in patient.items() if isinstance(value, Volume)}
        stored, notes, doubts = prepared(volumes, self.preprocess)
        lost = [name for name in maps if name not in volumes]
        notes += [*doubts, *self.preprocess.doubts(stored), *(f"without {name}" for name in lost)]
        logits = self.logits(self.preprocess.normalise(stored)[None])
        if not np.isfinite(logits).all():
            raise DataError("the network's outputs are not finite for this patient")
        shares = decode(logits[None], classes=self.info.classes, temperature=self.info.temperature)[0]
        names = ", ".join(str(volumes[name].source) for name in maps if name in volumes)
        return ClassPrediction(file=names, label=self.info.classes[int(shares.argmax())], notes=tuple(notes),
                               probabilities=dict(zip(self.info.classes, map(float, shares), strict=True)))
