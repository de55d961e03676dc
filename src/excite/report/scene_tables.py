"""The tables of a report on a scene: OA, AA and kappa first, and beside what simpler methods reach."""

from collections.abc import Mapping, Sequence
from typing import Any

from excite.report import tables

# name: (what it is called, what it means, whether more is better and it lies in 0..1)
METRICS = {
    "accuracy": ("Overall accuracy, OA", "share of pixels that are right (also: accuracy; recall, weighted)", True),
    "balanced_accuracy": ("Average accuracy, AA", "mean of the classes' recalls (also: balanced accuracy; recall, "
                          "macro)", True),
    "kappa": ("Cohen's kappa", "agreement beyond chance", True),
    **{name: row for name, row in tables.METRICS.items() if name not in ("accuracy", "balanced_accuracy", "kappa")},
    "auroc_macro": ("AUROC, macro", "chance that a pixel of a class is ranked above one of another; mean of classes",
                    True),
}
COMPARED = {"accuracy": "OA", "balanced_accuracy": "AA", "kappa": "kappa"}
Baseline = tuple[str, Mapping[str, Any], float | None]


def comparison(evaluation: Mapping[str, Any], baselines: Sequence[Baseline], *, network: str,
               seconds: float | None) -> list[dict[str, Any]]:
    """Return one row a method, the network first: its name, (value, interval) of each of COMPARED, its time."""
    methods = [(network, evaluation["metrics"], seconds), *baselines]
    return [{"name": name, "cells": [tables.number(metrics.get(key)) for key in COMPARED], "time": time_told(time)}
            for name, metrics, time in methods]


def not_worse(evaluation: Mapping[str, Any], baselines: Sequence[Baseline]) -> list[str]:
    """Return which baselines do as well as the network or better, each a sentence."""
    said = []
    for name, metrics, _ in baselines:
        found = []
        for key, called in COMPARED.items():
            theirs, ours = ((of.get(key) or {}).get("value") for of in (metrics, evaluation["metrics"]))
            if theirs is not None and ours is not None and theirs >= ours:
                found.append(f"{called} {theirs:.3f} against {ours:.3f}")
        if found:
            said.append(f"The network is not better than the baseline {name}: {', '.join(found)}.")
    return said


def share(part: float) -> str:
    """Return a share in percent: 100 % and 0 % are all and none, never rounded to."""
    percent = 100 * part
    return f"{percent:.0f} %" if percent in (0, 100) else f"{min(99.9, max(0.1, percent)):.1f} %"


def time_told(seconds: float | None) -> str:
    """Return 0.4 s, 35 s or 12 min; nothing where it is not known."""
    if seconds is None:
        return ""
    return f"{seconds:.2g} s" if seconds < 10 else f"{seconds:.0f} s" if seconds < 600 else f"{seconds / 60:.0f} min"
