"""From a config to everything that training needs: rows, split, images, network, each with its reason."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.data.cache import ImageCache
from excite.data.fault import Fault
from excite.data.layouts.hc18 import table_of
from excite.data.manifest import Manifest, read_manifest
from excite.data.orientation import turned_apart
from excite.data.pictures import picture_findings
from excite.data.preprocess import Preprocess
from excite.data.sections import Outlines
from excite.data.split import Split, leaks, make_split
from excite.data.table import read_table
from excite.data.targets import Target, Truths, read_targets
from excite.engine.loader import Loader
from excite.errors import DataError, UsageError
from excite.jobs.kinds import Kind, heads_or_regions, kind_of, of_masks, with_defaults
from excite.jobs.network import build_model, check_given, check_network, licence, normalisation, weights_file
from excite.jobs.sections import TrainConfig
from excite.jobs.stages import stages_told
from excite.progress import Progress, silent
from excite.tasks.classification import ClassificationTask
from excite.tasks.segmentation import SegmentationTask, loss_of
from excite.weights.load import LoadReport

FEW = 10          # images of a part below which its numbers say little
FOR_INTERVAL = 9  # validation images without which there is no interval of 90 %


@dataclass(kw_only=True)
class Prepared:
    """What a training run is made of; of `labels` and `targets` one is filled, as the kind of work is."""

    config: TrainConfig
    manifest: Manifest
    classes: tuple[str, ...]
    labels: list[int]
    targets: list[Target]
    split: Split
    leaks: list[Fault]
    cache: ImageCache
    preprocess: Preprocess
    model: nn.Module
    model_record: dict[str, object]
    weights: LoadReport | None
    licence: str | None  # of the weights that the network starts from
    task: ClassificationTask | SegmentationTask
    reasons: dict[str, str] = field(default_factory=dict)

    @property
    def network(self) -> str:
        """Return what to call the network: its name, or that of the class of one's own."""
        return self.config.model.name if self.model_record else type(self.model).__name__

    @property
    def start(self) -> str:
        """Return what the network's weights were at first, in words."""
        if self.weights is not None:
            return self.weights.text()
        return "random values" if self.model_record else "given by the caller, who alone knows them"

    @property
    def kind(self) -> Kind:
        """Return the kind of work."""
        return self.config.task if self.config.task != "auto" else "classification"

    @property
    def shape(self) -> tuple[int, int, int]:
        """Return the network's input, (C, H, W)."""
        return (self.preprocess.channels, self.preprocess.height, self.preprocess.width)

    def loader(self, part: str, *, train: bool = False) -> Loader:
        """Return the batches of a part, augmented and shuffled where `train`."""
        config = self.config
        return Loader(self.cache, self.preprocess, self.split.parts[part], self.targets or self.labels,
                      batch_size=config.loop.batch_size, seed=config.seed,
                      augment=config.augment if train and config.augment.enabled else None,
                      sampler=config.loop.sampler if train else "order")

    def inputs(self, rows: Sequence[int]) -> NDArray[np.float32]:
        """Return the network's inputs for `rows`, (N, C, H, W), without augmentation."""
        batches = Loader(self.cache, self.preprocess, rows, [0] * len(self.cache), batch_size=len(rows),
                         seed=self.config.seed)
        images = next(iter(batches.batches(0))).images.numpy()
        return np.ascontiguousarray(images, np.float32)

    def counts(self, part: str) -> list[int]:
        """Return the images of each class in a part; with masks, those in which something is."""
        rows = self.split.parts[part]
        if self.targets:
            return [sum(self.targets[row].kind != "empty" for row in rows)]
        return class_counts(self.labels, rows, len(self.classes))


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
    if model is None:
        check_network(config)  # a misspelt name is told before a table is read
    manifest = read_manifest(config.data)
    asked, (kind, why) = config.task, kind_of(config, manifest)
    config = with_defaults(config, kind)
    file = None if model is not None else weights_file(config, check_network(config, kind))
    # The weights' own normalisation holds unless the config names another; the cache depends on geometry only.
    section, why_normalised = normalisation(config, file)
    preprocess = Preprocess(section)
    cache = ImageCache.build([manifest.path(row) for row in manifest.rows], preprocess, config.cache,
                             progress=progress)
    classes: tuple[str, ...] = ()
    labels: list[int] = []
    truths: Truths | None = None
    if of_masks(kind):
        truths = _truths(config, kind, manifest, cache, preprocess, progress)
        kind, told = heads_or_regions(asked, kind, truths.targets)
        why, outlines = told or why, truths.outlines
        config = config.model_copy(update={"task": kind, "data": config.data.model_copy(update={"outlines": outlines})})
        classes = config.data.classes or ("head" if kind == "heads" else "region",)
    else:
        _refuse_faults(manifest, cache)
        classes = _classes(manifest, config.data.classes)
        labels = [classes.index(row.label or "") for row in manifest.rows]
    targets = truths.targets if truths else []
    split = make_split(manifest, config.split, cache.fingerprints)
    _refuse_empty_parts(split, manifest)
    preprocess = preprocess.fit(cache[index] for index in split.train)
    record: dict[str, object] = {}
    weights: LoadReport | None = None
    if model is None:
        model, record, weights, reason = build_model(config, file, num_classes=len(classes))
    else:
        shape = (section.channels, preprocess.height, preprocess.width)
        reason = check_given(model, kind, 1 if of_masks(kind) else len(classes), shape)
        if used := config.model.model_fields_set:
            reason += f"; not used of the config: model.{', model.'.join(sorted(used))}"
    counts = class_counts(labels, split.train, len(classes)) if labels else []
    reasons = {
        "table": "; ".join(manifest.notes) or "as it is",
        "task": _task_told(kind, why, classes, truths),
        "network": reason,
        "size": f"{preprocess.height} x {preprocess.width}, {section.mode}; {why_normalised}",
        "split": f"{_sizes(split)} images by {split.unit_kind}; {'; '.join(split.notes) or 'no remarks'}",
        "imbalance": _imbalance_told(config, classes, counts) if labels else _areas_told(targets, split),
    }
    if staged := stages_told(config, model):
        reasons["stages"] = staged
    if few := _few_told(kind, split):
        reasons["few"] = few
    if apart := turned_apart(manifest.rows, manifest.root) if truths else []:
        reasons["orientation"] = "; ".join(fault.message for fault in apart)
    return Prepared(config=config, manifest=manifest, classes=classes, labels=labels, targets=targets, split=split,
                    leaks=leaks(manifest, split, cache.fingerprints), cache=cache, preprocess=preprocess, model=model,
                    model_record=record, weights=weights, task=_task(config, classes, counts), reasons=reasons,
                    licence=licence(file))


