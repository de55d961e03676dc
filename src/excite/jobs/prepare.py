"""From a config to everything that training needs: rows, split, images, network, each with its reason."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.data.cache import ImageCache
from excite.data.fault import Fault
from excite.data.manifest import Manifest, read_manifest
from excite.data.pictures import picture_findings
from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.data.split import Split, leaks, make_split
from excite.data.table import read_table
from excite.engine.loader import Loader
from excite.errors import DataError, UsageError
from excite.jobs.sections import TrainConfig
from excite.models.classifier import create_model, own_attention
from excite.models.registry import NETWORKS
from excite.progress import Progress, silent
from excite.tasks.classification import ClassificationTask
from excite.weights.load import LoadReport, load_weights
from excite.weights.store import resolve, row_of


@dataclass(kw_only=True)
class Prepared:
    """What a training run is made of."""

    config: TrainConfig
    manifest: Manifest
    classes: tuple[str, ...]
    labels: list[int]
    split: Split
    leaks: list[Fault]
    cache: ImageCache
    preprocess: Preprocess
    model: nn.Module
    model_record: dict[str, object]
    weights: LoadReport | None
    licence: str | None  # of the weights that the network starts from
    task: ClassificationTask
    reasons: dict[str, str] = field(default_factory=dict)

    def loader(self, part: str, *, train: bool = False) -> Loader:
        """Return the batches of a part, augmented and shuffled where `train`."""
        config = self.config
        return Loader(self.cache, self.preprocess, self.split.parts[part], self.labels,
                      batch_size=config.loop.batch_size, seed=config.seed,
                      augment=config.augment if train and config.augment.enabled else None,
                      sampler=config.loop.sampler if train else "order")

    def inputs(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return the network's inputs for `rows`, (N, C, S, S), without augmentation."""
        batches = Loader(self.cache, self.preprocess, rows, self.labels, batch_size=len(rows), seed=self.config.seed)
        images = next(iter(batches.batches(0))).images.numpy()
        return np.ascontiguousarray(images, np.float32)

    def counts(self, part: str) -> list[int]:
        """Return the images of each class in a part."""
        return class_counts(self.labels, self.split.parts[part], len(self.classes))


def prepare(config: TrainConfig, *, model: nn.Module | None = None, progress: Progress | None = None) -> Prepared:
    """Read the table, decode the images once, split, fit the preprocessing on the training part, build the network.

    Args:
        model: A network that takes the place of config.model; its weights stay as they are.

    Raises:
        DataError: faults of the table, the images or the split. ModelError, EnvironmentFault: of the weights.
    """
    progress = progress or silent()
    if config.data.table is None:
        raise UsageError("no table of images is given", fix="excite train TABLE, or data.table in the config")
    _check_names(config, model)
    manifest = read_manifest(config.data)
    classes = _classes(manifest, config.data.classes)
    position = {name: place for place, name in enumerate(classes)}
    labels = [position[row.label or ""] for row in manifest.rows]
    file = None if model is not None else resolve(config.model.weights, config.model.name)
    # The weights' own normalisation holds unless the config names another; the cache depends on geometry only.
    section, why_normalised = _normalisation(config, file)
    preprocess = Preprocess(section)
    cache = ImageCache.build([manifest.path(row) for row in manifest.rows], preprocess, config.cache,
                             progress=progress)
    _refuse_faults(manifest, cache)
    split = make_split(manifest, config.split, cache.fingerprints)
    _refuse_empty_parts(split, manifest)
    preprocess = preprocess.fit(cache[index] for index in split.train)
    record: dict[str, object] = {}
    weights: LoadReport | None = None
    reason = "given by the caller"
    if model is None:
        model, record, weights, reason = build_model(config, file, num_classes=len(classes))
    counts = class_counts(labels, split.train, len(classes))
    balanced = config.loop.sampler == "balanced"  # every class is drawn alike: weights on top would count it twice
    task = ClassificationTask(classes, config.loss, [1] * len(counts) if balanced else counts)
    reasons = {
        "table": "; ".join(manifest.notes) or "as it is",
        "task": f"classification of {len(classes)} classes ({', '.join(classes)}): the table's labels",
        "network": reason,
        "size": f"{section.size} x {section.size}, {section.mode}; {why_normalised}",
        "split": f"{_sizes(split)} images by {split.unit_kind}; {'; '.join(split.notes) or 'no remarks'}",
        "imbalance": f"training images: {', '.join(f'{a} {b}' for a, b in zip(classes, counts, strict=True))}; "
                     + ("balanced sampler, therefore no class weights" if balanced else
                        f"class weights: {config.loss.class_weights}"),
    }
    return Prepared(config=config, manifest=manifest, classes=classes, labels=labels, split=split,
                    leaks=leaks(manifest, split, cache.fingerprints), cache=cache, preprocess=preprocess, model=model,
                    model_record=record, weights=weights, task=task, reasons=reasons,
                    licence=_licence(file))


