"""What follows a training on label volumes: bundle, proof, numbers of what ships on whole scans, report."""

import csv
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from safetensors.torch import save_file

from excite.config import dump_yaml
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, update_bundle, write_bundle
from excite.deploy.export import export
from excite.deploy.parity import INPUT_LIMIT
from excite.deploy.parity_labels import label_parity
from excite.deploy.volume_mask_predictor import VolumeMaskPredictor
from excite.engine.loop import Fit
from excite.errors import ParityError
from excite.jobs import run_folder as files
from excite.jobs.environment import versions
from excite.jobs.run_folder import RunFolder
from excite.jobs.shipped import limits, milliseconds
from excite.jobs.volume_masks.measured import measured
from excite.jobs.volume_masks.pictures import pictures
from excite.jobs.volume_masks.prepare import PreparedMasks
from excite.metrics.volume_masks import VolumeMaskEvaluation, evaluate_volume_masks
from excite.models.cost import Cost, count
from excite.progress import Progress
from excite.report.volume_mask_page import VolumeMaskReportData, write_volume_mask_report
from excite.report.volume_mask_pictures import ScanPicture

PROVED = 8   # validation scans that the export is proved on
TIMED = 5    # patches; the median of their milliseconds is reported
NUMBERS = "test-scans.csv"


def finish_masks(run: RunFolder, prepared: PreparedMasks, fitted: Fit, *, images: bool, simulated: bool | None,
                 progress: Progress) -> tuple[VolumeMaskEvaluation, Path]:
    """Export, prove, evaluate the test part with the exported bundle, report."""
    cost = count(prepared.model, prepared.shape)
    _export(run, prepared, fitted, cost, simulated, progress)
    predictor = VolumeMaskPredictor(run.path / files.BUNDLE, threads=prepared.config.loop.threads)
    evaluation = _evaluate(predictor, prepared, progress)
    info = update_bundle(run.path / files.BUNDLE, metrics=evaluation.to_json())
    run.write_json(files.EVALUATION, evaluation.to_json())
    _write_numbers(run, evaluation)
    grid, worst = pictures(predictor, prepared.table, evaluation.rows) if images else ([], [])
    with run.writing(files.REPORT) as file:
        report = write_volume_mask_report(file, _report(run, prepared, fitted, evaluation, info, predictor, cost,
                                                        simulated=bool(simulated), pictures=(grid, worst)),
                                          images=images)
    run.log({"event": "done", "best_epoch": fitted.best_epoch})
    return evaluation, report


