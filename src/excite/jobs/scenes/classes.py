"""The classes of a label file as those of a network: by name, or by number where the file has no names."""

import re

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.labels import LabelMap
from excite.errors import DataError
from excite.registry import nearest

NUMBERED = re.compile(r"class \d+")  # what `make_labels` calls a class without a name


def truth_of(labels: LabelMap, classes: tuple[str, ...]) -> tuple[NDArray[np.int32], list[str]]:
    """Return the labels as numbers of the network's classes, and how they were matched.

    Args:
        labels: Of another scene; classes without a pixel are not asked for.
        classes: Of the network; label k stands for that of place k - 1.

    Raises:
        DataError: a class is not one of the network's.
    """
    held = [name for name, count in zip(labels.classes, labels.counts, strict=True) if count]
    if not set(held) - set(classes):
        return _by_name(labels, classes), []
    if all(NUMBERED.fullmatch(name) for name in labels.classes):
        largest = int(labels.values.max())
        if largest > len(classes):
            raise DataError(f"the network has {len(classes)} classes, the labels go up to {largest}",
                            where=labels.source, why=f"its classes are {', '.join(classes)}",
                            fix="give the names of the labels with --classes, or set such pixels to 0")
        told = ", ".join(f"{place} {name}" for place, name in enumerate(classes, start=1))
        return labels.values, [f"the labels have no names: their numbers are taken for the network's, {told}"]
    unknown = {name: int(count) for name, count in zip(labels.classes, labels.counts, strict=True)
               if count and name not in classes}
    names = ", ".join(f"{name!r} ({count} pixel{'s' if count > 1 else ''})" for name, count in unknown.items())
    raise DataError(f"labels that the network does not know: {names}", where=labels.source,
                    why=f"its classes are {', '.join(map(repr, classes))}",
                    fix=f"{nearest(min(unknown), list(classes))}rename them with --classes, or set such pixels to 0")


def _by_name(labels: LabelMap, classes: tuple[str, ...]) -> NDArray[np.int32]:
    places = [classes.index(name) + 1 if name in classes else 0 for name in labels.classes]
    found: NDArray[np.int32] = np.array([0, *places], np.int32)[labels.values]
    return found
