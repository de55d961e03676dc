"""The number that decides a study: the usual one of the work, or a named one, checked before anything is trained."""

from collections.abc import Sequence

import numpy as np

from excite.errors import UsageError
from excite.jobs.kinds import Kind
from excite.jobs.mask_truth import spacing_of
from excite.jobs.prepare import Prepared
from excite.metrics.direction import direction
from excite.metrics.mask_evaluation import ORDER
from excite.metrics.side import classifier
from excite.registry import nearest

USUAL = {"classification": "balanced_accuracy", "segmentation": "dice", "heads": "adf_mm"}


OF_HEADS = ("adf_mm", "width_mm", "found", "head_dice", "head_hd_mm")
OF_NO_IMAGE = ("median_adf_mm",)  # of all images at once, which trainings are not compared by


def deciding(asked: str | None, prepared: Prepared) -> str:
    """Return the number that decides the work that is prepared."""
    rows, root = prepared.manifest.rows, prepared.manifest
    known = [] if prepared.kind == "classification" or (asked is None and prepared.kind == "segmentation") else [
        spacing_of(rows[place], root.path(rows[place])) is not None for place in prepared.split.parts["test"]]
    return metric_of(asked, prepared.kind, prepared.classes, spacings=known)


def metric_of(asked: str | None, kind: Kind, classes: Sequence[str], *, spacings: Sequence[bool] = ()) -> str:
    """Return the number that decides.

    Args:
        asked: By the config; None: the usual one; of heads whose pixel size is not known, Dice of the heads.
        spacings: Whether the pixel size of each test image is known; of masks and heads.

    Raises:
        UsageError: the work has no such number, or it is better neither way.
    """
    if asked is None:
        return "head_dice" if kind == "heads" and not any(spacings) else USUAL[kind]
    names = [name for name in ORDER if name not in OF_NO_IMAGE and (kind == "heads" or name not in OF_HEADS)
             and (any(spacings) or not _of_millimetres(name)) and not (all(spacings) and name.endswith("_px"))]
    if kind == "classification":
        count = len(classes)
        names = list(classifier(np.arange(count), np.eye(count), classes).measure()(np.ones((1, count))))
    check_metric(asked, names)
    return asked


def _of_millimetres(name: str) -> bool:
    return name.endswith("_mm") or name == "surface_dice"


def check_metric(asked: str, names: Sequence[str]) -> None:
    """Raise where a number is none of `names`, or is better neither way."""
    known = [name for name in names if direction(name)]
    if asked not in known:
        raise UsageError(f"study.metric must be a number of this work that is better one way, got {asked!r}",
                         fix=f"{nearest(asked, known)}known: {', '.join(name for name in known if '/' not in name)}; "
                             "of one class, recall/CLASS and the like")
