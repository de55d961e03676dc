"""One offline HTML page that says what was trained, on what, how good it is, and what that does not mean."""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from excite.errors import EnvironmentFault
from excite.metrics.evaluation import UNPROVEN
from excite.report import figures, tables

LARGEST = 5_000_000  # bytes of a page
SIDE, QUALITY = 200, 82  # pixels of a picture's longer side at most, and of JPEG
TRUSTED = 100  # validation images below which a temperature is too rough
DISCLAIMER = "For research and education only. This is not a medical device and must not guide care."


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A test image with its prediction; the thumbnail is (H, W), (H, W, 1) or (H, W, 3)."""

    file: str
    truth: str
    label: str
    probability: float
    thumbnail: NDArray[np.uint8]


@dataclass(kw_only=True)
class ReportData:
    """What a report tells.

    Args:
        lead: What was trained, on what, and the result with its interval, in a sentence or two.
        classes: In the order of the network's outputs.
        counts: Images of each class in each part: {"train": {"head": 12}}.
        units: How many units (patients) each part has.
        unit_kind: What was kept together when splitting: "patient", "near-duplicate cluster", "image".
        split_notes: Remarks of the split.
        leaks: What the leak check found: {"kind", "message", "file", "row", "severity"}; none is good news.
        reasons: Why the run is as it is, by topic.
        recipe: The whole config as YAML.
        curves: The log's epochs, by plan.
        evaluation: `Evaluation.to_json()` of the test part, after the temperature.
        temperature: {"value", "nll_before", "nll_after", "n"}, fitted on the validation part.
        reliability_before: As evaluation["reliability"], before the temperature.
        calibration_before: {"ece", "nll"} of the test part before the temperature.
        grid: Test predictions as they come.
        worst: The surest mistakes, worst first.
        cost: {"parameters", "macs", "milliseconds", "threads", "input"}; any may be missing.
        weights: What the network started from, in words.
        environment: Versions and machine, nested.
        parity: {"max_abs", "max_rel", "agreement", "n"} of the export against the trained network.
        limits: Sentences beside the standing ones.
        next_commands: (command, what it does).
        created: When: an ISO 8601 time, or any text.
    """

    title: str
    simulated: bool
    lead: str
    classes: Sequence[str]
    counts: Mapping[str, Mapping[str, int]]
    unit_kind: str
    evaluation: Mapping[str, Any]
    recipe: str
    units: Mapping[str, int] = field(default_factory=dict)
    split_notes: Sequence[str] = ()
    leaks: Sequence[Mapping[str, Any]] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    temperature: Mapping[str, float] | None = None
    reliability_before: Mapping[str, Any] | None = None
    calibration_before: Mapping[str, float] | None = None
    grid: Sequence[Picture] = ()
    worst: Sequence[Picture] = ()
    cost: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, float] | None = None
    limits: Sequence[str] = ()
    next_commands: Sequence[tuple[str, str]] = ()
    created: str = ""


def write_report(file: Path, data: ReportData, *, images: bool = True) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        images: Put the pictures of `grid` and `worst` in; a page that would exceed 5 MB goes without and says so.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    text = render(data, images=images, without="" if images else "The pictures were left out as asked.")
    if images and len(text.encode()) > LARGEST:
        why = f"The pictures were left out: the page would exceed {LARGEST / 1e6:g} MB."
        text = render(data, images=False, without=why)
    aside = file.with_name(f".{file.name}.tmp")
    try:
        aside.write_text(text, encoding="utf-8", newline="\n")
        aside.replace(file)
    except OSError as fault:
        raise EnvironmentFault("the report cannot be written", where=file, why=str(fault),
                               fix="check the folder and the space on the disk") from None
    return file


def render(data: ReportData, *, images: bool = True, without: str = "") -> str:
    """Return the page as text; every value from outside is escaped."""
    here = files("excite.report")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined)
    template = environment.from_string(here.joinpath("template.html").read_text(encoding="utf-8"))
    style = Markup(here.joinpath("style.css").read_text(encoding="utf-8"))
    evaluation = data.evaluation
    columns, classes = tables.class_rows(evaluation)
    areas = {name: (of.get("auroc") or {}).get("value") for name, of in evaluation["per_class"].items()}
    return template.render(
        data=data, style=style, without=without, evaluation=evaluation, disclaimer=DISCLAIMER,
        failed=evaluation.get("failed", ()), created=_when(data.created), calibration=_calibration(data),
        few=data.temperature is not None and data.temperature["n"] < TRUSTED,
        notes=[note for note in evaluation["notes"] if not note.startswith(UNPROVEN)],
        tiles=_tiles(data), metrics=tables.metric_rows(evaluation["metrics"]), class_columns=columns,
        class_rows=classes, baseline=tables.baseline(evaluation),
        confusion=tables.confusion_rows(evaluation["confusion"], evaluation["classes"]),
        count_rows=tables.count_rows(data.counts, data.classes),
        counts_figure=figures.class_counts(data.counts, data.classes),
        curves={plan: figures.learning_curves(epochs, name=f"curve{place}")
                for place, (plan, epochs) in enumerate(data.curves.items())},
        roc=figures.roc(evaluation["roc"], areas),
        reliability=figures.reliability(evaluation["reliability"], data.reliability_before),
        grid=[_shown(one) for one in data.grid] if images else [],
        worst=[_shown(one) for one in data.worst] if images else [],
        cost=_cost(data.cost), environment=tables.flat(data.environment), warnings=_warnings(data))


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Return the key numbers: (name, value, what is below it)."""
    metrics, found = data.evaluation["metrics"], []
    for key, name in (("balanced_accuracy", "Balanced accuracy"), ("auroc_macro", "AUROC, macro"),
                      ("accuracy", "Accuracy")):
        value, interval = tables.number(metrics.get(key))
        found.append((name, value, f"95 %: {interval}" if " to " in interval else interval))
    units = data.evaluation["n_units"]
    found.append(("Test images", f"{data.evaluation['n']:,}", f"of {units:,} {_plural(data.unit_kind, units)}"))
    if "parameters" in data.cost:
        found.append(("Parameters", tables.large(data.cost["parameters"]), "of the network"))
    if "milliseconds" in data.cost:
        found.append(("Speed", f"{data.cost['milliseconds']:.1f}\N{NO-BREAK SPACE}ms",
                      f"an image{_threads(data.cost)}"))
    return found


