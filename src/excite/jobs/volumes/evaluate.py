"""Measure a network for patients' maps: a run on its own once more, or a bundle on another table. No torch."""

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np

from excite.config import load_config
from excite.deploy.volume_predictor import Patient, VolumePredictor
from excite.errors import DataError, UsageError
from excite.jobs import run_folder as files
from excite.jobs.evaluation_files import Predictions, class_table, write
from excite.jobs.volumes.folds.bundles import PAGE, bundles_of
from excite.jobs.volumes.measured_rows import MeasuredRows, part_of_run, rows_of_data
from excite.jobs.volumes.sections import VolumeConfig
from excite.metrics.evaluation import Evaluation, evaluate
from excite.metrics.ordinal import ordinal
from excite.progress import Progress, silent


def evaluate_patients(run_or_bundle: str | Path, data: str | Path | None = None, split: str | None = None, *,
                      label_col: str | None = None, patient_col: str | None = None, out: str | Path | None = None,
                      threads: int | None = None, resamples: int = 1000, seed: int = 0,
                      progress: Progress | None = None) -> Evaluation:
    """Return how good a network for patients' maps is, every number with a 95 % interval from a bootstrap over units.

    Grades in their order, which a run's config names, add the weighted kappas and the mean error in grades.

    Args:
        run_or_bundle: A run folder, or a bundle folder (then `data` is needed).
        data: Another table with the bundle's maps, its clinical columns and labels; all its rows are measured. Of maps
            and clinical columns some may be missing.
        split: "train", "val" or "test" of a run; test otherwise.
        label_col: Of `data`.
        patient_col: Of `data`.
        out: Folder for evaluation.json and predictions-PART.csv; nothing is written otherwise.
        threads: CPU threads; all usable cores otherwise.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        UsageError: there is no such part, a bundle comes without data, or it is the folder of a cross-validation.
        ModelError: the bundle cannot be used. DataError: no row can be measured, labels are unknown, or the run's files
            are others than they were.
    """
    source, progress = Path(run_or_bundle), progress or silent()
    if bundles_of(source):
        raise UsageError("a cross-validation has measured each row by the network that has not seen it", where=source,
                         fix=f"open {source / PAGE}; or measure one of its networks: excite evaluate "
                             f"{source / 'fold-1'}")
    if split is not None and data is not None:
        raise UsageError("split is for a run's own patients", why="of other data all rows are measured",
                         fix="leave it out")
    if out is not None and (Path(out) / files.CONFIG).is_file():
        raise UsageError("out must be a folder of its own, got that of a run", where=out,
                         why="the run's table of predictions would be lost")
    predictor = VolumePredictor(source, threads=threads)
    part = part_of_run(source, predictor, split or "test") if data is None else rows_of_data(
        Path(data), predictor, label_col=label_col, patient_col=patient_col)
    found, failed, notes = _predicted(predictor, part, progress)
    graded = len(found.classes) > 2 and _graded(predictor)
    if graded is None:
        notes.append("the bundle lies outside its run, so whether its classes are grades is not known: their weighted "
                     "kappa is left out")
    alone = len(set(found.units)) == len(found.units) and "patient" in part.unit_kind
    evaluation = evaluate(found.truth, found.probabilities, found.classes, found.units, part=part.name,
                          unit_kind=part.unit_kind, notes=[*part.notes, *notes], failed=failed, resamples=resamples,
                          sample="patient" if alone else "examination", seed=seed, progress=progress)
    if graded:
        grades = ordinal(found.truth, found.probabilities, found.units, resamples=resamples, seed=seed)
        evaluation = replace(evaluation, metrics=evaluation.metrics | grades)
    if out is not None:
        numbers, file = write(Path(out), evaluation, class_table(found), own=False)
        progress.say(f"written: {numbers}, {file}")
    return evaluation


def _predicted(predictor: VolumePredictor, part: MeasuredRows, progress: Progress
               ) -> tuple[Predictions, list[dict[str, str]], list[str]]:
    """Return the predictions of a part, the rows that gave none, and what was remarked about the others."""
    rows, classes = part.table.manifest.rows, predictor.info.classes
    good, shares, failed, notes = list[int](), list[list[float]](), list[dict[str, str]](), list[str]()
    for done, row in enumerate(part.rows, start=1):
        line = rows[row].line
        try:
            if wrong := [*part.table.faults.get(line, ()), *([] if rows[row].label else ["the label is empty"])]:
                raise DataError("; ".join(wrong))
            [found] = predictor([_patient(part, row)])
        except DataError as fault:
            failed.append({"file": rows[row].image, "error": f"line {line}: {fault.message()}"})
            continue
        good.append(row)
        shares.append([found.probabilities[name] for name in classes])
        notes.extend(found.notes)
        progress.step("measuring patients", done, len(part.rows))
    known = {row.line for row in rows}
    failed += [{"file": f"line {line}", "error": f"line {line}: {'; '.join(wrong)}"}
               for line, wrong in part.table.faults.items() if line not in known]
    if not good:
        raise DataError("no row can be measured", where=part.table.manifest.source, why=failed[0]["error"],
                        fix="mend the files, or the columns of maps")
    return Predictions(
        files=tuple(rows[row].image for row in good), lines=tuple(rows[row].line for row in good), classes=classes,
        truth=np.array([classes.index(rows[row].label or "") for row in good], np.int64),
        probabilities=np.array(shares), units=tuple(part.units[row] for row in good)), failed, _counted(notes)


def _patient(part: MeasuredRows, row: int) -> Patient:
    """Return the files and numbers of a row by name."""
    table = part.table
    numbers = {} if table.clinical is None else dict(zip(table.columns, table.clinical[row].tolist(), strict=True))
    return dict(zip(table.maps, table.files[row], strict=True)) | numbers


def _counted(notes: Iterable[str]) -> list[str]:
    """Return notes that differ in their numbers only as one, with how many rows have it."""
    alike: dict[str, list[str]] = {}
    for note in notes:
        alike.setdefault(re.sub(r"-?[0-9][0-9.,]*", "#", note), []).append(note)
    return [f"{some[0]} ({len(some)} rows)" for some in alike.values()]


def _graded(predictor: VolumePredictor) -> bool | None:
    """Return whether the classes are grades in their order, as where a run's config names them; None: not known."""
    config = predictor.folder.parent / files.CONFIG
    return load_config(VolumeConfig, config).volumes.classes is not None if config.is_file() else None
