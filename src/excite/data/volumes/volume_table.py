"""Tables of patients with volumes: one row a patient or an examination, one column a map, some of them missing."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from math import nan
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.columns import ALIASES, SPLITS, normal, portable
from excite.data.manifest import Manifest
from excite.data.row import Row
from excite.data.table import Record, Table, read_head, read_table
from excite.data.volumes.clinical import number_of
from excite.data.volumes.dicom_files import is_dicom
from excite.data.volumes.sections import VolumesSection
from excite.errors import DataError, UsageError
from excite.registry import nearest

SUFFIXES = (".nii", ".nii.gz", ".mha", ".mhd", ".nrrd")
LOOKED = 50  # lines in which a column shows what it holds
SHOWN = 10
LABELS = (*ALIASES["label"], "grade", "stage")


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeTable:
    """Rows of volumes.

    Args:
        manifest: Labels, patients and parts of the rows; the image of each is its first map.
        maps: Names of the columns with volumes.
        files: Of each row its file or folder for each map, None where it has none.
        simulated: Whether a column `simulated` says so of every row; None where there is none.
        columns: Names of the clinical columns.
        clinical: Their numbers as they stand in the table, NaN where a cell is empty; None where there are no columns.
        faults: What is wrong with a line, by its number; none where they are refused. A line with too few cells or too
            many is no row.

    Shape:
        clinical (N, C) float32
    """

    manifest: Manifest
    maps: tuple[str, ...]
    files: tuple[tuple[Path | None, ...], ...]
    simulated: bool | None = None
    columns: tuple[str, ...] = ()
    clinical: NDArray[np.float32] | None = None
    faults: Mapping[int, Sequence[str]] = field(default_factory=dict)

    @property
    def missing(self) -> dict[str, int]:
        """Return how many rows lack each map."""
        return {name: sum(row[place] is None for row in self.files) for place, name in enumerate(self.maps)}


def is_volume_table(path: Path) -> bool:
    """Return whether a path is a table in text with a column of volumes; only its first lines are read."""
    table = read_head(path)
    return table is not None and bool(_volume_columns(table, path.parent, folders=False))


def read_volume_table(section: VolumesSection, *, labelled: bool = True, refuse: bool = True) -> VolumeTable:
    """Return the rows of a table of volumes.

    A map's cell is a path relative to the table: a NIfTI file, a folder of one DICOM series or several, an .mha or
    .nrrd file, or `file.npz#key[index]`; empty where the patient lacks it. A cell of a clinical
    column is a number, or empty.

    Args:
        labelled: There must be a column of labels.
        refuse: Raise where a line is wrong; else its maps and numbers alone are looked at, and what is wrong is kept.

    Raises:
        DataError: what is wrong with which lines. UsageError: the section names a column that is not there.
    """
    if section.table is None:
        raise UsageError("no table of volumes is given", fix="excite train TABLE, or volumes.table in the config")
    if not section.table.is_file():
        raise DataError("the table does not exist", where=section.table, fix="check the path")
    table, file = read_table(section.table), section.table
    maps = section.maps or _volume_columns(table, file.parent, folders=True)
    if not maps:
        raise DataError("no column of the table holds volumes", where=file, why=f"its columns: {_listed(table)}",
                        fix="name them: --maps t1,adc")
    places = {name: _place(table, name) for name in maps}
    roles = _roles(table, section, labelled=labelled)
    numbers = {name: _place(table, name) for name in section.clinical}
    _refuse_two_roles(section.clinical, {**{name: "a map" for name in places}, **{table.header[place]: f"the {role}" for
                                                                         role, place in roles.items()}})
    faults = [(fault.row, fault.message) for fault in table.faults]
    rows, files, clinical = list[Row](), list[tuple[Path | None, ...]](), list[list[float]]()
    for record in table.records:
        found = tuple(_file(record.cells[place], file.parent) for place in places.values())
        values, wrong = _numbers(record, numbers)
        clinical.append(values)
        wrong = [*_of_maps(record, places, found), *(_of_roles(record, roles) if refuse else ()), *wrong]
        faults += [(record.line, fault) for fault in wrong]
        first = next((record.cells[place] for place in places.values() if record.cells[place]), "")
        cells = {role: record.cells[place] or None for role, place in roles.items()}
        split = SPLITS.get((cells.get("split") or "").lower())
        rows.append(Row(image=portable(first), line=record.line, label=cells.get("label"), patient=cells.get("patient"),
                        group=cells.get("group"), split=split))
        files.append(found)
    if not rows or (faults if refuse else [fault for line, fault in faults if line is None]):
        _refuse(faults, file)
    notes = [", ".join(f"{role} is column {table.header[place]!r}" for role, place in roles.items()),
             f"maps: {', '.join(maps)}"]
    manifest = Manifest(rows=tuple(rows), root=file.parent, source=file, layout="volumes", notes=tuple(notes))
    return VolumeTable(manifest=manifest, maps=tuple(maps), files=tuple(files), simulated=_simulated(table),
                       columns=section.clinical, clinical=np.array(clinical, np.float32) if numbers else None,
                       faults={line: tuple(text for of, text in faults if of == line) for line, _ in faults if line})


def _refuse(faults: Sequence[tuple[int | None, str]], file: Path) -> None:
    said = [fault if line is None else f"line {line}: {fault}" for line, fault in faults]
    more = f"; and {len(said) - SHOWN} more" if len(said) > SHOWN else ""
    raise DataError(f"{len(said)} fault(s): {'; '.join(said[:SHOWN])}{more}" if said else "the table holds no row",
                    where=file, fix="correct the table")


def _simulated(table: Table) -> bool | None:
    """Return what a column `simulated` says of all rows."""
    names = [normal(name) for name in table.header]
    if "simulated" not in names:
        return None
    return all(record.cells[names.index("simulated")].lower() in ("1", "yes", "true") for record in table.records)


def _volume_columns(table: Table, folder: Path, *, folders: bool) -> tuple[str, ...]:
    """Return the columns of whose cells one is a volume: by its name, or a folder of DICOM, or of any `folders`."""
    found = []
    for place, name in enumerate(table.header):
        cells = [record.cells[place] for record in table.records[:LOOKED] if record.cells[place]]
        volumes = [cell.partition("#")[0].lower().endswith(SUFFIXES) or ".npz#" in cell.lower() for cell in cells]
        places = [folder / portable(cell) for cell in cells]
        if any(volumes) or (places and all(place.is_dir() for place in places)
                            and (folders or _holds_dicom(places[0]))):
            found.append(name)
    return tuple(found)


def _holds_dicom(folder: Path) -> bool:
    """Return whether one of the first files of a folder, or of those in it, is DICOM."""
    return any(is_dicom(file) for file in islice((one for one in folder.rglob("*") if one.is_file()), LOOKED))


def _roles(table: Table, section: VolumesSection, *, labelled: bool) -> dict[str, int]:
    """Return the column of the label, the patient, the group and the part."""
    names = [normal(name) for name in table.header]
    found = {}
    for role, asked, aliases in (("label", section.label_col, LABELS), ("patient", section.patient_col,
                                 ALIASES["patient"]), ("group", None, ALIASES["group"]),
                                 ("split", None, ALIASES["split"])):
        if asked is not None:
            found[role] = _place(table, asked)
        elif alias := next((one for one in aliases if one in names), None):
            found[role] = names.index(alias)
    if labelled and "label" not in found:
        raise DataError("no column is the label", where=section.table, why=f"its columns: {_listed(table)}",
                        fix="name it: --label-col NAME")
    return found


def _place(table: Table, name: str) -> int:
    if name not in table.header:
        raise UsageError(f"the table has no column {name!r}; {nearest(name, list(table.header))}".rstrip("; "),
                         why=f"its columns: {_listed(table)}")
    return table.header.index(name)


def _file(cell: str, folder: Path) -> Path | None:
    return folder / portable(cell) if cell else None


def _refuse_two_roles(numbers: Sequence[str], taken: dict[str, str]) -> None:
    for name in numbers:
        if name in taken:
            raise UsageError(f"volumes.clinical must name columns of numbers beside the maps, got {name!r}, which is "
                             f"{taken[name]}", fix="leave it out of --clinical")
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"volumes.clinical must name each column once, got {', '.join(numbers)}")


def _numbers(record: Record, places: dict[str, int]) -> tuple[list[float], list[str]]:
    """Return the clinical values of one line, and what is wrong with them."""
    found, faults = list[float](), list[str]()
    for name, place in places.items():
        try:
            found.append(number_of(record.cells[place]))
        except ValueError as fault:
            faults.append(f"the column {name} {fault}")
            found.append(nan)
    return found, faults


def _of_maps(record: Record, places: dict[str, int], files: Sequence[Path | None]) -> list[str]:
    """Return what is wrong with the maps of one line."""
    found = []
    for name, file in zip(places, files, strict=True):
        if file is not None and not Path(str(file).partition("#")[0]).exists():
            found.append(f"the {name} does not exist: {record.cells[places[name]]}")
    if not any(files):
        found.append("it has none of the maps")
    return found


def _of_roles(record: Record, roles: dict[str, int]) -> list[str]:
    """Return what is wrong with the label, the patient and the part of one line."""
    found = []
    for role in ("label", "patient"):
        if role in roles and not record.cells[roles[role]]:
            found.append(f"the {role} is empty")
    part = record.cells[roles["split"]].lower() if "split" in roles else ""
    if part and part not in SPLITS:
        found.append(f"the split must be train, val or test, got {part!r}")
    return found


def _listed(table: Table) -> str:
    return ", ".join(map(repr, table.header))
