"""The manifest: one row a sample, from a table or a folder, with every structural fault found in one pass."""

import csv
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from excite.data.fault import WHOLE_TABLE, Fault
from excite.data.layouts import choose
from excite.data.row import MASK_SEPARATOR, Row
from excite.data.sections import DataSection
from excite.data.structure import lone_patients, structural_faults, with_files, with_patients
from excite.errors import DataError, UsageError

__all__ = ["Manifest", "Row", "read_manifest", "scan_manifest"]

SHOWN = 10  # faults that an error lists; `excite check` lists them all


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """The rows of a data set and where its files are.

    Args:
        rows: One a sample, in the table's order.
        root: Folder that relative image paths start from.
        source: The table or folder that was read.
        layout: Name of the layout that read it.
        notes: What was decided on the way ("label is column 'Plane'"), each a sentence.
    """

    rows: tuple[Row, ...]
    root: Path
    source: Path
    layout: str
    notes: tuple[str, ...] = ()

    def path(self, row: Row) -> Path:
        """Return where the row's image is; an address such as `scans.zip#a.png` stays one, for `reading.read`."""
        return self.root / row.image

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the labels that occur, sorted."""
        return tuple(sorted({row.label for row in self.rows if row.label is not None}))

    def select(self, indices: Sequence[int]) -> "Manifest":
        """Return the manifest of some rows, in the given order."""
        return replace(self, rows=tuple(self.rows[index] for index in indices))

    def write_csv(self, file: Path) -> None:
        """Write a table that reads back to the same rows from where it is: house columns, UTF-8, LF, at once or not.

        Paths below the table's folder are relative to it, others absolute: the table works from any working folder,
        and moves together with the images that lie below it.

        Raises:
            UsageError: `file` is the table that the manifest was read from.
        """
        if file.exists() and file.resolve() == self.source.resolve():
            raise UsageError("the table would overwrite its own source", where=file, fix="write to another file")
        folder = file.resolve().parent
        columns = ["image", "label", *(name for name in ("patient", "group", "split", "mask", "spacing")
                                       if any(getattr(row, name) is not None for row in self.rows))]
        folder.mkdir(parents=True, exist_ok=True)
        draft = folder / f".{file.name}.{os.getpid()}.tmp"
        with draft.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(columns)
            writer.writerows([self._cell(row, name, folder) for name in columns] for row in self.rows)
        draft.replace(file)

    def _cell(self, row: Row, column: str, folder: Path) -> str:
        if column == "image":
            return self._moved(row.image, folder)
        if column == "mask":
            return MASK_SEPARATOR.join(self._moved(mask, folder) for mask in row.masks)
        if column == "spacing":
            return " ".join(str(value) for value in row.spacing or ())
        value: str | None = getattr(row, column)
        return value or ""

    def _moved(self, path: str, folder: Path) -> str:
        """Return a path below the root as seen from `folder`."""
        place = Path(os.path.abspath(self.root / path))  # noqa: PTH100  resolve() would follow links out of the data set
        for base in (folder, Path(os.path.abspath(folder))):  # noqa: PTH100
            if place.is_relative_to(base):
                return place.relative_to(base).as_posix()
        return place.as_posix()


def scan_manifest(section: DataSection, *, labelled: bool = True) -> tuple[Manifest, list[Fault]]:
    """Return the manifest that the section names, and all that is structurally wrong with it, in one pass.

    Rows that can be written down are in the manifest even where a fault names them; rows that cannot (ragged, without
    an image) are not.

    Args:
        labelled: A missing label is a fault; False for prediction, where a table needs images only.

    Raises:
        UsageError: an option does not fit the table: no such column, a regex without one group, no such layout.
        DataError: the table or folder does not exist, or no layout can read it.
    """
    if section.table is None:
        raise UsageError("no table of images is given", fix="name a table or a folder: data.table")
    if not section.table.exists():
        raise DataError("the table does not exist", where=section.table, fix="check the path")
    if section.root is not None and not section.root.is_dir():
        raise UsageError("data.root is no folder", where=section.root, fix="name the folder that holds the images")
    name, layout, reason = choose(section)
    found = layout.read(section, labelled=labelled)
    rows, notes = list(found.rows), [reason, *found.notes]
    rows, faults = with_patients(rows, section.patient_from, table=found.lines)
    faults = [*found.faults, *faults]
    if labelled and section.patient_from is None:
        faults += lone_patients(rows, table=found.lines)
    rows, missing, note = with_files(rows, found.root, existing_only=section.existing_only, table=found.lines)
    notes += note
    # Without a label column every row would be at fault for the same reason.
    known = labelled and not any(fault.kind == "missing-column" for fault in faults)
    faults += [*missing, *structural_faults(rows, found.root, labelled=known, table=found.lines)]
    if not rows and not any(fault.severity == "error" for fault in faults):
        faults.append(Fault(kind="no-rows", message="there is no image to work with; check the table, --root and "
                                                    "--existing-only", file=str(section.table)))
    manifest = Manifest(rows=tuple(rows), root=found.root, source=section.table, layout=name, notes=tuple(notes))
    return manifest, sorted(faults, key=lambda fault: fault.row or 0)


def read_manifest(section: DataSection, *, labelled: bool = True) -> Manifest:
    """Return the manifest that the section names; warnings become notes.

    Raises:
        DataError: the table has faults; the first ten are listed, the rest counted. UsageError: see `scan_manifest`.
    """
    manifest, faults = scan_manifest(section, labelled=labelled)
    errors = [fault for fault in faults if fault.severity == "error"]
    if errors:
        whole = any(fault.kind in WHOLE_TABLE for fault in errors)
        mend = "" if whole else ", `--write-clean OUT.csv` drops the rows that must go"
        more = f"; and {len(errors) - SHOWN} more" if len(errors) > SHOWN else ""
        raise DataError(f"{len(errors)} fault{'s' if len(errors) > 1 else ''}: {_listed(errors[:SHOWN])}{more}",
                        where=section.table, fix=f"`excite check {section.table}` lists all{mend}")
    warnings = tuple(_told(fault) for fault in faults)
    return replace(manifest, notes=(*manifest.notes, *warnings))


def _listed(faults: Iterable[Fault]) -> str:
    return "; ".join(_told(fault) for fault in faults)


def _told(fault: Fault) -> str:
    at = f"line {fault.row}: " if fault.row is not None else ""
    return f"{at}{fault.message}"
