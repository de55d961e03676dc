"""HC18, fetal heads in ultrasound: pictures, ellipse outlines, a table of pixel sizes and head circumferences.

Source: van den Heuvel et al., PLoS ONE 13(8) e0200412, 2018; Zenodo record 1327317. `NNN_HC.png`, `NNN_2HC.png` and so
on are pictures of one examination: the number before the first `_` is the group, never split. The outline of
`NNN_HC.png` is `NNN_HC_Annotation.png`; that it is an outline, excite.data.masks sees by its pixels. The test set has
pixel sizes and no outlines. Each table lies beside the folder of its pictures, which is known by it.
"""

import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from excite.data.fault import Fault
from excite.data.layouts.folder import FolderLayout
from excite.data.layouts.layout import LAYOUTS, Found
from excite.data.masks import outline_of, read_drawn
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.data.table import Record, Table, parse_spacing, read_table
from excite.errors import DataError, UsageError

NAME, PIXEL, CIRCUMFERENCE = "filename", "pixel size(mm)", "head circumference (mm)"
TABLES = {"training_set_pixel_size_and_HC.csv": "training_set", "test_set_pixel_size.csv": "test_set"}
PICTURE = re.compile(r"(?P<examination>\d+)_\d*HC\.png", re.IGNORECASE)
ANNOTATION = "_Annotation.png"
TOLERANCE = 0.005  # of the circumference, between the outline and the table


@LAYOUTS.register("hc18")
class Hc18Layout:
    """The data set's folder, one of its two tables, or one of its two folders of pictures."""

    general: ClassVar[bool] = False

    def fits(self, source: Path) -> str | None:
        """Return a reason where the source is, holds, or lies beside one of the tables, or has outlines of heads."""
        file = table_of(source)
        if file is None:
            return "pictures and outlines are named as HC18's, and there is no table" if _has_outlines(source) else None
        if file.suffix.lower() != ".csv":
            return None
        with file.open("rb") as stream:
            header = stream.readline(4096).decode("utf-8-sig", "replace")
        return f"{file.name} has the columns of HC18" if NAME in header and PIXEL in header else None

    def read(self, section: DataSection, *, labelled: bool) -> Found:
        """Return a row a line, its outline as the mask; where the truth is needed it is held against the table."""
        _refuse_columns(section)
        source = section.table or Path()
        file = table_of(source)
        if file is None:
            return _without_table(section, labelled=labelled)
        table = read_table(file)
        root = section.root or (source if source.is_dir() else file.parent)
        found = Found(rows=[], root=root, faults=list(table.faults), notes=list(table.notes))
        if not _has_columns(table, found):
            return found
        folder = next((name for name in (TABLES.get(file.name, ""), *TABLES.values()) if (root / name).is_dir()), "")
        truths: dict[int, float] = {}
        rows = [row for record in table.records if (row := _row(table, record, root, folder, found, truths))]
        found.rows = rows
        found.faults += _without_line(root, folder, rows)
        if labelled:
            found.faults += _without_outline(rows, root)
            found.faults += _other_circumference(rows, root, truths)
        found.notes.append(f"masks are outlines: the truth is the ellipse through their centre line; spacing is column "
                           f"{PIXEL!r}; the group is the examination, the number before the first '_': "
                           f"{len({row.group for row in rows})} of {len(rows)} pictures")
        return found


def table_of(source: Path) -> Path | None:
    """Return the source where it is a file, else the table in it, else the one beside it that is of this folder."""
    places = [source] if source.is_file() else [source / name for name in TABLES]
    places += [folder.parent / name for folder in (source, source.resolve()) for name, pictures in TABLES.items()
               if folder.name == pictures]
    return next((place for place in places if place.is_file()), None)


def circumferences(file: Path) -> dict[str, float]:
    """Return the head circumference in mm that a table of HC18 states for each picture, by its file name."""
    table = read_table(file)
    if NAME not in table.header or CIRCUMFERENCE not in table.header:
        raise DataError(f"the table has no column {CIRCUMFERENCE!r}", where=file, fix="name HC18's training table")
    name, place = table.header.index(NAME), table.header.index(CIRCUMFERENCE)
    return {record.cells[name]: value for record in table.records
            if (value := _positive(record.cells[place])) is not None}


def _refuse_columns(section: DataSection) -> None:
    for option in ("image_col", "label_col", "patient_col", "group_col"):
        if getattr(section, option) is not None:
            raise UsageError(f"data.{option} has no meaning in HC18's table", where=section.table,
                             fix="leave it out, or use --layout table")


def _has_outlines(source: Path) -> bool:
    """Return whether a picture has an outline, in a folder or in one of HC18's names in it."""
    return any(PICTURE.fullmatch(file.name) and Path(_annotation(str(file))).is_file()
               for folder in (source, *(source / name for name in TABLES.values())) for file in folder.glob("*.png"))


