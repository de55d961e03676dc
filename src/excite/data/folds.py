"""Folds of whole units for cross-validation: each is the test part once, the rest training and validation."""

from collections.abc import Sequence
from dataclasses import dataclass

from excite.data.manifest import Manifest
from excite.data.sections import SplitSection
from excite.data.split import Split, class_counts
from excite.data.stratify import assign
from excite.data.units import Units, units_of
from excite.errors import DataError, UsageError


@dataclass(frozen=True, kw_only=True)
class Folds:
    """The fold of each row.

    Args:
        of: From 1 on.
        units: Of the rows.
        count: How many folds there are.
    """

    of: tuple[int, ...]
    units: Units
    count: int


def make_folds(manifest: Manifest, count: int, *, seed: int, stratify: bool = True) -> Folds:
    """Divide the units into folds of alike size and classes; the table's split column is not looked at.

    Raises:
        UsageError: fewer than two folds. DataError: fewer units than folds.
    """
    if count < 2:
        raise UsageError(f"folds must be at least 2, got {count}", fix="5 or 10 are usual")
    units = units_of(manifest.rows)
    names = sorted(set(units.names))
    if len(names) < count:
        raise DataError(f"{len(names)} {units.kind} unit(s) cannot be divided into {count} folds",
                        where=manifest.source, fix="fewer folds, or more patients")
    shares = {str(place): 1 / count for place in range(1, count + 1)}
    fold = assign(names, class_counts(manifest, units, names, stratify=stratify), shares, seed=seed)
    return Folds(of=tuple(int(fold[name]) for name in units.names), units=units, count=count)


def fold_split(manifest: Manifest, folds: Folds, number: int, section: SplitSection) -> Split:
    """Return the split in which fold `number`, from 1 on, is tested; `section.val` of the whole is validation."""
    units = folds.units
    rest = sorted({name for name, fold in zip(units.names, folds.of, strict=True) if fold != number})
    val = section.val * folds.count / (folds.count - 1)  # of what is left
    counts = class_counts(manifest, units, rest, stratify=section.stratify)
    part = assign(rest, counts, {"train": 1 - val, "val": val}, seed=section.seed)
    rows = {name: _rows(units.names, part, name) for name in ("train", "val")}
    test = tuple(row for row, fold in enumerate(folds.of) if fold == number)
    return Split(train=rows["train"], val=rows["val"], test=test, units=units.names, unit_kind=units.kind,
                 notes=(*units.notes, f"fold {number} of {folds.count} is the test part"))


def _rows(names: Sequence[str], part: dict[str, str], wanted: str) -> tuple[int, ...]:
    return tuple(row for row, name in enumerate(names) if part.get(name) == wanted)
