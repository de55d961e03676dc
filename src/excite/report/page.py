"""One offline HTML page that says what was trained, on what, how good it is, and what that does not mean."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.metrics.measured import UNPROVEN
from excite.report import figures, tables
from excite.report.html import LARGEST, filled, jpeg, write_page
from excite.report.told import RunTold
from excite.report.words import (
    DISCLAIMER,
    cost_rows,
    parity_told,
    plural,
    standing_warnings,
    threads_told,
    when,
    with_article,
)

__all__ = ["DISCLAIMER", "LARGEST", "Picture", "ReportData", "render", "write_report"]

SIDE = 200     # pixels of a picture's longer side at most
TRUSTED = 100  # validation images below which a temperature is too rough


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A test image with its prediction; the thumbnail is (H, W), (H, W, 1) or (H, W, 3)."""

    file: str
    truth: str
    label: str
    probability: float
    thumbnail: NDArray[np.uint8]


@dataclass(kw_only=True)
class ReportData(RunTold):
    """What a report on a classifier tells.

    Args:
        classes: In the order of the network's outputs.
        evaluation: `Evaluation.to_json()` of the test part, after the temperature.
        temperature: {"value", "nll_before", "nll_after", "n"}, fitted on the validation part.
        reliability_before: As evaluation["reliability"], before the temperature.
        calibration_before: {"ece", "nll"} of the test part before the temperature.
        grid: Test predictions as they come.
        worst: The surest mistakes, worst first.
        sample: What is classified: "image".
    """

    classes: Sequence[str]
    evaluation: Mapping[str, Any]
    temperature: Mapping[str, float] | None = None
    reliability_before: Mapping[str, Any] | None = None
    calibration_before: Mapping[str, float] | None = None
    grid: Sequence[Picture] = ()
    worst: Sequence[Picture] = ()
    sample: str = "image"


def write_report(file: Path, data: ReportData, *, images: bool = True) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        images: Put the pictures of `grid` and `worst` in; a page that would exceed 5 MB goes without and says so.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda images, without: render(data, images=images, without=without), images=images)


def render(data: ReportData, *, images: bool = True, without: str = "") -> str:
    """Return the page as text; every value from outside is escaped."""
    return filled("template.html", **values_of(data, images=images, without=without))


def values_of(data: ReportData, *, images: bool, without: str) -> dict[str, Any]:
    """Return what the template of a classifier's page takes."""
    evaluation, sample = data.evaluation, data.sample
    columns, classes = tables.class_rows(evaluation)
    areas = {name: (of.get("auroc") or {}).get("value") for name, of in evaluation["per_class"].items()}
    return dict(
        data=data, without=without, evaluation=evaluation, disclaimer=DISCLAIMER, sample=sample,
        failed=evaluation.get("failed", ()), created=when(data.created), calibration=_calibration(data),
        few=data.temperature is not None and data.temperature["n"] < TRUSTED,
        notes=[note for note in evaluation["notes"] if not note.startswith(UNPROVEN)],
        tiles=_tiles(data), metrics=tables.metric_rows(evaluation["metrics"], tables.described(sample)),
        class_columns=columns, class_rows=classes, baseline=tables.baseline(evaluation),
        confusion=tables.confusion_rows(evaluation["confusion"], evaluation["classes"]),
        count_rows=tables.count_rows(data.counts, data.classes),
        counts_figure=figures.class_counts(data.counts, data.classes, sample=sample),
        curves={plan: figures.learning_curves(epochs, name=f"curve{place}", sample=sample)
                for place, (plan, epochs) in enumerate(data.curves.items())},
        roc=figures.roc(evaluation["roc"], areas),
        reliability=figures.reliability(evaluation["reliability"], data.reliability_before, sample=sample),
        grid=[_shown(one) for one in data.grid] if images else [],
        worst=[_shown(one) for one in data.worst] if images else [],
        parity=parity_told(data.parity, sample=sample), chosen="The best epoch and the temperature",
        cost=cost_rows(data.cost, sample=sample), environment=tables.flat(data.environment),
        warnings=_warnings(data))


def _tiles(data: ReportData) -> list[tuple[str, str, str]]:
    """Return the key numbers: (name, value, what is below it)."""
    metrics, found = data.evaluation["metrics"], []
    for key, name in (("balanced_accuracy", "Balanced accuracy"), ("auroc_macro", "AUROC, macro"),
                      ("accuracy", "Accuracy")):
        value, interval = tables.number(metrics.get(key))
        found.append((name, value, f"95 %: {interval}" if " to " in interval else interval))
    units = data.evaluation["n_units"]
    found.append((f"Test {data.sample}s", f"{data.evaluation['n']:,}", f"of {units:,} {plural(data.unit_kind, units)}"))
    if "parameters" in data.cost:
        found.append(("Parameters", tables.large(data.cost["parameters"]), "of the network"))
    if "milliseconds" in data.cost:
        found.append(("Speed", f"{data.cost['milliseconds']:.1f}\N{NO-BREAK SPACE}ms",
                      f"{with_article(data.sample)}{threads_told(data.cost)}"))
    return found


def _warnings(data: ReportData) -> list[str]:
    """Return what has to be read before any number."""
    unproven = [note for note in data.evaluation["notes"] if note.startswith(UNPROVEN)]
    return standing_warnings(simulated=data.simulated, unproven=unproven, unit_kind=data.unit_kind, leaks=data.leaks,
                             things=f"{data.sample}s")


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


def _shown(one: Picture) -> dict[str, Any]:
    """Return a picture as the template takes it, its thumbnail as a JPEG inside the page."""
    source, (width, height) = jpeg(one.thumbnail, side=SIDE)
    return {"file": one.file, "short": "/".join(re.split(r"[/\\]", one.file)[-2:]), "truth": one.truth,
            "label": one.label, "right": one.truth == one.label, "percent": f"{100 * one.probability:.0f} %",
            "width": width, "height": height, "source": source}