def _warnings(data: ReportData) -> list[str]:
    """Return what has to be read before any number."""
    found = []
    if data.simulated:
        found.append("All images here are SIMULATED. The numbers show that the software works and say nothing about "
                     "real images.")
    found += [f"The network is {note}." for note in data.evaluation["notes"] if note.startswith(UNPROVEN)]
    if data.unit_kind == "image":
        found.append("The data were split BY IMAGE, as was asked for: images of one patient may lie in training and "
                     "test, and the numbers below are likely too good.")
    elif "patient" not in data.unit_kind:
        found.append(f"No patients are known: images were kept together by {data.unit_kind}. Images of one patient may "
                     "still lie in training and test.")
    if data.leaks:
        found.append(f"The leak check found the same or nearly the same data in two parts "
                     f"({len(data.leaks)} {_plural('case', len(data.leaks))}): see Data.")
    return found


def _cost(cost: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = []
    if "parameters" in cost:
        rows.append(("Parameters", f"{cost['parameters']:,}"))
    if "macs" in cost:
        rows.append(("Multiply-adds an image", f"{tables.large(cost['macs'])}"))
    if "input" in cost:
        rows.append(("Input", str(cost["input"])))
    if "milliseconds" in cost:
        rows.append(("Measured here", f"{cost['milliseconds']:.1f} ms an image, median, preprocessing left out"
                     f"{_threads(cost)}"))
    return rows


def _threads(cost: Mapping[str, Any]) -> str:
    count = cost.get("threads")
    return f", {count} {_plural('thread', count)}" if count else ""


def _calibration(data: ReportData) -> list[dict[str, str]]:
    """Return what the temperature did to the test part: one row a measure, the verdict in words."""
    rows = []
    for key, name in (("ece", "Calibration error, ECE"), ("nll", "Negative log-likelihood")):
        before = (data.calibration_before or {}).get(key)
        after = (data.evaluation["metrics"].get(key) or {}).get("value")
        if before is not None and after is not None:
            verdict = "worse on the test part" if after > before else "better" if after < before else "the same"
            rows.append({"name": name, "before": f"{before:.4f}", "after": f"{after:.4f}", "verdict": verdict})
    return rows


def _when(text: str) -> str:
    """Return an ISO 8601 time with a zone as 2026-11-23 21:50 UTC; other text as it is."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if time.tzinfo is None else f"{time.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _shown(one: Picture) -> dict[str, Any]:
    """Return a picture as the template takes it, its thumbnail as a JPEG inside the page."""
    pixels = one.thumbnail[..., 0] if one.thumbnail.ndim == 3 and one.thumbnail.shape[2] == 1 else one.thumbnail
    image, stream = Image.fromarray(np.ascontiguousarray(pixels)), io.BytesIO()
    image.thumbnail((SIDE, SIDE))
    image.save(stream, "JPEG", quality=QUALITY)
    return {"file": one.file, "short": "/".join(re.split(r"[/\\]", one.file)[-2:]), "truth": one.truth,
            "label": one.label, "right": one.truth == one.label, "percent": f"{100 * one.probability:.0f} %",
            "width": image.width, "height": image.height,
            "source": "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode()}


def _plural(word: str, count: int) -> str:
    if " and " in word:
        return "units" if count != 1 else "unit"
    if count == 1 or word.endswith("s"):
        return word
    return word[:-1] + "ies" if word.endswith("y") else word + "s"
