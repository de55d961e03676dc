"""Which column of a table is the image, which the label, and so on: by option, by house name, by known alias."""

import re
from collections.abc import Mapping

from excite.data.fault import Fault
from excite.data.readers.formats import IMAGE_SUFFIXES
from excite.data.row import MASK_SEPARATOR, Row
from excite.data.sections import DataSection
from excite.data.table import Record, Table, parse_spacing
from excite.errors import UsageError
from excite.registry import nearest

ALIASES: dict[str, tuple[str, ...]] = {
    "image": ("image", "image_path", "filepath", "file_path", "path", "filename", "file_name", "image_file",
              "image_name", "image_id", "file", "img"),
    "label": ("label", "class", "plane", "target", "category", "diagnosis"),
    "patient": ("patient", "patient_id", "patient_num", "patientid", "subject", "subject_id"),
    "group": ("group", "group_id", "near_duplicate_group"),
    "split": ("split", "subset", "partition"),
    "mask": ("mask", "mask_path"),
    "spacing": ("spacing", "spacing_mm", "pixel_spacing", "pixel_size", "pixel_size_mm"),
}
SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
          "test": "test", "testing": "test"}


def choose_columns(table: Table, section: DataSection) -> tuple[dict[str, int], list[str]]:
    """Return the column number of each role that the table has, and a note that says which was taken as what.

    Raises:
        UsageError: an option names a column that is not there; the nearest is named.
    """
    asked = {"image": section.image_col, "label": section.label_col, "patient": section.patient_col,
             "group": section.group_col}
    if section.patient_col and section.patient_from:
        raise UsageError("patient_col and patient_from both name the patient", fix="give one of the two")
    chosen: dict[str, int] = {}
    for role, aliases in ALIASES.items():
        name = asked.get(role)
        place = _asked(table, role, name) if name is not None else _by_alias(table, aliases)
        if place is not None and (name is not None or place not in chosen.values()):
            chosen[role] = place
    taken = [f"{role} is column {table.header[place]!r}" for role, place in chosen.items()]
    return chosen, [", ".join(taken)] if taken else []


def missing_columns(table: Table, chosen: Mapping[str, int], *, labelled: bool) -> list[Fault]:
    """Return a fault for the image column, and the label or mask column where needed, that the table has not."""
    if not chosen and any(cell.lower().endswith(IMAGE_SUFFIXES) for cell in table.header):
        return [Fault(kind="missing-column", row=1, message=(
            f"the first row looks like data: {', '.join(map(repr, table.header))}; add a header such as "
            "image,label,patient"))]
    faults = []
    needed = ("image", "label") if labelled and "mask" not in chosen else ("image",)  # a mask is a label too
    for role in needed:
        if role not in chosen:
            near = next((f"did you mean {name!r}? " for name in table.header if _resembles(name, ALIASES[role])), "")
            faults.append(Fault(kind="missing-column", row=1,
                                message=f"no column is the {role}; the table has {', '.join(map(repr, table.header))}; "
                                        f"{near}name it with --{role}-col, or rename it to {role!r}"))
    return faults


def row_of(record: Record, chosen: Mapping[str, int]) -> tuple[Row | None, list[Fault]]:
    """Return the row that a record stands for, None where it names no image, and its faults."""
    cell = {role: record.cells[place] for role, place in chosen.items()}
    image = portable(cell.get("image", ""))
    if not image:
        return None, [Fault(kind="empty-image", row=record.line, message="the row names no image; fill it in or delete "
                                                                         "the row")]
    faults = []
    split = SPLITS.get(cell.get("split", "").casefold())
    if cell.get("split") and split is None:
        near = nearest(cell["split"].casefold(), list(SPLITS))
        faults.append(Fault(kind="unknown-split", row=record.line, file=image,
                            message=f"split {cell['split']!r} is none of train, val, test; {near}correct it, or rename "
                                    "the column if it means something else"))
    spacing = None
    if cell.get("spacing"):
        try:
            spacing = parse_spacing(cell["spacing"])
        except ValueError:
            faults.append(Fault(kind="bad-spacing", row=record.line, file=image,
                                message=f"spacing {cell['spacing']!r} is no positive number of millimetres a pixel; "
                                        "write 0.2, or '0.2 0.3' for two axes, or leave it empty"))
    masks = MASK_SEPARATOR.join(portable(mask) for mask in cell.get("mask", "").split(MASK_SEPARATOR) if mask.strip())
    row = Row(image=image, line=record.line, label=cell.get("label") or None, patient=cell.get("patient") or None,
              group=cell.get("group") or None, split=split, mask=masks or None, spacing=spacing)
    return row, faults


def partly_split(rows: list[Row]) -> list[Fault]:
    """Return a fault for each row without a split in a table that has splits."""
    if all(row.split is None for row in rows):
        return []
    return [Fault(kind="empty-split", row=row.line, file=row.image,
                  message="the row has no split although others have; fill it in, or empty the whole column")
            for row in rows if row.split is None]


def portable(path: str) -> str:
    """Return a path with forward slashes: tables made on Windows have backslashes, which no other system splits at."""
    return path.strip().replace("\\", "/")


def normal(name: str) -> str:
    """Return a column name without case, blanks and units' brackets: "Pixel size(mm)" is "pixel_size_mm"."""
    return re.sub(r"[^a-z0-9]+", "_", name.casefold()).strip("_")


def _resembles(name: str, aliases: tuple[str, ...]) -> bool:
    own = normal(name)
    return any(alias in own.split("_") for alias in aliases) or bool(nearest(own, list(aliases)))


def _asked(table: Table, role: str, name: str) -> int:
    for place, header in enumerate(table.header):
        if header == name.strip():
            return place
    same = [place for place, header in enumerate(table.header) if header.casefold() == name.strip().casefold()]
    if len(same) == 1:
        return same[0]
    raise UsageError(f"--{role}-col names {name!r}, which the table has not",
                     fix=f"{nearest(name, list(table.header))}its columns: {', '.join(table.header)}")


def _by_alias(table: Table, aliases: tuple[str, ...]) -> int | None:
    names = [normal(header) for header in table.header]
    return next((names.index(alias) for alias in aliases if alias in names), None)