def _export(run: RunFolder, prepared: PreparedMasks, fitted: Fit, cost: Cost, simulated: bool | None,
            progress: Progress) -> None:
    """Write the bundle, proved on scans of the validation part."""
    config, split, loaded, table = prepared.config, prepared.split, prepared.weights, prepared.table
    some = split.val[::max(1, len(split.val) // PROVED)][:PROVED]
    info = BundleInfo(
        name=f"{prepared.network} on {table.manifest.source.stem}", classes=prepared.classes.names,
        task="volume_masks", model=prepared.model_record, preprocess=prepared.preprocess.to_json(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={
            "data": {"simulated": "not stated" if simulated is None else simulated,
                     **{f"{part} scans": len(rows) for part, rows in split.parts.items()},
                     "kept together": split.unit_kind, "remarks": "; ".join(split.notes)},
            "reading": {"series": config.volumes.series, "gaps": config.volumes.gaps},
            "weights": {"start": loaded.text() if loaded else "random values", "licence": None},
            "seed": config.seed, "best_epoch": fitted.best_epoch, "parameters": cost.parameters, "macs": cost.macs,
            "versions": versions(),
            "train_hashes": sorted(prepared.store.entries[row].voxels[:16] for row in split.train)})
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        scratch = Path(place)
        progress.say("exporting to ONNX")
        export(prepared.model, scratch / ONNX, size=prepared.preprocess.patch, channels=len(table.maps), maps=True)
        proof = label_parity(prepared.model, scratch / ONNX, prepared.inputs(some), progress=progress,
                             names=[f"line {table.manifest.rows[row].line}" for row in some])
        progress.say(f"parity: {proof.text()}")
        save_file({key: value.detach().contiguous().clone() for key, value in prepared.model.state_dict().items()},
                  scratch / WEIGHTS)
        write_bundle(scratch / "bundle", info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)
        _same_input(VolumeMaskPredictor(scratch / "bundle", threads=1), prepared, some[:2])
        write_bundle(run.path / files.BUNDLE, replace(info, parity=proof.to_json()), weights=scratch / WEIGHTS,
                     onnx=scratch / ONNX)


def _same_input(predictor: VolumeMaskPredictor, prepared: PreparedMasks, rows: tuple[int, ...]) -> None:
    """Check that the bundle prepares files as the training did.

    Raises:
        ParityError: it makes other values of a file.
    """
    for row in rows:
        table = prepared.table
        got = predictor.preprocess.on_grid(predictor.read(dict(zip(table.maps, table.files[row], strict=True))))
        stored = np.asarray(prepared.store.scan(row))
        ours, theirs = (process.normalise(one, process.lines(one)) for process, one in
                        ((prepared.preprocess, stored), (predictor.preprocess, got)))
        far = float(np.abs(ours - theirs).max()) if ours.shape == theirs.shape else float("inf")
        if not far <= INPUT_LIMIT:
            raise ParityError("the bundle prepares a scan otherwise than the training did",
                              where=f"line {table.manifest.rows[row].line}",
                              why=f"voxels differ by up to {far:.3g}, limit {INPUT_LIMIT:g}",
                              fix="the file changed since the training began: train again in a new folder")


def _evaluate(predictor: VolumeMaskPredictor, prepared: PreparedMasks, progress: Progress) -> VolumeMaskEvaluation:
    split = prepared.split
    rows, failed = measured(predictor, prepared.table, split.test, split.units, progress=progress)
    return evaluate_volume_masks(rows, classes=prepared.classes.names, part="test", unit_kind=split.unit_kind,
                                 failed=failed, notes=prepared.classes.lacking(prepared.store, split))


def _write_numbers(run: RunFolder, evaluation: VolumeMaskEvaluation) -> None:
    """Write a line a test scan and class: voxels and every number."""
    names = list(evaluation.metrics)
    with run.writing(NUMBERS) as file, file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["line", "class", "true_voxels", "predicted_voxels", *names])
        for row in evaluation.rows:
            for name, one in row.classes.items():
                values = [one.scores.get(key) for key in names]
                table.writerow([row.line, name, one.truth, one.predicted,
                                *("" if value is None else f"{value:.6f}" for value in values)])


def _report(run: RunFolder, prepared: PreparedMasks, fitted: Fit, evaluation: VolumeMaskEvaluation, info: BundleInfo,
            predictor: VolumeMaskPredictor, cost: Cost, *, simulated: bool,
            pictures: tuple[list[ScanPicture], list[ScanPicture]]) -> VolumeMaskReportData:
    config, split = prepared.config, prepared.split
    return VolumeMaskReportData(
        title=f"{prepared.network} on {prepared.table.manifest.source.stem}", simulated=simulated,
        lead=_lead(prepared, evaluation), evaluation=evaluation, grid=pictures[0], worst=pictures[1],
        counts={part: prepared.counts(part) for part in split.parts}, unit_kind=split.unit_kind,
        scans={part: len(rows) for part, rows in split.parts.items()},
        units={part: len({split.units[row] for row in rows}) for part, rows in split.parts.items()},
        recipe=dump_yaml(config), split_notes=split.notes, leaks=[vars(fault) for fault in prepared.leaks],
        reasons=prepared.reasons, curves={config.schedule.name: fitted.history},
        weights=prepared.weights.text() if prepared.weights else "random values", parity=info.parity,
        environment=run.read_json(files.ENVIRONMENT), limits=limits(config.augment.enabled), created=info.created,
        cost={"parameters": cost.parameters, "macs": cost.macs, "input": " x ".join(map(str, prepared.shape)),
              "milliseconds": milliseconds(predictor, prepared.inputs(prepared.split.test[:1]), times=TIMED),
              "threads": predictor.threads},
        next_commands=[(f"excite predict {run.path} SCAN.nii.gz --out FOLDER",
                        "label scans, on their own grids")])


def _lead(prepared: PreparedMasks, evaluation: VolumeMaskEvaluation) -> str:
    """Return what was trained and how good it is, in two sentences."""
    each = ", ".join(f"{of['dice'].text()} for {name}" for name, of in evaluation.per_class.items())
    return (f"{prepared.network} was trained on {len(prepared.split.train)} scans to label "
            f"{', '.join(prepared.classes.names[1:])}. On {evaluation.n} test scans it has never seen, its Dice is "
            f"{each} (95 % intervals over {evaluation.n_units} units: {evaluation.unit_kind}).")
