"""What follows training: export with proof, temperature, evaluation of what ships, report."""

import statistics
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.config import dump_yaml
from excite.data.manifest import read_manifest
from excite.data.sections import DataSection
from excite.deploy.bundle import BundleInfo, read_bundle, update_bundle
from excite.deploy.runtime import Predictor
from excite.deploy.ship import export_bundle
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.environment import versions
from excite.jobs.evaluate import evaluate, read_predictions
from excite.jobs.evaluation_files import names
from excite.jobs.gallery import gallery
from excite.jobs.prediction_table import cell
from excite.jobs.prepare import Prepared
from excite.jobs.run_folder import RunFolder
from excite.metrics.calibration import fit_temperature, reliability
from excite.metrics.classification import measure
from excite.metrics.evaluation import Evaluation
from excite.models.cost import Cost, count
from excite.outcome.decode import decode
from excite.progress import Progress
from excite.report.page import ReportData, write_report

TIMED = 21  # single images; the median of their milliseconds is reported


def finish(run: RunFolder, prepared: Prepared, fitted: Fit, *, images: bool, simulated: bool | None,
           progress: Progress) -> tuple[Evaluation, Path]:
    """Export, prove, calibrate, evaluate on the test part and report; return the evaluation and the report's path.

    Everything measured here is measured on the exported bundle, the thing that will predict.
    """
    bundle, threads = run.path / files.BUNDLE, prepared.config.loop.threads
    cost = count(prepared.model, (prepared.preprocess.section.channels, *[prepared.preprocess.section.size] * 2))
    _export(run, prepared, fitted, cost, simulated=simulated, progress=progress)
    logits, truth = _logits(Predictor(bundle, threads=threads), prepared, "val", progress)
    temperature = fit_temperature(logits, truth)
    provenance = read_bundle(bundle).provenance | {"temperature": temperature.to_json()}
    update_bundle(bundle, temperature=temperature.value, provenance=provenance)
    evaluation = evaluate(run.path, split="test", threads=threads, progress=progress)
    info = update_bundle(bundle, metrics=evaluation.to_json())
    predictor = Predictor(bundle, threads=threads)
    logits, truth = _logits(predictor, prepared, "test", progress)
    report = write_report(run.path / files.REPORT, _report(
        run, prepared, fitted, evaluation, info, temperature=temperature.to_json(),
        raw=decode(logits, classes=prepared.classes), truth=truth, simulated=simulated,
        cost={"parameters": cost.parameters, "macs": cost.macs, "milliseconds": _milliseconds(predictor, prepared),
              "threads": predictor.threads, "input": _input(prepared)}), images=images)
    run.log({"event": "done", "best_epoch": fitted.best_epoch, "temperature": temperature.value})
    return evaluation, report


