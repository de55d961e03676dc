"""What follows a training on a scene: bundle, temperature, maps, numbers of what ships, baselines, report."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from excite.config import dump_yaml
from excite.data.scenes.label_files import write_labels
from excite.data.scenes.labels import LabelMap
from excite.data.scenes.windows import pad_scene, window_view
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, read_bundle, update_bundle, write_bundle
from excite.deploy.scene_network import export_scene
from excite.deploy.scene_predictor import TILE, ScenePredictor, labelled
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.environment import versions
from excite.jobs.run_folder import RunFolder
from excite.jobs.scene_baselines import Baseline, in_pairs, run_baselines, units_of
from excite.jobs.scene_prepare import PreparedScene
from excite.jobs.shipped import limits
from excite.metrics.calibration import Temperature, fit_temperature, reliability
from excite.metrics.evaluation import Evaluation, evaluate
from excite.models.cost import count
from excite.outcome.decode import softmax
from excite.progress import Progress
from excite.report.scene_figures import Spectra, false_colour
from excite.report.scene_page import SceneReportData, write_scene_report
from excite.tiling import Tile, tiles

PROVED = 64  # validation windows that the export is proved on
UNITS = {"block": "spatial block", "random": "pixel", "given": "connected region"}
LABELS, CONFIDENCE, PARTS = "prediction.png", "confidence.npy", "parts.npy"


def finish_scene(run: RunFolder, prepared: PreparedScene, fitted: Fit, *, images: bool, simulated: bool | None,
                 progress: Progress) -> tuple[Evaluation, dict[str, Baseline], Path]:
    """Export, prove, calibrate, map the scene, evaluate its test pixels, run the baselines, report.

    Everything measured here is measured on the exported bundle, the thing that will predict.
    """
    bundle = run.path / files.BUNDLE
    _export(run, prepared, fitted, simulated, progress)
    predictor = ScenePredictor(bundle, threads=prepared.config.loop.threads)
    temperature = fit_temperature(logits_at(predictor, prepared, "val"), prepared.truth("val"))
    update_bundle(bundle, temperature=temperature.value,
                  provenance=read_bundle(bundle).provenance | {"temperature": temperature.to_json()})
    predictor = ScenePredictor(bundle, threads=prepared.config.loop.threads)
    began = time.perf_counter()
    labels, confidence, shares = _mapped(predictor, prepared, progress)
    seconds = sum(epoch["seconds"] for epoch in fitted.history) + time.perf_counter() - began
    _write_maps(run, prepared, labels, confidence)
    notes = [f"the scene was split by {UNITS[prepared.split.kind]}", *prepared.split.notes]
    evaluation = evaluate(prepared.truth("test"), shares, prepared.classes, units_of(prepared), part="test",
                          unit_kind=UNITS[prepared.split.kind], notes=notes, sample="pixel", progress=progress)
    run.write_json(files.EVALUATION, evaluation.to_json())
    update_bundle(bundle, metrics=evaluation.to_json())
    baselines = run_baselines(prepared, run.path, progress=progress)
    report = _report(run, prepared, fitted, evaluation, temperature, baselines, labels=labels, confidence=confidence,
                     answers=shares.argmax(axis=1), seconds=seconds, simulated=bool(simulated), images=images)
    run.log({"event": "done", "best_epoch": fitted.best_epoch, "temperature": temperature.value})
    return evaluation, {one.name: one for one in baselines}, report


def _write_maps(run: RunFolder, prepared: PreparedScene, labels: NDArray[np.int32],
                confidence: NDArray[np.float32]) -> None:
    """Write the map of the scene, how sure it is, and the part of every pixel."""
    with run.writing(LABELS) as file:
        write_labels(file, LabelMap(values=labels, classes=prepared.classes, source=run.path.name),
                     like=prepared.scene.cube)
    for name, values in ((CONFIDENCE, confidence), (PARTS, prepared.split.parts)):
        with run.writing(name) as file:
            np.save(file, values)


def _export(run: RunFolder, prepared: PreparedScene, fitted: Fit, simulated: bool | None, progress: Progress) -> None:
    """Write the bundle, proved on windows from all over the validation part."""
    config, split = prepared.config, prepared.split
    positions = split.positions("val")
    rows, columns = positions[::max(1, len(positions) // PROVED)][:PROVED].T
    padded = pad_scene(prepared.reduced, config.window, border=config.border)
    windows = window_view(padded, config.window)[rows, columns]
    cost = count(prepared.model, prepared.shape)
    loaded = prepared.weights
    start = {"start": loaded.text(), "licence": None} if loaded else "none" if prepared.model_record else None
    info = BundleInfo(
        name=f"{prepared.network} on {prepared.scene.name}", classes=prepared.classes, task="scene",
        model=prepared.model_record, created=datetime.now(UTC).isoformat(timespec="seconds"),
        preprocess={"reduction": prepared.reduction.to_json(), "window": config.window, "border": config.border},
        provenance={
            "data": {"scene": prepared.scene.name, "simulated": "not stated" if simulated is None else simulated,
                     **{f"{part} pixels": int(sum(split.counts[part])) for part in split.counts},
                     "split": split.kind, "overlap": str(split.overlap), "remarks": "; ".join(split.notes)},
            "weights": start,
            "seed": config.seed, "best_epoch": fitted.best_epoch, "parameters": cost.parameters, "macs": cost.macs,
            "wavelengths": list(prepared.scene.cube.wavelengths or ()), "versions": versions()})
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        scratch = Path(place)
        progress.say("exporting to ONNX")
        proof = export_scene(prepared.model, scratch / ONNX, windows)
        progress.say(f"parity: {proof.text()}")
        save_file({key: value.detach().contiguous().clone() for key, value in prepared.model.state_dict().items()},
                  scratch / WEIGHTS)
        info = BundleInfo(**{**asdict(info), "classes": info.classes, "parity": proof.to_json()})
        write_bundle(run.path / files.BUNDLE, info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)


def logits_at(predictor: ScenePredictor, prepared: PreparedScene, part: str) -> NDArray[np.float32]:
    """Return the bundle's logits for the pixels of a part, in reading order, (N, K)."""
    cube, split = prepared.scene.cube, prepared.split
    positions = split.positions(part)
    found = np.zeros((len(positions), len(prepared.classes)), np.float32)
    for tile, inside in _held(tiles(cube.shape, TILE), positions):
        logits = predictor.logits(predictor.block(cube, tile))
        rows, columns = (positions[inside] - (tile.top, tile.left)).T
        found[inside] = logits[rows, columns]
    return found