def _without_table(section: DataSection, *, labelled: bool) -> Found:
    """Return the pictures of a folder whose pixel sizes are not known, where they are not needed.

    Raises:
        DataError: they are.
    """
    folder = section.table
    if labelled:
        wanted = next((name for name, pictures in TABLES.items() if folder and folder.resolve().name == pictures),
                      next(iter(TABLES)))
        raise DataError("the folder has no table of HC18", where=folder,
                        why="nothing says how large a pixel is, so no head can be measured in millimetres",
                        fix=f"put {wanted} into the folder, or beside a folder {TABLES[wanted]}, or write a table with "
                            "the columns image,mask")
    found = FolderLayout().read(section, labelled=False)
    found.rows = [_pictured(row, found.root) for row in found.rows if not row.image.endswith(ANNOTATION)]
    found.notes.append("there is no table of HC18 in or beside the folder: pixel sizes are not known")
    return found


def _pictured(row: Row, root: Path) -> Row:
    """Return a row with the examination and the outline that its picture's name tells."""
    match = PICTURE.fullmatch(row.image.rpartition("/")[2])
    mask = _annotation(row.image)
    return replace(row, group=match["examination"] if match else None, mask=mask if (root / mask).is_file() else None)


def _has_columns(table: Table, found: Found) -> bool:
    missing = [name for name in (NAME, PIXEL) if name not in table.header]
    if missing and table.header:
        found.faults.append(Fault(kind="missing-column", row=1, message=(
            f"the table has no column {', '.join(map(repr, missing))}; it is not HC18's, whose blanks and brackets "
            "count: use --layout table and name the columns")))
    return bool(table.header) and not missing


def _row(table: Table, record: Record, root: Path, folder: str, found: Found, truths: dict[int, float]) -> Row | None:
    """Return the row of a line; its circumference goes to `truths`, what is wrong with it to the faults."""
    cell = dict(zip(table.header, record.cells, strict=True))
    name = cell[NAME]
    if not name:
        found.faults.append(Fault(kind="empty-image", row=record.line,
                                  message="the row names no image; fill it in or delete the row"))
        return None
    match = PICTURE.fullmatch(name)
    if not match:
        found.faults.append(Fault(kind="unknown-name", row=record.line, file=name, message=(
            f"{name!r} is not NNN_HC.png: nothing says which examination it is of, and pictures of one must not be "
            "split; rename it")))
    spacing = _positive(cell[PIXEL])
    if spacing is None:
        found.faults.append(Fault(kind="bad-spacing", row=record.line, file=name, message=(
            f"pixel size {cell[PIXEL]!r} is no positive number of millimetres: nothing can be measured; correct it")))
    truth = _positive(cell.get(CIRCUMFERENCE, ""))
    if truth is not None:
        truths[record.line] = truth
    elif CIRCUMFERENCE in cell:
        found.faults.append(Fault(kind="bad-circumference", row=record.line, file=name, message=(
            f"head circumference {cell[CIRCUMFERENCE]!r} is no positive number of millimetres; correct it")))
    image = f"{folder}/{name}" if folder else name
    mask = _annotation(image)
    return Row(image=image, line=record.line, group=match["examination"] if match else None,
               mask=mask if (root / mask).is_file() else None,
               spacing=None if spacing is None else (spacing, spacing))


def _without_line(root: Path, folder: str, rows: list[Row]) -> list[Fault]:
    """Return a warning for each picture of the folder that no line of the table names."""
    named = {row.image.rpartition("/")[2] for row in rows}
    place = root / folder
    return [Fault(kind="missing-row", severity="warning", file=file.name, message=(
        f"the table has no row for {file.name}, so its pixel size is not known and it is passed over; add one, or "
        "delete the picture")) for file in sorted(place.iterdir())
        if PICTURE.fullmatch(file.name) and file.name not in named]


def _without_outline(rows: list[Row], root: Path) -> list[Fault]:
    return [Fault(kind="missing-annotation", row=row.line, file=row.image, message=(
        f"there is no outline {_annotation(row.image)}: nothing says where the head is; fetch it or delete the row"))
        for row in rows if row.mask is None and (root / row.image).is_file()]


def _other_circumference(rows: list[Row], root: Path, truths: dict[int, float]) -> list[Fault]:
    """Return a fault for each row whose outline and pixel size do not give the circumference of the table."""

    def one(row: Row) -> Fault | None:
        if row.mask is None:
            return None
        try:
            ellipse = outline_of(read_drawn(root / row.mask))
        except DataError as fault:
            return Fault(kind="unreadable-annotation", row=row.line, file=row.image, message=str(fault))
        if ellipse is None:
            return Fault(kind="not-an-outline", row=row.line, file=row.image, message=(
                f"{row.mask} is no stroke along an ellipse; HC18's are: restore it from its source"))
        if row.spacing is None or row.line not in truths:
            return None
        found, told = ellipse.scaled(row.spacing[1], row.spacing[0]).circumference, truths[row.line]
        if abs(found - told) <= TOLERANCE * told:
            return None
        return Fault(kind="other-circumference", row=row.line, file=row.image, message=(
            f"the outline is {found:.2f} mm around at {row.spacing[0]:g} mm a pixel, the table says {told:.2f} mm: "
            "the outline, the pixel size or the circumference is of another picture; correct it"))

    with ThreadPoolExecutor() as pool:
        return [fault for fault in pool.map(one, rows) if fault]


def _annotation(image: str) -> str:
    return image[: -len(".png")] + ANNOTATION


def _positive(text: str) -> float | None:
    try:
        values = parse_spacing(text)
    except ValueError:
        return None
    return values[0] if len(values) == 1 else None