def _export(run: RunFolder, prepared: Prepared, fitted: Fit, cost: Cost, *, simulated: bool | None,
            progress: Progress) -> None:
    config, split = prepared.config, prepared.split
    step = max(1, len(split.val) // config.predict.parity_images)
    some = split.val[::step][: config.predict.parity_images]
    loaded = prepared.weights
    info = BundleInfo(
        name=f"{config.model.name} on {prepared.manifest.source.stem}", classes=prepared.classes,
        model=prepared.model_record, preprocess=prepared.preprocess.to_json(), views=config.predict.views,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={
            "data": {"simulated": "not stated" if simulated is None else simulated,
                     **{f"{part} images": len(rows) for part, rows in split.parts.items()},
                     "kept together": split.unit_kind, "remarks": "; ".join(split.notes)},
            "weights": {"start": loaded.text() if loaded else "random values", "licence": prepared.licence},
            "seed": config.seed, "best_epoch": fitted.best_epoch, "parameters": cost.parameters, "macs": cost.macs,
            "versions": versions(),
            # Enough to see that a picture of another table was trained on, and too little to be a picture.
            "train_hashes": sorted(prepared.cache.fingerprints[row].content[:16] for row in split.train)})
    export_bundle(prepared.model, run.path / files.BUNDLE, info=info, images=prepared.inputs(some),
                  files=[prepared.manifest.path(prepared.manifest.rows[row]) for row in some], progress=progress)


def _logits(predictor: Predictor, prepared: Prepared, part: str,
            progress: Progress) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the bundle's logits on a part, (views, N, K), and the true classes."""
    batches, views, truth = prepared.loader(part), [], []
    for done, batch in enumerate(batches.batches(0), start=1):
        views.append(predictor.views(np.ascontiguousarray(batch.images.numpy())))
        truth.append(batch.labels.numpy())
        progress.step(f"calibration, {part}", done, batches.steps)
    return np.concatenate(views, axis=1), np.concatenate(truth)


def _milliseconds(predictor: Predictor, prepared: Prepared) -> float:
    """Return the median time of one image through the bundle's network, preprocessing left out."""
    image = prepared.inputs(prepared.split.test[:1])
    taken = []
    for _ in range(TIMED):
        began = time.perf_counter()
        predictor.logits(image)
        taken.append((time.perf_counter() - began) * 1e3)
    return statistics.median(taken)


def _report(run: RunFolder, prepared: Prepared, fitted: Fit, evaluation: Evaluation, info: BundleInfo, *,
            temperature: dict[str, Any], raw: NDArray[np.float64], truth: NDArray[np.int64], cost: dict[str, Any],
            simulated: bool | None) -> ReportData:
    config, split, manifest = prepared.config, prepared.split, prepared.manifest
    found = read_predictions(run.path / names("test", own=True)[1], prepared.classes)
    own = read_manifest(DataSection(table=run.path / files.MANIFEST, layout="table")).rows
    place = {cell(row.image, path=True): number for number, row in enumerate(own)}
    rows = [place[name] for name in found.files]
    grid, worst = gallery(prepared.cache, prepared.preprocess, rows, found.files, found.truth.tolist(),
                          found.probabilities, prepared.classes)
    before = measure(truth, raw, prepared.classes)
    return ReportData(
        title=f"{config.model.name} on {manifest.source.stem}", simulated=bool(simulated),
        lead=_lead(prepared, evaluation), classes=prepared.classes, unit_kind=split.unit_kind,
        evaluation=evaluation.to_json(),
        counts={part: dict(zip(prepared.classes, prepared.counts(part), strict=True)) for part in split.parts},
        units={part: len({split.units[row] for row in rows}) for part, rows in split.parts.items()},
        recipe=dump_yaml(config), split_notes=(*split.notes, *manifest.notes),
        leaks=[vars(fault) for fault in prepared.leaks], reasons=prepared.reasons,
        curves={config.schedule.name: fitted.history}, temperature=temperature, grid=grid,
        reliability_before=reliability(truth, raw),
        calibration_before={name: before[name] or 0.0 for name in ("ece", "nll")},
        worst=worst, cost=cost, weights=prepared.weights.text() if prepared.weights else "random values",
        environment=run.read_json(files.ENVIRONMENT), parity=info.parity, limits=_limits(config.augment.enabled),
        next_commands=[(f"excite predict {run.path} IMAGES", "predict files, folders or tables"),
                       (f"excite evaluate {run.path / files.BUNDLE} --data TABLE", "measure it on other data"),
                       (f"excite evaluate {run.path} --split val", "the same numbers on the validation part")],
        created=info.created)


def _lead(prepared: Prepared, evaluation: Evaluation) -> str:
    one = evaluation.metrics["balanced_accuracy"]
    return (f"{prepared.config.model.name} was trained on {len(prepared.split.train)} images to tell "
            f"{', '.join(prepared.classes)} apart. On {evaluation.n} test images it has never seen, its balanced "
            f"accuracy is {one.text()} (95 % interval over {evaluation.n_units} units: {evaluation.unit_kind}).")


def _limits(augmented: bool) -> list[str]:
    found = ["One test part, one seed: another split or seed gives other numbers inside and beyond these intervals.",
             "The best epoch was chosen on the validation part, whose own numbers are therefore optimistic."]
    if not augmented:
        found.append("The training saw every image as it is: no augmentation.")
    return found


def _input(prepared: Prepared) -> str:
    section = prepared.preprocess.section
    return f"{section.channels} x {section.size} x {section.size}"
