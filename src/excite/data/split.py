"""Train, validation and test parts made of whole units: patients, groups, or clusters of near duplicates."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.fault import Fault
from excite.data.fingerprint import ALIKE, NEAR, Fingerprint, near_duplicates, same_pixels
from excite.data.manifest import Manifest
from excite.data.row import Row
from excite.data.sections import SplitSection
from excite.data.stratify import assign
from excite.data.units import Units, by_image, units_of
from excite.errors import DataError

PARTS = ("train", "val", "test")
SHOWN = 10  # of a list in a message


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which rows are trained on, chosen by, and tested on.

    Args:
        train: Indices of rows.
        val: Indices of rows.
        test: Indices of rows.
        units: The unit of each row of the manifest.
        unit_kind: "patient", "patient and group", "group", "near-duplicate cluster" or "image".
        notes: What was decided and what to beware of, each a sentence.
    """

    train: tuple[int, ...]
    val: tuple[int, ...]
    test: tuple[int, ...]
    units: tuple[str, ...]
    unit_kind: str
    notes: tuple[str, ...] = ()

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """Return the rows of each part."""
        return {"train": self.train, "val": self.val, "test": self.test}

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {**{name: list(rows) for name, rows in self.parts.items()}, "units": list(self.units),
                "unit_kind": self.unit_kind, "notes": list(self.notes)}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Split":
        """Return the split that `to_json` wrote.

        Raises:
            DataError: something is missing or not of its kind.
        """
        try:
            rows = {name: tuple(int(row) for row in tree[name]) for name in PARTS}
            return cls(**rows, units=tuple(map(str, tree["units"])), unit_kind=str(tree["unit_kind"]),
                       notes=tuple(map(str, tree["notes"])))
        except (KeyError, TypeError, ValueError) as fault:
            raise DataError("a stored split cannot be read", why=f"{type(fault).__name__}: {fault}",
                            fix="start the run in another folder") from None


def make_split(manifest: Manifest, section: SplitSection, fingerprints: Sequence[Fingerprint] = ()) -> Split:
    """Return the parts that the table's split column or, without one, the fractions of `section` give.

    The unit is what patient and group connect, directly or through others, and what looks the same: two near
    duplicates are never parted, whoever they are said to belong to (only a split column may do that, see `leaks`).
    Where neither is known, look-alikes are joined from a lower likeness on. The order of rows plays no part.

    Args:
        manifest: The rows.
        section: Fractions of the whole, seed, and whether the split column counts.
        fingerprints: One a row; empty where the pictures were not looked at.

    Raises:
        DataError: a unit is in two parts of the split column, rows have no part there, it has no training part, a class
            has nothing to train on, or there are too few units.
    """
    obeyed = section.column and any(row.split for row in manifest.rows)
    units = by_image(manifest.rows) if section.by == "image" else _units(manifest.rows, fingerprints, within=obeyed)
    notes = list(units.notes)
    shares = {"train": 1 - section.val - section.test, "val": section.val, "test": section.test}
    part_of: dict[str, str] = {}
    if obeyed:
        part_of, shares, more = _from_column(manifest, section, units)
        notes += more
    shares = {part: share for part, share in shares.items() if share > 0}
    loose = sorted(set(units.names) - set(part_of))
    if len(loose) < len(shares) and loose:
        raise DataError(f"{len(loose)} {units.kind} unit(s) cannot be divided into {len(shares)} parts "
                        f"({', '.join(shares)})", where=manifest.source,
                        fix="add data of more patients")
    if loose:
        counts = class_counts(manifest, units, loose, stratify=section.stratify)
        part_of |= assign(loose, counts, shares, seed=section.seed)
    rows = {part: tuple(index for index, unit in enumerate(units.names) if part_of[unit] == part) for part in PARTS}
    notes += _look_at_parts(manifest, rows, wanted=shares)
    return Split(train=rows["train"], val=rows["val"], test=rows["test"], units=units.names, unit_kind=units.kind,
                 notes=tuple(notes))


def leaks(manifest: Manifest, split: Split, fingerprints: Sequence[Fingerprint] = ()) -> list[Fault]:
    """Return what is in two parts and must not be: a patient, a group, the same pixels, near duplicates."""
    pictures = shared_pictures(manifest.rows, split.parts, fingerprints, near_duplicates(fingerprints))
    return shared_ids(manifest.rows, split.parts) + [fault for fault, _ in pictures]


def shared_ids(rows: Sequence[Row], parts: Mapping[str, Sequence[int]]) -> list[Fault]:
    """Return a fault for each patient and each group in two parts."""
    faults = []
    for kind in ("patient", "group"):
        held: dict[str, dict[str, int]] = defaultdict(dict)
        for part, members in parts.items():
            for index in members:
                name = getattr(rows[index], kind)
                if name is not None:
                    held[name].setdefault(part, index)
        for name, where in sorted(held.items()):
            if len(where) > 1:
                last = rows[max(where.values())]
                faults.append(Fault(kind=f"{kind}-in-two-splits", row=last.line, file=last.image, message=(
                    f"{kind} {name} is in {_and(where)}: what is learned from one is asked of the other; put all rows "
                    f"of a {kind} into one part")))
    return faults


