"""The tables of the report: numbers with their intervals as rows that the template only has to lay out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# name: (what it is called, what it means, whether more is better and it lies in 0..1)
METRICS = {
    "balanced_accuracy": ("Balanced accuracy", "mean of the classes' recalls (also: recall, macro)", True),
    "auroc_macro": ("AUROC, macro", "chance that an image of a class is ranked above one of another; mean of classes",
                    True),
    "accuracy": ("Accuracy", "share of images that are right (also: recall, weighted)", True),
    "f1_macro": ("F1, macro", "harmonic mean of precision and recall; mean of classes", True),
    "precision_macro": ("Precision, macro", "of what is called a class, the share that is; mean of classes", True),
    "ap_macro": ("Average precision, macro", "area under precision against recall; mean of classes", True),
    "kappa": ("Cohen's kappa", "agreement beyond chance", True),
    "f1_weighted": ("F1, weighted", "by class size: the large classes decide", True),
    "precision_weighted": ("Precision, weighted", "by class size", True),
    "ece": ("Calibration error, ECE", "mean gap between stated probability and accuracy; less is better", False),
    "brier": ("Brier score", "squared error of the probabilities; less is better", False),
    "nll": ("Negative log-likelihood", "less is better", False),
}
TWINS = {"recall_macro": "balanced_accuracy", "recall_weighted": "accuracy"}  # one number under two names
PER_CLASS = {"precision": "Precision", "recall": "Recall (sensitivity)", "specificity": "Specificity", "f1": "F1",
             "auroc": "AUROC", "ap": "Average precision"}


def described(sample: str) -> dict[str, tuple[str, str, bool]]:
    """Return `METRICS` in words for another kind of sample than images."""
    words = {"an image": f"{'an' if sample[0] in 'aeiou' else 'a'} {sample}", "images": f"{sample}s"}
    found = {}
    for key, (name, meaning, barred) in METRICS.items():
        for word, other in words.items():
            meaning = meaning.replace(word, other)
        found[key] = (name, meaning, barred)
    return found


@dataclass(frozen=True, kw_only=True)
class MetricRow:
    """One number with its interval; low, value and high in percent of the bar, or None without one.

    Args:
        scaled: More is better, and it lies in 0..1: it stands in the table that has bars.
    """

    name: str
    meaning: str
    text: str
    interval: str
    bar: tuple[float, float, float] | None
    defined: bool
    scaled: bool


def number(metric: Mapping[str, Any] | None, *, digits: int = 3) -> tuple[str, str]:
    """Return a value and its interval as text; "not defined" and the reason where there is none."""
    if metric is None or metric.get("value") is None:
        return "not defined", str((metric or {}).get("note") or "").removeprefix("not defined: ")
    low, high = metric.get("low"), metric.get("high")
    if low is None or high is None:
        return f"{metric['value']:.{digits}f}", str(metric.get("note") or "no interval")
    return f"{metric['value']:.{digits}f}", f"{low:.{digits}f} to {high:.{digits}f}"


def metric_rows(metrics: Mapping[str, Mapping[str, Any]],
                described: Mapping[str, tuple[str, str, bool]] = METRICS) -> list[MetricRow]:
    """Return the whole set's metrics in order of importance; those nobody described come last, as they are."""
    order = [name for name in described if name in metrics]
    order += [name for name in metrics if name not in described and TWINS.get(name) not in metrics]
    rows = []
    for key in (name for name in order if "/" not in name):
        name, meaning, barred = described.get(key, (key.replace("_", " "), "", False))
        text, interval = number(metrics[key], digits=2 if key.endswith(("_mm", "_px")) else 3)
        value = metrics[key].get("value")
        ends = (metrics[key].get("low"), value, metrics[key].get("high"))
        bar = None
        if barred and value is not None:
            low, middle, high = (100 * min(1.0, max(0.0, value if end is None else end)) for end in ends)
            bar = (low, middle, high)
        rows.append(MetricRow(name=name, meaning=meaning, text=text, interval=interval, bar=bar,
                              defined=value is not None, scaled=barred))
    return rows


def class_rows(evaluation: Mapping[str, Any]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return the headings and one row a class: its name, support, and (value, interval) in each column."""
    per_class: Mapping[str, Mapping[str, Any]] = evaluation["per_class"]
    columns = [key for key in PER_CLASS if any(key in of for of in per_class.values())]
    rows = [{"name": name, "support": of.get("support", 0), "cells": [number(of.get(key)) for key in columns]}
            for name, of in per_class.items()]
    return [PER_CLASS[key] for key in columns], rows


def confusion_rows(confusion: Sequence[Sequence[int]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return one row a true class: each cell with its count and its share of the row, in percent."""
    rows = []
    for place, (name, counts) in enumerate(zip(classes, confusion, strict=True)):
        total = sum(counts)
        rows.append({"name": name, "cells": [
            {"count": count, "share": 100 * count / total if total else 0.0, "right": place == column}
            for column, count in enumerate(counts)]})
    return rows


def baseline(evaluation: Mapping[str, Any]) -> str:
    """Return what always naming the most frequent class of the test part would give, as a sentence."""
    support = {name: int(of.get("support", 0)) for name, of in evaluation["per_class"].items()}
    total = sum(support.values())
    if not total:
        return ""
    name = max(support, key=lambda one: support[one])
    return (f"For scale: always answering “{name}” would give an accuracy of {support[name] / total:.3f} "
            f"and a balanced accuracy of {1 / max(1, sum(count > 0 for count in support.values())):.3f} here.")


def count_rows(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> list[tuple[str, list[int], int]]:
    """Return (class, images in each part, sum), with the totals last."""
    rows = [(name, [of.get(name, 0) for of in counts.values()]) for name in classes]
    rows.append(("all", [sum(column) for column in zip(*(cells for _, cells in rows), strict=True)]))
    return [(name, cells, sum(cells)) for name, cells in rows]


def flat(facts: Mapping[str, Any], *, prefix: str = "") -> list[tuple[str, str]]:
    """Return nested plain data as (name, text) rows."""
    rows: list[tuple[str, str]] = []
    for key, value in facts.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, Mapping):
            rows += flat(value, prefix=f"{name} · ")
        elif isinstance(value, (list, tuple)):
            rows.append((name, ", ".join(map(str, value)) or "none"))
        else:
            rows.append((name, str(value)))
    return rows


def large(value: float) -> str:
    """Return 3,504,872 as 3.50 million and the like, 700,756 as it is; the text never wraps."""
    for size, word in ((1e9, "billion"), (1e6, "million")):
        if abs(value) >= size:
            return f"{value / size:.2f}\N{NO-BREAK SPACE}{word}"
    return f"{value:,.0f}"
