"""What follows training: export with proof, temperature, evaluation of what ships, report."""

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from excite.config import dump_yaml
from excite.deploy.bundle import BundleInfo, update_bundle
from excite.deploy.ship import export_bundle
from excite.deploy.runtime import Predictor
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.environment import versions
from excite.jobs.evaluate import evaluate, read_predictions
from excite.jobs.gallery import gallery
from excite.jobs.prepare import Prepared
from excite.jobs.run_folder import RunFolder
from excite.metrics.calibration import Temperature, fit_temperature
from excite.metrics.evaluation import Evaluation
from excite.models.cost import Cost, count
from excite.progress import Progress
from excite.report.page import ReportData, write_report

TIMED = 21  # single images, the median of their milliseconds is reported


def finish(run: RunFolder, prepared: Prepared, fitted: Fit, *, images: bool, simulated: bool,
           progress: Progress) -> tuple[Evaluation, Path]:
    """Export, prove, calibrate, evaluate on the test part and report; return the evaluation and the report's path.

    Everything measured here is measured on the exported bundle, the thing that will predict.
    """
    bundle = run.path / files.BUNDLE
    cost = count(prepared.model, (prepared.preprocess.section.channels, *[prepared.preprocess.section.size] * 2))
    _export(run, prepared, fitted, cost, simulated=simulated, progress=progress)
    threads = prepared.config.loop.threads
    temperature = _calibrate(Predictor(bundle, threads=threads), prepared, progress)
    update_bundle(bundle, temperature=temperature.value)
    evaluation = evaluate(run.path, split="test", progress=progress)
    update_bundle(bundle, metrics=evaluation.to_json())
    timed = _milliseconds(Predictor(bundle, threads=threads), prepared)
    report = _report(run, prepared, evaluation, temperature, cost, timed, images=images, simulated=simulated)
    run.log({"event": "done", "best_epoch": fitted.best_epoch, "temperature": temperature.value})
    return evaluation, report


def _export(run: RunFolder, prepared: Prepared, fitted: Fit, cost: Cost, *, simulated: bool,
            progress: Progress) -> None:
    config, split = prepared.config, prepared.split
    some = split.val[:: max(1, len(split.val) // config.predict.parity_images)][: config.predict.parity_images]
    info = BundleInfo(
        name=f"{config.model.name} on {run.path.name}", classes=prepared.classes, model=prepared.model_record,
        preprocess=prepared.preprocess.to_json(), views=config.predict.views,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={
            "simulated": simulated, "images": {part: len(rows) for part, rows in split.parts.items()},
            "unit_kind": split.unit_kind, "notes": list(split.notes), "seed": config.seed,
            "best_epoch": fitted.best_epoch, "parameters": cost.parameters, "macs": cost.macs,
            "weights": prepared.weights.text() if prepared.weights else "random values",
            "versions": versions(),
            # Enough to see that a picture of another table was trained on, and too little to be a picture.
            "train_hashes": sorted(prepared.cache.fingerprints[row].content[:16] for row in split.train)})
    export_bundle(prepared.model, run.path / files.BUNDLE, info=info, images=prepared.inputs(some),
                  files=[prepared.manifest.path(prepared.manifest.rows[row]) for row in some], progress=progress)


def _calibrate(predictor: Predictor, prepared: Prepared, progress: Progress) -> Temperature:
    """Fit the temperature on the validation part, through the bundle."""
    batches, views, truth = prepared.loader("val"), [], []
    for done, batch in enumerate(batches.batches(0), start=1):
        views.append(predictor.views(np.ascontiguousarray(batch.images.numpy())))
        truth.append(batch.labels.numpy())
        progress.step("calibrating", done, batches.steps)
    return fit_temperature(np.concatenate(views, axis=1), np.concatenate(truth))


def _milliseconds(predictor: Predictor, prepared: Prepared) -> float:
    """Return the median time of one image through the bundle's network, preprocessing left out."""
    image = prepared.inputs(prepared.split.test[:1])
    taken = []
    for _ in range(TIMED):
        began = time.perf_counter()
        predictor.logits(image)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)


def _report(run: RunFolder, prepared: Prepared, evaluation: Evaluation, temperature: Temperature, cost: Cost,
            milliseconds: float, *, images: bool, simulated: bool) -> Path:
    raise SystemExit("later")
