"""What is asked to be predicted: images, each with the size of its pixels where a table knows it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from excite.data.layouts.layout import LAYOUTS
from excite.data.manifest import scan_manifest
from excite.data.readers.image import IMAGE_SUFFIXES
from excite.data.sections import DataSection
from excite.outcome.prediction import FailedPrediction

TABLES = (".csv", ".tsv", ".parquet", ".xlsx")
_TOLD = ("bad-spacing",)  # faults of a row whose image can be predicted all the same


@dataclass(frozen=True, kw_only=True)
class Asked:
    """An image.

    Args:
        path: Of its file, or an address inside one.
        spacing: Millimetres a pixel, down and to the right or one number, where a table says it.
        notes: What is wrong with its row.
    """

    path: Path
    spacing: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()


def gather(inputs: Iterable[str | Path], columns: DataSection) -> Iterator[Asked | FailedPrediction]:
    """Yield the images that `inputs` name, in order; what cannot be one is yielded as failed.

    A folder that is a public data set's, or one inside it, is read as such: its annotations are no images, and its
    table knows the size of the pixels. Any other folder is searched with its subfolders.
    """
    for text in inputs:
        path = Path(text)
        if path.is_dir():
            yield from _folder(path, columns)
        elif "#" not in str(path) and not path.exists():
            yield FailedPrediction(file=str(path), error=f"{path}: does not exist: check the path")
        elif path.suffix.lower() in TABLES:
            yield from _rows(columns.model_copy(update={"table": path}))
        else:
            yield Asked(path=path)


def images_below(folder: Path) -> list[Path]:
    """Return the image files in a folder and its subfolders, sorted; hidden ones are left out."""
    return sorted(path for path in folder.rglob("*")
                  if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
                  and not any(part.startswith(".") for part in path.relative_to(folder).parts))


def _folder(folder: Path, columns: DataSection) -> Iterator[Asked | FailedPrediction]:
    if columns.layout != "auto":
        yield from _rows(columns.model_copy(update={"table": folder}))
    elif _is_data_set(folder):
        yield from _rows(DataSection(table=folder))
    else:
        yield from _inside_data_set(folder) or [Asked(path=path) for path in images_below(folder)]


def _inside_data_set(folder: Path) -> list[Asked]:
    """Return the images of a data set's table that lie in a folder inside it, as paths from that folder."""
    inside = folder.resolve()
    if not _is_data_set(inside.parent):
        return []
    rows = [one for one in _rows(DataSection(table=inside.parent)) if isinstance(one, Asked)]
    return [replace(one, path=folder / one.path.relative_to(inside)) for one in rows
            if one.path.is_relative_to(inside)]


def _is_data_set(folder: Path) -> bool:
    """Return whether a public layout recognises a folder."""
    layouts = [LAYOUTS[name]() for name in LAYOUTS]
    return any(layout.fits(folder) is not None for layout in layouts if not layout.general)


def _rows(section: DataSection) -> Iterator[Asked | FailedPrediction]:
    """Yield the images of a table; a row that names none is yielded as failed, a picture without a row at the end."""
    manifest, faults = scan_manifest(section, labelled=False)
    readable = {row.line for row in manifest.rows}
    lost = {fault.row: fault for fault in faults if fault.severity == "error" and fault.row not in readable}
    told = {fault.row: fault.message for fault in faults if fault.kind in _TOLD and fault.row is not None}
    rows = {row.line: row for row in manifest.rows}
    for line in sorted([*rows, *lost], key=lambda line: line or 0):
        if line in rows:
            yield Asked(path=manifest.path(rows[line]), spacing=rows[line].spacing,
                        notes=(told[line],) if line in told else ())
        else:
            at = f"{section.table} line {line}" if line is not None else str(section.table)
            yield FailedPrediction(file=at, error=f"{at}: {lost[line].message}")
    for fault in faults:
        if fault.kind == "missing-row" and fault.file:
            for path in sorted(manifest.root.rglob(fault.file)):
                yield Asked(path=path, notes=(f"no row of the table names {fault.file}: its pixel size is not known",))
