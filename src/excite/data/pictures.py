"""What the pictures of a table show together: one picture with two labels, leaks between splits, classes too small.

Every function takes all rows and looks at some of them, so that the check can look again after rows were dropped.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from excite.data.fault import Fault
from excite.data.fingerprint import Fingerprint
from excite.data.row import Row
from excite.data.split import PARTS, shared_ids, shared_pictures
from excite.data.structure import same_when_read
from excite.data.units import units_of

TINY = 32  # pixels of the shorter side: the strides of the networks leave one value of it
NEAR_NAME = 0.8  # likeness of two class names from which one may be a slip of the other
Near = Sequence[tuple[int, int, float]]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A fault, and which rows have to go for it.

    Args:
        fault: What is wrong.
        drop: Indices of rows; empty for a warning.
        reason: Why these, in a sentence.
    """

    fault: Fault
    drop: tuple[int, ...] = ()
    reason: str = ""


def picture_findings(rows: Sequence[Row], prints: Mapping[int, Fingerprint], near: Near, among: Sequence[int]
                     ) -> list[Finding]:
    """Return all findings about the rows `among`, what must go first coming first.

    Args:
        rows: Of the manifest.
        prints: Row -> fingerprint, of readable pictures.
        near: Pairs of near duplicates among all rows.
        among: Which rows to look at; each has a fingerprint.
    """
    looked = set(among)
    near = [(i, j, score) for i, j, score in near if i in looked and j in looked]
    return [*_odd(rows, prints, among), *_depths(rows, prints, among), *_two_labels(rows, prints, among),
            *_near_two_labels(rows, prints, near), *_splits(rows, prints, near, among), *_classes(rows, near, among)]


def _odd(rows: Sequence[Row], prints: Mapping[int, Fingerprint], among: Sequence[int]) -> list[Finding]:
    found = []
    for index in among:
        shape, row = prints[index].shape, rows[index]
        if min(shape[1:]) < TINY:
            size = " x ".join(map(str, reversed(shape[1:])))
            found.append(_warning("tiny-image", row, f"{row.image} has {size} pixels, too few to show anything; look "
                                                     "whether it is a thumbnail or an icon"))
        if prints[index].constant:
            found.append(_warning("constant-image", row, f"every pixel of {row.image} has the same value: it shows "
                                                         "nothing; look whether it was exported rightly"))
    return found


def _depths(rows: Sequence[Row], prints: Mapping[int, Fingerprint], among: Sequence[int]) -> list[Finding]:
    """Return an error where pictures have values of different depths; the rarer ones go."""
    members: dict[str, list[int]] = defaultdict(list)
    for index in among:
        members[prints[index].depth].append(index)
    if len(members) < 2:
        return []
    ranked = sorted(members, key=lambda depth: (-len(members[depth]), depth))
    stays = ranked[0]
    goes = sorted(index for depth in ranked[1:] for index in members[depth])
    shown = ", ".join(f"{depth} ({_images(len(members[depth]))}, such as {rows[members[depth][0]].image})"
                      for depth in ranked)
    fault = Fault(kind="mixed-depth", row=rows[goes[0]].line, file=rows[goes[0]].image, message=(
        f"the pictures have values of different depths: {shown}; one range of values cannot fit them all, training "
        f"refuses the table: export all with one depth, or drop those that are not {stays}"))
    return [Finding(fault=fault, drop=tuple(goes), reason=f"its depth is not {stays}, which most pictures have")]


def _two_labels(rows: Sequence[Row], prints: Mapping[int, Fingerprint], among: Sequence[int]) -> list[Finding]:
    same: dict[str, list[int]] = defaultdict(list)
    for index in among:
        if not prints[index].constant and rows[index].label is not None:
            same[prints[index].pixels].append(index)
    found = []
    for members in same.values():
        if len({rows[index].label for index in members}) > 1:
            names = " = ".join(f"{rows[index].image} [{rows[index].label}]" for index in members)
            last = rows[members[-1]]
            found.append(Finding(
                fault=Fault(kind="same-picture-two-labels", row=last.line, file=last.image, message=(
                    f"the same picture, pixel for pixel, has two labels: {names}; find out which is right, or drop "
                    "all of them")),
                drop=tuple(members),
                reason=f"same picture with two labels, nobody knows which is right: {names}"))
    return found


def _near_two_labels(rows: Sequence[Row], prints: Mapping[int, Fingerprint], near: Near) -> list[Finding]:
    return [_warning("near-duplicates-two-labels", rows[j], (
                f"{rows[j].image} [{rows[j].label}] is a near duplicate (likeness {score:.2f}) of {rows[i].image} "
                f"[{rows[i].label}]; look at both, one label may be wrong"))
            for i, j, score in near if prints[i].pixels != prints[j].pixels
            and rows[i].label is not None and rows[j].label is not None and rows[i].label != rows[j].label]