def _mapped(predictor: ScenePredictor, prepared: PreparedScene, progress: Progress
            ) -> tuple[NDArray[np.int32], NDArray[np.float32], NDArray[np.float32]]:
    """Return labels and confidence of the whole scene, and the probabilities of its test pixels."""
    cube, positions = prepared.scene.cube, prepared.split.positions("test")
    labels, confidence = np.zeros(cube.shape, np.int32), np.zeros(cube.shape, np.float32)
    shares = np.zeros((len(positions), len(prepared.classes)), np.float32)
    done = 0
    for tile, found in predictor.predict(cube):
        labels[tile.inside], confidence[tile.inside] = labelled(found)
        for _, inside in _held([tile], positions):
            rows, columns = (positions[inside] - (tile.top, tile.left)).T
            shares[inside] = found[rows, columns]
        done += tile.height * tile.width
        progress.step("predicting pixels", done, labels.size)
    return labels, confidence, shares


def _held(parts: Sequence[Tile], positions: NDArray[np.int64]) -> list[tuple[Tile, NDArray[np.bool_]]]:
    """Return the tiles that hold positions, and which."""
    found = []
    for tile in parts:
        places = positions - (tile.top, tile.left)
        inside: NDArray[np.bool_] = np.all((places >= 0) & (places < (tile.height, tile.width)), axis=1)
        if inside.any():
            found.append((tile, inside))
    return found


