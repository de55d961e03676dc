"""The number that decides a study: the usual one of the work, or a named one, checked before anything is trained."""

from collections.abc import Sequence

import numpy as np

from excite.errors import UsageError
from excite.jobs.kinds import Kind
from excite.metrics.direction import direction
from excite.metrics.mask_evaluation import ORDER
from excite.metrics.side import classifier
from excite.registry import nearest

USUAL = {"classification": "balanced_accuracy", "segmentation": "dice", "heads": "adf_mm"}


def metric_of(asked: str | None, kind: Kind, classes: Sequence[str]) -> str:
    """Return the number that decides.

    Args:
        asked: By the config; None: the usual one.

    Raises:
        UsageError: the work has no such number, or it is better neither way.
    """
    if asked is None:
        return USUAL[kind]
    names = list(ORDER)
    if kind == "classification":
        count = len(classes)
        names = list(classifier(np.arange(count), np.eye(count), classes).measure()(np.ones((1, count))))
    check_metric(asked, names)
    return asked


def check_metric(asked: str, names: Sequence[str]) -> None:
    """Raise where a number is none of `names`, or is better neither way."""
    known = [name for name in names if direction(name)]
    if asked not in known:
        raise UsageError(f"study.metric must be a number of this work that is better one way, got {asked!r}",
                         fix=f"{nearest(asked, known)}known: {', '.join(name for name in known if '/' not in name)}; "
                             "of one class, recall/CLASS and the like")
