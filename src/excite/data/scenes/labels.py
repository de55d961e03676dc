"""The map of classes of one scene: a number for each pixel, 0 where nobody knows."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.cube import Cube, shortened
from excite.errors import DataError, UsageError

LARGEST = 65_535
Labels = NDArray[np.int32]


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelMap:
    """Classes of the pixels of a scene.

    Args:
        values: int32; 0 is unlabelled, 1 the first of `classes`.
        classes: Their names.
        source: Where it came from, for messages.
        notes: What was decided on the way, each a sentence.

    Shape:
        values (H, W).

    Raises:
        DataError: not an int32 map, or a number has no class.
    """

    values: Labels
    classes: tuple[str, ...]
    source: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.values.ndim != 2 or self.values.dtype != np.int32 or not self.values.size:
            raise DataError(f"labels must be an int32 map (rows, columns), got {self.values.dtype} {self.values.shape}",
                            where=self.source)
        if self.values.min() < 0 or self.values.max() > len(self.classes):
            raise DataError(f"labels must be from 0 to {len(self.classes)}, the number of classes, got "
                            f"{self.values.min()} to {self.values.max()}", where=self.source,
                            fix="name every class, in the order of the numbers")
        if len(set(self.classes)) < len(self.classes):
            twice = next(name for name in self.classes if self.classes.count(name) > 1)
            raise DataError(f"class names must be different, got {twice!r} twice", where=self.source)

    @property
    def counts(self) -> NDArray[np.int64]:
        """Return how many pixels each class has, in the order of `classes`."""
        return np.bincount(self.values.ravel(), minlength=len(self.classes) + 1)[1:]


def make_labels(array: NDArray[Any], *, source: str, classes: Sequence[str] | None = None,
                notes: Sequence[str] = ()) -> LabelMap:
    """Return a map of classes from numbers as a file holds them; an axis of length 1 is dropped.

    Args:
        array: Whole numbers of any type; 0 is unlabelled.
        source: Where it came from, for messages.
        classes: Names of 1, 2, ...; None names them "class 1", "class 2", ...
        notes: What was decided before.

    Shape:
        (H, W) or (H, W, 1).

    Raises:
        DataError: numbers are negative, not whole, not finite or too large, or most of them up to the largest are of
            no pixel; and as `LabelMap`.
    """
    values = array[..., 0] if array.ndim == 3 and array.shape[2] == 1 else array
    if values.ndim != 2:
        fix = "abundances become labels by from_abundances" if values.ndim == 3 and values.dtype.kind == "f" \
            else "give one number a pixel"
        raise DataError(f"labels must be a map (rows, columns), got shape {array.shape}", where=source, fix=fix)
    whole = _whole(values, source)
    largest = int(whole.max(initial=0))
    names = tuple(classes) if classes is not None else tuple(f"class {number + 1}" for number in range(largest))
    unused = sorted(set(range(1, max(largest, len(names)) + 1)) - set(np.unique(whole).tolist()))
    if classes is None and len(unused) > max(1, largest // 2):
        raise DataError(f"{len(unused)} of the label numbers 1 to {largest} are of no pixel", where=source,
                        why=f"unused are {shortened(unused)}",
                        fix="number the classes 1, 2, 3, ..., or give the names of all by scene.classes (--classes to "
                            "evaluate)")
    said = [f"no pixel has label {shortened(unused)}"] if unused else []
    return LabelMap(values=whole, classes=names, source=source, notes=(*notes, *said))


def without_classes(labels: LabelMap, names: Sequence[str]) -> LabelMap:
    """Return the labels without some classes and those of no pixel; the others are numbered anew, in their order.

    Args:
        labels: Of a scene.
        names: Classes whose pixels shall have no label.

    Raises:
        UsageError: a name is not that of a class.
    """
    if unknown := [name for name in names if name not in labels.classes]:
        raise UsageError(f"scene.drop_classes must be classes of the labels, got {', '.join(unknown)}",
                         where=labels.source, fix=f"its classes: {', '.join(labels.classes)}")
    counts = dict(zip(labels.classes, labels.counts, strict=True))
    kept = [name for name in labels.classes if name not in names and counts[name]]
    if len(kept) == len(labels.classes):
        return labels
    numbers = np.zeros(len(labels.classes) + 1, np.int32)
    for place, name in enumerate(kept, start=1):
        numbers[labels.classes.index(name) + 1] = place
    left = ", ".join(f"{name} ({counts[name]} pixels)" for name in labels.classes if name not in kept)
    return replace(labels, values=numbers[labels.values], classes=tuple(kept), notes=(
        *labels.notes, f"left out: {left}; the other classes are numbered anew, 1 to {len(kept)}"))


def from_abundances(array: NDArray[Any], names: Sequence[str], *, purest: float | None = None,
                    source: str = "abundances") -> LabelMap:
    """Return for each pixel the class that it holds most of.

    Args:
        array: Share of each class; a pixel that holds nothing of any stays unlabelled.
        names: Names of the classes.
        purest: Least share that a labelled pixel holds of its class, above 0 to 1; None for any.
        source: Where it came from, for messages.

    Shape:
        (H, W, classes).

    Raises:
        DataError: shares are negative or not finite.
        UsageError: the names do not fit, or `purest` is out of range.
    """
    if array.ndim != 3 or array.shape[2] != len(names):
        raise UsageError(f"abundances must be (rows, columns, {len(names)}) for {len(names)} names, got {array.shape}",
                         where=source)
    if purest is not None and not 0 < purest <= 1:
        raise UsageError(f"purest must be above 0 and at most 1, got {purest}")
    bad = int((~np.isfinite(array) | (array < 0)).sum())
    if bad:
        raise DataError(f"abundances must be numbers from 0, {bad} of {array.size} are not", where=source)
    most = array.max(axis=2)
    enough = most > 0 if purest is None else most >= purest
    values = np.where(enough, array.argmax(axis=2) + 1, 0).astype(np.int32)
    notes = ["labels are the class with the largest abundance"]
    if purest is not None:
        notes.append(f"{(~enough).sum()} of {enough.size} pixels hold less than {purest} of one class: unlabelled")
    return LabelMap(values=values, classes=tuple(names), source=source, notes=tuple(notes))


def check_pair(cube: Cube, labels: LabelMap) -> None:
    """Refuse labels of another size than the cube's.

    Raises:
        DataError: says both sizes, and whether turning one of the two would make them fit.
    """
    rows, columns = labels.values.shape
    if cube.shape == (rows, columns):
        return
    fix = "name the label map of this scene"
    if cube.shape == (columns, rows):
        fix = "the labels' transpose would fit: rows and columns are swapped in one of the two"
    elif cube.values.shape[1:] == (rows, columns):
        fix = "the cube's first axis seems to be its bands: save it by np.moveaxis(cube, 0, -1)"
    raise DataError(f"the cube has {cube.shape[0]} x {cube.shape[1]} pixels, the labels {rows} x {columns}",
                    where=labels.source, why=f"the cube is {cube.source}", fix=fix)


def _whole(values: NDArray[Any], source: str) -> Labels:
    if values.dtype.kind not in "iufb":
        raise DataError(f"labels must be whole numbers, got {values.dtype}", where=source)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{(~np.isfinite(values)).sum()} of {values.size} labels are NaN or infinite", where=source,
                        fix="0 is unlabelled: np.nan_to_num(labels, nan=0)")
    if values.dtype.kind == "f" and (values != np.floor(values)).any():
        odd = values[values != np.floor(values)]
        raise DataError(f"labels must be whole numbers, {odd.size} of {values.size} are not, {odd[0]} first",
                        where=source, fix="this may be no label map")
    if values.size and values.min() < 0:
        raise DataError(f"{(values < 0).sum()} of {values.size} labels are negative, {values.min()} the least",
                        where=source, fix="0 is unlabelled, classes count from 1: if -1 is unlabelled, add 1 to all")
    if values.size and values.max() > LARGEST:
        raise DataError(f"labels must be at most {LARGEST}, got {values.max()}", where=source,
                        fix="number the classes 1, 2, 3, ...")
    return values.astype(np.int32)
