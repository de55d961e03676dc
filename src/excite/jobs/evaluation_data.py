"""What is evaluated: a part of a run, or a table that the network has never seen, with the units of its images."""

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excite.data.fault import Fault
from excite.data.manifest import Manifest, scan_manifest
from excite.data.reading import decode, read_bytes
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.data.split import PARTS, Split
from excite.data.targets import mask_contents
from excite.data.units import by_image, units_of
from excite.errors import DataError, EnvironmentFault, UsageError
from excite.jobs import run_folder as files
from excite.jobs.run_folder import read_events
from excite.progress import Progress
from excite.registry import nearest

SHOWN = 5
HARMLESS = {"missing-mask", "bad-spacing"}  # faults of a row that an evaluation of labels does not meet
OF_SPLIT = {"unknown-split", "empty-split"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows to evaluate.

    Args:
        name: "test", or what the table is called.
        root: Folder that paths of images and masks start from.
        rows: With labels, or masks; those that cannot be used are left out.
        paths: Of their images.
        units: What each row belongs to.
        unit_kind: What a unit is.
        notes: What to beware of, each a sentence.
        failed: {"file", "error"} of the rows that cannot be used.
    """

    name: str
    root: Path
    rows: tuple[Row, ...]
    paths: tuple[Path, ...]
    units: tuple[str, ...]
    unit_kind: str
    notes: tuple[str, ...]
    failed: tuple[dict[str, str], ...]


def is_run(path: Path) -> bool:
    """Return whether a folder is a training run with its own parts."""
    return (path / files.SPLIT).is_file()


def part_of_run(run: Path, name: str, *, masks: bool = False) -> Part:
    """Return a part of a run's own data.

    Args:
        run: Folder.
        name: "train", "val" or "test".
        masks: The truth of a row is its mask, not its label.

    Raises:
        UsageError: there is no such part. DataError: it is empty. EnvironmentFault: the run's files do not agree.
    """
    if name not in PARTS:
        raise UsageError(f"split must be {', '.join(PARTS)}, got {name!r}", fix=nearest(name, list(PARTS)).strip())
    manifest, faults = scan_manifest(DataSection(table=run / files.MANIFEST, layout="table"), labelled=not masks)
    split = Split.from_json(read_json(run / files.SPLIT))
    if len(manifest.rows) != len(split.units) or any(row >= len(split.units) for row in split.parts[name]):
        raise EnvironmentFault(f"{files.MANIFEST} has {len(manifest.rows)} rows, {files.SPLIT} {len(split.units)}",
                               where=run, fix="one of them was changed: train again in a new folder")
    chosen = split.parts[name]
    if not chosen:
        raise DataError(f"the run has no {name} part", where=run, fix="evaluate another: --split, or --data TABLE")
    good, failed = _usable(manifest, [fault for fault in faults if fault.kind not in OF_SPLIT], chosen, masks=masks)
    changed = _changed(run, manifest, good)
    failed += [{"file": manifest.rows[row].image, "error": why} for row, why in changed.items()]
    good = [row for row in good if row not in changed]
    if changed and not good:
        raise DataError("no image can be evaluated", where=run, why=failed[-1]["error"],
                        fix="put the old files back, or measure other data with --data TABLE")
    notes = [*_of_part(name, masks=masks), *_logged_leaks(run), *split.notes]
    return _part(name, manifest, good, [split.units[row] for row in good], split.unit_kind, notes, failed)


def _changed(run: Path, manifest: Manifest, rows: Sequence[int]) -> dict[int, str]:
    """Return the rows whose picture or mask is not the one that the run split, with the reason: they are other data."""
    known = [str(value) for value in read_json(run / files.HASHES).values()]
    found = {}
    for row in rows:
        path = manifest.path(manifest.rows[row])
        try:
            content = read_bytes(path)
            if row < len(known) and not known[row].split()[0].startswith(hashlib.sha256(content).hexdigest()):
                decode(content, path)  # one that cannot be read at all is told of by the prediction
                found[row] = f"{path}: not the picture that the run split: its sha256 is not that in hashes.json"
            elif row < len(known) and not _same_mask(manifest, row, known[row]):
                found[row] = f"{path}: its mask is not the one that the run split: other than that in hashes.json"
        except DataError:
            continue
    return found


def _same_mask(manifest: Manifest, row: int, known: str) -> bool:
    """Return whether a row's masks are those of hashes.json; true where it says nothing of masks."""
    _, says, truth = known.partition(" mask ")
    return not says or truth.partition(" spacing ")[0] == mask_contents([manifest.rows[row]], manifest.root)[0]


def part_of_table(section: DataSection, split: str | None, *, masks: bool = False) -> Part:
    """Return the rows of another table, or those of one part of its own split column.

    Args:
        section: How to read the table.
        split: A value of its split column; None: every row.
        masks: The truth of a row is its mask, not its label.

    Raises:
        DataError: the table as a whole cannot be used, or has no such part.
    """
    manifest, faults = scan_manifest(section, labelled=not masks)
    faults = [fault for fault in faults if split or fault.kind not in OF_SPLIT]
    chosen = [place for place, row in enumerate(manifest.rows) if split is None or row.split == split]
    if split is not None and manifest.rows and not chosen:
        raise DataError(f"the table has no row of split {split!r}", where=section.table,
                        fix="leave --split out to evaluate every row")
    good, failed = _usable(manifest, faults, chosen, masks=masks)
    rows = [manifest.rows[place] for place in good]
    known = any(row.patient is not None or row.group is not None for row in rows)
    units = units_of(rows) if known else by_image(rows)
    notes = units.notes if known else (
        "neither patient nor group is known: each image counts as a unit of its own, so the intervals are too narrow "
        "where a patient has several; name the column with --patient-col or --group-col",)
    stem = section.table.stem if section.table else "table"
    name = f"{stem} {split}" if split else f"{stem} table" if stem in PARTS else stem
    warnings = [fault.message for fault in faults if fault.severity == "warning"]
    return _part(name, manifest, good, units.names, units.kind, [*notes, *warnings, *manifest.notes], failed)


def seen_in_training(source: Path, provenance: Mapping[str, Any]) -> dict[str, str]:
    """Return what a network was made with: the start of each image's sha256 -> "train" or "val"."""
    if is_run(source) and (source / files.HASHES).is_file():
        split = Split.from_json(read_json(source / files.SPLIT))
        hashes = [str(value).split()[0] for value in read_json(source / files.HASHES).values()]
        return {hashes[row]: name for name in ("val", "train") for row in split.parts[name] if row < len(hashes)}
    return {str(value): "train" for value in provenance.get("train_hashes", ())}


def overlap(part: Part, seen: Mapping[str, str], *, progress: Progress) -> list[str]:
    """Return a note for the images of `part` that the network was trained on, or chosen by."""
    if not seen:
        return ["the bundle does not say what it was trained on: whether it has seen these images is not known"]
    length = len(next(iter(seen)))
    found: dict[str, list[str]] = {"train": [], "val": []}
    for done, (row, path) in enumerate(zip(part.rows, part.paths, strict=True), start=1):
        progress.step("looking for training images", done, len(part.rows))
        try:
            where = seen.get(hashlib.sha256(read_bytes(path)).hexdigest()[:length])
        except DataError:  # the prediction tells of it
            continue
        if where:
            found[where].append(row.image)
    told = {"train": "LEAK: the network was trained on {}: the numbers are too good; leave them out",
            "val": "LEAK: {} were in the validation part, which chose the best epoch: the numbers are too good"}
    return [told[where].format(f"{len(names)} of these {len(part.rows)} images ({_first(names)})")
            for where, names in found.items() if names]


def check_labels(rows: Sequence[Row], classes: Sequence[str], where: Path | str) -> None:
    """Raise a DataError that names labels which the network does not know, and classes that it does."""
    unknown = Counter(row.label for row in rows if row.label not in classes)
    if unknown:
        names = ", ".join(f"{name!r} ({count} rows)" for name, count in sorted(unknown.items(), key=str))
        near = nearest(str(min(unknown, key=str)), list(classes))
        raise DataError(f"labels that the network does not know: {names}", where=where,
                        why=f"its classes are {', '.join(map(repr, classes))}",
                        fix=f"{near}rename them, drop these rows, or name another column with --label-col")


def _usable(manifest: Manifest, faults: Sequence[Fault], chosen: Sequence[int], *, masks: bool
            ) -> tuple[list[int], list[dict[str, str]]]:
    """Return which of the `chosen` rows can be evaluated, and the rest with the reason.

    Raises:
        DataError: a fault is of the table as a whole.
    """
    if masks:
        faults = [*faults, *_without_mask(manifest, chosen)]
    errors = [fault for fault in faults if fault.severity == "error" and (masks or fault.kind not in HARMLESS)]
    by_line = {row.line: place for place, row in enumerate(manifest.rows)}
    by_image = {row.image: place for place, row in enumerate(manifest.rows)}
    bad: dict[int, str] = {}
    lost: list[dict[str, str]] = []
    for fault in errors:
        place = by_line.get(fault.row) if fault.row is not None else by_image.get(fault.file or "")
        if place is not None:
            bad.setdefault(place, fault.message)
        elif fault.row is None or fault.row < 2:
            raise DataError(fault.message, where=manifest.source, fix=f"`excite check {manifest.source}` lists all")
        else:
            lost.append({"file": f"line {fault.row}", "error": f"line {fault.row}: {fault.message}"})
    failed = [{"file": manifest.rows[place].image, "error": f"line {manifest.rows[place].line}: {bad[place]}"}
              for place in chosen if place in bad]
    return [place for place in chosen if place not in bad], failed + lost


def _without_mask(manifest: Manifest, chosen: Sequence[int]) -> list[Fault]:
    """Return a fault for each chosen row without a mask.

    Raises:
        DataError: none has one.
    """
    without = [manifest.rows[place] for place in chosen if not manifest.rows[place].mask]
    if chosen and len(without) == len(chosen):
        raise DataError("the table has no masks", where=manifest.source, why="the network draws masks",
                        fix="name each image's mask in a column called mask")
    mend = "name it (a black one where nothing is to be found), or leave the row out"
    return [Fault(kind="missing-mask", row=row.line, file=row.image, message=f"{row.image} has no mask; {mend}")
            for row in without]


def _part(name: str, manifest: Manifest, good: Sequence[int], units: Sequence[str], kind: str, notes: Sequence[str],
          failed: Sequence[dict[str, str]]) -> Part:
    rows = tuple(manifest.rows[place] for place in good)
    if not rows:
        raise DataError("no row can be evaluated", where=manifest.source,
                        why="; ".join(one["error"] for one in failed[:SHOWN]) or "the table has no rows",
                        fix=f"`excite check {manifest.source}` lists all")
    return Part(name=name, root=manifest.root, rows=rows, paths=tuple(manifest.path(row) for row in rows),
                units=tuple(units), unit_kind=kind, notes=tuple(notes), failed=tuple(failed))


def _of_part(name: str, *, masks: bool) -> list[str]:
    chose = "the best epoch, the level and the interval" if masks else "the best epoch and fitted the temperature"
    told = {"train": "WARNING: the network was trained on these images: the numbers say how well it remembers",
            "val": f"WARNING: this part chose {chose}: the numbers are too good"}
    return [told[name]] if name in told else []


def _logged_leaks(run: Path) -> list[str]:
    found = [str(event.get("text")) for event in read_events(run / files.LOG) if event.get("topic") == "leak"]
    more = [f"LEAK: and {len(found) - SHOWN} more, see {files.LOG}"] if len(found) > SHOWN else []
    return [f"LEAK: {text}" for text in found[:SHOWN]] + more


def read_json(file: Path) -> Any:
    """Return what a file of a run holds.

    Raises:
        EnvironmentFault: it is missing or damaged.
    """
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as fault:
        raise EnvironmentFault("a file of the run is missing or damaged", where=file, why=str(fault),
                               fix="train again in a new folder") from None


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")
