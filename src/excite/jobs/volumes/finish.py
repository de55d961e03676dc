"""What follows a training on volumes: bundle, temperature, numbers of what ships, report."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from excite.config import dump_yaml
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, read_bundle, update_bundle, write_bundle
from excite.deploy.export import export
from excite.deploy.parity import parity
from excite.deploy.volume_predictor import VolumePredictor
from excite.engine.contracts import inputs_of
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.environment import versions
from excite.jobs.run_folder import RunFolder
from excite.jobs.shipped import limits
from excite.jobs.volumes.attention import mean_attention
from excite.jobs.volumes.left_out import left_out
from excite.jobs.volumes.pictures import patient_pictures
from excite.jobs.volumes.prepare import PreparedVolumes
from excite.jobs.volumes.tested_table import table_of_tested
from excite.metrics.calibration import Temperature, fit_temperature, reliability
from excite.metrics.classification import measure
from excite.metrics.evaluation import Evaluation, evaluate
from excite.models.cost import count
from excite.outcome.decode import decode
from excite.progress import Progress
from excite.report.volume_page import PatientPicture, VolumeReportData, write_volume_report

PROVED = 16  # validation patients that the export is proved on
PREDICTIONS = "predictions-test.csv"
WORTH = "maps-test.json"


def finish_volumes(run: RunFolder, prepared: PreparedVolumes, fitted: Fit, *, images: bool = True,
                   simulated: bool | None, progress: Progress) -> tuple[Evaluation, Path]:
    """Export, prove, calibrate, evaluate the test part and report.

    Everything measured here is measured on the exported bundle, the thing that will predict; attention alone, which no
    bundle gives, comes from the trained network.

    Args:
        images: Put slices of patients into the report.
    """
    bundle = run.path / files.BUNDLE
    _export(run, prepared, fitted, simulated, progress)
    predictor = VolumePredictor(bundle, threads=prepared.config.loop.threads)
    logits, truth = logits_of(predictor, prepared, "val")
    temperature = fit_temperature(logits[None], truth)
    update_bundle(bundle, temperature=temperature.value,
                  provenance=read_bundle(bundle).provenance | {"temperature": temperature.to_json()})
    raw, truth = logits_of(predictor, prepared, "test")
    shares = decode(raw[None], classes=prepared.classes, temperature=temperature.value)
    split = prepared.split
    evaluated = [split.units[row] for row in split.test]
    evaluation = evaluate(truth, shares, prepared.classes, evaluated, part="test", unit_kind=split.unit_kind,
                          notes=split.notes, sample=prepared.sample, progress=progress)
    run.write_json(files.EVALUATION, evaluation.to_json())
    info = update_bundle(bundle, metrics=evaluation.to_json())
    lines = [prepared.table.manifest.rows[row].line for row in split.test]
    run.write(PREDICTIONS, table_of_tested(prepared.classes, lines, truth, shares, raw))
    test = prepared.batches("test")
    progress.say("leaving out each map of the test part")
    worth = left_out(predictor, test.batches(0), raw, truth, evaluated, temperature=temperature.value)
    attention = mean_attention(prepared.model, test, prepared.preprocess.maps)
    run.write_json(WORTH, {"left_out": [one.to_json() for one in worth],
                           "attention": None if attention is None else attention.to_json()})
    data = _report(run, prepared, fitted, evaluation, info, temperature, decode(raw[None], classes=prepared.classes),
                   truth, simulated=bool(simulated))
    data = replace(data, worth=[one.to_json() for one in worth], patients=_patients(prepared, truth, shares),
                   attention=None if attention is None else attention.to_json())
    report = write_volume_report(run.path / files.REPORT, data, images=images)
    run.log({"event": "done", "best_epoch": fitted.best_epoch, "temperature": temperature.value})
    return evaluation, report


def logits_of(predictor: VolumePredictor, prepared: PreparedVolumes, part: str
              ) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the bundle's logits on a part, (N, K), and the true classes."""
    batches = [(predictor.logits(*(one.numpy() for one in inputs_of(batch))), batch.labels.numpy())
               for batch in prepared.batches(part).batches(0)]
    return np.concatenate([one for one, _ in batches]), np.concatenate([one for _, one in batches])


