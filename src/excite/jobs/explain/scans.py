"""Explain label volumes: where the narrowest layer saw what speaks for a class, on the scan's own grid."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from excite.data.volumes.grid import Grid, resampled
from excite.data.volumes.patches import assembled, centred, cut
from excite.data.volumes.volume import Volume
from excite.deploy.volume_mask_predictor import Scan, VolumeMaskPredictor
from excite.errors import DataError
from excite.explain.gradcam import enlarged
from excite.jobs.explain.answers import Choice, answer_of
from excite.jobs.explain.entry import SHOWN, Checks, Entry, How, checked, layer_told, picture_notes
from excite.jobs.explain.explainer import Explainer
from excite.jobs.explain.found import Found
from excite.jobs.explain.heat import unit, write_picture
from excite.jobs.explain.volume_files import montage, write_like
from excite.jobs.prediction_pictures import names_of
from excite.jobs.volume_masks.predict import scans_of

Floats = NDArray[np.float32]


def explain_scans(bundle: Path, inputs: Sequence[str], out: Path, how: How) -> Iterator[Entry]:
    """Yield an explanation for each scan; one whose files cannot be used is told, and the rest is done.

    Raises:
        ModelError: the bundle cannot be used, or torch and its ONNX file disagree. UsageError: no such class, method or
            layer, or the inputs are no scans.
    """
    predictor = VolumeMaskPredictor(bundle, threads=how.threads)
    preprocess = predictor.preprocess
    example = np.zeros((len(preprocess.maps), *preprocess.patch), np.float32)
    answer = answer_of(predictor.info, how.label)
    explainer = Explainer(predictor.info, predictor.folder, answer, example, method=how.method, layer=how.layer)
    scans = scans_of(inputs, preprocess.maps)
    firsts = [None if isinstance(scan, str) else Path(str(scan.get(preprocess.maps[0], name))) for name, scan in scans]
    names = names_of([None if one is None else one.with_name(one.name.removesuffix(".gz")) for one in firsts])
    work = _Scans(predictor, explainer, out, how)
    for place, ((name, scan), stem) in enumerate(zip(scans, names, strict=True)):
        try:
            if isinstance(scan, str):
                raise DataError(scan)
            yield work.entry(scan, stem or f"{place + 1:03}", shown=place < SHOWN)
        except DataError as fault:
            yield Entry(file=name, error=f"{name}: {fault.message()}")


class _Scans:
    """The scans of one call."""

    def __init__(self, predictor: VolumeMaskPredictor, explainer: Explainer, out: Path, how: How) -> None:
        self.predictor, self.explainer, self.out = predictor, explainer, out
        self.left, self.agreed = how.checks, False

    def entry(self, scan: Scan, stem: str, *, shown: bool) -> Entry:
        """Return the explanation of a scan, its files written."""
        preprocess = self.predictor.preprocess
        volumes = self.predictor.read(scan)
        values, first = preprocess.on_grid(volumes), volumes[preprocess.maps[0]]
        file = ", ".join(str(volumes[name].source) for name in preprocess.maps)
        image = preprocess.normalise(values, preprocess.lines(values))
        choice = self._choice(image)
        if choice.nothing:
            return Entry(file=file, predicted=choice.predicted, explained=choice.explained,
                         probability=choice.probability, notes=(choice.nothing,))
        importance, patch = self._importance(image, choice)
        written = [self._volume(stem, importance, first)]
        picture = montage(values, importance[None], preprocess.spacing, choice.region)
        written.append(write_picture(self.out / f"{stem}_{self.explainer.method}.png", picture))
        notes = [f"{name}: {note}" for name, volume in volumes.items() for note in volume.notes]
        return Entry(file=file, predicted=choice.predicted, explained=choice.explained, probability=choice.probability,
                     layer=layer_told(self.explainer, patch), files=written, checks=self._checks(image, choice),
                     notes=(*notes, *picture_notes(self.explainer, patch)), picture=picture if shown else None)

    def _choice(self, image: Floats) -> Choice:
        """Return the class and its region in the whole scan, by the bundle's own network."""
        preprocess = self.predictor.preprocess

        def logits(patch: Floats) -> Floats:
            found = self.predictor.logits(patch)
            if not self.agreed:
                self.explainer.agree(patch, found)
                self.agreed = True
            return found

        whole = assembled(image, preprocess.patch, logits, overlap=preprocess.overlap)
        return self.explainer.answer.choose(torch.from_numpy(whole)[None, None])[0]

    def _importance(self, image: Floats, choice: Choice) -> tuple[Floats, Found]:
        """Return the importance on the scan's grid, 0 to 1, patch by patch, and what was found of the last one."""
        preprocess, last = self.predictor.preprocess, list[Found]()
        region = np.asarray(choice.region, np.float32)[None]

        def of_patch(both: Floats) -> Floats:
            if not both[0, -1].any():
                return np.zeros((1, 1, *preprocess.patch), np.float32)
            found = self._found(both[0, :-1], both[0, -1] > 0, choice)
            last[:] = [found]
            return enlarged(torch.from_numpy(found.maps), preprocess.patch).numpy()[None]

        whole = assembled(np.concatenate((image, region)), preprocess.patch, of_patch, overlap=preprocess.overlap)
        return unit(whole)[0], last[0]

    def _found(self, patch: Floats, region: NDArray[np.bool_], choice: Choice) -> Found:
        chosen = Choice(predicted=choice.predicted, explained=choice.explained, place=choice.place,
                        probability=choice.probability, region=region)
        return self.explainer.of_choice(np.ascontiguousarray(patch), chosen)

    def _volume(self, stem: str, importance: Floats, first: Volume) -> Path:
        """Write the importance on the scan's own grid."""
        grid = self.predictor.preprocess.grid(first)
        own = resampled(Volume(values=importance, affine=grid.affine, source=first.source), Grid.of(first), outside=0.0)
        return write_like(self.out / f"{stem}_{self.explainer.method}.nii.gz", own, first)

    def _checks(self, image: Floats, choice: Choice) -> Checks | None:
        """Return the checks of one patch, around the middle of the region."""
        if self.left < 1:
            return None
        self.left -= 1
        shape, region = self.predictor.preprocess.patch, np.asarray(choice.region)
        middle = [int(np.median(axis)) for axis in np.nonzero(region)]
        corner = [min(max(at - side // 2, 0), whole - side) if whole > side else first for at, side, whole, first in
                  zip(middle, shape, region.shape, centred(region.shape, shape), strict=True)]
        patch = np.ascontiguousarray(cut(image, corner, shape))
        part = cut(region[None].astype(np.float32), corner, shape)[0] > 0
        seen = cut(np.ones_like(region[None], np.float32), corner, shape)[0] > 0
        return checked(self.explainer, patch, self._found(patch, part, choice), inside=seen)


