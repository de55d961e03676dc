"""Measure a network for label volumes: a run on a part of its own once more, or a bundle on another table. No torch."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from excite.config import load_config
from excite.data.split import PARTS, Split
from excite.data.table import read_table
from excite.data.units import units_of
from excite.data.volumes.mask_sections import MaskedVolumesSection
from excite.data.volumes.mask_table import MaskTable, read_mask_table
from excite.data.volumes.reading import read_volume
from excite.data.volumes.store import content_of
from excite.deploy.volume_mask_predictor import VolumeMaskPredictor
from excite.errors import DataError, EnvironmentFault, UsageError
from excite.jobs import run_folder as files
from excite.jobs.run_folder import written
from excite.jobs.volume_masks.measured import measured
from excite.jobs.volume_masks.sections import MaskedVolumeConfig
from excite.metrics.volume_masks import VolumeMaskEvaluation, evaluate_volume_masks
from excite.progress import Progress, silent

OPTIMISTIC = {"train": "the network was trained on these scans", "val": "the best epoch was chosen on these scans"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """Rows of a table to measure, with the units of all its rows and what to beware of."""

    name: str
    table: MaskTable
    rows: Sequence[int]
    units: Sequence[str]
    unit_kind: str
    notes: tuple[str, ...]


def evaluate_scans(run_or_bundle: str | Path, data: str | Path | None = None, split: str | None = None, *,
                   patient_col: str | None = None, out: str | Path | None = None, threads: int | None = None,
                   resamples: int = 1000, seed: int = 0, progress: Progress | None = None) -> VolumeMaskEvaluation:
    """Return how good a network for label volumes is, every number with a 95 % interval from a bootstrap over units.

    Args:
        run_or_bundle: A run folder, or a bundle folder (then `data` is needed).
        data: Another table of scans and masks, or a Decathlon folder; all its rows are measured.
        split: "train", "val" or "test" of a run; test otherwise.
        patient_col: Of `data`.
        out: Folder for evaluation.json; nothing is written otherwise.
        threads: CPU threads; all usable cores otherwise.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        UsageError: there is no such part, or a bundle comes without data. ModelError: the bundle cannot be used.
        DataError: no scan can be measured, or the run's files are others than they were.
    """
    source, progress = Path(run_or_bundle), progress or silent()
    predictor = VolumeMaskPredictor(source, threads=threads)
    part = _of_run(source, split or "test") if data is None else _of_data(Path(data), predictor, split, patient_col)
    rows, failed = measured(predictor, part.table, part.rows, part.units, progress=progress)
    if not rows:
        raise DataError("no scan can be measured", where=part.table.manifest.source, why=failed[0]["error"])
    found = evaluate_volume_masks(rows, classes=predictor.info.classes, part=part.name, unit_kind=part.unit_kind,
                                  notes=part.notes, failed=failed, resamples=resamples, seed=seed)
    if out is not None:
        _write(Path(out), found)
    return found


def _of_run(run: Path, name: str) -> Part:
    """Return a part of a run's own table, whose files must be as they were."""
    if not (run / files.CONFIG).is_file():
        raise UsageError("a bundle has no scans of its own", where=run, fix="name a table with --data, or the run")
    if name not in PARTS:
        raise UsageError(f"split must be {', '.join(PARTS)}, got {name!r}")
    table = read_mask_table(load_config(MaskedVolumeConfig, run / files.CONFIG).volumes)
    split = Split.from_json(json.loads((run / files.SPLIT).read_text(encoding="utf-8")))
    known = json.loads((run / files.HASHES).read_text(encoding="utf-8"))["scans"]
    if len(known) != len(table.masks):
        raise EnvironmentFault(f"the table has {len(table.masks)} rows, the run's had {len(known)}",
                               where=table.manifest.source, fix="put the old table back, or measure it with --data")
    rows = split.parts[name]
    changed = [table.manifest.rows[row].line for row in rows
               if content_of((*table.files[row], table.masks[row])) != known[row]]
    if changed:
        raise DataError(f"{len(changed)} rows have other files than the run had: lines "
                        f"{', '.join(map(str, changed[:10]))}", where=table.manifest.source,
                        fix="put the old files back, or measure the new ones with --data")
    beware = (f"WARNING: {OPTIMISTIC[name]}, so results are too good",) if name in OPTIMISTIC else ()
    return Part(name=name, table=table, rows=rows, units=split.units, unit_kind=split.unit_kind,
                notes=(*beware, *split.notes))


def _of_data(data: Path, predictor: VolumeMaskPredictor, split: str | None, patient_col: str | None) -> Part:
    """Return all rows of another table; scans that the network was trained on are told."""
    if split is not None:
        raise UsageError("split is for a run's own scans", why="of other data all rows are measured",
                         fix="leave it out")
    known = predictor.preprocess.maps
    free = data.is_dir() or (len(known) == 1 and data.is_file() and known[0] not in read_table(data).header)
    table = read_mask_table(MaskedVolumesSection(table=data, maps=None if free else known, patient_col=patient_col))
    if len(table.maps) == len(known) == 1:
        table = replace(table, maps=known)  # one volume a scan: what its column is called does not matter
    units = units_of(table.manifest.rows)
    named = units.kind != "near-duplicate cluster"
    trained = set(predictor.info.provenance.get("train_hashes", ()))
    seen = sum(_voxels(files_of[0]) in trained for files_of in table.files)
    leak = (f"LEAK: the network was trained on {seen} of these {len(table.files)} scans",) if seen else ()
    return Part(name=data.stem, table=table, rows=range(len(table.files)), units=units.names,
                unit_kind=units.kind if named else "file", notes=(*leak, *(units.notes if named else (
                    "nobody says whose the scans are: each file is a unit of its own, and several of one person make "
                    "intervals too narrow",))))


def _voxels(file: Path) -> str:
    """Return the beginning of the hash that a training keeps of a scan; nothing where it cannot be read."""
    try:
        return hashlib.sha256(read_volume(file).values.tobytes()).hexdigest()[:16]
    except DataError:
        return ""


def _write(folder: Path, found: VolumeMaskEvaluation) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with written(folder / files.EVALUATION):
        text = json.dumps(found.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n"
        (folder / files.EVALUATION).write_text(text, encoding="utf-8", newline="\n")
