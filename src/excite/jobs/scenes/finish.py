"""What follows a training on a scene: bundle, temperature, maps, numbers of what ships, baselines, report."""

import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file

from excite.data.scenes.label_files import write_labels
from excite.data.scenes.labels import LabelMap
from excite.data.scenes.windows import pad_scene, window_view
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, read_bundle, update_bundle, write_bundle
from excite.deploy.scene_network import export_scene, whole_form
from excite.deploy.scene_predictor import TILE, ScenePredictor, labelled
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.environment import versions
from excite.jobs.run_folder import RunFolder
from excite.jobs.scenes.baselines import Baseline, run_baselines, units_of
from excite.jobs.scenes.data import UNITS
from excite.jobs.scenes.prepare import PreparedScene
from excite.jobs.scenes.report import report_scene
from excite.metrics.calibration import fit_temperature
from excite.metrics.evaluation import Evaluation, evaluate
from excite.models.cost import count
from excite.progress import Progress
from excite.tiling import Tile, tiles

PROVED = 64  # validation windows that the export is proved on
LABELS, CONFIDENCE, PARTS = "prediction.png", "confidence.npy", "parts.npy"
PIECES = "prediction"  # a folder with the map of each cube, where there are several


def finish_scene(run: RunFolder, prepared: PreparedScene, fitted: Fit, *, images: bool, simulated: bool | None,
                 progress: Progress) -> tuple[Evaluation, dict[str, Baseline], Path]:
    """Export, prove, calibrate, map the scene, evaluate its test pixels, run the baselines, report.

    Everything measured here is measured on the exported bundle, the thing that will predict.
    """
    bundle = run.path / files.BUNDLE
    _export(run, prepared, fitted, simulated, progress)
    predictor = ScenePredictor(bundle, threads=prepared.config.loop.threads)
    temperature = fit_temperature(logits_at(predictor, prepared, "val"), prepared.truth("val"))
    raw = logits_at(predictor, prepared, "test")
    update_bundle(bundle, temperature=temperature.value,
                  provenance=read_bundle(bundle).provenance | {"temperature": temperature.to_json()})
    predictor = ScenePredictor(bundle, threads=prepared.config.loop.threads)
    began = time.perf_counter()
    labels, confidence, shares = _mapped(predictor, prepared, progress)
    seconds = sum(epoch["seconds"] for epoch in fitted.history) + time.perf_counter() - began
    _write_maps(run, prepared, labels, confidence)
    unit, what = UNITS[prepared.split.kind], "cubes were" if prepared.scene.pieces else "scene was"
    notes = [f"the {what} split by {unit}", *prepared.split.notes]
    evaluation = evaluate(prepared.truth("test"), shares, prepared.classes, units_of(prepared), part="test",
                          unit_kind=unit, notes=notes, sample="pixel", progress=progress)
    run.write_json(files.EVALUATION, evaluation.to_json())
    update_bundle(bundle, metrics=evaluation.to_json())
    baselines = run_baselines(prepared, run.path, progress=progress)
    report = report_scene(run, prepared, fitted, evaluation, temperature, baselines, labels=labels,
                          confidence=confidence, answers=shares.argmax(axis=1), logits=raw, seconds=seconds,
                          simulated=bool(simulated), images=images)
    run.log({"event": "done", "best_epoch": fitted.best_epoch, "temperature": temperature.value})
    return evaluation, {one.name: one for one in baselines}, report


def _write_maps(run: RunFolder, prepared: PreparedScene, labels: NDArray[np.int32],
                confidence: NDArray[np.float32]) -> None:
    """Write the map of the scene, and of each of several cubes; how sure it is; and the part of every pixel."""
    whole = LabelMap(values=labels, classes=prepared.classes, source=run.path.name)
    with run.writing(LABELS) as file:
        write_labels(file, whole, like=prepared.scene.cube)
    for piece in prepared.scene.pieces:
        with run.writing(f"{PIECES}/{piece.name}.png") as file:
            file.parent.mkdir(exist_ok=True)
            write_labels(file, replace(whole, values=labels[piece.place.inside]))
    for name, values in ((CONFIDENCE, confidence), (PARTS, prepared.split.parts)):
        with run.writing(name) as file:
            np.save(file, values)


def _export(run: RunFolder, prepared: PreparedScene, fitted: Fit, simulated: bool | None, progress: Progress) -> None:
    """Write the bundle, proved on windows from all over the validation part."""
    config, split = prepared.config, prepared.split
    positions = split.positions("val")
    rows, columns = positions[::max(1, len(positions) // PROVED)][:PROVED].T
    padded = pad_scene(prepared.reduced, config.window, border=prepared.border)
    windows = window_view(padded, config.window)[rows, columns]
    cost = count(prepared.model, prepared.shape)
    loaded = prepared.weights
    start = {"start": loaded.text(), "licence": None} if loaded else "none" if prepared.model_record else None
    info = BundleInfo(
        name=f"{prepared.network} on {prepared.scene.name}", classes=prepared.classes, task="scene",
        model=prepared.model_record, created=datetime.now(UTC).isoformat(timespec="seconds"),
        preprocess={"reduction": prepared.reduction.to_json(), "window": config.window, "border": prepared.border},
        provenance={
            "data": {"scene": prepared.scene.name, **_counted(prepared),
                     "simulated": "not stated" if simulated is None else simulated,
                     **{f"{part} pixels": int(sum(split.counts[part])) for part in split.counts},
                     "split": split.kind, "overlap": str(split.overlap), "remarks": "; ".join(split.notes)},
            "cube": {"drop_bands": list(config.scene.drop_bands), "no_data": config.scene.no_data,
                     "calibrated": config.scene.white is not None},
            "weights": start,
            "seed": config.seed, "best_epoch": fitted.best_epoch, "parameters": cost.parameters, "macs": cost.macs,
            "wavelengths": list(prepared.scene.cube.wavelengths or ()), "versions": versions()})
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        scratch = Path(place)
        progress.say("exporting to ONNX" if whole_form(prepared.model) is not None else
                     "exporting to ONNX: a layer looks at its window as a whole, so scenes are computed window by "
                     "window, far slower")
        proof = export_scene(prepared.model, scratch / ONNX, windows)
        progress.say(f"parity: {proof.text()}")
        save_file({key: value.detach().contiguous().clone() for key, value in prepared.model.state_dict().items()},
                  scratch / WEIGHTS)
        info = BundleInfo(**{**asdict(info), "classes": info.classes, "parity": proof.to_json()})
        write_bundle(run.path / files.BUNDLE, info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)


def _counted(prepared: PreparedScene) -> dict[str, int]:
    """Return how many cubes there are and patients in each part, where there are several; nothing that names them."""
    scene, split = prepared.scene, prepared.split
    patients = {piece.patient for piece in scene.pieces} - {None}
    found = {"cubes": len(scene.pieces), "patients": len(patients)} if scene.pieces else {}
    return found | {f"{part} {split.kind}s": len(names) for part, names in split.members.items()}


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
