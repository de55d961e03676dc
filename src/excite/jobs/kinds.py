"""Which kind of work a table is for, and what a config leaves out where the work is one with masks."""

from collections.abc import Mapping
from typing import Any, Literal

from excite.config import Section
from excite.data.manifest import Manifest
from excite.data.targets import Target
from excite.errors import DataError, UsageError
from excite.jobs.sections import TrainConfig

Kind = Literal["classification", "segmentation", "heads"]
UNET = "mobilenet_v2_aspp_se_unet"
MONITORS: Mapping[Kind, tuple[str, ...]] = {
    "classification": ("loss", "balanced_accuracy", "macro_auroc"),
    "segmentation": ("loss", "dice", "iou"), "heads": ("loss", "dice", "iou")}
# What works for masks where the config says nothing; docs/segmentation.md has the measurements.
OF_MASKS: Mapping[str, Any] = {
    "model.name": UNET, "preprocess.channels": 1, "preprocess.size": (256, 384), "preprocess.mean": (0.0,),
    "preprocess.std": (1.0,), "loss.name": "dice_bce", "loss.dice_weight": 0.2, "loss.bce_weight": 0.8,
    "optim.trunk_lr": 0.3, "loop.batch_size": 8, "loop.epochs": 40, "loop.ema": 0.95}
# What works for a head on a frozen trunk.
OF_HEAD: Mapping[str, Any] = {"loop.epochs": 200, "loop.batch_size": 128, "optim.lr": 3e-3}
OF_UNET: Mapping[str, Any] = {"grey_stem": "sum", "normalisation": "folded", "atrous_rates": (2, 4, 6),
                              "min_hidden": 4, "finest": 4, "separable": True, "up": "linear"}


def of_masks(kind: Kind) -> bool:
    """Return whether the work is one with masks."""
    return kind != "classification"


def kind_of(config: TrainConfig, manifest: Manifest) -> tuple[Kind, str]:
    """Return the kind of work and why; masks of heads are told from others by `heads_or_regions`, once they are read.

    Raises:
        DataError: the table has neither labels nor masks, or not those that the config's task needs.
    """
    labels, masks = any(row.label for row in manifest.rows), [row for row in manifest.rows if row.mask]
    if config.task == "classification" or (config.task == "auto" and labels):
        if not labels and masks:
            raise DataError("the table has masks and no labels", where=manifest.source,
                            why="task is classification", fix="task: segmentation, or name the column of labels")
        return "classification", "the table has labels" if config.task == "auto" else "as the config says"
    without = [row for row in manifest.rows if not row.mask]
    if without or not masks:
        raise DataError(f"{len(without)} of {len(manifest.rows)} rows have no mask", where=manifest.source,
                        why=f"the first is line {without[0].line}, {without[0].image}" if without else None,
                        fix="name their masks (a black one where nothing is to be found), or leave the rows out")
    if config.task != "auto":
        return config.task, "as the config says"
    return "segmentation", "the table has masks and no labels"


def heads_or_regions(asked: str, kind: Kind, targets: list[Target]) -> tuple[Kind, str | None]:
    """Return "heads" where every mask is an outline along an ellipse and the config does not say otherwise.

    Args:
        asked: The config's task.
        kind: What it is without a look at the masks.
        targets: The masks.

    Raises:
        DataError: the work is heads, and a mask is empty: nothing can be measured there.
    """
    ellipses = sum(target.kind == "ellipse" for target in targets)
    if asked == "auto" and kind == "segmentation" and ellipses == len(targets):
        return "heads", "every mask is an outline along an ellipse"
    empty = sum(target.kind == "empty" for target in targets)
    if kind == "heads" and empty:
        raise DataError(f"{empty} of {len(targets)} masks are empty", why="task is heads: each picture has one",
                        fix="leave these rows out, or task: segmentation")
    return kind, None


def with_defaults(config: TrainConfig, kind: Kind) -> TrainConfig:
    """Return the config as it is used for a kind of work: what was left out and differs from a classifier's is filled.

    Raises:
        UsageError: the loss or the watched number is for another kind of work.
    """
    changes: dict[str, dict[str, Any]] = {}
    defaults = OF_MASKS if of_masks(kind) else OF_HEAD if config.loop.frozen_features else {}
    for key, value in defaults.items():
        part, _, name = key.partition(".")
        if name not in _given(config, part):
            changes.setdefault(part, {})[name] = value
    if of_masks(kind) and not {"dice_weight", "bce_weight"}.isdisjoint(_given(config, "loss")):
        changes.get("loss", {}).pop("dice_weight", None)
        changes.get("loss", {}).pop("bce_weight", None)
    named = config.model.name if "name" in _given(config, "model") else UNET
    if of_masks(kind) and named == UNET and "options" not in _given(config, "model"):
        bare = config.model.attention is None  # min_hidden is of the network's own SE
        changes.setdefault("model", {})["options"] = {key: value for key, value in OF_UNET.items()
                                                      if bare or key != "min_hidden"}
    if of_masks(kind) and named == "aspp_se_unet" and "weights" not in _given(config, "model"):
        changes.setdefault("model", {})["weights"] = None  # there are none for its encoder
    sections = {part: getattr(config, part).model_copy(update=values) for part, values in changes.items()}
    found = config.model_copy(update={"task": kind, **sections})
    _check(found, kind)
    return found


def _given(config: TrainConfig, part: str) -> set[str]:
    section: Section = getattr(config, part)
    return section.model_fields_set


def _check(config: TrainConfig, kind: Kind) -> None:
    if config.loss.of_masks != of_masks(kind):
        right = "dice_bce or focal_tversky" if of_masks(kind) else "cross_entropy, focal or ordinal"
        raise UsageError(f"loss.name must be {right} for {kind}, got {config.loss.name!r}", fix="set loss.name")
    if config.loss.name == "ordinal" and config.data.classes is None:
        raise UsageError("loss.name=ordinal needs data.classes, the grades in their order",
                         why="sorted by name they would be mild, none, severe", fix="--classes none,mild,severe")
    if config.loop.monitor not in MONITORS[kind]:
        raise UsageError(f"loop.monitor must be {', '.join(MONITORS[kind])} for {kind}, got {config.loop.monitor!r}",
                         fix="set loop.monitor=loss")
    if of_masks(kind) and config.loop.sampler == "balanced":
        raise UsageError("loop.sampler must be shuffle for masks, got 'balanced'", why="masks have no classes",
                         fix="loop.sampler: shuffle")
    if of_masks(kind) and config.data.classes is not None and len(config.data.classes) != 1:
        raise UsageError(f"data.classes must be one name for masks, got {', '.join(config.data.classes)}",
                         why="a mask says inside and outside", fix="train one network for each structure")
