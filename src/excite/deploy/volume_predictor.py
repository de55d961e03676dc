"""A bundle for volumes at work: files or arrays of a patient's maps to probabilities, without torch."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.clinical import number_of
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

# map -> its file, or the volume itself; clinical column -> its number. Whatever is not known is left out, or None.
Patient = Mapping[str, Path | str | Volume | float | None]


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
        columns = self.preprocess.columns
        expected = {"images": [len(self.preprocess.maps), *self.preprocess.shape],
                    **({"clinical": [len(columns)]} if columns else {})}
        taken = {one.name: list(one.shape[1:]) for one in self._session.get_inputs()}
        if taken != expected:
            raise ModelError("the bundle's network takes other inputs than its preprocessing makes", where=self.folder,
                             why=f"{taken} against {expected}", fix="copy or export the bundle again")

    def logits(self, images: NDArray[np.float32], clinical: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """Return the network's outputs for prepared maps and scaled clinical values, none of which is known where None.

        Shape:
            (N, M, D, H, W), (N, C) -> (N, K)
        """
        given = {"images": np.ascontiguousarray(images)}
        if self.preprocess.clinical:
            none = np.full((len(images), len(self.preprocess.clinical)), np.nan, np.float32)
            given["clinical"] = none if clinical is None else np.ascontiguousarray(clinical)
        found: NDArray[np.float32] = self._session.run(["logits"], given)[0]
        return found

    def __call__(self, patients: Sequence[Patient]) -> list[ClassPrediction]:
        """Return a prediction for each patient.

        Args:
            patients: Of each its maps, and the numbers of its clinical columns, by name; what is missing is left out.

        Raises:
            UsageError: a name is none of the bundle's. DataError: a file or number cannot be used, or there is no map.
        """
        return [self._one(one) for one in patients]

    def _one(self, patient: Patient) -> ClassPrediction:
        maps, columns = self.preprocess.maps, self.preprocess.columns
        for name in patient:
            if name not in (*maps, *columns):
                raise UsageError(f"the bundle has no map {name!r}; {nearest(name, [*maps, *columns])}"
                                 f"{names_of(self.preprocess)}")
        clinical = self._clinical(patient)
        files = [Path(value) if isinstance(value := patient.get(name), str | Path) else None for name in maps]
        volumes = open_patient(files, maps, self.how)
        volumes |= {name: value for name, value in patient.items() if isinstance(value, Volume)}
        stored, notes, doubts = prepared(volumes, self.preprocess)
        lost = [name for name in maps if name not in volumes]
        lost += [name for name, value in zip(columns, clinical, strict=True) if np.isnan(value)]
        notes += [*doubts, *self.preprocess.doubts(stored, clinical), *(f"without {name}" for name in lost)]
        logits = self.logits(self.preprocess.normalise(stored)[None],
                             self.preprocess.scale(np.array([clinical], np.float32)) if columns else None)
        if not np.isfinite(logits).all():
            raise DataError("the network's outputs are not finite for this patient")
        shares = decode(logits[None], classes=self.info.classes, temperature=self.info.temperature)[0]
        names = ", ".join(str(volumes[name].source) for name in maps if name in volumes)
        return ClassPrediction(file=names, label=self.info.classes[int(shares.argmax())], notes=tuple(notes),
                               probabilities=dict(zip(self.info.classes, map(float, shares), strict=True)))

    def _clinical(self, patient: Patient) -> list[float]:
        """Return the numbers of the clinical columns, NaN where one is not known."""
        found = []
        for name in self.preprocess.columns:
            try:
                found.append(number_of(patient.get(name)))
            except ValueError as fault:
                raise DataError(f"{name} {fault}") from None
        return found


def names_of(preprocess: VolumePreprocess) -> str:
    """Return in words what a bundle takes of a patient."""
    columns = f"; its clinical columns: {', '.join(preprocess.columns)}" if preprocess.columns else ""
    return f"its maps: {', '.join(preprocess.maps)}{columns}"