def shared_pictures(rows: Sequence[Row], parts: Mapping[str, Sequence[int]], fingerprints: Sequence[Fingerprint],
                    near: Sequence[tuple[int, int, float]]) -> list[tuple[Fault, tuple[int, int]]]:
    """Return a fault, and its rows, for each pair in two parts with the same pixels or near duplicates of each other.

    Args:
        rows: Of the manifest.
        parts: Rows of each part.
        fingerprints: One a row.
        near: What `near_duplicates` found.
    """
    part = {index: name for name, members in parts.items() for index in members}
    pairs = {pair: "the same picture" for pair in same_pixels(fingerprints)}
    for i, j, score in near:
        if fingerprints[i].pixels != fingerprints[j].pixels:
            pairs[i, j] = f"nearly the same picture (likeness {score:.2f})"
    faults = []
    for (i, j), what in sorted(pairs.items()):
        if i in part and j in part and part[i] != part[j]:
            kind = "same-pixels" if what == "the same picture" else "near-duplicates"
            fault = Fault(kind=f"{kind}-in-two-splits", row=rows[j].line, file=rows[j].image, message=(
                f"{rows[j].image} is {what} as {rows[i].image} (row {rows[i].line}), which is in {part[i]} while this "
                f"is in {part[j]}; keep one of the two, or put both into one part"))
            faults.append((fault, (i, j)))
    return faults


def _units(rows: Sequence[Row], fingerprints: Sequence[Fingerprint], *, within: bool) -> Units:
    """Return the units; `within` joins look-alikes of one part of the split column only."""
    known = any(row.patient is not None or row.group is not None for row in rows)
    near = near_duplicates(fingerprints, least=NEAR if known else ALIKE)
    alike = [*same_pixels(fingerprints), *((i, j) for i, j, _ in near)]
    return units_of(rows, [(i, j) for i, j in alike if not within or rows[i].split == rows[j].split])


def _from_column(manifest: Manifest, section: SplitSection, units: Units
                 ) -> tuple[dict[str, str], dict[str, float], list[str]]:
    """Return the parts that the column settles, the shares that divide the rest, and what to say."""
    rows = manifest.rows
    none = [str(row.line) for row in rows if not row.split]
    if none:
        raise DataError(f"{len(none)} of {len(rows)} rows have no split, others do: rows {_first(none)}",
                        where=manifest.source, fix="fill the split column, or --set split.column=false to ignore it")
    parts: dict[str, set[str]] = defaultdict(set)
    for row, unit in zip(rows, units.names, strict=True):
        parts[unit].add(str(row.split))
    torn = [f"{unit} ({_and(found)})" for unit, found in sorted(parts.items()) if len(found) > 1]
    if torn:
        raise DataError(f"the split column puts {len(torn)} {units.kind} unit(s) into two parts: {_first(torn)}",
                        where=manifest.source, why="what is learned from one part would be asked of the other",
                        fix="`excite check TABLE --write-clean OUT.csv` drops what must go, or --set "
                            "split.column=false splits anew")
    given = {part for found in parts.values() for part in found}
    if "train" not in given:
        raise DataError("the split column has no training part", where=manifest.source,
                        fix="name one part train, or --set split.column=false")
    notes = [f"the table's own split is obeyed: {', '.join(part for part in PARTS if part in given)}"]
    shares = {"train": 1.0}
    if "val" not in given and section.val > 0:
        shares["val"] = section.val / (1 - section.test) if "test" in given else section.val
        notes.append(f"it has no validation part: {shares['val']:.0%} of the training part was cut off by {units.kind}")
    if "test" not in given and "val" not in given and section.test > 0:
        shares["test"] = section.test
        notes.append(f"it has no test part: {section.test:.0%} of the training part was cut off by {units.kind}")
    shares["train"] -= sum(share for part, share in shares.items() if part != "train")
    settled = {unit: part for unit, (part,) in parts.items() if part != "train" or len(shares) == 1}
    return settled, (shares if len(shares) > 1 else {}), notes


def class_counts(manifest: Manifest, units: Units, names: Sequence[str], *, stratify: bool) -> NDArray[np.int64]:
    """Return (units, classes): how many samples of each class each unit has; rows without a label are a class too."""
    labels = [(row.label or "") if stratify else "" for row in manifest.rows]
    column = {label: place for place, label in enumerate(sorted(set(labels)))}
    line = {name: place for place, name in enumerate(names)}
    counts = np.zeros((len(names), len(column)), np.int64)
    for unit, label in zip(units.names, labels, strict=True):
        if unit in line:
            counts[line[unit], column[label]] += 1
    return counts


def _look_at_parts(manifest: Manifest, rows: Mapping[str, Sequence[int]], *, wanted: Iterable[str]) -> list[str]:
    """Return notes on classes that a part lacks.

    Raises:
        DataError: a class, or all of them, cannot be trained on; a part that was asked for is empty.
    """
    for part in wanted:
        if not rows[part]:
            raise DataError(f"the {part} part is empty", where=manifest.source,
                            why="there are too few units of each class", fix="add data")
    held = {part: {manifest.rows[index].label for index in rows[part]} for part in PARTS}
    untrained = [name for name in manifest.classes if name not in held["train"]]
    if untrained:
        raise DataError(f"nothing to train on for class {_first(untrained)}", where=manifest.source,
                        why="no sample of it is in the training part",
                        fix="put some into the training part of the split column, or drop or merge the class")
    notes = []
    for part in PARTS[1:]:
        lacking = [name for name in manifest.classes if name not in held[part]]
        if rows[part] and lacking:
            notes.append(f"no sample of class {_first(lacking)} is in the {part} part: nothing is said about it there")
        if not rows[part]:
            notes.append(f"there is no {part} part")
    return notes


def _and(names: Iterable[str]) -> str:
    known = set(names)
    return " and ".join(part for part in PARTS if part in known)


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