def build_model(config: TrainConfig, file: Path | None, *,
                num_classes: int) -> tuple[nn.Module, dict[str, object], LoadReport | None, str]:
    """Return the network of a config with the weights in `file`, how to build it again, what was loaded, and why."""
    import torch

    section = config.model
    plan = _plan(config, file)
    options = dict(section.options)
    if section.dropout is not None:
        options["dropout"] = section.dropout
    record: dict[str, object] = {
        "name": section.name, "dims": 2, "in_channels": config.preprocess.channels, "num_classes": num_classes,
        "options": options,
        "attention": None if plan is None else plan.record()}
    torch.manual_seed(config.seed)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", UserWarning)
        model = create_model(section.name, in_channels=config.preprocess.channels, num_classes=num_classes,
                             attention=plan, **options)
    what = _told(section.name, options, plan) + "".join(f"; {one.message}" for one in told)
    if file is None:
        return model, record, None, f"{what}, random weights: model.weights is none"
    report = load_weights(model, file)
    return model, record, report, f"{what}; {report.text()}"


def _plan(config: TrainConfig, file: Path | None) -> AttentionPlan | None:
    """Return the attention of a config; fresh gates are open where weights are loaded into the trunk."""
    attention = config.model.attention
    if attention is None:
        return None
    return AttentionPlan(kind=attention.kind, position=attention.position, stages=attention.stages,
                         blocks=attention.blocks, start=attention.start or ("open" if file else "paper"),
                         options=attention.options)


def _told(name: str, options: dict[str, Any], plan: AttentionPlan | None) -> str:
    """Return a network in words, with its options and its attention."""
    said = f"{name}({', '.join(f'{key}={value}' for key, value in options.items())})" if options else name
    own = own_attention(name, **options) if plan else None
    return said + (f" with {plan.text()}" if plan else "") + (f", in the place of its own {own.text()}" if own else "")


def class_counts(labels: Sequence[int], rows: Sequence[int], classes: int) -> list[int]:
    """Return how many of `rows` each class has."""
    counts = [0] * classes
    for row in rows:
        counts[labels[row]] += 1
    return counts


def _check_names(config: TrainConfig, model: nn.Module | None) -> None:
    """Raise for a network or attention that does not exist, before anything is read."""
    if model is not None:
        return
    import torch

    if config.model.name in NETWORKS:
        raise UsageError(f"{config.model.name} draws masks; a table of labels trains a classifier",
                         fix="model.name: one of excite models, without those for masks")
    file = None if config.model.weights in (None, "none") else Path("weights")
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        create_model(config.model.name, in_channels=config.preprocess.channels, num_classes=2,
                     attention=_plan(config, file), **config.model.options)


def _refuse_faults(manifest: Manifest, cache: ImageCache) -> None:
    """Raise for what `excite check` calls an error in the pictures: one picture with two labels, a class of one."""
    prints = dict(enumerate(cache.fingerprints))
    among = range(len(manifest.rows))
    kinds = ("same-picture-two-labels", "one-sample-class")
    found = [one.fault.message for one in picture_findings(manifest.rows, prints, (), among) if one.fault.kind in kinds]
    if found:
        more = f"; and {len(found) - 3} more" if len(found) > 3 else ""
        raise DataError("training on this table would be wrong", where=manifest.source, why="; ".join(found[:3]) + more,
                        fix="mend the table, or excite check TABLE --write-clean CLEAN.csv")


def _refuse_empty_parts(split: Split, manifest: Manifest) -> None:
    """Raise before the first epoch where there is nothing to choose the epoch by, or to measure on."""
    for part, use in (("val", "chooses the best epoch and the temperature"), ("test", "is what is reported")):
        if not split.parts[part]:
            raise DataError(f"the {part} part is empty", where=manifest.source, why=f"it {use}",
                            fix=f"set split.{part} above 0, or mark rows as {part} in the table's split column")


def is_simulated(manifest: Manifest) -> bool | None:
    """Return what a column `simulated` of the table says of all rows; None where nothing does."""
    if not manifest.source.is_file():
        return None
    table = read_table(manifest.source)
    place = next((place for place, name in enumerate(table.header) if name.casefold() == "simulated"), None)
    if place is None or not table.records:
        return None
    return any(record.cells[place].casefold() in ("yes", "true", "1") for record in table.records)


def _classes(manifest: Manifest, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    found = manifest.classes
    if not found and any(row.mask for row in manifest.rows):
        raise DataError("the table has masks and no labels", where=manifest.source,
                        why="excite train makes classifiers; there is no training on masks yet",
                        fix="add a label column, or use the networks, losses and metrics for masks in Python")
    if len(found) < 2:
        raise DataError(f"the table has {len(found)} class", where=manifest.source, why=f"labels: {', '.join(found)}",
                        fix="a classifier needs at least two; --label-col names another column")
    if wanted is not None and sorted(wanted) != sorted(found):
        raise DataError(f"data.classes are {', '.join(wanted)}, the table's labels {', '.join(found)}",
                        where=manifest.source, fix="make the two agree, or leave data.classes out")
    return wanted or found


def _normalisation(config: TrainConfig, file: Path | None) -> tuple[PreprocessSection, str]:
    """Return the preprocessing, with the mean and std that the weights in `file` were trained with."""
    section = config.preprocess
    row = row_of(file) if file else None
    if row is None or {"mean", "std"} & section.model_fields_set or section.channels != 3:
        return section, "normalised as the config says"
    expected = {name: tuple(row.preprocessing[name]) for name in ("mean", "std")}
    return section.model_copy(update=expected), "normalised as the weights expect"


def _licence(file: Path | None) -> str | None:
    row = row_of(file) if file else None
    return row.licence if row else "unknown: a file of your own" if file else None


def _sizes(split: Split) -> str:
    return ", ".join(f"{len(rows)} {part}" for part, rows in split.parts.items())
