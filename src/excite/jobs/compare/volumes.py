"""Networks for volumes as they were tested: patients' maps to a class, and scans to label volumes."""

import csv
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.config import load_config
from excite.data.sections import DataSection
from excite.data.split import Split
from excite.deploy.bundle import BundleInfo
from excite.errors import EnvironmentFault, UsageError
from excite.jobs import run_folder as files
from excite.jobs.compare.images import AGAIN
from excite.jobs.compare.tested import Row, Tested, belongs, leaks
from excite.jobs.evaluation_data import read_json
from excite.jobs.evaluation_files import Predictions, names, read_predictions
from excite.jobs.volume_masks.evaluate import evaluate_scans
from excite.jobs.volumes.evaluate import evaluate_patients
from excite.jobs.volumes.sections import VolumeConfig
from excite.jobs.volumes.tested_table import read_tested
from excite.metrics.classification import measure
from excite.metrics.evaluation import Evaluation
from excite.metrics.segmentation import means
from excite.metrics.volume_masks import VolumeMaskEvaluation
from excite.outcome.decode import decode
from excite.progress import Progress

NUMBERS = "test-scans.csv"
Stored = tuple[tuple[int, ...], NDArray[np.int64], NDArray[np.float64]]


def tested_patients(source: Path, folder: Path, info: BundleInfo, data: DataSection | None, *,
                    progress: Progress) -> Tested:
    """Return a network's answers on the patients of its run's test part, or on all rows of another table."""
    graded = _graded(folder.parent)
    if data is not None:
        found, evaluation = _measured(source, info, data)
        return Tested(name=str(source), folder=folder, info=info, sample="examination", files=found.files,
                      contents=tuple(f"line {line}" for line in found.lines), answers=found.probabilities,
                      truth=tuple(info.classes[place] for place in found.truth), units=found.units, graded=graded,
                      unit_kind=evaluation.unit_kind, notes=leaks(evaluation.notes))
    split, known = _of_run(source)
    stored = _stored(source, info, len(split.test))
    if stored is None:
        progress.say(f"{source}: {AGAIN}")
        found, evaluation = _measured(source, info, None)
        evaluation.raise_failures()
        stored = found.lines, found.truth, found.probabilities
    lines, truth, shares = stored
    clinical = known.get("clinical")
    return Tested(name=str(source), folder=folder, info=info, sample="examination", answers=shares, graded=graded,
                  files=tuple(f"line {line}" for line in lines),
                  contents=tuple(f"{known['patients'][row]} {clinical[row] if clinical else ''}" for row in split.test),
                  truth=tuple(info.classes[place] for place in truth),
                  units=tuple(split.units[row] for row in split.test), unit_kind=split.unit_kind,
                  notes=leaks(info.metrics.get("notes", ())))


def tested_scans(source: Path, folder: Path, info: BundleInfo, data: DataSection | None, *,
                 progress: Progress) -> Tested:
    """Return the numbers of each scan of a run's test part, or of all rows of another table."""
    if data is not None:
        evaluation = evaluate_scans(source, data.table, patient_col=data.patient_col, resamples=1, progress=progress)
        lines = [row.line for row in evaluation.rows]
        return Tested(name=str(source), folder=folder, info=info, sample="scan",
                      files=tuple(row.file for row in evaluation.rows), truth=("",) * len(lines),
                      contents=tuple(f"line {line}" for line in lines), answers=_rows(evaluation),
                      units=tuple(row.unit for row in evaluation.rows), unit_kind=evaluation.unit_kind,
                      notes=leaks(evaluation.notes))
    split, known = _of_run(source)
    read = _read_scans(source / NUMBERS)
    rows = tuple(read.values())
    in_order = list(read) == sorted(read) and len(rows) == len(split.test)  # as the run wrote them
    if not in_order or not belongs(info, {name: one.value for name, one in means(
            rows, [split.units[row] for row in split.test], resamples=1).items()}, len(rows)):
        progress.say(f"{source}: {AGAIN}")
        evaluation = evaluate_scans(source, resamples=1, progress=progress)
        evaluation.raise_failures()
        read, rows = {}, _rows(evaluation)
    return Tested(name=str(source), folder=folder, info=info, sample="scan", truth=("",) * len(rows), answers=rows,
                  files=tuple(f"line {line}" for line in read) if len(read) == len(rows) else tuple(
                      f"row {row}" for row in split.test),
                  contents=tuple(known["scans"][row] for row in split.test),
                  units=tuple(split.units[row] for row in split.test), unit_kind=split.unit_kind,
                  notes=leaks(info.metrics.get("notes", ())))


def _stored(source: Path, info: BundleInfo, count: int) -> Stored | None:
    """Return lines, true classes and probabilities of the run's table; None where it is none, or not of this bundle."""
    try:
        tested = read_tested(source / names("test", own=True)[1], info.classes)
    except EnvironmentFault:
        return None
    shares = decode(tested.logits[None].astype(np.float32), classes=info.classes, temperature=info.temperature)
    lines = tuple(tested.lines.tolist())
    if len(shares) != count or list(lines) != sorted(lines) or not belongs(
            info, measure(tested.truth, shares, info.classes), count):
        return None
    return lines, tested.truth, shares


def _measured(source: Path, info: BundleInfo, data: DataSection | None) -> tuple[Predictions, Evaluation]:
    """Return the answers of the bundle as it is, and what they were measured on."""
    with tempfile.TemporaryDirectory(prefix="excite-compare-") as out:
        evaluation = evaluate_patients(source, data.table if data else None, out=out, resamples=1,
                                       label_col=data.label_col if data else None,
                                       patient_col=data.patient_col if data else None)
        return read_predictions(Path(out) / names(evaluation.part, own=False)[1], info.classes), evaluation


def _of_run(source: Path) -> tuple[Split, dict[str, Any]]:
    if not (source / files.CONFIG).is_file():
        raise UsageError("a bundle has no data of its own", where=source,
                         fix="name a run folder, or a table for both with --data")
    return Split.from_json(read_json(source / files.SPLIT)), dict(read_json(source / files.HASHES))


def _graded(run: Path) -> bool:
    """Return whether the classes are grades in their order: where the run's config names them."""
    config = run / files.CONFIG
    return config.is_file() and load_config(VolumeConfig, config).volumes.classes is not None


def _read_scans(table: Path) -> dict[int, Row]:
    """Return the numbers of each scan by its line: means over its classes, and those of each class."""
    if not table.is_file():
        return {}
    of_line: dict[int, dict[str, dict[str, float | None]]] = {}
    with table.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            numbers = {name: float(text) if text else None for name, text in list(row.items())[4:]}
            of_line.setdefault(int(row["line"]), {})[row["class"]] = numbers
    return {line: _mean(of_class) for line, of_class in of_line.items()}


def _rows(evaluation: VolumeMaskEvaluation) -> tuple[Row, ...]:
    keys = list(evaluation.metrics)
    return tuple(_mean({name: {key: one.scores.get(key) for key in keys} for name, one in row.classes.items()})
                 for row in evaluation.rows)


def _mean(of_class: dict[str, dict[str, float | None]]) -> Row:
    found: dict[str, float | None] = {}
    for key in next(iter(of_class.values())):
        known = [value for one in of_class.values() if (value := one.get(key)) is not None]
        found[key] = float(np.mean(known)) if known else None
    return found | {f"{key}/{name}": value for name, one in of_class.items() for key, value in one.items()}
