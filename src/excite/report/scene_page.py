"""One offline HTML page on a network for a scene: its numbers, maps and spectra, and what simpler methods reach."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.palette import palette
from excite.data.scenes.scene import Piece
from excite.errors import UsageError
from excite.metrics.measured import UNPROVEN
from excite.report import figures, scene_figures, scene_pieces, scene_tables, tables
from excite.report.html import filled, png, write_page
from excite.report.page import TRUSTED
from excite.report.scene_figures import Spectra
from excite.report.told import RunTold
from excite.report.words import DISCLAIMER, cost_rows, parity_told, plural, standing_warnings, when

__all__ = ["SceneReportData", "Spectra", "render_scene", "write_scene_report"]

SIDE = 700  # pixels of a map's longer side at most
SCORES = {"accuracy": "overall accuracy", "balanced_accuracy": "average accuracy", "kappa": "kappa"}
ELSEWHERE = "other scenes, sensors, seasons or light"
ELSEWHERE_OF_PATIENTS = "other sensors, hospitals or light"
WRONG_REASON = "what lies beside a pixel instead of its spectrum, lines of the sensor, the edge of the scene"


@dataclass(kw_only=True, eq=False)
class SceneReportData(RunTold):
    """What a report on a scene tells.

    Args:
        classes: Names; label k is that of place k - 1.
        evaluation: `Evaluation.to_json()` of the test pixels; its units are spatial blocks.
        false_colour: The scene as a picture.
        truth: Labels, 0 where there is none.
        predicted: Likewise, 0 where nothing was predicted.
        confidence: Probability of the predicted class, 0 to 1.
        parts: 0 unused, 1 training, 2 validation, 3 test.
        pieces: The cubes that lie side by side, where there are several.
        split_words: How the scene was split, which guard lies between, and what overlaps: each a sentence.
        leaky: Training has seen the test pixels in its windows, as in every random split.
        overlap: Share of the test pixels that lie in windows of training, 0 to 1; None: not known.
        spectra: Of the training pixels.
        temperature: {"value", "nll_before", "nll_after", "n"}, fitted on the validation pixels.
        reliability_before: As evaluation["reliability"], before the temperature.
        network: Its name in the table beside the baselines.
        seconds: Of the network, to train and predict.
        baselines: Name, metrics by name as `Interval.to_json()`, and seconds, of simpler methods on the same pixels.
        pairs: What comparisons in pairs found, each a sentence.

    Shape:
        false_colour (H, W, 3), the maps (H, W)
    """

    classes: Sequence[str]
    evaluation: Mapping[str, Any]
    false_colour: NDArray[np.uint8]
    truth: NDArray[np.integer[Any]]
    predicted: NDArray[np.integer[Any]]
    confidence: NDArray[np.floating[Any]]
    parts: NDArray[np.uint8]
    split_words: Sequence[str]
    leaky: bool
    overlap: float | None = None
    pieces: Sequence[Piece] = ()
    spectra: Spectra | None = None
    temperature: Mapping[str, float] | None = None
    reliability_before: Mapping[str, Any] | None = None
    network: str = "this network"
    seconds: float | None = None
    baselines: Sequence[scene_tables.Baseline] = ()
    pairs: Sequence[str] = ()

    def __post_init__(self) -> None:
        shape, count = self.truth.shape, len(self.classes)
        for name in ("predicted", "confidence", "parts", "false_colour"):
            found = getattr(self, name).shape[:2]
            if found != shape:
                raise UsageError(f"{name} must have the size of truth, {shape}, got {found}")
        for name, most in (("truth", count), ("predicted", count), ("parts", scene_figures.TEST)):
            labels = getattr(self, name)
            if labels.min() < 0 or labels.max() > most:
                raise UsageError(f"{name} must be from 0 to {most}, got {labels.min()} to {labels.max()}")
        if self.spectra is not None and len(self.spectra.mean) != count:
            raise UsageError(f"spectra must have one row a class ({count}), got {len(self.spectra.mean)}")


def write_scene_report(file: Path, data: SceneReportData, *, images: bool = True) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        images: Put the maps in; a page that would exceed 5 MB goes without and says so.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda images, without: render_scene(data, images=images, without=without), images=images)


def render_scene(data: SceneReportData, *, images: bool = True, without: str = "") -> str:
    """Return the page as text; every value from outside is escaped."""
    evaluation, spectra, patients = data.evaluation, data.spectra, _patients(data)
    columns, classes = tables.class_rows(evaluation)
    colours = scene_figures.hexes(palette(len(data.classes)))
    return filled(
        "scene_template.html", data=data, without=without, evaluation=evaluation, disclaimer=DISCLAIMER,
        failed=evaluation.get("failed", ()), created=when(data.created), warnings=_warnings(data, patients),
        tiles=_tiles(data), patients=patients, share=scene_tables.share,
        known=any(piece.patient is not None for piece in data.pieces),
        notes=[note for note in evaluation["notes"] if not note.startswith(UNPROVEN)],
        metrics=tables.metric_rows(evaluation["metrics"], scene_tables.METRICS), baseline=tables.baseline(evaluation),
        legend=list(zip(data.classes, colours, strict=True)), colours=colours,
        unlabelled=scene_figures.hexes(np.array([scene_figures.UNLABELLED]))[0],
        grid=_maps(data) if images else [], worst=(),
        spectra=None if spectra is None else scene_figures.spectra_together(spectra, data.classes),
        each_spectrum=[] if spectra is None else scene_figures.spectra_apart(spectra, data.classes),
        compared=list(scene_tables.COMPARED.values()),
        methods=scene_tables.comparison(evaluation, data.baselines, network=data.network, seconds=data.seconds),
        confusion=tables.confusion_rows(evaluation["confusion"], evaluation["classes"]),
        class_columns=columns, class_rows=classes,
        few=data.temperature is not None and data.temperature["n"] < TRUSTED,
        reliability=figures.reliability(evaluation["reliability"], data.reliability_before, sample="pixel"),
        count_rows=tables.count_rows(data.counts, data.classes), overlap=_overlap(data),
        split_words=[*data.split_words, *data.split_notes],
        counts_figure=figures.class_counts(data.counts, data.classes, sample="pixel"),
        curves={plan: figures.learning_curves(epochs, name=f"curve{place}", scores=SCORES, sample="pixel")
                for place, (plan, epochs) in enumerate(data.curves.items())},
        parity=parity_told(data.parity, sample="pixel"), chosen="The best epoch and the temperature",
        elsewhere=ELSEWHERE_OF_PATIENTS if data.pieces else ELSEWHERE, wrong_reason=WRONG_REASON,
        cost=cost_rows(data.cost, sample="pixel"),
        environment=tables.flat(data.environment))


def _patients(data: SceneReportData) -> list[scene_pieces.PatientRow]:
    return scene_pieces.patient_rows(data.pieces, truth=data.truth, predicted=data.predicted, parts=data.parts)


def _tiles(data: SceneReportData) -> list[tuple[str, str, str]]:
    """Return the key numbers: (name, value, what is below it)."""
    found = []
    for key, name in (("accuracy", "OA, overall"), ("balanced_accuracy", "AA, average"), ("kappa", "Cohen's kappa")):
        value, interval = tables.number(data.evaluation["metrics"].get(key))
        found.append((name, value, f"95 %: {interval}" if " to " in interval else interval))
    units = data.evaluation["n_units"]
    kind = plural(data.evaluation["unit_kind"], units)
    found.append(("Test pixels", f"{data.evaluation['n']:,}", f"of {units:,} {kind}"))
    if data.overlap is not None:
        found.append(("Overlap", scene_tables.share(data.overlap), "of the test pixels lie in training windows"))
    if "parameters" in data.cost:
        found.append(("Parameters", tables.large(data.cost["parameters"]), "of the network"))
    return found


def _warnings(data: SceneReportData, patients: Sequence[scene_pieces.PatientRow]) -> list[str]:
    """Return what has to be read before any number, the overlap first."""
    unproven = [note for note in data.evaluation["notes"] if note.startswith(UNPROVEN)]
    return [*([f"WARNING: {_overlap(data)}: the numbers flatter."] if _flattered(data) else []),
            *scene_pieces.warnings(data.pieces, patients),
            *standing_warnings(simulated=data.simulated, unproven=unproven, unit_kind=None, leaks=data.leaks,
                               things="scenes"),
            *scene_tables.not_worse(data.evaluation, data.baselines)]


def _flattered(data: SceneReportData) -> bool:
    return data.leaky or bool(data.overlap)


def _overlap(data: SceneReportData) -> str:
    """Return how many test pixels training has seen, as the beginning of a sentence."""
    if data.overlap is not None and (data.overlap or not data.leaky):
        return f"{scene_tables.share(data.overlap)} of test pixels lie inside training windows"
    if data.leaky:
        return "training pixels lie among the test pixels"
    return "no test pixel is known to lie inside a training window"


def _maps(data: SceneReportData) -> list[dict[str, Any]]:
    """Return the maps as the template takes them: title, words, picture, and a legend of their own."""
    truth, parts, count = data.truth, data.parts, len(data.classes)
    test = (parts == scene_figures.TEST) & (truth > 0)
    right, labelled = test & (truth == data.predicted), int((truth > 0).sum())
    confidence = np.where(data.predicted > 0, data.confidence, np.nan)
    pictures = {
        "False colour": (data.false_colour, f"{truth.shape[0]} x {truth.shape[1]} pixels{_beside(data)}", ()),
        "Truth": (scene_figures.label_map(truth, count), f"{labelled:,} of {truth.size:,} pixels are labelled", ()),
        "Prediction": (scene_figures.label_map(data.predicted, count),
                       f"of {int((data.predicted > 0).sum()):,} pixels, labelled or not", ()),
        "Errors": (scene_figures.error_map(truth, data.predicted, parts),
                   f"{int(right.sum()):,} of {int(test.sum()):,} test pixels are right", scene_figures.ERRORS.items()),
        "Confidence": (scene_figures.confidence_map(confidence), _sure(data.confidence, right, test & ~right), ()),
        "Split": (scene_figures.split_map(parts, truth), _parted(data), scene_figures.PARTS.items()),
    }
    return [_shown(title, *one) for title, one in pictures.items()]


def _beside(data: SceneReportData) -> str:
    return f": {len(data.pieces)} cubes side by side, rows from the left" if data.pieces else ""


def _shown(title: str, picture: NDArray[np.uint8], words: str, legend: Any) -> dict[str, Any]:
    source, (width, height) = png(picture, side=SIDE)
    return {"title": title, "words": words, "source": source, "width": width, "height": height,
            "legend": [(name, scene_figures.hexes(np.array([colour]))[0]) for name, colour in legend],
            "ramp": scene_figures.hexes(scene_figures.ramp()[::9]) if title == "Confidence" else []}


def _sure(confidence: NDArray[np.floating[Any]], right: NDArray[np.bool_], wrong: NDArray[np.bool_]) -> str:
    """Return the median of the stated probability where the test pixels are right, and where wrong."""
    said = [f"{np.median(confidence[where]):.2f} where {name}" for name, where in (("right", right), ("wrong", wrong))
            if where.any()]
    return f"median {', '.join(said)} (test pixels)" if said else "no test pixel"


def _parted(data: SceneReportData) -> str:
    """Return how many pixels each part has, and how many are left out."""
    counts = [int((data.parts == part).sum()) for part in (scene_figures.TRAIN, scene_figures.VAL, scene_figures.TEST)]
    guard = int(((data.parts == 0) & (data.truth > 0)).sum())
    return "training {:,}, validation {:,}, test {:,}, left out {:,}".format(*counts, guard)