def _report(run: RunFolder, prepared: PreparedScene, fitted: Fit, evaluation: Evaluation, temperature: Temperature,
            baselines: Sequence[Baseline], *, labels: NDArray[np.int32], confidence: NDArray[np.float32],
            answers: NDArray[np.int64], seconds: float, simulated: bool, images: bool) -> Path:
    """Write the page."""
    config, split, scene = prepared.config, prepared.split, prepared.scene
    info = read_bundle(run.path / files.BUNDLE)
    raw = softmax(logits_at(ScenePredictor(run.path / files.BUNDLE, threads=config.loop.threads), prepared, "test"))
    wavelengths = None if scene.cube.wavelengths is None else np.array(scene.cube.wavelengths)
    parts = [split.unit[split.parts == code] for code in (1, 2, 3)]
    return write_scene_report(run.path / files.REPORT, SceneReportData(
        title=f"{prepared.network} on {scene.name}", simulated=simulated, lead=_lead(prepared, evaluation),
        counts={part: prepared.counts(part) for part in split.counts}, unit_kind=evaluation.unit_kind,
        units={part: len(np.unique(units)) for part, units in zip(split.counts, parts, strict=True)},
        recipe=dump_yaml(config), reasons=prepared.reasons, curves={config.schedule.name: fitted.history},
        cost={"parameters": info.provenance["parameters"], "macs": info.provenance["macs"],
              "input": " x ".join(map(str, prepared.shape))},
        weights=prepared.weights.text() if prepared.weights else "random values" if info.model
        else "given by the caller",
        environment=run.read_json(files.ENVIRONMENT), parity=info.parity, limits=limits(config.augment.enabled)[:2],
        created=info.created, next_commands=[(f"excite predict {run.path} CUBE --masks MAPS", "map another scene")],
        classes=prepared.classes, evaluation=evaluation.to_json(), false_colour=false_colour(scene.cube.values,
                                                                                            wavelengths),
        truth=scene.labels.values, predicted=labels, confidence=confidence, parts=split.parts,
        split_words=split.notes, leaky=split.overlap.inside > 0, overlap=split.overlap.inside,
        spectra=_spectra(prepared, wavelengths),
        temperature={"value": temperature.value, "nll_before": temperature.nll_before,
                     "nll_after": temperature.nll_after, "n": temperature.n},
        reliability_before=reliability(prepared.truth("test"), raw), network=prepared.network, seconds=seconds,
        baselines=[(one.name, {key: found.to_json() for key, found in one.metrics.items()}, one.seconds)
                   for one in baselines],
        pairs=[in_pairs(prepared, answers, one) for one in baselines]), images=images)


def _spectra(prepared: PreparedScene, wavelengths: NDArray[np.float64] | None) -> Spectra:
    """Return mean and standard deviation of the training pixels' spectra by class."""
    values, truth = prepared.scene.cube.values, prepared.truth("train")
    rows, columns = prepared.split.positions("train").T
    every = np.asarray(values[rows, columns], np.float64)
    groups: list[Any] = [every[truth == label] for label in range(len(prepared.classes))]
    return Spectra(mean=np.stack([one.mean(axis=0) for one in groups]), wavelengths=wavelengths,
                   std=np.stack([one.std(axis=0) for one in groups]))


def _lead(prepared: PreparedScene, evaluation: Evaluation) -> str:
    """Return what was trained and how good it is, in two sentences."""
    split, side = prepared.split, prepared.config.window
    height, width = prepared.scene.cube.shape
    return (f"{prepared.network} was trained on {int(sum(split.counts['train'])):,} pixels of a scene of "
            f"{height} x {width} to tell {', '.join(prepared.classes)} apart, each by the {side} x {side} pixels "
            f"around it. On {evaluation.n:,} test pixels its overall accuracy is "
            f"{evaluation.metrics['accuracy'].text()} (95 % interval over {evaluation.n_units:,} units: "
            f"{evaluation.unit_kind}); {split.overlap}.")
