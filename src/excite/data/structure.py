"""Faults that the rows of a manifest show before an image is opened: patients, files, duplicates, labels."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from excite.data.fault import Fault
from excite.data.reading import exists, split_address
from excite.data.row import Row
from excite.errors import UsageError


def with_patients(rows: list[Row], pattern: str | None, *, table: bool) -> tuple[list[Row], list[Fault]]:
    """Return the rows with the patient that a regex with one group finds in the image path.

    Raises:
        UsageError: the pattern is no regex, or has not one group.
    """
    if pattern is None:
        return rows, []
    try:
        regex = re.compile(pattern)
    except re.error as fault:
        raise UsageError(f"patient_from {pattern!r} is no regular expression", why=str(fault),
                         fix=r"for example '(P\d+)_'") from None
    if regex.groups != 1:
        raise UsageError(f"patient_from {pattern!r} has {regex.groups} groups, it needs one",
                         fix=r"put the part that is the patient in parentheses: '(P\d+)_'")
    found, faults = [], []
    for row in rows:
        match = regex.search(row.image)
        patient = match[1] if match else None
        if not patient:
            faults.append(Fault(kind="no-patient", row=_row(row, table), file=row.image,
                                message=f"patient_from {pattern!r} finds no patient in {row.image!r}; widen the "
                                        "pattern, or name the patient in a column"))
        found.append(replace(row, patient=patient or row.patient))
    return found, faults


def with_files(rows: list[Row], root: Path, *, existing_only: bool,
               table: bool) -> tuple[list[Row], list[Fault], list[str]]:
    """Return the rows, a fault for each missing file, and notes; with `existing_only` such rows are left out, counted.

    Masks that are missing are faults all the same: an image without the mask that the table promises is another image.
    """
    listing: dict[Path, dict[str, str]] = {}
    kept, faults, gone = [], [], 0
    for row in rows:
        if not exists(root / row.image):
            if existing_only:
                gone += 1
                continue
            faults.append(Fault(kind="missing-file", row=_row(row, table), file=row.image,
                                message=f"there is no file {root / row.image}"
                                        f"{_hint(root / row.image, listing)}"))
        for mask in row.masks:
            if not exists(root / mask):
                faults.append(Fault(kind="missing-mask", row=_row(row, table), file=row.image,
                                    message=f"there is no mask {root / mask}; correct the path, or leave it empty"))
        kept.append(row)
    notes = [f"{gone} of {len(rows)} rows were left out: their files are not there (existing_only)"] if gone else []
    return kept, faults, notes


def structural_faults(rows: Sequence[Row], root: Path, *, labelled: bool, table: bool) -> list[Fault]:
    """Return what is wrong with labels, ids and duplicates of the rows."""
    faults = _duplicates(rows, root, labelled=labelled, table=table)
    if not labelled:
        return faults
    for row in rows:
        if row.label is None and row.mask is None:
            faults.append(Fault(kind="empty-label", row=_row(row, table), file=row.image,
                                message=f"{row.image} has no label; fill it in or delete the row"))
    return [*faults, *_similar(rows, "label", plural="labels", counted="classes"),
            *_similar(rows, "patient", plural="patients", counted="patients"),
            *_similar(rows, "group", plural="groups", counted="groups")]


def lone_patients(rows: Sequence[Row], *, table: bool) -> list[Fault]:
    """Return a warning where some rows name a patient and others do not."""
    without = [row for row in rows if row.patient is None]
    if not without or len(without) == len(rows):
        return []
    return [Fault(kind="no-patient", severity="warning", row=_row(without[0], table), file=without[0].image,
                  message=f"{len(without)} of {len(rows)} rows have no patient: each counts as a patient of its own; "
                          "fill them in if that is not so")]


def _duplicates(rows: Sequence[Row], root: Path, *, labelled: bool, table: bool) -> list[Fault]:
    places: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        places[_place(root, row.image)].append(row)
    faults = []
    for same in places.values():
        if len(same) < 2:
            continue
        labels = sorted({row.label for row in same if row.label is not None})
        lines = ", ".join(str(row.line) for row in same)
        at = f"lines {lines}" if table else f"{len(same)} times"
        if labelled and len(labels) > 1:  # which label is right cannot be known: every one of the rows is at fault
            faults += [Fault(kind="conflicting-label", row=_row(row, table), file=row.image,
                             message=f"{row.image} has the labels {', '.join(labels)} ({at}); keep the right one")
                       for row in same]
        else:
            faults += [Fault(kind="duplicate-path", row=_row(row, table), file=row.image,
                             severity="error" if labelled else "warning",
                             message=f"{row.image} is listed more than once ({at}); keep one of the rows")
                       for row in same[1:]]
    return faults


def _place(root: Path, image: str) -> str:
    """Return what two ways to write the same path have in common."""
    path = PurePosixPath((root / image).as_posix())
    parts: list[str] = []
    for part in path.parts:
        if part == ".." and parts and parts[-1] not in ("..", "/"):
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def same_when_read(name: str) -> str:
    """Return what names share that look the same: without case, blanks, invisible characters, ways to write accents."""
    seen = unicodedata.normalize("NFKC", name)
    return "".join(sign for sign in seen.casefold() if not sign.isspace() and unicodedata.category(sign) != "Cf")


def _similar(rows: Sequence[Row], attribute: str, *, plural: str, counted: str) -> list[Fault]:
    """Return a warning for each name of a class, patient or group that is written in more than one way."""
    spellings: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        name: str | None = getattr(row, attribute)
        if name is not None:
            spellings[same_when_read(name)][name] += 1
    faults = []
    for names in spellings.values():
        if len(names) > 1:
            told, numbers = ", ".join(map(repr, sorted(names))), " + ".join(str(names[name]) for name in sorted(names))
            faults.append(Fault(kind=f"similar-{plural}", severity="warning", message=(
                f"{plural} {told} differ by case, blanks or invisible characters only and count as {len(names)} "
                f"{counted} ({numbers} rows); make them one if they are")))
    return faults


def _hint(path: Path, listing: dict[Path, dict[str, str]]) -> str:
    """Return what may be meant: a name that differs by case or suffix; or what to do."""
    file, member, _ = split_address(path)
    if member is not None and file.is_file():
        return f"; {file.name} has no such member"
    if path.is_dir():
        return ", it is a folder; name the image"
    folder = path.parent
    if folder not in listing:
        listing[folder] = {}
        if folder.is_dir():
            for found in folder.iterdir():
                listing[folder].setdefault(found.name.casefold(), found.name)
                listing[folder].setdefault(found.stem.casefold(), found.name)
    near = listing[folder].get(path.name.casefold()) or listing[folder].get(path.stem.casefold())
    if near:
        return f"; did you mean {near!r}?"
    if re.match(r"[A-Za-z]:[/\\]", path.name) or re.search(r"(^|/)[A-Za-z]:/", path.as_posix()):
        return "; it is a path of a Windows machine: make it relative and name the folder with --root"
    return "; correct the path, name the folder with --root, or pass such rows over with --existing-only"


def _row(row: Row, table: bool) -> int | None:
    return row.line if table else None
