"""One of two models whose numbers are compared: sums over samples, and the numbers that follow from them.

A number that follows from sums needs no look at the samples again: neither when samples come several times (bootstrap),
nor when the two models' answers to some of them are swapped.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.metrics.classification import BINS, LEAST, ClassificationMeasure, bins
from excite.metrics.ordinal import OrdinalMeasure
from excite.metrics.ranking import Float, Ranking, ratio

RANKED = ("auroc", "ap")
Numbers = dict[str, Float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Side:
    """A model on the samples of one part.

    Args:
        columns: What is summed over samples.
        numbers: Sums, each a row of a table, to numbers by name; NaN where not defined.
        scores: Of each class that has samples and a rest; none where nothing is ranked.
        positive: Which samples are of it.
        right: Whether the answer is right; None where there is no right and wrong.
        unsaid: Classes that have samples and are never the answer.

    Shape:
        columns (N, M); numbers takes (R, M); scores and positive (N,)
    """

    columns: Float
    numbers: Callable[[Float], Numbers]
    scores: Mapping[str, Float] = field(default_factory=dict)
    positive: Mapping[str, NDArray[np.bool_]] = field(default_factory=dict)
    right: NDArray[np.bool_] | None = None
    unsaid: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """The names of all numbers."""
        found = [*self.numbers(self.columns.sum(axis=0)[None]), *(f"{kind}/{name}" for kind in RANKED
                                                                   for name in self.scores)]
        return [*found, *(f"{kind}_macro" for kind in RANKED if self.scores)]

    def measure(self) -> Callable[[Float], Numbers]:
        """Return what measures many weightings: (R, N) -> every number, (R,) each."""
        rankings = {name: Ranking(self.positive[name], score) for name, score in self.scores.items()}

        def measured(weights: Float) -> Numbers:
            found = self.numbers(weights @ self.columns)
            ranked = {name: ranking(weights) for name, ranking in rankings.items()}
            for place, kind in enumerate(RANKED):
                each = {f"{kind}/{name}": both[place] for name, both in ranked.items()}
                found |= each
                if each:
                    found[f"{kind}_macro"] = np.mean(list(each.values()), axis=0)
            return found

        return measured


def classifier(truth: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str], *,
               graded: bool = False) -> Side:
    """Return a classifier as a side: every number of `ClassificationMeasure`, those of `OrdinalMeasure` where graded.

    Args:
        truth: Index of the true class.
        probabilities: Of each class.
        classes: Their names.
        graded: The classes are grades in their order.

    Shape:
        (N,), (N, K)

    Raises:
        DataError: a row has a class or probabilities that cannot be.
    """
    whole = ClassificationMeasure(truth, probabilities, classes)
    count, labels, chances, said = len(classes), whole.truth, whole.probabilities, whole.predicted
    there = np.flatnonzero(whole.support).tolist()
    cells = np.array([place * count + other for place in there for other in range(count)])
    confidence, true = (chances[np.arange(len(labels)), places] for places in (said, labels))
    in_bin = np.eye(BINS)[bins(confidence)] * (confidence - (said == labels))[:, None]
    columns = np.concatenate([
        (labels * count + said)[:, None] == cells, in_bin, -np.log(np.clip(true, LEAST, None))[:, None],
        ((chances - np.eye(count)[labels]) ** 2).sum(axis=1)[:, None]], axis=1)
    ranked = {classes[place]: place for place in there if whole.support[place] < len(labels)}
    return Side(columns=columns, right=said == labels, numbers=_numbers(cells, classes, graded=graded),
                unsaid=tuple(classes[place] for place in there if not (said == place).any()),
                scores={name: chances[:, place] for name, place in ranked.items()},
                positive={name: labels == place for name, place in ranked.items()})


def _numbers(cells: NDArray[np.int64], classes: Sequence[str], *, graded: bool) -> Callable[[Float], Numbers]:
    """Return what makes numbers of sums; a cell of the confusion matrix is measured as a sample with its weight."""
    truth, said = np.divmod(cells, len(classes))
    of_cells = ClassificationMeasure(truth, np.eye(len(classes))[said], classes)
    of_grades = OrdinalMeasure(truth, np.eye(len(classes))[said]) if graded else None

    def numbers(sums: Float) -> Numbers:
        table, gaps = sums[:, : len(cells)], sums[:, len(cells) : -2]
        total = table.sum(axis=1)
        found = {name: values for name, values in of_cells(table).items()
                 if not name.startswith(RANKED)} | (dict(of_grades(table)) if of_grades else {})
        return found | {"ece": np.abs(gaps).sum(axis=1) / total, "nll": sums[:, -2] / total,
                        "brier": sums[:, -1] / total}

    return numbers


def means_of(rows: Sequence[Mapping[str, float | None]]) -> Side:
    """Return numbers of single images as a side whose numbers are their means, each over the images that have it.

    Args:
        rows: The numbers of each image by name; None: not defined for it.
    """
    names = list(rows[0])
    table = np.array([[row[name] for name in names] for row in rows], np.float64)
    defined = ~np.isnan(table)

    def numbers(sums: Float) -> Numbers:
        return {name: ratio(sums[:, place], sums[:, len(names) + place]) for place, name in enumerate(names)}

    return Side(columns=np.concatenate([np.where(defined, table, 0.0), defined], axis=1), numbers=numbers)
