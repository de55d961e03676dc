"""Class folders: the name of the folder is the label. Without labels: every picture below a folder."""

import os
from collections import Counter
from pathlib import Path
from typing import ClassVar

from excite.data.columns import SPLITS
from excite.data.fault import Fault
from excite.data.layouts.layout import LAYOUTS, Found
from excite.data.readers.formats import IMAGE_SUFFIXES
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.errors import DataError, UsageError


@LAYOUTS.register("folder")
class FolderLayout:
    """`CLASS/**/picture`, or `train|val|test/CLASS/**/picture`."""

    general: ClassVar[bool] = True

    def fits(self, source: Path) -> str | None:
        """Return a reason where the source is a folder."""
        return "it is a folder" if source.is_dir() else None

    def read(self, section: DataSection, *, labelled: bool) -> Found:
        """Return a row a picture, in the order of the paths."""
        top = folder_of(section)
        found = Found(rows=[], root=top, lines=False)
        if not labelled:
            found.rows = [Row(image=image, line=line) for line, image in enumerate(_pictures(top, top, found), start=1)]
            return found
        rows: list[Row] = []
        inner = _folders(top, found)
        if inner and all(folder.name.casefold() in SPLITS for folder in inner):
            found.notes.append(f"split is the folder: {', '.join(folder.name for folder in inner)}")
            for folder in inner:
                rows += _of_classes(_folders(folder, found), top, SPLITS[folder.name.casefold()], found)
        else:
            rows = _of_classes(inner, top, None, found)
        stray = [file.name for file in sorted(top.iterdir()) if _is_picture(file)]
        if not rows:
            found.faults.append(Fault(kind="no-classes", file=str(top), message=_no_classes(len(stray))))
        elif stray:
            found.faults.append(Fault(kind="stray-image", severity="warning", file=stray[0],
                                      message=f"{len(stray)} pictures lie beside the class folders and have no label, "
                                              f"{stray[0]!r} first; they were left out"))
        found.rows = [Row(image=row.image, line=line, label=row.label, split=row.split)
                      for line, row in enumerate(rows, start=1)]
        return found


def folder_of(section: DataSection) -> Path:
    """Return the section's folder; options that only a table can obey are refused."""
    if section.table is None or not section.table.is_dir():
        raise DataError("this layout needs a folder", where=section.table, fix="name the folder, or --layout auto")
    for option in ("root", "image_col", "label_col", "patient_col", "group_col"):
        if getattr(section, option) is not None:
            raise UsageError(f"data.{option} has no meaning where a folder is the table", where=section.table,
                             fix="leave it out, or write a table")
    return section.table


def hidden(name: str) -> bool:
    """Return whether a name is one that programs leave behind: .ipynb_checkpoints, __MACOSX, ._picture.png."""
    return name.startswith((".", "__MACOSX", "__pycache__", "@eaDir"))


def _of_classes(classes: list[Path], top: Path, split: str | None, found: Found) -> list[Row]:
    rows = []
    for folder in classes:
        images = _pictures(folder, top, found)
        if not images:
            found.faults.append(Fault(kind="empty-class-folder", severity="warning", file=folder.name,
                                      message=f"folder {folder.relative_to(top).as_posix()!r} has no picture and is no "
                                              "class; fill it or delete it"))
        rows += [Row(image=image, line=0, label=folder.name, split=split) for image in images]
    return rows


def _folders(top: Path, found: Found) -> list[Path]:
    folders = sorted(folder for folder in top.iterdir() if folder.is_dir())
    for folder in folders:
        if hidden(folder.name):
            found.faults.append(Fault(kind="hidden-folder", severity="warning", file=folder.name,
                                      message=f"folder {folder.name!r} is hidden and is no class; it was passed over"))
    return [folder for folder in folders if not hidden(folder.name)]


def _pictures(folder: Path, top: Path, found: Found) -> list[str]:
    """Return the pictures at any depth below a folder, as paths from `top`; others are counted in a note."""
    images, others = [], Counter[str]()
    for place, inner, names in os.walk(folder):
        inner[:] = sorted(name for name in inner if not hidden(name))
        for name in sorted(names):
            if hidden(name):
                continue
            if name.lower().endswith(IMAGE_SUFFIXES):
                images.append((Path(place) / name).relative_to(top).as_posix())
            else:
                others[Path(name).suffix.lower() or "(no suffix)"] += 1
    if others:
        told = ", ".join(f"{count} {suffix}" for suffix, count in sorted(others.items()))
        found.notes.append(f"files in {folder.name!r} that are no pictures were passed over: {told}")
    return images


def _is_picture(file: Path) -> bool:
    return file.is_file() and not hidden(file.name) and file.name.lower().endswith(IMAGE_SUFFIXES)


def _no_classes(stray: int) -> str:
    if stray:
        return (f"the folder holds {stray} pictures and no class folders, so nothing says what they show; put them "
                "into a folder a class, or write a table with the columns image,label")
    return ("the folder holds no pictures of a known kind; put them into a folder a class "
            f"({', '.join(IMAGE_SUFFIXES)})")
