"""Explain patients' maps: where each map speaks for the class, on the grid that the network sees."""

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from excite.data.volumes.clinical import number_of
from excite.data.volumes.grid import Grid
from excite.data.volumes.store import open_patient, prepared
from excite.data.volumes.volume import Volume
from excite.deploy.volume_predictor import Patient, VolumePredictor
from excite.errors import DataError
from excite.explain.gradcam import enlarged
from excite.jobs.explain.answers import answer_of
from excite.jobs.explain.entry import SHOWN, Entry, How, checked, layer_told, picture_notes
from excite.jobs.explain.explainer import Explainer
from excite.jobs.explain.heat import unit, write_picture
from excite.jobs.explain.volume_files import montage, write_on_grid
from excite.jobs.volumes.predict import patients_of

Floats = NDArray[np.float32]
_UNSAFE = re.compile(r"[^\w.-]+")


def explain_patients(bundle: Path, inputs: Sequence[str], out: Path, how: How) -> Iterator[Entry]:
    """Yield an explanation for each patient; one whose files cannot be used is told, and the rest is done.

    Raises:
        ModelError: the bundle cannot be used, or torch and its ONNX file disagree. UsageError: no such class, method or
            layer, or the inputs are no patients.
    """
    predictor = VolumePredictor(bundle, threads=how.threads)
    preprocess = predictor.preprocess
    example = np.zeros((len(preprocess.maps), *preprocess.shape), np.float32)
    explainer = Explainer(predictor.info, predictor.folder, answer_of(predictor.info, how.label), example,
                          method=how.method, layer=how.layer)
    work = _Patients(predictor, explainer, out, how)
    for place, (name, patient) in enumerate(patients_of(inputs, preprocess)):
        try:
            if isinstance(patient, str):
                raise DataError(patient)
            yield work.entry(name, patient, place)
        except DataError as fault:
            yield Entry(file=name, error=f"{name}: {fault.message()}")


class _Patients:
    """The patients of one call."""

    def __init__(self, predictor: VolumePredictor, explainer: Explainer, out: Path, how: How) -> None:
        self.predictor, self.explainer, self.out = predictor, explainer, out
        self.left, self.agreed = how.checks, False

    def entry(self, name: str, patient: Patient, place: int) -> Entry:
        """Return the explanation of a patient, its files written."""
        preprocess = self.predictor.preprocess
        files = [Path(value) if isinstance(value := patient.get(one), str | Path) else None for one in preprocess.maps]
        volumes = open_patient(files, preprocess.maps, self.predictor.how)
        stored, notes, doubts = prepared(volumes, preprocess)
        image, clinical = preprocess.normalise(stored)[None], self._clinical(patient)
        if not self.agreed:
            self.explainer.agree(image, self.predictor.logits(image, clinical), clinical)
            self.agreed = True
        found = self.explainer(image, clinical)[0]
        checks = None
        if self.left > 0:
            self.left -= 1
            seen: NDArray[np.bool_] = ~np.isnan(stored)
            inside = seen if len(found.maps) == len(seen) else np.asarray(seen.any(axis=0))
            checks = checked(self.explainer, image[0], found, clinical, inside=inside)
        lost = [f"without {one}: it has no picture" for one in preprocess.maps if one not in volumes]
        large = unit(enlarged(torch.from_numpy(found.maps), preprocess.shape).numpy())
        stem = f"{place + 1:03}_{_UNSAFE.sub('_', name.rsplit(', ', 1)[-1])[-40:]}"
        picture = montage(stored, large, preprocess.spacing)
        written = [*self._volumes(stem, large, volumes),
                   write_picture(self.out / f"{stem}_{self.explainer.method}.png", picture)]
        return Entry(file=name, predicted=found.choice.predicted, explained=found.choice.explained,
                     probability=found.choice.probability, layer=layer_told(self.explainer, found), files=written,
                     checks=checks, notes=(*notes, *doubts, *lost, *picture_notes(self.explainer, found),
                            *self._shares(large, volumes)),
                     picture=picture if place < SHOWN else None)

    def _volumes(self, stem: str, large: Floats, volumes: Mapping[str, Volume]) -> list[Path]:
        """Write the importance of each map that is there, or the one for all of them."""
        preprocess = self.predictor.preprocess
        first = next(volumes[one] for one in (preprocess.reference, *preprocess.maps) if one in volumes)
        grid = Grid.of(first).centred(shape=preprocess.shape, spacing=preprocess.spacing)
        names = preprocess.maps if len(large) == len(preprocess.maps) else ("all",)
        return [write_on_grid(self.out / f"{stem}_{_UNSAFE.sub('_', one)}_{self.explainer.method}.nii.gz", values, grid)
                for one, values in zip(names, large, strict=True) if one in volumes or one == "all"]

    def _shares(self, large: Floats, volumes: Mapping[str, Volume]) -> list[str]:
        """Return in a sentence how the importance is shared between the maps."""
        maps = self.predictor.preprocess.maps
        if len(large) != len(maps) or len(volumes) < 2 or not large.any():
            return []
        total = float(large.sum())
        said = ", ".join(f"{one} {values.sum() / total:.0%}" for one, values in zip(maps, large, strict=True)
                         if one in volumes)
        return [f"rows from above, with their part of the importance: {said}; all on one scale"]

    def _clinical(self, patient: Patient) -> Floats | None:
        preprocess = self.predictor.preprocess
        if not preprocess.columns:
            return None
        try:
            numbers = [number_of(patient.get(name)) for name in preprocess.columns]
        except ValueError as fault:
            raise DataError(f"a clinical column {fault}") from None
        return preprocess.scale(np.array([numbers], np.float32))