def _export(run: RunFolder, prepared: PreparedVolumes, fitted: Fit, simulated: bool | None, progress: Progress) -> None:
    """Write the bundle, proved on patients of the validation part."""
    config, split, loaded = prepared.config, prepared.split, prepared.weights
    some = split.val[::max(1, len(split.val) // PROVED)][:PROVED]
    cost = count(prepared.model, prepared.shape)
    info = BundleInfo(
        name=f"{prepared.network} on {prepared.table.manifest.source.stem}", classes=prepared.classes, task="volumes",
        model=prepared.model_record, preprocess=prepared.preprocess.to_json(),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        provenance={
            "data": {"simulated": "not stated" if simulated is None else simulated,
                     **{f"{part} rows": len(rows) for part, rows in split.parts.items()},
                     **{f"rows without {name}": lost for name, lost in prepared.table.missing.items()},
                     "kept together": split.unit_kind, "remarks": "; ".join(split.notes)},
            "reading": prepared.how._asdict(),
            "weights": {"start": loaded.text() if loaded else "random values", "licence": None},
            "seed": config.seed, "best_epoch": fitted.best_epoch, "parameters": cost.parameters, "macs": cost.macs,
            "versions": versions(),
            "train_hashes": sorted(set().union(*map(prepared.store.marks, split.train)))})
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        scratch = Path(place)
        progress.say("exporting to ONNX")
        export(prepared.model, scratch / ONNX, size=prepared.preprocess.shape, channels=len(prepared.preprocess.maps),
               clinical=len(prepared.preprocess.clinical))
        rows, clinical, names = proved(prepared, some)
        proof = parity(prepared.model, scratch / ONNX, prepared.inputs(rows), clinical=clinical, names=names,
                       batch_size=2)
        progress.say(f"parity: {proof.text()}")
        proof = replace(proof, n=len(some))  # patients, each of whom may have come twice
        save_file({key: value.detach().contiguous().clone() for key, value in prepared.model.state_dict().items()},
                  scratch / WEIGHTS)
        write_bundle(run.path / files.BUNDLE, replace(info, parity=proof.to_json()), weights=scratch / WEIGHTS,
                     onnx=scratch / ONNX)


def proved(prepared: PreparedVolumes, some: Sequence[int]
            ) -> tuple[list[int], NDArray[np.float32] | None, list[str]]:
    """Return rows to prove the export on, their clinical values, and their names.

    Where there are clinical columns, each row comes again without one of them, and some without any: a missing value
    has to come through the graph as missing.
    """
    names = [f"line {prepared.table.manifest.rows[row].line}" for row in some]
    clinical = prepared.clinical(some)
    if clinical is None:
        return list(some), None, names
    columns, gone = prepared.preprocess.columns, clinical.copy()
    for place, name in enumerate(names):
        lost = place % (len(columns) + 1)
        gone[place, [lost] if lost < len(columns) else range(len(columns))] = np.nan
        names = [*names, f"{name} without {columns[lost] if lost < len(columns) else 'clinical values'}"]
    return [*some, *some], np.concatenate([clinical, gone]), names


def _patients(prepared: PreparedVolumes, truth: NDArray[np.int64], shares: NDArray[np.float64]
              ) -> list[PatientPicture]:
    rows = prepared.split.test
    return patient_pictures([prepared.store.values[row] for row in rows], prepared.preprocess,
                            [f"line {prepared.table.manifest.rows[row].line}" for row in rows], truth.tolist(), shares,
                            prepared.classes)


def _report(run: RunFolder, prepared: PreparedVolumes, fitted: Fit, evaluation: Evaluation, info: BundleInfo,
            temperature: Temperature, raw: NDArray[np.float64], truth: NDArray[np.int64], *, simulated: bool
            ) -> VolumeReportData:
    config, split = prepared.config, prepared.split
    before = measure(truth, raw, prepared.classes)
    return VolumeReportData(
        title=f"{prepared.network} on {prepared.table.manifest.source.stem}", simulated=simulated,
        lead=_lead(prepared, evaluation), classes=prepared.classes, evaluation=evaluation.to_json(),
        counts={part: prepared.counts(part) for part in split.parts}, unit_kind=split.unit_kind,
        units={part: len({split.units[row] for row in rows}) for part, rows in split.parts.items()},
        recipe=dump_yaml(config), split_notes=split.notes, leaks=[vars(fault) for fault in prepared.leaks],
        reasons=prepared.reasons, doubts=[one.told() for one in prepared.doubts], sample=prepared.sample,
        curves={config.schedule.name: fitted.history},
        weights=prepared.weights.text() if prepared.weights else "random values", parity=info.parity,
        environment=run.read_json(files.ENVIRONMENT), created=info.created,
        limits=[text.replace("every image", f"every {prepared.sample}") for text in limits(config.augment.enabled)],
        cost={"parameters": info.provenance["parameters"], "macs": info.provenance["macs"],
              "input": " x ".join(map(str, prepared.shape))},
        temperature={"value": temperature.value, "nll_before": temperature.nll_before,
                     "nll_after": temperature.nll_after, "n": temperature.n},
        reliability_before=reliability(truth, raw),
        calibration_before={name: before[name] or 0.0 for name in ("ece", "nll")},
        next_commands=[(f"excite predict {run.path} TABLE", "predict the patients of another table")])


def _lead(prepared: PreparedVolumes, evaluation: Evaluation) -> str:
    one, maps, columns = evaluation.metrics["balanced_accuracy"], prepared.preprocess.maps, prepared.preprocess.columns
    beside = f" and {', '.join(columns)}" if columns else ""
    return (f"{prepared.network} was trained on {len(prepared.split.train)} {prepared.sample}s with the maps "
            f"{', '.join(maps)}{beside} to tell {', '.join(prepared.classes)} apart. On {evaluation.n} test "
            f"{prepared.sample}s it has never seen, its balanced accuracy is {one.text()} (95 % interval over "
            f"{evaluation.n_units} units: {evaluation.unit_kind}).")
