"""Tables of volumes with a label volume each: a column of masks, or the dataset.json of the Decathlon."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from excite.data.columns import normal, portable
from excite.data.manifest import Manifest
from excite.data.row import Row
from excite.data.table import Table, read_head, read_table
from excite.data.volumes.mask_sections import MaskedVolumesSection
from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.volume_table import SUFFIXES, read_volume_table
from excite.errors import DataError, UsageError

MASKS = ("mask", "mask_path", "masks", "segmentation", "seg", "label", "labels")
DATASET = "dataset.json"
SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class MaskTable:
    """Rows of volumes with their labels.

    Args:
        manifest: Patients and parts of the rows; the image of each is its first map.
        maps: Names of the columns with volumes.
        files: Of each row the file of each map.
        masks: Of each row its label volume.
        names: Label value -> its name, where the data say it.
        simulated: Whether a column `simulated` says so of every row; None where there is none.
    """

    manifest: Manifest
    maps: tuple[str, ...]
    files: tuple[tuple[Path, ...], ...]
    masks: tuple[Path, ...]
    names: Mapping[int, str] | None = None
    simulated: bool | None = None


def is_mask_table(path: Path) -> bool:
    """Return whether a path is a table with a column of label volumes, or a Decathlon folder; little of it is read."""
    if path.is_dir():
        return _is_decathlon(path / DATASET)
    table = read_head(path)
    return table is not None and _mask_column(table) is not None


def read_mask_table(section: MaskedVolumesSection) -> MaskTable:
    """Return the rows of a table of volumes with masks, or of a folder with dataset.json.

    Raises:
        DataError: what is wrong with which lines. UsageError: the section names a column that is not there.
    """
    source = section.table
    if source is None:
        raise UsageError("no table of volumes is given", fix="excite train TABLE, or volumes.table in the config")
    if source.is_dir():
        return _decathlon(source, section)
    if not source.is_file():
        raise DataError("the table does not exist", where=source, fix="check the path")
    mask = section.mask_col or _mask_column(read_table(source))
    if mask is None:
        raise DataError("no column of the table holds label volumes", where=source,
                        fix="name it: --set volumes.mask_col=NAME")
    maps = section.maps or _maps(source, mask)
    found = read_volume_table(VolumesSection(table=source, maps=(*maps, mask), patient_col=section.patient_col),
                              labelled=False)
    faults = [f"line {row.line}: it has no {name}" for row, files in zip(found.manifest.rows, found.files, strict=True)
              for name, file in zip((*maps, mask), files, strict=True) if file is None]
    if faults:
        raise DataError(f"{len(faults)} fault(s): {'; '.join(faults[:SHOWN])}", where=source,
                        fix="every row needs each map and a mask: a volume of 0 where nothing is to be found")
    complete = [tuple(Path(str(file)) for file in files) for files in found.files]
    rows = tuple(replace(row, label=None, mask=portable(str(files[-1])))
                 for row, files in zip(found.manifest.rows, complete, strict=True))
    told = [f"volumes: {', '.join(maps)}; label volumes: {mask}"]
    roles = [one for note in found.manifest.notes for one in note.split(", ") if " is column " in one]
    told += [f"{one}, which is not looked at (task: volumes makes a classifier)" if one.startswith("label ") else one
             for one in roles if not one.endswith(repr(mask))]
    return MaskTable(manifest=replace(found.manifest, rows=rows, notes=tuple(told)),
                     maps=tuple(maps), files=tuple(files[:-1] for files in complete),
                     masks=tuple(files[-1] for files in complete), simulated=found.simulated)


def _mask_column(table: Table) -> str | None:
    """Return the column of label volumes: by its name, and cells that are files of volumes."""
    for name in MASKS:
        for place, column in enumerate(table.header):
            if normal(column) == name and any(_is_volume(record.cells[place]) for record in table.records):
                return column
    return None


def _maps(source: Path, mask: str) -> tuple[str, ...]:
    """Return the other columns with volumes."""
    table = read_table(source)
    found = tuple(name for place, name in enumerate(table.header) if name != mask
                  and any(_is_volume(record.cells[place]) for record in table.records))
    if not found:
        raise DataError("no column of the table holds volumes besides the masks", where=source,
                        fix="name it: --maps NAME")
    return found


def _is_volume(cell: str) -> bool:
    return cell.partition("#")[0].lower().endswith(SUFFIXES) or ".npz#" in cell.lower()


def _is_decathlon(file: Path) -> bool:
    try:
        tree = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    rows = tree.get("training") if isinstance(tree, dict) else None
    first = rows[0] if isinstance(rows, list) and rows else None
    return isinstance(first, dict) and _is_volume(str(first.get("label", "")))


def _decathlon(folder: Path, section: MaskedVolumesSection) -> MaskTable:
    """Return the pairs that a dataset.json lists for training."""
    file = folder / DATASET
    try:
        tree: Any = json.loads(file.read_text(encoding="utf-8"))
        pairs = [(portable(row["image"]), portable(row["label"])) for row in tree["training"]]
        names = {int(value): str(name) for value, name in tree["labels"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as fault:
        raise DataError("the folder has no dataset.json of the Decathlon that can be read", where=file,
                        why=f"{type(fault).__name__}: {fault}",
                        fix="give a table instead: a CSV file with the columns image and mask") from None
    if section.mask_col or (section.maps and section.maps != ("image",)):
        raise UsageError("volumes.maps and volumes.mask_col are for tables: dataset.json says which file is which")
    lost = [name for pair in pairs for name in pair if not (folder / name).is_file()]
    if lost or not pairs:
        raise DataError(f"{len(lost)} files of dataset.json do not exist: {', '.join(lost[:SHOWN])}" if lost else
                        "dataset.json lists no training pair", where=file, fix="unpack the archive again")
    rows = tuple(Row(image=image, mask=mask, line=line) for line, (image, mask) in enumerate(pairs, start=1))
    manifest = Manifest(rows=rows, root=folder, source=folder, layout="decathlon",
                        notes=("dataset.json names the pairs and the labels",))
    return MaskTable(manifest=manifest, maps=("image",), files=tuple((folder / row.image,) for row in rows),
                     masks=tuple(folder / mask for _, mask in pairs), names=names)
