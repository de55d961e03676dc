"""Evaluate: a run on a part of its own data, or a bundle on another table, to numbers with intervals. Without torch."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from excite.data.sections import DataSection
from excite.deploy.bundle import find_bundle, read_bundle
from excite.deploy.runtime import Predictor
from excite.errors import DataError, UsageError
from excite.jobs.evaluation_data import (
    Part,
    check_labels,
    is_run,
    overlap,
    part_of_run,
    part_of_table,
    seen_in_training,
)
from excite.jobs.evaluation_files import Predictions, class_table, read_predictions, write
from excite.jobs.mask_file import mask_table
from excite.jobs.mask_rows import measured
from excite.jobs.scenes.evaluate import evaluate_scene
from excite.jobs.volume_masks.evaluate import evaluate_scans
from excite.jobs.volumes.evaluate import evaluate_patients
from excite.jobs.volumes.folds.bundles import bundles_of
from excite.metrics.evaluation import Evaluation
from excite.metrics.evaluation import evaluate as measure
from excite.metrics.mask_evaluation import MaskEvaluation, evaluate_masks
from excite.metrics.mask_image import MILLIMETRES
from excite.metrics.volume_masks import VolumeMaskEvaluation
from excite.outcome.prediction import ClassPrediction, FailedPrediction
from excite.progress import Progress, silent

__all__ = ["evaluate", "read_predictions"]


def evaluate(run_or_bundle: str | Path, data: str | Path | None = None, split: str | None = None, *,
             out: str | Path | None = None, columns: DataSection | None = None, threads: int | None = None,
             batch_size: int | None = None, views: str | None = None, tolerance_mm: float = MILLIMETRES,
             resamples: int = 1000, seed: int = 0, progress: Progress | None = None
             ) -> Evaluation | MaskEvaluation | VolumeMaskEvaluation:
    """Return how good a network is, every number with a 95 % interval from a bootstrap over units.

    Without `data` a run is evaluated on a part of its own split. With `data`, every row of another table counts, or
    those of one part of its split column; units are what its patients and groups connect, else images. Rows and files
    that cannot be used are listed in `failed` of the result, and the rest is evaluated. The truth of a network for
    masks are the masks of the table, in the pixels of the original images. A network for scenes is measured by
    `evaluate_scene`, which takes more, one for volumes by `evaluate_patients` or `evaluate_scans`, which leave the run
    folder as it is.

    Args:
        run_or_bundle: A run folder, or a bundle folder (then `data` is needed).
        data: A table or a folder with labels, or with masks.
        split: "train", "val" or "test"; test for a run, every row for another table.
        out: Folder for evaluation.json and predictions-PART.csv; the run folder otherwise. A bundle alone is left as
            it is, and nothing is written.
        columns: How to read `data`: columns, root, layout.
        threads: CPU threads; all usable cores otherwise.
        batch_size: Images that the network takes at once; None: what is fastest.
        views: "one" or "flip" in place of the bundle's own.
        tolerance_mm: Of the surface Dice of masks.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        UsageError: there is no such part, or a bundle comes without data. ModelError: the bundle cannot be used.
        DataError: labels that the network does not know, a table that cannot be read or has no masks, or no image to
            evaluate.
    """
    progress, source = progress or silent(), Path(run_or_bundle)
    if not 0 <= tolerance_mm < float("inf"):
        raise UsageError(f"tolerance_mm must be a number of at least 0, got {tolerance_mm}")
    task = "volumes" if bundles_of(source) else read_bundle(find_bundle(source), verify=False).task
    columns = columns or DataSection()
    if task == "scene":
        return evaluate_scene(source, data, split, out=out, threads=threads, resamples=resamples, seed=seed,
                              progress=progress)
    if task == "volumes":
        return evaluate_patients(source, data, split, label_col=columns.label_col, patient_col=columns.patient_col,
                                 out=out, threads=threads, resamples=resamples, seed=seed, progress=progress)
    if task == "volume_masks":
        return evaluate_scans(source, data, split, patient_col=columns.patient_col, out=out, threads=threads,
                              resamples=resamples, seed=seed, progress=progress)
    predictor = Predictor(source, threads=threads, views=views)
    if data is None and not is_run(source):
        raise UsageError("a bundle has no data of its own", where=source,
                         fix="name a table with --data, or the run folder")
    masks = predictor.info.of_masks
    if data is None:
        part, notes = part_of_run(source, split or "test", masks=masks), []
    else:
        part = part_of_table(columns.model_copy(update={"table": Path(data)}), split, masks=masks)
        notes = overlap(part, seen_in_training(source, predictor.info.provenance), progress=progress)
    notes = [*notes, *part.notes]
    evaluation: Evaluation | MaskEvaluation
    if masks:
        evaluation = _of_masks(predictor, part, notes, batch_size=batch_size, tolerance_mm=tolerance_mm,
                               resamples=resamples, seed=seed, progress=progress)
        table = mask_table(evaluation)
    else:
        check_labels(part.rows, predictor.info.classes, data or source)
        found, failed, more = _predicted(predictor, part, batch_size, progress)
        evaluation = measure(found.truth, found.probabilities, found.classes, found.units, part=part.name,
                             unit_kind=part.unit_kind, notes=[*notes, *more, *_calibrated(predictor)],
                             failed=[*part.failed, *failed], resamples=resamples, seed=seed, progress=progress)
        table = class_table(found)
    if out is not None or is_run(source):
        numbers, file = write(source if out is None else Path(out), evaluation, table, own=out is None)
        progress.say(f"written: {numbers}, {file}")
    return evaluation


def _of_masks(predictor: Predictor, part: Part, notes: Sequence[str], *, batch_size: int | None, tolerance_mm: float,
              resamples: int, seed: int, progress: Progress) -> MaskEvaluation:
    """Return the numbers of a network for masks on a part."""
    info = predictor.info
    found = measured(predictor, part.rows, part.root, part.units, tolerance_mm=tolerance_mm, batch_size=batch_size,
                     progress=progress)
    if not found.rows:
        raise DataError("no image can be evaluated", where=part.name, why=found.failed[0]["error"],
                        fix="mend the files, or the columns of image and mask paths")
    several = [f"of several classes ({', '.join(info.classes)}) all but the first count as inside: the table's masks "
               "do not tell them apart"] if len(info.classes) > 1 else []
    return evaluate_masks(found.rows, task=info.task, classes=info.classes, part=part.name, unit_kind=part.unit_kind,
                          level=info.level, tolerance_mm=tolerance_mm,
                          promised=info.interval.get("level") if predictor.view == info.views else None,
                          notes=[*notes, *found.notes, *several], failed=[*part.failed, *found.failed],
                          resamples=resamples, seed=seed, progress=progress)


def _predicted(predictor: Predictor, part: Part, batch_size: int | None, progress: Progress
               ) -> tuple[Predictions, list[dict[str, str]], list[str]]:
    """Return the predictions of a part, the files that gave none, and what their readers had to decide."""
    classes = predictor.info.classes
    good, rows, failed = [], [], []
    decided: dict[str, int] = {}
    for place, one in enumerate(predictor.predict(part.paths, batch_size=batch_size)):
        progress.step("evaluating", place + 1, len(part.paths))
        if isinstance(one, ClassPrediction):
            good.append(place)
            rows.append([one.probabilities[name] for name in classes])
            for note in one.notes:
                decided[note] = decided.get(note, 0) + 1
        elif isinstance(one, FailedPrediction):
            failed.append({"file": part.rows[place].image, "error": one.error})
    if not good:
        raise DataError("no image can be evaluated", where=part.name, why=failed[0]["error"],
                        fix="mend the files, or the column of image paths")
    labels = [classes.index(part.rows[place].label or "") for place in good]
    found = Predictions(files=tuple(part.rows[place].image for place in good), classes=classes,
                        lines=tuple(part.rows[place].line for place in good), truth=np.array(labels, np.int64),
                        probabilities=np.array(rows), units=tuple(part.units[place] for place in good))
    return found, failed, [f"{note} ({count} images)" for note, count in sorted(decided.items())]


def _calibrated(predictor: Predictor) -> list[str]:
    """Return how much the probabilities may be believed."""
    temperature = predictor.info.temperature
    if temperature == 1:
        return []
    return [f"probabilities are at temperature {temperature:.3g}, fitted on the validation part, which also chose the "
            "best epoch: on other data they are likely a little too sure"]
