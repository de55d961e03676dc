"""BUSI, breast ultrasound images: folders benign, malignant and normal, masks beside the pictures.

Source: Al-Dhabyani et al., Data in Brief 28:104863, 2020. The data set names no patients, and many pictures are the
same frame twice: where a `groups.csv` says which (column near_duplicate_group), its groups are never split.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import ClassVar

from excite.data.columns import portable
from excite.data.fault import Fault
from excite.data.layouts.folder import folder_of, hidden
from excite.data.layouts.layout import LAYOUTS, Found
from excite.data.readers.formats import IMAGE_SUFFIXES
from excite.data.row import MASK_SEPARATOR, Row
from excite.data.sections import DataSection
from excite.data.table import read_table

CLASSES = ("benign", "malignant", "normal")
MASK = re.compile(r"(?P<image>.+)_mask(?:_\d+)?$")
GROUPS, IMAGE, LABEL, GROUP = "groups.csv", "image", "class", "near_duplicate_group"


@LAYOUTS.register("busi")
class BusiLayout:
    """The folder that holds benign, malignant and normal."""

    general: ClassVar[bool] = False

    def fits(self, source: Path) -> str | None:
        """Return a reason where the three folders are there, with masks in one of them."""
        if not all((source / name).is_dir() for name in CLASSES):
            return None
        masks = any(MASK.match(file.stem) for name in CLASSES for file in (source / name).iterdir())
        return "it has the folders benign, malignant and normal, with masks" if masks else None

    def read(self, section: DataSection, *, labelled: bool) -> Found:
        """Return a row a picture, its masks joined (their union is the lesion), its group from groups.csv."""
        top = folder_of(section)
        found = Found(rows=[], root=top, lines=False)
        groups = _groups(top, found)
        rows: list[Row] = []
        several = 0
        for name in CLASSES:
            images, masks = _files(top, name, found) if (top / name).is_dir() else ([], {})
            for image in images:
                joined = masks.get(image.rpartition(".")[0], [])
                several += len(joined) > 1
                # A picture without a near duplicate is a group of its own.
                group = (groups.get(image) or image) if groups else None
                rows.append(Row(image=image, line=len(rows) + 1, label=name, group=group,
                                mask=MASK_SEPARATOR.join(joined) or None))
        found.rows = rows
        if several:
            found.notes.append(f"{several} pictures have more than one mask: their union counts")
        _compare(found, groups)
        return found


def _files(top: Path, name: str, found: Found) -> tuple[list[str], dict[str, list[str]]]:
    """Return the pictures of a class in the order of their numbers, and the masks of each."""
    images, masks = [], defaultdict(list)
    for file in sorted((top / name).iterdir(), key=lambda file: _natural(file.name)):
        if hidden(file.name) or not file.name.lower().endswith(IMAGE_SUFFIXES):
            continue
        match = MASK.match(file.stem)
        if match:
            masks[f"{name}/{match['image']}"].append(f"{name}/{file.name}")
        else:
            images.append(f"{name}/{file.name}")
    stems = {image.rpartition(".")[0] for image in images}
    for stem in sorted(set(masks) - stems):
        found.faults.append(Fault(kind="mask-without-image", severity="warning", file=masks[stem][0],
                                  message=f"mask {masks[stem][0]!r} has no picture and is passed over; fetch the "
                                          "picture or delete the mask"))
    return images, masks


def _groups(top: Path, found: Found) -> dict[str, str]:
    """Return the group of each picture that groups.csv names, and faults where it disagrees with the folders."""
    file = top / GROUPS
    if not file.is_file():
        found.notes.append(f"there is no {GROUPS}: nothing says which pictures are the same frame")
        return {}
    table = read_table(file)
    if table.faults or IMAGE not in table.header or GROUP not in table.header:
        found.faults += table.faults or [Fault(kind="missing-column", file=GROUPS,
                                               message=f"{GROUPS} needs the columns {IMAGE!r} and {GROUP!r}")]
        return {}
    found.notes.append(f"group is column {GROUP!r} of {GROUPS}")
    image, group = table.header.index(IMAGE), table.header.index(GROUP)
    label = table.header.index(LABEL) if LABEL in table.header else None
    groups = {}
    for record in table.records:
        path = portable(record.cells[image])
        groups[path] = record.cells[group]
        folder = path.partition("/")[0]
        if label is not None and record.cells[label] != folder:
            found.faults.append(Fault(kind="conflicting-label", file=path,
                                      message=f"{path} lies in folder {folder!r}, {GROUPS} line {record.line} says "
                                              f"{record.cells[label]!r}; correct one of the two"))
    return groups


def _compare(found: Found, groups: dict[str, str]) -> None:
    if not groups:
        return
    there = {row.image for row in found.rows}
    for image in sorted(set(groups) - there):
        found.faults.append(Fault(kind="missing-file", file=image,
                                  message=f"{GROUPS} names {image!r}, which is not there; fetch it or delete its line"))
    without = sorted(there - set(groups))
    if without:
        found.faults.append(Fault(kind="no-group", severity="warning", file=without[0],
                                  message=f"{len(without)} pictures are not in {GROUPS}, {without[0]!r} first: each "
                                          "counts as a group of its own"))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key that sorts "benign (2)" before "benign (10)"."""
    return [(int(part), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", name)]
