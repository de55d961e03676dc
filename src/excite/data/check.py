"""Everything that is wrong with a data set in one pass, and the table without it."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from excite.data.fault import WHOLE_TABLE, Fault
from excite.data.fingerprint import Fingerprint, fingerprint, near_duplicates
from excite.data.manifest import Manifest, Row, scan_manifest
from excite.data.mask_findings import mask_findings
from excite.data.pictures import picture_findings
from excite.data.reading import decode, read_bytes
from excite.data.sections import DataSection
from excite.data.units import units_of
from excite.errors import DataError
from excite.progress import Progress, silent

SAME_PATH = ("conflicting-label", "duplicate-path")


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """What the check found.

    Args:
        faults: Errors (training would be wrong) and warnings, in the table's order.
        counts: Rows, then readable images by class, patient and split; duplicates, sizes; masks, how many are empty.
        clean: The rows that may stay.
        dropped: The others, each with the reason.
        notes: What was decided while reading the table.
    """

    faults: list[Fault]
    counts: dict[str, Any]
    clean: Manifest
    dropped: list[tuple[Row, str]]
    notes: tuple[str, ...] = ()

    @property
    def errors(self) -> list[Fault]:
        """Return the faults that would make training wrong."""
        return [fault for fault in self.faults if fault.severity == "error"]

    @property
    def beyond_rows(self) -> list[Fault]:
        """Return the errors that dropping rows does not mend."""
        return [fault for fault in self.errors
                if fault.kind in WHOLE_TABLE or (fault.row is None and fault.file is None)]

    @property
    def mendable(self) -> bool:
        """Return whether the table without the dropped rows can be trained on."""
        of_masks = any(row.mask for row in self.clean.rows) and not self.clean.classes
        return not self.beyond_rows and (of_masks or len(self.clean.classes) > 1)

    def to_json(self) -> dict[str, Any]:
        """Return {"faults": [...], "counts": {...}, "dropped": [...]}."""
        return {"faults": [{"kind": fault.kind, "row": fault.row, "file": fault.file, "message": fault.message,
                            "severity": fault.severity} for fault in self.faults],
                "counts": self.counts, "notes": list(self.notes),
                "dropped": [{"row": row.line, "file": row.image, "reason": reason} for row, reason in self.dropped]}


def check(section: DataSection, *, progress: Progress | None = None) -> CheckReport:
    """Read every row, every picture and every mask that `section` names, and report all faults.

    Raises:
        UsageError, DataError: the table cannot be read at all; see `scan_manifest`.
    """
    manifest, faults = scan_manifest(section)
    progress = progress or silent()
    prints, unreadable = _look(manifest, {fault.file for fault in faults if fault.kind == "missing-file"}, progress)
    masks = mask_findings(manifest.rows, manifest.root, prints, section.outlines, faults, progress=progress)
    faults = [*faults, *unreadable, *masks.faults]
    reasons = _faulty_rows(manifest.rows, faults)
    usable = sorted(prints)
    near = [(usable[i], usable[j], score) for i, j, score in near_duplicates([prints[index] for index in usable])]
    twice = {index for index, (kind, _) in reasons.items() if kind in SAME_PATH}
    findings = picture_findings(manifest.rows, prints, near, [index for index in usable if index not in twice])
    faults += [finding.fault for finding in findings]
    dropped = {index: message for index, (_, message) in reasons.items()}
    _drop(manifest.rows, prints, near, dropped)
    place = {row.line: index for index, row in enumerate(manifest.rows)}
    lost = [(Row(image=fault.file or "", line=fault.row), fault.message) for fault in faults
            if fault.severity == "error" and fault.row is not None and fault.row not in place]
    kept = [index for index in range(len(manifest.rows)) if index not in dropped]
    return CheckReport(
        faults=sorted(faults, key=lambda fault: (fault.severity, fault.row or 0)),
        counts=_counts(manifest, prints, near) | masks.counts,
        clean=manifest.select(kept),
        dropped=sorted([*lost, *((manifest.rows[index], reason) for index, reason in dropped.items())],
                       key=lambda entry: entry[0].line),
        notes=manifest.notes)


def _look(manifest: Manifest, missing: set[str | None], progress: Progress
          ) -> tuple[dict[int, Fingerprint], list[Fault]]:
    """Return the fingerprint of each row whose picture can be read, and a fault for each other one that is there."""
    present = [index for index, row in enumerate(manifest.rows) if row.image not in missing]
    prints: dict[int, Fingerprint] = {}
    faults = []

    def one(index: int) -> Fingerprint | Fault:
        row = manifest.rows[index]
        try:
            path = manifest.path(row)
            content = read_bytes(path)
            return fingerprint(decode(content, path), hashlib.sha256(content).hexdigest())
        except DataError as fault:
            return Fault(kind="unreadable", row=row.line, file=row.image, message=str(fault))

    with ThreadPoolExecutor() as pool:
        for done, (index, seen) in enumerate(zip(present, pool.map(one, present), strict=True), start=1):
            if isinstance(seen, Fault):
                faults.append(seen)
            else:
                prints[index] = seen
            progress.step("reading images", done, len(present))
    return prints, faults


def _faulty_rows(rows: Sequence[Row], faults: Iterable[Fault]) -> dict[int, tuple[str, str]]:
    """Return the rows that errors name, by line where there is one, else by file, each with kind and message."""
    lines = {row.line: index for index, row in enumerate(rows)}
    files: dict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        files[row.image].append(index)
    found: dict[int, tuple[str, str]] = {}
    for fault in faults:
        if fault.severity == "error":
            named = [lines[fault.row]] if fault.row in lines else files[fault.file or ""] if fault.row is None else []
            for index in named:
                found.setdefault(index, (fault.kind, fault.message))
    return found


def _drop(rows: Sequence[Row], prints: dict[int, Fingerprint], near: Sequence[tuple[int, int, float]],
          dropped: dict[int, str]) -> None:
    """Add rows that must go to `dropped` until nothing is left to find: what goes may leave a class with one sample."""
    while True:
        kept = [index for index in sorted(prints) if index not in dropped]
        findings = [finding for finding in picture_findings(rows, prints, near, kept) if finding.drop]
        if not findings:
            return
        first = findings[0].fault.kind  # one kind at a time, so that no row goes for a reason that is gone by then
        for finding in findings:
            if finding.fault.kind == first:
                for index in finding.drop:
                    dropped.setdefault(index, finding.reason)


def _counts(manifest: Manifest, prints: dict[int, Fingerprint], near: Sequence[tuple[int, int, float]]
            ) -> dict[str, Any]:
    rows = manifest.rows
    units = units_of(rows, [(i, j) for i, j, _ in near])
    shapes = [prints[index].shape for index in sorted(prints)]

    readable = [rows[index] for index in sorted(prints)]

    def tally(key: Callable[[Row], str | None], among: Iterable[Row] = readable) -> dict[str, int]:
        return dict(sorted(Counter(name for row in among if (name := key(row)) is not None).items()))

    def tally_all(key: Callable[[Row], str | None]) -> dict[str, int]:  # a class without a readable image is told as 0
        return {**dict.fromkeys(tally(key, rows), 0), **tally(key)}

    splits = tally_all(lambda row: row.split)
    small = min(shapes, key=lambda shape: min(shape[1:])) if shapes else ()
    large = max(shapes, key=lambda shape: max(shape[1:])) if shapes else ()
    return {
        "rows": len(rows), "readable": len(prints), "classes": tally_all(lambda row: row.label),
        "patients": tally_all(lambda row: row.patient),
        "groups": len({row.group for row in rows if row.group is not None}),
        "splits": splits,
        "classes_by_split": {part: tally(lambda row: row.label, [row for row in readable if row.split == part])
                             for part in splits},
        "patients_by_split": {part: len(tally(lambda row: row.patient, [row for row in readable if row.split == part]))
                              for part in splits},
        "units": len(set(units.names)), "unit_kind": units.kind,
        "same_picture_pairs": sum(prints[i].pixels == prints[j].pixels for i, j, _ in near),
        "near_duplicate_pairs": sum(prints[i].pixels != prints[j].pixels for i, j, _ in near),
        "images_with_near_duplicates": len({index for i, j, _ in near for index in (i, j)}),
        "smallest": list(small), "largest": list(large),
    }


