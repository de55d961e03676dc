"""FETAL_PLANES_DB, maternal-fetal ultrasound planes: a table with semicolons, pictures named without a suffix.

Source: Burgos-Artizzu et al., Scientific Reports 10:10200, 2020; Zenodo 3904280.
"""

from pathlib import Path
from typing import ClassVar

from excite.data.columns import choose_columns
from excite.data.fault import Fault
from excite.data.layouts.layout import LAYOUTS, Found
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.data.table import Table, read_table
from excite.errors import DataError, UsageError

NAME, PATIENT, PLANE, BRAIN = "Image_name", "Patient_num", "Plane", "Brain_plane"
TRAIN = "Train"  # published as "Train "
TABLES = ("FETAL_PLANES_DB_data.csv", "fetal_planes.csv")
FOLDERS = ("Images", "images", ".")
SUFFIXES = (".png", ".jpg", ".jpeg")
SPLIT = {"1": "train", "0": "test"}


@LAYOUTS.register("fetal_planes")
class FetalPlanesLayout:
    """The data set's folder, or its table."""

    general: ClassVar[bool] = False

    def fits(self, source: Path) -> str | None:
        """Return a reason where the source is, or holds, the data set's table."""
        places = [source] if source.is_file() else [source / name for name in TABLES]
        file = next((place for place in places if place.is_file()), None)
        if file is None or file.suffix.lower() != ".csv":
            return None
        with file.open("rb") as stream:
            header = stream.readline(4096).decode("utf-8", "replace")
        return f"{file.name} has the columns of FETAL_PLANES_DB" if all(
            name in header for name in (NAME, PATIENT, PLANE, BRAIN)) else None

    def read(self, section: DataSection, *, labelled: bool) -> Found:
        """Return a row a line, its picture found by name."""
        file = _table_of(section)
        table = read_table(file)
        root = section.root or file.parent
        found = Found(rows=[], root=root, faults=list(table.faults), notes=list(table.notes))
        missing = [name for name in (NAME, PATIENT, PLANE, BRAIN) if name not in table.header]
        if missing:
            if table.header:
                found.faults.append(Fault(kind="missing-column", row=1,
                                          message=f"the table has no column {', '.join(missing)}; it is not "
                                                  "FETAL_PLANES_DB's: use --layout table and name the columns"))
            return found
        images = _images(root)
        image, patient = (_column(table, section, role, name) for role, name in (("image", NAME), ("patient", PATIENT)))
        label = _label_column(table, section, images, image, found)
        group = choose_columns(table, section)[0]["group"] if section.group_col else None
        train = table.header.index(TRAIN) if labelled and TRAIN in table.header else None
        rows: list[Row] = []
        for record in table.records:
            cell = record.cells
            split = SPLIT.get(cell[train]) if train is not None else None
            if train is not None and split is None:
                found.faults.append(Fault(kind="unknown-split", row=record.line, file=cell[image],
                                          message=f"column {TRAIN!r} is {cell[train]!r}, neither 1 (train) nor 0 "
                                                  "(test); correct it"))
            if not cell[image]:
                found.faults.append(Fault(kind="empty-image", row=record.line,
                                          message="the row names no image; fill it in or delete the row"))
                continue
            rows.append(Row(
                image=images.get(cell[image]) or f"{FOLDERS[0]}/{cell[image]}{SUFFIXES[0]}", line=record.line,
                label=cell[label] or None, patient=cell[patient] or None, split=split,
                group=cell[group] or None if group is not None else None))
        found.rows = rows
        found.notes.append(f"image is column {NAME!r}, label {table.header[label]!r}, patient {PATIENT!r}"
                           + (f", split {TRAIN!r} (1 train, 0 test)" if train is not None else ""))
        return found


def _table_of(section: DataSection) -> Path:
    source = section.table
    if source is None:
        raise UsageError("no table of images is given", fix="name a table or a folder: data.table")
    if source.is_file():
        return source
    for name in TABLES:
        if (source / name).is_file():
            return source / name
    raise DataError("the folder has no table of FETAL_PLANES_DB", where=source,
                    fix=f"name the table, or put {TABLES[0]} into the folder")


def _images(root: Path) -> dict[str, str]:
    """Return the path of each picture by its name without suffix; PNG, the published form, before JPEG."""
    found: dict[str, str] = {}
    for folder in FOLDERS:
        place = root / folder
        for file in sorted(place.iterdir(), key=lambda file: file.suffix != SUFFIXES[0]) if place.is_dir() else ():
            if file.suffix.lower() in SUFFIXES:
                found.setdefault(file.stem, file.relative_to(root).as_posix())
    return found


def _column(table: Table, section: DataSection, role: str, name: str) -> int:
    asked = getattr(section, f"{role}_col")
    return choose_columns(table, section)[0][role] if asked else table.header.index(name)


def _label_column(table: Table, section: DataSection, images: dict[str, str], image: int, found: Found) -> int:
    """Return the label's column: the one asked for, else Plane, else Brain_plane where Plane does not vary."""
    if section.label_col:
        return choose_columns(table, section)[0]["label"]
    plane, brain = table.header.index(PLANE), table.header.index(BRAIN)
    there = [record.cells for record in table.records if record.cells[image] in images]
    planes = {cells[plane] for cells in there}
    if len(planes) != 1:
        return plane
    found.notes.append(f"all {len(there)} rows with a picture have {PLANE} {planes.pop()!r}: the label is {BRAIN!r}, "
                       "so this is not the six-class task of the paper")
    return brain