def _few_told(kind: Kind, split: Split) -> str:
    """Return what parts are too small for, a sentence each."""
    small = [f"{len(rows)} in {part}" for part, rows in split.parts.items() if len(rows) < FEW]
    told = [f"{', '.join(small)}: numbers of so few images say little"] if small else []
    if kind == "heads" and len(split.val) < FOR_INTERVAL:
        told.append(f"circumferences will have no interval: it takes {FOR_INTERVAL} validation images")
    return "; ".join(told)


def _task(config: TrainConfig, classes: tuple[str, ...], counts: list[int]) -> ClassificationTask | SegmentationTask:
    """Return the loss and the numbers of the work."""
    if config.loss.of_masks:
        return SegmentationTask(classes, loss=loss_of(config.loss, classes=len(classes)))
    balanced = config.loop.sampler == "balanced"  # every class is drawn alike: weights on top would count it twice
    return ClassificationTask(classes, config.loss, [1] * len(counts) if balanced else counts)


def _truths(config: TrainConfig, kind: Kind, manifest: Manifest, cache: ImageCache, preprocess: Preprocess,
            progress: Progress) -> Truths:
    """Return the truth of each row; of heads every mask is an outline, or none is."""
    shapes = [(found.shape[1], found.shape[2]) for found in cache.fingerprints]

    def read(outlines: Outlines) -> Truths:
        return read_targets(manifest.rows, manifest.root, shapes, preprocess.stored_shape, outlines=outlines,
                            progress=progress)

    found = read(config.data.outlines)
    if kind != "heads" or found.outlines == "yes" or not found.alike:
        return found
    if config.data.outlines == "no":
        raise UsageError("data.outlines must be auto or yes for heads, got 'no'",
                         why=f"{found.alike} masks look like outlines, and a head is no ring",
                         fix="leave data.outlines out, or task: segmentation")
    return read("yes")  # tells the masks that are none


