"""From a config to everything that training on volumes needs: table, one grid, split, levels, network."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.data.fault import Fault
from excite.data.folds import fold_split, make_folds
from excite.data.sampling import Sampler
from excite.data.split import Split, make_split, shared_ids
from excite.data.volumes.augment import VolumeAugment
from excite.data.volumes.grid import Grid
from excite.data.volumes.preprocess import VolumePreprocess, usual_grid
from excite.data.volumes.reading import read_volume
from excite.data.volumes.store import Reading, VolumeStore
from excite.data.volumes.volume_table import VolumeTable, read_volume_table
from excite.engine.volumes import VolumeBatches
from excite.errors import DataError, UsageError
from excite.jobs.network import build_network, check_given
from excite.jobs.volumes import told
from excite.jobs.volumes.leaks import tell_the_label, twins
from excite.jobs.volumes.sections import VolumeConfig
from excite.models.classifier import create_model
from excite.progress import Progress, silent
from excite.tasks.classification import ClassificationTask
from excite.weights.load import LoadReport
from excite.weights.store import resolve

LOOKED = 25  # reference volumes that the usual grid is learnt from


@dataclass(kw_only=True, eq=False)
class PreparedVolumes:
    """What a training on volumes is made of.

    Args:
        preprocess: With levels of the training part.
        labels: Of each row, a place in `classes`.
        leaks: What is in two parts, or tells the label.
        doubts: What is doubtful about the data.
    """

    config: VolumeConfig
    table: VolumeTable
    classes: tuple[str, ...]
    labels: list[int]
    split: Split
    store: VolumeStore
    preprocess: VolumePreprocess
    model: nn.Module
    model_record: dict[str, object]
    weights: LoadReport | None
    task: ClassificationTask
    leaks: list[Fault]
    doubts: list[told.Doubt] = field(default_factory=list)
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """Return what to call the network: its name, or that of the class of one's own."""
        return self.config.model.name if self.model_record else type(self.model).__name__

    @property
    def sample(self) -> str:
        """Return what a row is called: a patient, unless the table does not say so or patients have several."""
        patients = {row.patient for row in self.table.manifest.rows} - {None}
        return "patient" if len(patients) == len(self.labels) else "examination"

    @property
    def how(self) -> Reading:
        """Return how the files are read."""
        return how_read(self.config)

    @property
    def shape(self) -> tuple[int, ...]:
        """Return the network's input, (M, D, H, W)."""
        return (len(self.preprocess.maps), *self.preprocess.shape)

    @property
    def fingerprint(self) -> dict[str, object]:
        """Return what the run is trained on, to be compared when it goes on."""
        clinical = {} if self.table.clinical is None else {"clinical": [
            [None if np.isnan(value) else value for value in row] for row in self.table.clinical.tolist()]}
        return {"patients": list(self.store.contents), "labels": self.labels, "split": self.split.to_json(),
                "preprocess": self.preprocess.to_json(), **clinical}

    def batches(self, part: str, *, train: bool = False) -> VolumeBatches:
        """Return the batches of a part, changed at random and shuffled where `train`."""
        config = self.config
        sampler: Sampler = config.loop.sampler if train else "order"
        return VolumeBatches(self.store.values, self.split.parts[part], self.labels, self.preprocess, sampler=sampler,
                             batch_size=config.loop.batch_size, seed=config.seed, clinical=self.table.clinical,
                             augment=_augment(config) if train else None)

    def inputs(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return some rows as the network takes them, (N, M, D, H, W)."""
        return np.stack([self.preprocess.normalise(self.store.values[row]) for row in rows])

    def clinical(self, rows: Sequence[int]) -> NDArray[np.float32] | None:
        """Return the clinical values of some rows as the network takes them, (N, C); None where there are none."""
        return None if self.table.clinical is None else self.preprocess.scale(self.table.clinical[list(rows)])

    def counts(self, part: str) -> dict[str, int]:
        """Return how many rows of a part each class has."""
        found = np.bincount([self.labels[row] for row in self.split.parts[part]], minlength=len(self.classes))
        return dict(zip(self.classes, found.tolist(), strict=True))


def prepare_volumes(config: VolumeConfig, *, model: nn.Module | None = None,
                    progress: Progress | None = None) -> PreparedVolumes:
    """Read the table, put every patient on one grid, split, learn the levels on the training part, build the network.

    Args:
        model: A network that takes the place of config.model; its weights stay as they are.

    Raises:
        DataError: faults of the table, the files or the split. UsageError: arguments that do not fit.
        ModelError, EnvironmentFault: of the weights.
    """
    progress = progress or silent()
    _check_clinical(config, model)
    table = read_volume_table(config.volumes)
    classes = _classes(config, table)
    labels = [classes.index(row.label or "") for row in table.manifest.rows]
    unfitted = _on_grid(config, table)
    store = VolumeStore.build(table.files, unfitted, how=how_read(config), progress=progress)
    split = _split(config, table)
    if not split.val or not split.test:
        raise DataError("the val or the test part is empty", where=table.manifest.source,
                        fix="set split.val and split.test above 0, or name parts in a column split")
    preprocess = unfitted.fit(np.asarray(store.values[row]) for row in split.train)
    if table.clinical is not None:
        preprocess = preprocess.fit_clinical(table.columns, table.clinical[list(split.train)])
    record: dict[str, object] = {}
    report: LoadReport | None = None
    if model is None:
        file = resolve(config.model.weights, _weights_of(config))
        model, record, report, network = build_network(config.model, file, in_channels=len(table.maps), dims=3,
                                                    num_classes=len(classes), seed=config.seed,
                                                    **({"clinical": len(table.columns)} if table.columns else {}))
    else:
        network = check_given(model, "classification", len(classes), (len(table.maps), *preprocess.shape))
    counts = np.bincount([labels[row] for row in split.train], minlength=len(classes)).tolist()
    doubts = told.doubts_of(table, store, preprocess)
    weighed = [1] * len(classes) if config.loop.sampler == "balanced" else counts
    return PreparedVolumes(
        config=config, table=table, classes=classes, labels=labels, split=split, store=store, preprocess=preprocess,
        model=model, model_record=record, weights=report, task=ClassificationTask(classes, config.loss, weighed),
        leaks=[*shared_ids(table.manifest.rows, split.parts), *twins(table, split, store),
               *tell_the_label(table, labels, classes, split.train)], doubts=doubts,
        reasons={"table": "; ".join(table.manifest.notes), "maps": told.maps_told(table),
                 **({"clinical": told.clinical_told(table, preprocess)} if table.columns else {}), "network": network,
                 "grid": told.grid_told(preprocess, model), "split": told.split_told(split),
                 "augmentation": str(_augment(config) or "none"), "readers": told.readers_told(store),
                 "doubts": told.doubts_told(doubts)})


def how_read(config: VolumeConfig) -> Reading:
    """Return how a config has files read."""
    return Reading(series=config.volumes.series, gaps=config.volumes.gaps)


def _check_clinical(config: VolumeConfig, model: nn.Module | None) -> None:
    """Raise where clinical columns are asked for and the network takes none, or the other way round."""
    name = type(model).__name__ if model is not None else config.model.name
    if config.volumes.clinical and name != "modality_fusion":
        raise UsageError(f"volumes.clinical needs the network modality_fusion, got {name}",
                         why="other networks take maps alone", fix="leave out --clinical, or --model")
    if "clinical" in config.model.options:
        raise UsageError("model.options.clinical must be left out here", why="volumes.clinical names the columns",
                         fix="--clinical age,egfr")


def _split(config: VolumeConfig, table: VolumeTable) -> Split:
    """Return the parts: of one fold where the config names it, else those of the column or the fractions."""
    section = config.split
    if section.folds is None or section.fold is None:
        return make_split(table.manifest, section)
    folds = make_folds(table.manifest, section.folds, seed=section.seed, stratify=section.stratify)
    return fold_split(table.manifest, folds, section.fold, section)


def _classes(config: VolumeConfig, table: VolumeTable) -> tuple[str, ...]:
    """Return the classes: those of the config, in their order, or all that occur."""
    found = table.manifest.classes
    given = config.volumes.classes
    if given is not None and set(given) != set(found):
        raise UsageError(f"volumes.classes must name the labels of the table, {', '.join(found)}, got "
                         f"{', '.join(given)}")
    if given is None and config.loss.name == "ordinal":
        raise UsageError("loss.name=ordinal needs the grades in their order",
                         why=f"by name they are {', '.join(found)}", fix="--classes none,mild,severe")
    if len(found) < 2:
        raise DataError(f"the table has one class only, {', '.join(found)}", where=table.manifest.source,
                        fix="it takes two or more to tell apart")
    return given or found


def _on_grid(config: VolumeConfig, table: VolumeTable) -> VolumePreprocess:
    """Return the preprocessing without its levels: the grid is that of the usual reference volume."""
    section = config.volumes
    reference = section.reference or table.maps[0]
    if reference not in table.maps:
        raise UsageError(f"volumes.reference must be one of the maps, {', '.join(table.maps)}, got {reference!r}")
    place = table.maps.index(reference)
    files = list(islice((row[place] for row in table.files if row[place] is not None), LOOKED))
    if not files:
        raise DataError(f"no row has the {reference}, on whose place the others are put", where=table.manifest.source,
                        fix="name another: --set volumes.reference=NAME")
    grids = [Grid.of(read_volume(Path(str(file)), series=section.series.get(reference))) for file in files] \
        if section.shape is None or section.spacing is None else []
    shape, spacing = section.shape, section.spacing
    if shape is None or spacing is None:
        shape, spacing = usual_grid(grids, shape=shape, spacing=spacing)
    return VolumePreprocess(maps=table.maps, reference=reference, shape=shape, spacing=spacing, kind=section.levels)


def _weights_of(config: VolumeConfig) -> str:
    """Return the name that tags of the network's weights go by."""
    if config.model.weights in (None, "none"):
        return config.model.name
    encoder = getattr(create_model(config.model.name, dims=3, num_classes=2, **config.model.options),
                      "encoder_weights", None)
    return config.model.name if encoder is None or not encoder.name else str(encoder.name)


def _augment(config: VolumeConfig) -> VolumeAugment | None:
    """Return how training patients are changed; the levels of maps stay unless the config says otherwise."""
    section = config.augment
    usual = 0.0 if config.volumes.levels == "map" else 0.1
    given: dict[str, Any] = section.model_dump(exclude={"enabled"})
    given |= {name: usual for name, value in given.items() if value is None}
    return VolumeAugment(**given) if section.enabled else None
