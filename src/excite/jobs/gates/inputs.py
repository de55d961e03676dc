"""What the gates of a bundle are measured on: its network, and the data of a run's part or of a table, in batches."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.data.sections import DataSection, Outlines
from excite.data.targets import read_targets
from excite.data.volumes.store import open_patient, prepared
from excite.deploy.bundle import WEIGHTS, BundleInfo, find_bundle, read_bundle
from excite.deploy.volume_predictor import VolumePredictor
from excite.errors import DataError, UsageError
from excite.explain.fold_choice import Answer
from excite.explain.gate_ablation import Score, label_scores, mask_scores
from excite.jobs.evaluation_data import (
    Part,
    check_labels,
    is_run,
    overlap,
    part_of_run,
    part_of_table,
    seen_in_training,
)
from excite.jobs.export import rebuild
from excite.jobs.volumes import measured_rows
from excite.progress import Progress

BUILT = ("classification", "segmentation", "heads", "volumes")
ONE_VIEW = "the bundle answers from an image and its mirror image; its gates are measured on the image alone"


@dataclass(kw_only=True)
class GateInputs:
    """A network and its data; going through it gives batches of (inputs, truths), and leaves out what cannot be read.

    Args:
        info: Of the bundle.
        folder: Of the bundle.
        model: With the bundle's weights.
        part: What the data are called.
        names: Of the samples, for messages.
        units: What each sample belongs to.
        unit_kind: What a unit is.
        sample: What a sample is called.
        one: From a sample's place to its input and truth.
        notes: What to beware of.
        failed: {"file", "error"} of rows that cannot be used.
        batch_size: Samples at once.
    """

    info: BundleInfo
    folder: Path
    model: nn.Module
    part: str
    names: Sequence[str]
    units: Sequence[str]
    unit_kind: str
    sample: str
    one: Callable[[int], tuple[NDArray[np.float32], Any]]
    notes: list[str] = field(default_factory=list)
    failed: list[dict[str, str]] = field(default_factory=list)
    batch_size: int = 16
    lost: set[int] = field(default_factory=set)

    @property
    def good(self) -> list[int]:
        """Return the places of the samples that could be read so far."""
        return [place for place in range(len(self.names)) if place not in self.lost]

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Return the labels; None of masks."""
        return None if self.info.of_masks else self.info.classes

    @property
    def score(self) -> Score:
        """Return the scores of each sample; the first is the one that people know."""
        return partial(mask_scores, level=self.info.level) if self.info.of_masks else \
            partial(label_scores, temperature=self.info.temperature)

    @property
    def answer(self) -> Answer:
        """Return what makes probabilities of outputs."""
        if self.info.of_masks:
            return lambda logits: logits.sigmoid() if logits.shape[1] == 1 else logits.softmax(1)
        return lambda logits: (logits / self.info.temperature).softmax(1)

    def __len__(self) -> int:
        return -(-len(self.good) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        kept: list[tuple[NDArray[np.float32], Any]] = []
        for place in self.good:
            try:
                kept.append(self.one(place))
            except DataError as fault:
                self.lost.add(place)
                self.failed.append({"file": self.names[place], "error": fault.message()})
            if len(kept) == self.batch_size:
                yield _batch(kept)
                kept = []
        if kept:
            yield _batch(kept)


def gate_inputs(source: Path, data: Path | None, split: str | None, *, columns: DataSection,
                progress: Progress) -> GateInputs:
    """Return the network of a run or bundle, and a run's own part or another table.

    Raises:
        UsageError: a bundle comes without data, or its kind of data has no gate report. ModelError: the network cannot
            be built. DataError: the table cannot be used.
    """
    folder = find_bundle(source)
    info = read_bundle(folder)
    if info.task not in BUILT:
        raise UsageError(f"gates are not measured for bundles of task {info.task!r}", where=folder,
                         fix="excite.explain.gate_statistics.gate_statistics(model, batches) takes any network")
    if data is None and not is_run(source):
        raise UsageError("a bundle has no data of its own", where=source,
                         fix="name a table with --data, or the run folder")
    model = rebuild(info, folder / WEIGHTS)
    found = _volumes(source, folder, info, model, data, split, columns) if info.task == "volumes" else \
        _images(source, folder, info, model, data, split, columns, progress)
    if info.views != "one":
        found.notes.append(ONE_VIEW)
    return found


def _images(source: Path, folder: Path, info: BundleInfo, model: nn.Module, data: Path | None, split: str | None,
            columns: DataSection, progress: Progress) -> GateInputs:
    if data is None:
        part, notes = part_of_run(source, split or "test", masks=info.of_masks), list[str]()
    else:
        part = part_of_table(columns.model_copy(update={"table": data}), split, masks=info.of_masks)
        notes = overlap(part, seen_in_training(source, info.provenance), progress=progress)
    if not info.of_masks:
        check_labels(part.rows, info.classes, data or source)
    preprocess = Preprocess.from_json(info.preprocess)
    return GateInputs(info=info, folder=folder, model=model, part=part.name, units=part.units, sample="image",
                      names=[row.image for row in part.rows], unit_kind=part.unit_kind, notes=[*notes, *part.notes],
                      failed=list(part.failed), one=partial(_image, info, preprocess, part))


def _image(info: BundleInfo, preprocess: Preprocess, part: Part, place: int) -> tuple[NDArray[np.float32], Any]:
    """Return an image as the network takes it, and its class or its mask at the network's size."""
    image, row = read(part.paths[place]).image, part.rows[place]
    if not info.of_masks:
        return preprocess(image), info.classes.index(row.label or "")
    shape, rule = (int(image.shape[-2]), int(image.shape[-1])), "auto" if info.task == "heads" else "no"
    outlines: Outlines = rule  # type: ignore[assignment]
    [target] = read_targets([row], part.root, [shape], preprocess.stored_shape, outlines=outlines).targets
    return preprocess(image), target.render(preprocess.matrix(preprocess.stored_shape(shape)),
                                            (preprocess.height, preprocess.width))


def _volumes(source: Path, folder: Path, info: BundleInfo, model: nn.Module, data: Path | None, split: str | None,
             columns: DataSection) -> GateInputs:
    predictor = VolumePredictor(folder)
    preprocess = predictor.preprocess
    if preprocess.columns:
        raise UsageError("gates are not measured where a network takes clinical columns besides maps", where=folder)
    part = measured_rows.part_of_run(source, predictor, split or "test") if data is None else \
        measured_rows.rows_of_data(data, predictor, label_col=columns.label_col, patient_col=columns.patient_col)
    rows = [part.table.manifest.rows[row] for row in part.rows]
    faults = [part.table.faults.get(row.line, ()) or ([] if row.label else ["the label is empty"]) for row in rows]

    def one(place: int) -> tuple[NDArray[np.float32], Any]:
        if faults[place]:
            raise DataError(f"line {rows[place].line}: {'; '.join(faults[place])}")
        volumes = open_patient(part.table.files[part.rows[place]], part.table.maps, predictor.how)
        return preprocess.normalise(prepared(volumes, preprocess)[0]), info.classes.index(rows[place].label or "")

    return GateInputs(info=info, folder=folder, model=model, part=part.name, sample="patient", batch_size=2,
                      names=[f"line {row.line}" for row in rows], units=[part.units[row] for row in part.rows],
                      unit_kind=part.unit_kind, notes=list(part.notes), one=one)


def _batch(kept: Sequence[tuple[NDArray[np.float32], Any]]) -> tuple[Tensor, Tensor]:
    return torch.from_numpy(np.stack([one for one, _ in kept])), torch.from_numpy(np.stack([one for _, one in kept]))