def _task_told(kind: Kind, why: str, classes: tuple[str, ...], truths: Truths | None) -> str:
    if truths is None:
        return f"classification of {len(classes)} classes ({', '.join(classes)}): {why}"
    kinds = Counter(target.kind for target in truths.targets)
    masks = ", ".join(f"{count} {name}" for name, count in sorted(kinds.items()))
    return f"{kind} of {', '.join(classes)}: {why}; masks: {masks}{_outlines_told(truths)}"


def _outlines_told(truths: Truths) -> str:
    if truths.outlines == "yes":
        return (", the truth of an outline is the ellipse through its centre line (data.outlines: yes; where the drawn "
                "ring is itself the structure: --set data.outlines=no)")
    if truths.alike:
        return (f"; {truths.alike} of {len(truths.targets)} look like outlines along an ellipse and none is filled "
                "(data.outlines: no; where masks are outlines, draw the others as such: --set data.outlines=yes names "
                "them)")
    return ""


def _imbalance_told(config: TrainConfig, classes: tuple[str, ...], counts: list[int]) -> str:
    return (f"training images: {', '.join(f'{a} {b}' for a, b in zip(classes, counts, strict=True))}; "
            + ("balanced sampler, therefore no class weights" if config.loop.sampler == "balanced" else
               f"class weights: {config.loss.class_weights}"))


def _areas_told(targets: list[Target], split: Split) -> str:
    empty = sum(targets[row].kind == "empty" for row in split.train)
    if not empty:
        return "every training image has a mask that is not empty"
    return f"{empty} of {len(split.train)} training images have an empty mask: their Dice is not defined and left out"


def class_counts(labels: Sequence[int], rows: Sequence[int], classes: int) -> list[int]:
    """Return how many of `rows` each class has."""
    counts = [0] * classes
    for row in rows:
        counts[labels[row]] += 1
    return counts


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
    source = manifest.source
    if source.is_dir():  # a layout's table in it, or beside it
        source = next(iter(sorted(source.glob("*.csv"))), None) or table_of(source) or source
    if not source.is_file():
        return None
    table = read_table(source)
    place = next((place for place, name in enumerate(table.header) if name.casefold() == "simulated"), None)
    if place is None or not table.records:
        return None
    return any(record.cells[place].casefold() in ("yes", "true", "1") for record in table.records)


def _classes(manifest: Manifest, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    found = manifest.classes
    if len(found) < 2:
        raise DataError(f"the table has {len(found)} class", where=manifest.source, why=f"labels: {', '.join(found)}",
                        fix="a classifier needs at least two; --label-col names another column")
    if wanted is not None and sorted(wanted) != sorted(found):
        raise DataError(f"data.classes are {', '.join(wanted)}, the table's labels {', '.join(found)}",
                        where=manifest.source, fix="make the two agree, or leave data.classes out")
    return wanted or found


def _sizes(split: Split) -> str:
    return ", ".join(f"{len(rows)} {part}" for part, rows in split.parts.items())
