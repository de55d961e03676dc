"""Which patients are measured: those of a part of a run, or all rows of another table. Without torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from excite.config import load_config
from excite.data.split import PARTS, Split
from excite.data.table import read_table
from excite.data.units import units_of
from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.store import Files, content_of, file_hashes
from excite.data.volumes.volume_table import VolumeTable, read_volume_table
from excite.deploy.volume_predictor import VolumePredictor
from excite.errors import DataError, EnvironmentFault, UsageError
from excite.jobs import run_folder as files
from excite.jobs.evaluation_data import check_labels, read_json
from excite.jobs.volumes.sections import VolumeConfig
from excite.registry import nearest

SHOWN = 10
OPTIMISTIC = {"train": "the network was trained on these patients: the numbers say how well it remembers",
              "val": "this part chose the best epoch and fitted the temperature: the numbers are too good"}
UNKNOWN = ("nobody says whose the rows are: each is a unit of its own, and several of one person make intervals too "
           "narrow")


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredRows:
    """Rows of a table to measure.

    Args:
        name: Of the part.
        table: All rows.
        rows: Those to measure.
        units: What each row of the table belongs to.
        unit_kind: What a unit is.
        notes: What to beware of, each a sentence.
    """

    name: str
    table: VolumeTable
    rows: Sequence[int]
    units: Sequence[str]
    unit_kind: str
    notes: tuple[str, ...]


def part_of_run(run: Path, predictor: VolumePredictor, name: str) -> MeasuredRows:
    """Return a part of a run's own table, whose files, labels and numbers must be as they were.

    Raises:
        UsageError: there is no such part, or it is a bundle alone. DataError: rows changed, the part is empty, or
            the table cannot be read. EnvironmentFault: the table has other rows, or a file of the run is damaged.
    """
    if not (run / files.CONFIG).is_file():
        raise UsageError("a bundle has no patients of its own", where=run, fix="name a table with --data, or the run")
    if name not in PARTS:
        raise UsageError(f"split must be {', '.join(PARTS)}, got {name!r}", fix=nearest(name, list(PARTS)).strip())
    section = load_config(VolumeConfig, run / files.CONFIG).volumes
    if section.table is not None and not section.table.is_file():
        raise DataError("the run's table is not where it was", where=section.table, fix="start excite where the "
                        f"training was started, or correct the path in {run / files.CONFIG}")
    table = read_volume_table(section)
    split, known = Split.from_json(read_json(run / files.SPLIT)), read_json(run / files.HASHES)
    if len(known["patients"]) != len(table.files):
        raise EnvironmentFault(f"the table has {len(table.files)} rows, the run's had {len(known['patients'])}",
                               where=table.manifest.source, fix="put the old table back, or measure it with --data")
    rows = split.parts[name]
    if changed := [table.manifest.rows[row].line for row in rows
                   if _now(table, row, predictor.info.classes) != _then(known, row)]:
        raise DataError(f"{len(changed)} rows have other files, labels or numbers than the run had: lines "
                        f"{', '.join(map(str, changed[:SHOWN]))}", where=table.manifest.source,
                        fix="put the old ones back, or measure the new ones with --data")
    if not rows:
        raise DataError(f"the run has no {name} part", where=run, fix="measure another: --split, or --data TABLE")
    return MeasuredRows(name=name, table=table, rows=rows, units=split.units, unit_kind=split.unit_kind,
                        notes=(*([f"WARNING: {OPTIMISTIC[name]}"] if name in OPTIMISTIC else []), *split.notes))


def rows_of_data(data: Path, predictor: VolumePredictor, *, label_col: str | None, patient_col: str | None
                 ) -> MeasuredRows:
    """Return all rows of another table; patients that the network was trained on are told.

    Raises:
        DataError: the table cannot be read, has none of the bundle's maps, or labels that the network does not know.
    """
    header, preprocess = read_table(data).header, predictor.preprocess
    maps, clinical = (tuple(name for name in names if name in header)
                      for names in (preprocess.maps, preprocess.columns))
    if not maps:
        raise DataError("the table has none of the bundle's maps", where=data,
                        fix=f"columns: {', '.join(preprocess.maps)}")
    table = read_volume_table(VolumesSection(table=data, maps=maps, clinical=clinical, label_col=label_col,
                                             patient_col=patient_col), refuse=False)
    check_labels([row for row in table.manifest.rows if row.label], predictor.info.classes, data)
    units = units_of(table.manifest.rows)
    named = units.kind != "near-duplicate cluster"
    trained = set(predictor.info.provenance.get("train_hashes", ()))
    seen = [row.line for row, paths in zip(table.manifest.rows, table.files, strict=True)
            if trained & _marks(table, paths, preprocess.maps)]
    lost = [name for name in (*preprocess.maps, *preprocess.columns) if name not in header]
    less = [f"the table has no column {', '.join(lost)}: every row is measured without"] if lost else []
    leak = (f"LEAK: the network was trained on maps of {len(seen)} of these {len(table.files)} rows (lines "
            f"{', '.join(map(str, seen[:SHOWN]))}): the numbers are too good; leave them out",) if seen else ()
    return MeasuredRows(name=f"{data.stem} table" if data.stem in PARTS else data.stem, table=table,
                        rows=range(len(table.files)), units=units.names, unit_kind=units.kind if named else "row",
                        notes=(*leak, *less, *(units.notes if named else (UNKNOWN,))))


def _now(table: VolumeTable, row: int, classes: Sequence[str]) -> list[Any]:
    """Return what a row holds: its files, its label's place, its numbers."""
    label, numbers = table.manifest.rows[row].label, [] if table.clinical is None else table.clinical[row].tolist()
    return [content_of(table.files[row]), classes.index(label) if label in classes else label,
            [None if np.isnan(value) else value for value in numbers]]


def _then(known: dict[str, Any], row: int) -> list[Any]:
    """Return what a row held when the run began."""
    return [known["patients"][row], known["labels"][row], known["clinical"][row] if "clinical" in known else []]


def _marks(table: VolumeTable, paths: Files, maps: Sequence[str]) -> set[str]:
    """Return by what a training knows a row again: the beginnings of the hashes of its files, together and alone."""
    by_map = dict(zip(table.maps, paths, strict=True))
    there = [None if path is None or not Path(str(path).partition("#")[0]).exists() else path
             for path in map(by_map.get, maps)]
    return {one[:16] for one in (content_of(there), *file_hashes(there)) if one} if any(there) else set()
