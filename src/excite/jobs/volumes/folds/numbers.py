"""What the folds of a cross-validation say of all patients together, and one by one."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.row import Row
from excite.jobs.volumes.folds.questions import SPECIFICITY, Answer, answered, questions
from excite.metrics.classification import measure
from excite.metrics.evaluation import Evaluation, evaluate
from excite.metrics.intervals import Interval
from excite.metrics.ordinal import ordinal
from excite.progress import Progress

Float = NDArray[np.float64]
SHOWN = ("balanced_accuracy", "auroc_macro", "accuracy", "kappa", "ece")
EACH = ("balanced_accuracy", "auroc_macro", "accuracy", "nll")  # told fold by fold


@dataclass(frozen=True, kw_only=True, eq=False)
class Predicted:
    """All rows of a table, each predicted once by what has not seen its unit.

    Args:
        graded: The classes are grades in their order.
        rows: Of the table, (N,); those of one fold need not lie together.
        fold: Of each row, from 1 on.
        units: Of each row.
        truth: Index of the true class.
        shares: Probabilities, after the temperature of the fold.
        raw: Before it.

    Shape:
        fold, truth (N,); shares, raw (N, K)
    """

    classes: tuple[str, ...]
    graded: bool
    rows: tuple[Row, ...]
    units: tuple[str, ...]
    unit_kind: str
    fold: NDArray[np.int64]
    truth: NDArray[np.int64]
    shares: Float
    raw: Float

    @property
    def sample(self) -> str:
        """What a row is called: a patient, unless patients have several."""
        return "patient" if len(set(self.units)) == len(self.units) else "examination"

    @property
    def folds(self) -> list[int]:
        """The folds' numbers."""
        return sorted(set(self.fold.tolist()))


@dataclass(frozen=True, kw_only=True, eq=False)
class FoldNumbers:
    """The numbers of a cross-validation.

    Args:
        evaluation: Over all rows.
        grades: Of grades in order, weighted kappa and mean error.
        answers: To the yes-or-no questions.
        before: Calibration error, likelihood and Brier score before the temperatures.
        each: Numbers of each fold, without intervals: its patients are too few.
    """

    predicted: Predicted
    evaluation: Evaluation
    grades: dict[str, Interval]
    answers: tuple[Answer, ...]
    before: dict[str, float | None]
    each: tuple[dict[str, float | None], ...]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        found = self.evaluation.to_json()
        return {"folds": len(self.each), "rows": found["n"], "units": found["n_units"],
                "unit_kind": found["unit_kind"], "classes": found["classes"], "metrics": found["metrics"],
                "per_class": found["per_class"], "confusion": found["confusion"],
                "grades": {name: one.to_json() for name, one in self.grades.items()},
                "questions": [one.to_json() for one in self.answers], "fold_by_fold": list(self.each)}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        told = {name.replace("_", " "): one for name, one in self.grades.items()}
        for one in self.answers:
            told |= {f"{one.name}: AUROC": one.auroc, f"{one.name}: sensitivity at {SPECIFICITY}": one.sensitivity}
        width = max(map(len, told))
        single = ", ".join("not defined" if value is None else f"{value:.3f}"
                           for value in (one["balanced_accuracy"] for one in self.each))
        return "\n".join([self.evaluation.text(SHOWN), *(f"  {name:<{width}}  {one.text()}" for name, one in
                                                         told.items()),
                          f"balanced accuracy fold by fold: {single}"])


def measured(predicted: Predicted, *, by: str, progress: Progress | None = None) -> FoldNumbers:
    """Return the numbers of rows that are each predicted once.

    Args:
        by: What predicted them, for a note: "network".
    """
    truth, shares, units, classes = predicted.truth, predicted.shares, predicted.units, predicted.classes
    count = len(predicted.folds)
    evaluation = evaluate(
        truth, shares, classes, units, part=f"all {count} folds", sample=predicted.sample, progress=progress,
        unit_kind=predicted.unit_kind, notes=[f"each row is predicted by the one of {count} {by}s that has not seen "
                                              f"its unit; intervals hold these {by}s as they are"])
    asked = questions(truth, shares, predicted.raw, classes, graded=predicted.graded)
    raw = measure(truth, predicted.raw, classes)
    return FoldNumbers(
        predicted=predicted, evaluation=evaluation, answers=tuple(answered(one, units) for one in asked),
        grades=ordinal(truth, shares, units) if predicted.graded and len(classes) > 2 else {},
        before={name: raw[name] for name in ("ece", "nll", "brier")},
        each=tuple(_of_fold(predicted, predicted.fold == number) for number in predicted.folds))


def _of_fold(predicted: Predicted, of: NDArray[np.bool_]) -> dict[str, float | None]:
    found = measure(predicted.truth[of], predicted.shares[of], predicted.classes)
    return {name: found[name] for name in EACH}
