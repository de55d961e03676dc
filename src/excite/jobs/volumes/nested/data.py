"""From a config to what a nested cross-validation learns from: patients, folds, and the columns of each fold."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.fault import Fault
from excite.data.folds import Folds, make_folds
from excite.data.volumes.volume_table import VolumeTable, read_volume_table
from excite.jobs.volumes.leaks import in_two, tell_the_label
from excite.jobs.volumes.nested.head import Columns, flags
from excite.jobs.volumes.nested.map_statistics import NAMES, map_statistics
from excite.jobs.volumes.nested.pooled import Trunk, at_home, by_map, pooled, trained_on, trunk_of_bundle
from excite.jobs.volumes.nested.sections import NestedConfig
from excite.jobs.volumes.prepare import PreparedVolumes, prepare_volumes
from excite.jobs.volumes.sections import VolumeModelSection
from excite.losses.sections import LossSection
from excite.models.cost import count
from excite.progress import Progress
from excite.weights.store import is_path

RANDOM = "The trunk has random values: it was never trained, and its features are a baseline at best."
UNTOLD = ("What the weights file was trained on is not told beside it. If it has seen patients of this table, the "
          "numbers are too good.")
OF_ONE_FOLD = ("split", "augmentation", "network")  # reasons that do not hold here


@dataclass(frozen=True, kw_only=True, eq=False)
class NestedData:
    """What a nested cross-validation is made of.

    Args:
        table: With its clinical columns.
        prepared: The patients on one grid.
        trunk: None where no network is asked.
        folds: The outer ones.
    """

    config: NestedConfig
    table: VolumeTable
    prepared: PreparedVolumes
    trunk: Trunk | None
    folds: Folds

    @property
    def labels(self) -> NDArray[np.int64]:
        """The class of each row, a place in `prepared.classes`."""
        return np.array(self.prepared.labels)

    @property
    def fingerprint(self) -> dict[str, object]:
        """Return what is learnt from, to be compared when the run goes on."""
        clinical = np.empty((0, 0)) if self.table.clinical is None else self.table.clinical
        return {"patients": list(self.prepared.store.contents), "labels": self.prepared.labels,
                "folds": list(self.folds.of), "grid": self.prepared.preprocess.stored_key,
                "trunk": self.trunk.digest if self.trunk else None,
                "clinical": [[None if np.isnan(one) else one for one in row] for row in clinical.tolist()]}

    @property
    def leaks(self) -> list[Fault]:
        """Return what is in two folds, and the clinical columns that are the label under another name."""
        folds = [f"fold {number}" for number in self.folds.of]
        return [*in_two(self.table, folds, self.prepared.store.hashes, kind="folds"),
                *tell_the_label(self.table, self.prepared.labels, self.prepared.classes, range(len(self.labels)))]

    def columns(self, train: NDArray[np.int64], progress: Progress) -> Columns:
        """Return the columns of all rows, where at most the levels are learnt, on the training rows alone."""
        store, rows, extra = self.prepared.store, len(self.labels), list[NDArray[np.float64]]()
        maps, block = np.empty((rows, 0)), np.empty(0, np.int64)
        there: list[NDArray[np.bool_]] = [np.ones((rows, 0), bool)]
        if self.trunk is not None:
            preprocess = self.trunk.preprocess or replace(self.prepared.preprocess, levels=()).fit(
                np.asarray(store.values[row]) for row in train)
            maps, block = by_map(self.trunk, pooled(self.trunk, store, preprocess, progress=progress), store.present)
        elif self.config.nested.features == "levels":
            numbers = map_statistics(store)
            maps, block = numbers.reshape(rows, -1), np.repeat(np.arange(numbers.shape[1]), len(NAMES))
        if maps.shape[1]:
            there.append(store.present)
        if self.table.clinical is not None:
            extra.append(self.table.clinical.astype(np.float64))
            there.append(~np.isnan(self.table.clinical))
        return Columns(maps=maps, block=block, others=np.hstack([*extra, flags(there)]))

    def inner(self, train: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the inner fold of each row, from 1 on; 0 of those that are not trained on."""
        found, section = np.zeros(len(self.labels), np.int64), self.config.split
        found[train] = make_folds(self.table.manifest.select(train.tolist()), self.config.nested.inner,
                                  seed=section.seed, stratify=section.stratify).of
        return found

    def reasons(self) -> dict[str, str]:
        """Return why it is done so, by topic."""
        kept = {topic: text for topic, text in self.prepared.reasons.items() if topic not in OF_ONE_FOLD}
        told = {"pooled": "the trunk's vector of each patient, pooled over space, made once and kept on disk",
                "levels": f"of each map {', '.join(NAMES)} over the grid, in its own unit", "none": "none of the maps"}
        found = {"features": told[self.config.nested.features]}
        if self.trunk is not None:
            found |= {"trunk": self.trunk.told, "levels": (
                "those that the trunk was trained at" if self.trunk.preprocess else
                "each volume's own, nothing is learnt" if self.config.volumes.levels == "volume" else
                "learnt anew on the training rows of each fold, whose features were made at them")}
        if self.table.columns:
            found["clinical"] = f"{', '.join(self.table.columns)}; a missing value is the training mean, beside a flag"
        if any(self.prepared.table.missing.values()) and self.config.nested.features != "none":
            found["missing maps"] = "their features are the training mean, beside a flag that tells so"
        return found | kept

    @property
    def cost(self) -> dict[str, object]:
        """Return what the trunk costs; nothing where there is none."""
        if self.trunk is None:
            return {}
        cost = count(self.trunk.network, self.prepared.shape)
        return {"parameters": cost.parameters, "macs": cost.macs, "input": " x ".join(map(str, self.prepared.shape))}


def nested_data(config: NestedConfig, progress: Progress) -> NestedData:
    """Read the table, put the patients on one grid, make the outer folds and find the trunk.

    Raises:
        DataError: faults of the table or the files, or the trunk has learnt from patients of the table. UsageError:
            arguments that do not fit. ModelError, EnvironmentFault: of the weights.
    """
    weights, trunk = config.model.weights, None
    asked = config.nested.features == "pooled"
    if asked and weights is not None and Path(weights).expanduser().is_dir():
        trunk = trunk_of_bundle(Path(weights).expanduser())
        config = at_home(config, trunk)
    section = config.split.model_copy(update={"folds": config.split.folds or 5, "fold": 1})
    changes = {"split": section, "loss": LossSection(), "volumes": config.volumes.model_copy(update={"clinical": ()})}
    if trunk is not None or not asked:
        changes["model"] = VolumeModelSection()
    prepared = prepare_volumes(config.model_copy(update=changes), progress=progress)
    if asked and trunk is None:
        file = Path(weights).expanduser() if weights is not None and is_path(weights) else None
        known = None if file is None else trained_on(file)
        trunk = Trunk(network=prepared.model, told=prepared.reasons["network"], trained_on=known or (),
                      caution=RANDOM if not prepared.weights else UNTOLD if file and known is None else None)
    if trunk is not None:
        trunk.refuse_known(prepared.store)
    table = read_volume_table(config.volumes)
    folds = make_folds(table.manifest, section.folds or 5, seed=section.seed, stratify=section.stratify)
    return NestedData(config=config, table=table, prepared=prepared, trunk=trunk, folds=folds)
