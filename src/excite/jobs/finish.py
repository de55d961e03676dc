"""What follows training: export with proof, calibration, evaluation of what ships, report."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.manifest import read_manifest
from excite.data.sections import DataSection
from excite.deploy.bundle import BundleInfo, read_bundle, update_bundle
from excite.deploy.runtime import Predictor
from excite.engine.loop import Fit
from excite.errors import ModelError
from excite.jobs import run_folder as files
from excite.jobs.evaluate import evaluate, read_predictions
from excite.jobs.evaluation_files import names
from excite.jobs.finish_masks import finish_masks
from excite.jobs.gallery import gallery
from excite.jobs.kinds import of_masks
from excite.jobs.prediction_table import cell
from excite.jobs.prepare import Prepared
from excite.jobs.run_folder import RunFolder
from excite.jobs.shipped import cost_of, export_run, told
from excite.metrics.calibration import fit_temperature, reliability
from excite.metrics.classification import measure
from excite.metrics.evaluation import Evaluation
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.models.cost import count
from excite.outcome.decode import decode
from excite.progress import Progress
from excite.report.page import ReportData, write_report


def finish(run: RunFolder, prepared: Prepared, fitted: Fit, *, images: bool, simulated: bool | None,
           progress: Progress) -> tuple[Evaluation | MaskEvaluation, Path]:
    """Export, prove, calibrate, evaluate on the test part and report; return the evaluation and the report's path.

    Everything measured here is measured on the exported bundle, the thing that will predict.
    """
    bundle, threads = run.path / files.BUNDLE, prepared.config.loop.threads
    cost = count(prepared.model, prepared.shape)
    export_run(run, prepared, fitted, cost, simulated=simulated, progress=progress)
    if of_masks(prepared.kind):
        return finish_masks(run, prepared, fitted, cost, images=images, simulated=simulated, progress=progress)
    logits, truth = _logits(Predictor(bundle, threads=threads), prepared, "val", progress)
    temperature = fit_temperature(logits, truth)
    provenance = read_bundle(bundle).provenance | {"temperature": temperature.to_json()}
    update_bundle(bundle, temperature=temperature.value, provenance=provenance)
    evaluation = evaluate(run.path, split="test", threads=threads, progress=progress)
    if not isinstance(evaluation, Evaluation):
        raise ModelError("the bundle is not one of a classifier", where=bundle, fix="train again in a new folder")
    info = update_bundle(bundle, metrics=evaluation.to_json())
    predictor = Predictor(bundle, threads=threads)
    logits, truth = _logits(predictor, prepared, "test", progress)
    report = write_report(run.path / files.REPORT, _report(
        run, prepared, fitted, evaluation, info, temperature=temperature.to_json(),
        raw=decode(logits, classes=prepared.classes), truth=truth, simulated=simulated,
        cost=cost_of(prepared, cost, predictor)), images=images)
    run.log({"event": "done", "best_epoch": fitted.best_epoch, "temperature": temperature.value})
    return evaluation, report


def _logits(predictor: Predictor, prepared: Prepared, part: str,
            progress: Progress) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the bundle's logits on a part, (views, N, K), and the true classes."""
    batches, views, truth = prepared.loader(part), [], []
    for done, batch in enumerate(batches.batches(0), start=1):
        views.append(predictor.views(np.ascontiguousarray(batch.images.numpy())))
        truth.append(batch.labels.numpy())
        progress.step(f"calibration, {part}", done, batches.steps)
    return np.concatenate(views, axis=1), np.concatenate(truth)


def _report(run: RunFolder, prepared: Prepared, fitted: Fit, evaluation: Evaluation, info: BundleInfo, *,
            temperature: dict[str, Any], raw: NDArray[np.float64], truth: NDArray[np.int64], cost: dict[str, Any],
            simulated: bool | None) -> ReportData:
    found = read_predictions(run.path / names("test", own=True)[1], prepared.classes)
    own = read_manifest(DataSection(table=run.path / files.MANIFEST, layout="table")).rows
    place = {cell(row.image, path=True): number for number, row in enumerate(own)}
    rows = [place[name] for name in found.files]
    grid, worst = gallery(prepared.cache, prepared.preprocess, rows, found.files, found.truth.tolist(),
                          found.probabilities, prepared.classes)
    before = measure(truth, raw, prepared.classes)
    return ReportData(
        simulated=bool(simulated), lead=_lead(prepared, evaluation), classes=prepared.classes,
        evaluation=evaluation.to_json(),
        counts={part: dict(zip(prepared.classes, prepared.counts(part), strict=True)) for part in prepared.split.parts},
        temperature=temperature, grid=grid, reliability_before=reliability(truth, raw),
        calibration_before={name: before[name] or 0.0 for name in ("ece", "nll")}, worst=worst, cost=cost,
        next_commands=[(f"excite predict {run.path} IMAGES", "predict files, folders or tables"),
                       (f"excite evaluate {run.path / files.BUNDLE} --data TABLE", "measure it on other data"),
                       (f"excite evaluate {run.path} --split val", "the same numbers on the validation part")],
        **told(run, prepared, fitted, info))


def _lead(prepared: Prepared, evaluation: Evaluation) -> str:
    one = evaluation.metrics["balanced_accuracy"]
    return (f"{prepared.network} was trained on {len(prepared.split.train)} images to tell "
            f"{', '.join(prepared.classes)} apart. On {evaluation.n} test images it has never seen, its balanced "
            f"accuracy is {one.text()} (95 % interval over {evaluation.n_units} units: {evaluation.unit_kind}).")
