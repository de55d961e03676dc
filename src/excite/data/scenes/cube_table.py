"""Tables of cubes: one row a cube, with its labels and its patient; every fault is told with its line."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from excite.data.columns import ALIASES, normal, portable
from excite.data.table import Table, read_head, read_table
from excite.errors import DataError

SHOWN = 10     # faults that an error lists
YES_NO = {"": None, **dict.fromkeys(("yes", "true", "1"), True), **dict.fromkeys(("no", "false", "0"), False)}
WANTED = "cube, labels, patient"
COLUMNS = {"cube": ("cube",), "labels": ("labels",), "patient": (*ALIASES["patient"], *ALIASES["group"]),
           "simulated": ("simulated",)}


@dataclass(frozen=True, kw_only=True)
class CubeRow:
    """One cube of a table.

    Args:
        line: Of the table; the header is line 1.
        name: Its own within the table, fit for a file's name.
        cube: Its file.
        labels: The file of its labels.
        patient: Whose it is; None where the table names no patients.
        simulated: What the table says; None for nothing.
    """

    line: int
    name: str
    cube: Path
    labels: Path
    patient: str | None
    simulated: bool | None


def is_cube_table(path: Path) -> bool:
    """Return whether a path is a table in text that has a column `cube`; only its first bytes are read."""
    table = read_head(path)
    return table is not None and "cube" in map(normal, table.header)


def read_cube_table(file: Path) -> tuple[list[CubeRow], list[str]]:
    """Return the rows of a table of cubes, and notes on it.

    Columns are `cube` and `labels`, whose paths are relative to the table, and maybe `patient` (or another usual name
    of it, or `group`) and `simulated`, yes or no.

    Args:
        file: CSV, TSV, or with the extra `tables` Parquet or Excel.

    Raises:
        DataError: what is wrong with which lines: a column, value or file that is missing, cells too many or too few.
        EnvironmentFault: the extra is not installed.
    """
    table = read_table(file)
    places = _places(table, file)
    if not table.records and all(fault.kind == "empty-table" for fault in table.faults):
        raise DataError("the table holds no cube", where=file, fix=f"it needs a header, {WANTED}, and a row a cube")
    faults = [f"line {fault.row}: {fault.message}" if fault.row else fault.message for fault in table.faults]
    records = [(record.line, {role: record.cells[place] for role, place in places.items()})
               for record in table.records]
    labelled: dict[Path, int] = {}
    called: dict[str, str] = {}
    for line, cells in records:
        faults += [f"line {line}: {fault}" for fault in _faults(cells, file.parent)]
        first = labelled.setdefault((file.parent / portable(cells["labels"])).resolve(), line)
        if cells["labels"] and first != line:
            faults.append(f"line {line}: the labels are those of line {first}")
        patient = cells.get("patient", "")
        if (known := called.setdefault("".join(patient.split()).casefold(), patient)) != patient:
            faults.append(f"line {line}: the patient is {patient!r}, and {known!r} above: write one patient one way, "
                          "and two so that more than case and blanks differ")
    if faults:
        more = f"; and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise DataError(f"{len(faults)} fault{'s' if len(faults) > 1 else ''}: {'; '.join(faults[:SHOWN])}{more}",
                        where=file, fix="correct the table")
    names = _names([portable(cells["cube"]) for _, cells in records])
    rows = [CubeRow(line=line, name=name, cube=file.parent / portable(cells["cube"]),
                    labels=file.parent / portable(cells["labels"]), patient=cells.get("patient"),
                    simulated=YES_NO[cells.get("simulated", "").lower()])
            for (line, cells), name in zip(records, names, strict=True)]
    unused = [name for place, name in enumerate(table.header) if place not in places.values()]
    return rows, [f"columns of the table that are not used: {', '.join(unused)}"] if unused else []


def _places(table: Table, file: Path) -> dict[str, int]:
    """Return the column of each role that the table has."""
    names = [normal(name) for name in table.header]
    found = {role: names.index(alias) for role, aliases in COLUMNS.items()
             for alias in [next((one for one in aliases if one in names), None)] if alias is not None}
    if table.header and (missing := [role for role in ("cube", "labels") if role not in found]):
        raise DataError(f"the table has no column {' and no column '.join(missing)}", where=file,
                        why=f"its columns are {', '.join(table.header)}",
                        fix=f"a table of cubes has the columns {WANTED}")
    return found


def _faults(cells: dict[str, str], folder: Path) -> list[str]:
    """Return what is wrong with the cells of one row."""
    found = []
    for role in ("cube", "labels"):
        if not cells[role]:
            found.append(f"{role} is empty")
        elif not (folder / portable(cells[role])).is_file():
            found.append(f"the file of the {role} does not exist: {cells[role]}")
    if cells.get("patient") == "":
        found.append("the patient is empty, and cubes of one patient must not be parted: name the patient of each "
                     "cube, or leave the column out and each cube counts as a patient")
    if cells.get("simulated", "").lower() not in YES_NO:
        found.append(f"simulated must be yes, no or empty, got {cells['simulated']!r}")
    return found


def _names(paths: Sequence[str]) -> list[str]:
    """Return a name a cube, all different: its file's, else its folder's, else the whole path."""
    parts = [[part for part in PurePosixPath(path).with_suffix("").parts if part not in ("..", "/")] for path in paths]
    for names in ([one[-1] for one in parts], ["".join(one[-2:-1]) for one in parts],
                  ["_".join(one) for one in parts]):
        if all(names) and len({name.casefold() for name in names}) == len(names):
            return names
    return [f"{number:03d}_{one[-1]}" for number, one in enumerate(parts, 1)]
