"""The numbers of a classifier, for one weighting of the samples or for many at a time; undefined stays undefined.

Definitions where there is a choice:

- The predicted class is the most probable one, the first of equal ones.
- A class that no sample has is left out of macro means; of its own numbers only the specificity is defined.
- A class that is there and is never predicted has no precision; it counts as 0 in the macro and weighted mean, so that
  never naming a class is no way to a better number.
- ECE: top label, `BINS` bins of equal width, each open below and closed above, weighted by their samples
  (Guo et al. 2017, arXiv:1706.04599, eq. 3).
- Brier: the squared errors summed over the classes, 0 to 2 (Brier 1950); half of it is the usual binary form.
- NLL: probabilities are cut off at `LEAST` below.
- kappa: Cohen's, without weights.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError, UsageError
from excite.metrics.ranking import Float, Ranking, ratio

BINS = 15
LEAST = float(np.finfo(np.float64).eps)
PER_CLASS = ("precision", "recall", "specificity", "f1", "auroc", "ap")
Int = NDArray[np.int64]


class ClassificationMeasure:
    """The samples of one part, sorted and binned once; a call measures them under many weightings.

    Args:
        truth: Index of the true class, (N,).
        probabilities: Of each class, (N, K).
        classes: Their names.

    Raises:
        DataError: there is no sample, or a row has a class or probabilities that cannot be; the row is named.
    """

    def __init__(self, truth: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.truth, self.probabilities = checked(truth, probabilities, len(classes))
        self.predicted: Int = self.probabilities.argmax(axis=1)
        self.support = np.bincount(self.truth, minlength=len(classes))
        count, places = len(self.truth), np.arange(len(self.truth))
        self._cells = _Groups(self.truth * len(classes) + self.predicted, len(classes) ** 2)
        confidence = self.probabilities[places, self.predicted]
        self._bins = _Groups(bins(confidence), BINS)
        self._gap = confidence - (self.predicted == self.truth)
        self._nll = -np.log(np.clip(self.probabilities[places, self.truth], LEAST, None))
        self._brier = ((self.probabilities - np.eye(len(classes))[self.truth]) ** 2).sum(axis=1)
        self._rankings = {place: Ranking(self.truth == place, self.probabilities[:, place])
                          for place in np.flatnonzero((self.support > 0) & (self.support < count))}

    def __call__(self, weights: Float) -> dict[str, Float]:
        """Return every number for each row of weights, by name; per class as "recall/CLASS"; NaN: not defined.

        Of a class without weight only the specificity is defined; where it has some in the whole part, macro means are
        not defined either: without the class they would be another quantity.

        Shape:
            (R, N) -> (R,) each.
        """
        total = weights.sum(axis=1)
        table = self._cells.sums(weights).reshape(-1, len(self.classes), len(self.classes))
        found = self._of_table(table, total)
        auroc, ap = (np.full((len(weights), len(self.classes)), np.nan) for _ in range(2))
        for place, ranking in self._rankings.items():
            auroc[:, place], ap[:, place] = ranking(weights)
        ranked = list(self._rankings)
        nothing = np.full(len(weights), np.nan)
        found["auroc_macro"] = auroc[:, ranked].mean(axis=1) if ranked else nothing
        found["ap_macro"] = ap[:, ranked].mean(axis=1) if ranked else nothing
        found["kappa"] = _kappa(table, total)
        found["ece"] = np.abs(self._bins.sums(weights * self._gap)).sum(axis=1) / total
        found["brier"] = weights @ self._brier / total
        found["nll"] = weights @ self._nll / total
        for name, values in zip(PER_CLASS, (*_rates(table, total), auroc, ap), strict=True):
            found |= {f"{name}/{label}": values[:, place] for place, label in enumerate(self.classes)}
        return found

    def confusion(self) -> Int:
        """Return the counts, (K, K): a row is a true class, a column a predicted one."""
        return confusion(self.truth, self.predicted, len(self.classes))

    def _of_table(self, table: Float, total: Float) -> dict[str, Float]:
        """Return what follows from the confusion matrices alone, macro and weighted."""
        precision, recall, _, f1 = _rates(table, total)
        support = table.sum(axis=2)
        precision = np.where(support > 0, np.nan_to_num(precision), np.nan)
        there = self.support > 0
        found = {"accuracy": np.trace(table, axis1=1, axis2=2) / total,
                 "balanced_accuracy": recall[:, there].mean(axis=1)}
        three = {"precision": precision, "recall": recall, "f1": f1}
        found |= {f"{name}_macro": values[:, there].mean(axis=1) for name, values in three.items()}
        found |= {f"{name}_weighted": (np.nan_to_num(values) * support).sum(axis=1) / total
                  for name, values in three.items()}
        return found


class _Groups:
    """Samples sorted by a key once; then sums over each key for many rows of values."""

    def __init__(self, keys: Int, count: int) -> None:
        self.count = count
        self.order = np.argsort(keys, kind="stable")
        ranked = keys[self.order]
        self.starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
        self.present = ranked[self.starts]

    def sums(self, values: Float) -> Float:
        """Return (R, N) -> (R, count)."""
        out = np.zeros((len(values), self.count))
        out[:, self.present] = np.add.reduceat(values[:, self.order], self.starts, axis=1)
        return out


def measure(truth: NDArray[Any], probabilities: NDArray[Any], classes: Sequence[str]) -> dict[str, float | None]:
    """Return every number of a classifier by name; None where it is not defined.

    Names: accuracy balanced_accuracy precision_macro recall_macro f1_macro precision_weighted recall_weighted
    f1_weighted auroc_macro ap_macro kappa ece brier nll, and for each class precision/CLASS recall/CLASS
    specificity/CLASS f1/CLASS auroc/CLASS ap/CLASS.

    Args:
        truth: Index of the true class.
        probabilities: Of each class.
        classes: Their names.

    Shape:
        (N,) integers, (N, K).

    Raises:
        DataError: there is no sample, or a row has a class or probabilities that cannot be; the row is named.
    """
    found = ClassificationMeasure(truth, probabilities, classes)(np.ones((1, len(truth))))
    return {name: None if np.isnan(value[0]) else float(value[0]) for name, value in found.items()}


def confusion(truth: Int, predicted: Int, classes: int) -> Int:
    """Return the counts, (K, K): a row is a true class, a column a predicted one."""
    return np.bincount(truth * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def bins(confidence: Float) -> Int:
    """Return the bin of each confidence; the bins are open below and closed above."""
    edges = np.linspace(0, 1, BINS + 1)[1:-1]
    return np.searchsorted(edges, confidence, side="left").astype(np.int64)


def checked(truth: NDArray[Any], probabilities: NDArray[Any], classes: int) -> tuple[Int, Float]:
    """Return both as arrays that can be measured, or raise with the first row that cannot."""
    labels, chances = np.asarray(truth), np.asarray(probabilities, dtype=np.float64)
    if labels.ndim != 1 or chances.shape != (len(labels), classes):
        raise UsageError(f"truth and probabilities must have the shapes (N,) and (N, {classes}), got {labels.shape} "
                         f"and {chances.shape}")
    if not len(labels):
        raise DataError("there is no image to measure")
    _refuse(np.asarray(~np.isfinite(chances).all(axis=1)), "a probability is NaN or infinite",
            "look at the image and the network")
    _refuse(np.asarray((chances < 0).any(axis=1) | (np.abs(chances.sum(axis=1) - 1) > 1e-4)),
            "the probabilities are negative or do not sum to 1", "give the softmax of the outputs, not the outputs")
    _refuse(np.asarray((labels != labels.astype(np.int64)) | (labels < 0) | (labels >= classes)),
            f"the true class must be an integer from 0 to {classes - 1}", "map labels to indices of the classes")
    return labels.astype(np.int64), chances


def _refuse(bad: NDArray[np.bool_], what: str, fix: str) -> None:
    if bad.any():
        raise DataError(what, where=f"row {int(bad.argmax())} (counted from 0)",
                        why=f"{int(bad.sum())} of {len(bad)} rows are so", fix=fix)


def _rates(table: Float, total: Float) -> tuple[Float, Float, Float, Float]:
    """Return precision, recall, specificity and F1 of each class, (R, K), from confusion matrices (R, K, K)."""
    right, support, predicted = np.diagonal(table, axis1=1, axis2=2), table.sum(axis=2), table.sum(axis=1)
    rest = total[:, None] - support
    f1 = ratio(2 * right, np.where(support > 0, support + predicted, 0.0))
    precision = ratio(right, np.where(support > 0, predicted, 0.0))
    return precision, ratio(right, support), ratio(rest - predicted + right, rest), f1


def _kappa(table: Float, total: Float) -> Float:
    """Return Cohen's kappa, NaN where agreement by chance is certain."""
    by_chance = (table.sum(axis=1) * table.sum(axis=2)).sum(axis=1) / total**2
    room = np.where(by_chance < 1 - 1e-12, 1 - by_chance, 0.0)
    return ratio(np.trace(table, axis1=1, axis2=2) / total - by_chance, room)
