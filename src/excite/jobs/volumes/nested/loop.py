"""The outer loop of a nested cross-validation, and the same of simpler heads, to see what the rest adds."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from excite.errors import DataError
from excite.jobs.volumes.folds.numbers import Predicted
from excite.jobs.volumes.nested.choice import Choice, choose
from excite.jobs.volumes.nested.data import NestedData
from excite.jobs.volumes.nested.head import Float, Int, log_chances, scores
from excite.jobs.volumes.nested.sections import NestedConfig
from excite.metrics.classification import ClassificationMeasure
from excite.metrics.intervals import Interval, bootstrap
from excite.outcome.decode import softmax
from excite.progress import Progress

COMPARED = ("auroc_macro", "balanced_accuracy", "nll")
GAIN = "gain"  # of the AUROC


@dataclass(frozen=True, kw_only=True, eq=False)
class Simpler:
    """A simpler head, its numbers on the same rows, and by how much the AUROC of the main one is above its own."""

    name: str
    numbers: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"name": self.name, **{name: one.to_json() for name, one in self.numbers.items()}}

    @property
    def is_better(self) -> bool:
        """Return whether the whole interval of what the main one gains over it is below 0."""
        high = self.numbers[GAIN].high
        return high is not None and high < 0

    def text(self, *, than: str) -> str:
        """Return its AUROC, and how much is gained over it, as a line.

        Args:
            than: The main ones, for where they are worse: "networks".
        """
        return (f"a head on {self.name}: AUROC {self.numbers['auroc_macro'].text()}, gained over it "
                f"{self.numbers[GAIN].text()}" + (f": THIS SIMPLER HEAD IS BETTER than the {than}" if self.is_better
                                                  else ""))


def outer_loop(data: NestedData, progress: Progress) -> tuple[Predicted, tuple[Choice, ...]]:
    """Return each row's probabilities from a head that has not seen its unit, and what was chosen for each fold.

    Raises:
        DataError: a class lies in one fold alone, or a fold's training rows cannot be divided into inner folds.
    """
    labels, fold, classes = data.labels, np.array(data.folds.of), len(data.prepared.classes)
    logits, heat = np.zeros((len(labels), classes)), np.ones(len(labels))
    choices = []
    for number in range(1, data.folds.count + 1):
        train, test = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        _refuse_lone_classes(data, labels[train], number)
        columns = data.columns(train, progress)
        choice = choose(columns, labels, data.inner(train), section=data.config.nested, classes=classes)
        values = scores(columns, train).first(choice.components)
        logits[test] = log_chances(values, labels, train, test, penalty=choice.penalty, classes=classes)
        heat[test] = choice.temperature.value
        choices.append(choice)
        progress.step("heads", number, data.folds.count)
    return Predicted(
        classes=data.prepared.classes, graded=data.config.volumes.classes is not None, rows=data.table.manifest.rows,
        units=data.folds.units.names, unit_kind=data.folds.units.kind, fold=fold, truth=labels,
        shares=softmax(logits / heat[:, None]), raw=softmax(logits)), tuple(choices)


def simpler_heads(data: NestedData, main: Predicted, progress: Progress, *, than: str) -> list[Simpler]:
    """Return what heads that know less reach on the same folds: simple numbers of the maps, clinical columns alone.

    Args:
        main: What they are compared with, rows and folds alike.
        than: What it learns from: "pooled" or "network", else "levels" or "none", which has nothing simpler.
    """
    beside = ", ".join(data.table.columns)
    offered = {"levels": "mean, spread and percentiles of each map" + (f", {beside}" if beside else ""),
               "none": f"{beside} alone"}
    asked = [name for name, possible in (("levels", data.config.volumes.levels == "map"), ("none", bool(beside)))
             if possible]
    if than in offered:
        asked = [name for name in asked if list(offered).index(name) > list(offered).index(than)]
    found = []
    for name in asked:
        section = data.config.nested.model_copy(update={"features": name})
        other, _ = outer_loop(replace(data, config=data.config.model_copy(update={"nested": section}), trunk=None),
                              progress)
        found.append(Simpler(name=offered[name], numbers=compared(main, other)))
    return found


def compared(main: Predicted, other: Predicted) -> dict[str, Interval]:
    """Return the numbers of `other`, and the AUROC of `main` less its own on the same rows, in the same resamples."""
    first, second = (ClassificationMeasure(one.truth, one.shares, one.classes) for one in (main, other))

    def numbers(weights: Float) -> Mapping[str, Float]:
        own = second(weights)
        return {name: own[name] for name in COMPARED} | {GAIN: first(weights)["auroc_macro"] - own["auroc_macro"]}

    return bootstrap(numbers, main.units)


def _refuse_lone_classes(data: NestedData, trained: Int, number: int) -> None:
    lone = [name for place, name in enumerate(data.prepared.classes) if place not in trained]
    if lone:
        raise DataError(f"no row of class {', '.join(lone)} is left to learn from when fold {number} is tested",
                        where=data.table.manifest.source, why="it takes two patients of a class, better ten",
                        fix="merge or leave out the class")


def as_nested(tree: Mapping[str, Any], features: str) -> NestedConfig:
    """Return the config of heads on the patients and folds of another config, given as plain data."""
    return NestedConfig.model_validate({**tree, "nested": {"features": features}})
