"""The report that ends a training on a scene: what the run's parts are called on its page."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.config import dump_yaml
from excite.data.scenes.scene import counted
from excite.deploy.bundle import read_bundle
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.run_folder import RunFolder
from excite.jobs.scenes.baselines import Baseline, in_pairs
from excite.jobs.scenes.prepare import PreparedScene
from excite.jobs.shipped import limits
from excite.metrics.calibration import Temperature, reliability
from excite.metrics.evaluation import Evaluation
from excite.outcome.decode import softmax
from excite.report.scene_figures import Spectra, false_colour
from excite.report.scene_page import SceneReportData, write_scene_report


def report_scene(run: RunFolder, prepared: PreparedScene, fitted: Fit, evaluation: Evaluation,
                 temperature: Temperature, baselines: Sequence[Baseline], *, labels: NDArray[np.int32],
                 confidence: NDArray[np.float32], answers: NDArray[np.int64], logits: NDArray[np.float32],
                 seconds: float, simulated: bool, images: bool) -> Path:
    """Write the page and return its path.

    Args:
        labels: Map of the scene, 0 where there are no data.
        confidence: Likewise.
        answers: Of the test pixels, classes from 0 on.
        logits: Of the test pixels, before the temperature.
        seconds: To train and predict.
    """
    config, split, scene = prepared.config, prepared.split, prepared.scene
    info = read_bundle(run.path / files.BUNDLE)
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
        created=info.created, next_commands=[(f"excite predict {run.path} CUBE --out map.png",
                                                    "map another scene")],
        classes=prepared.classes, evaluation=evaluation.to_json(),
        false_colour=false_colour(scene.cube.values, wavelengths, scene.cube.valid),
        truth=scene.labels.values, predicted=labels, confidence=confidence, parts=split.parts, pieces=scene.pieces,
        split_words=split.notes, leaky=split.overlap.inside > 0, overlap=split.overlap.inside,
        spectra=_spectra(prepared, wavelengths),
        temperature={"value": temperature.value, "nll_before": temperature.nll_before,
                     "nll_after": temperature.nll_after, "n": temperature.n},
        reliability_before=reliability(prepared.truth("test"), softmax(logits)), network=prepared.network,
        seconds=seconds, baselines=[(one.name, {key: found.to_json() for key, found in one.metrics.items()},
                                     one.seconds) for one in baselines],
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
    pieces = prepared.scene.pieces
    of = counted(pieces) if pieces else f"a scene of {height} x {width}"
    return (f"{prepared.network} was trained on {int(sum(split.counts['train'])):,} pixels of {of} to tell "
            f"{', '.join(prepared.classes)} apart, each by the {side} x {side} pixels around it. "
            f"On {evaluation.n:,} test pixels its overall accuracy is "
            f"{evaluation.metrics['accuracy'].text()} (95 % interval over {evaluation.n_units:,} units: "
            f"{evaluation.unit_kind}); {split.overlap}.")