def _splits(rows: Sequence[Row], prints: Mapping[int, Fingerprint], near: Near, among: Sequence[int]) -> list[Finding]:
    """Return what the split column does wrong; nothing where there is none."""
    parts = {part: [index for index in among if rows[index].split == part] for part in PARTS}
    if not any(parts.values()):
        return []
    found = []
    for index in among:
        if rows[index].split is None:
            found.append(_error("empty-split", rows[index], f"{rows[index].image} has no split, other rows do; fill it "
                                                            "in or delete the row", [index]))
    for fault in shared_ids(rows, parts):
        found.append(_id_in_two(fault, rows, among))
    here = sorted(among)
    place = {index: position for position, index in enumerate(here)}
    local = {part: [place[index] for index in members] for part, members in parts.items()}
    faults = shared_pictures([rows[index] for index in here], local, [prints[index] for index in here],
                             near=[(place[i], place[j], score) for i, j, score in near])
    for fault, (i, j) in faults:
        pair = (here[i], here[j])
        goes = min(pair, key=lambda index: PARTS.index(str(rows[index].split)))
        stays = pair[1] if goes == pair[0] else pair[0]
        found.append(Finding(fault=fault, drop=(goes,), reason=(
            f"{fault.kind.replace('-', ' ')}: {rows[stays].image} is in {rows[stays].split} and stays there")))
    if not parts["train"]:
        found.append(Finding(fault=Fault(kind="no-training-part", message="the split column has no training part; name "
                                         "one part train, or delete the column")))
    return found


def _id_in_two(fault: Fault, rows: Sequence[Row], among: Sequence[int]) -> Finding:
    """Return the finding for a patient or group in two parts: it stays where most of its rows are."""
    kind = "patient" if fault.kind.startswith("patient") else "group"
    name = getattr(next(row for row in rows if row.line == fault.row and row.image == fault.file), kind)
    members = [index for index in among if getattr(rows[index], kind) == name and rows[index].split]
    sizes = Counter(str(rows[index].split) for index in members)
    stays = max(sizes, key=lambda part: (sizes[part], PARTS.index(part)))
    return Finding(fault=fault, drop=tuple(index for index in members if rows[index].split != stays),
                   reason=f"{kind} {name} is in two splits; most of it is in {stays}")


def _classes(rows: Sequence[Row], near: Near, among: Sequence[int]) -> list[Finding]:
    members: dict[str, list[int]] = defaultdict(list)
    for index in among:
        label = rows[index].label
        if label is not None:
            members[label].append(index)
    found = []
    given = any(rows[index].split == "train" for index in among)
    for label, indices in sorted(members.items()):
        row = rows[indices[0]]
        if len(indices) == 1:
            found.append(_error("one-sample-class", row, (
                f"class {label} has one sample: it cannot be both learned and tested; {_meant(label, members)}add "
                "samples, merge the class, or drop it"), indices))
        elif given and not any(rows[index].split == "train" for index in indices):
            found.append(_error("class-not-in-train", row, f"class {label} has no sample in the training part of the "
                                                           "split column; put some there, or drop the class", indices))
        elif len(_units(rows, near, indices)) == 1:
            found.append(_warning("class-of-one-unit", row, (
                f"all {len(indices)} samples of class {label} are of one patient or group, or look the same: the class "
                "is in the training part only and cannot be tested; add others")))
    if len(members) == 1:
        found.append(Finding(fault=Fault(kind="one-class", message=f"there is one class only, {next(iter(members))}: "
                                         "nothing can be told apart; check the label column")))
    return found


def _meant(label: str, members: Mapping[str, Sequence[int]]) -> str:
    """Return "did you mean 'x' (11 images)? ..." where another class is written nearly the same, or nothing."""
    own = same_when_read(label)
    others: dict[str, str] = {}
    for name in sorted(members, key=lambda name: len(members[name])):  # the largest of those that read the same
        if name != label and re.findall(r"\d+", name) == re.findall(r"\d+", label):  # grade 1 is no slip of grade 2
            others[same_when_read(name)] = name
    near = get_close_matches(own, others, n=1, cutoff=NEAR_NAME)
    if not near:
        return ""
    name = others[near[0]]
    return f"did you mean {name!r} ({_images(len(members[name]))})? then correct the label, otherwise "


def _images(number: int) -> str:
    return f"{number} image{'' if number == 1 else 's'}"


def _units(rows: Sequence[Row], near: Near, indices: Sequence[int]) -> set[str]:
    place = {index: position for position, index in enumerate(indices)}
    alike = [(place[i], place[j]) for i, j, _ in near if i in place and j in place]
    return set(units_of([rows[index] for index in indices], alike).names)


def _warning(kind: str, row: Row, message: str) -> Finding:
    return Finding(fault=Fault(kind=kind, row=row.line, file=row.image, message=message, severity="warning"))


def _error(kind: str, row: Row, message: str, drop: Sequence[int]) -> Finding:
    fault = Fault(kind=kind, row=row.line, file=row.image, message=message)
    return Finding(fault=fault, drop=tuple(drop), reason=message)
