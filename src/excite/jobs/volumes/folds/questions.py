"""The yes-or-no questions that a classifier answers, and how well: what a clinic asks of several classes.

Two classes are one question, the second one. Grades are asked as "this grade or worse", each but the first; classes
without an order each against the rest.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.metrics.binary import only
from excite.metrics.decision_curve import DecisionCurve, decision_curve
from excite.metrics.intervals import Interval, bootstrap, wilson
from excite.metrics.operating_point import RateAt
from excite.metrics.ranking import Ranking, roc

Float = NDArray[np.float64]
SPECIFICITY = 0.9  # at which the sensitivity is told
GROUPS, FEWEST = 5, 8  # of a calibration curve: equally many samples each, and no fewer than so many


@dataclass(frozen=True, kw_only=True, eq=False)
class Question:
    """Whether each sample is so, (N,), and the stated chance of it after and before the temperature, (N,) each."""

    name: str
    truth: NDArray[np.bool_]
    chance: Float
    raw: Float


@dataclass(frozen=True, kw_only=True)
class Answer:
    """How well a question is answered.

    Args:
        positives: Samples that are so, of `n`.
        auroc: Over all samples.
        sensitivity: At a specificity of 0.9, the threshold chosen on the same samples.
        roc: {"fpr", "tpr"}; None where one side alone occurs.
        calibration: Groups of like chance, "before" and "after" the temperature: {"chance", "share", "low", "high",
            "count"} each.
        curve: Net benefit.
    """

    name: str
    n: int
    positives: int
    auroc: Interval
    sensitivity: Interval
    roc: dict[str, list[float]] | None
    calibration: dict[str, dict[str, list[float]]]
    curve: DecisionCurve

    def to_json(self) -> dict[str, Any]:
        """Return plain data; of the curve only where it helps."""
        return {"name": self.name, "n": self.n, "positives": self.positives, "auroc": self.auroc.to_json(),
                f"sensitivity at {SPECIFICITY}": self.sensitivity.to_json(),
                "useful_thresholds": list(self.curve.useful())}


def questions(truth: NDArray[np.int64], shares: Float, raw: Float, classes: Sequence[str], *,
              graded: bool) -> list[Question]:
    """Return the questions behind the classes.

    Args:
        truth: Index of the true class.
        shares: Of each class, after the temperature.
        raw: The same before it.
        graded: The classes are grades in their order.

    Shape:
        (N,), (N, K), (N, K)
    """
    places = range(len(classes))
    if len(classes) == 2:
        asked = {classes[1]: [1]}
    elif graded:
        asked = {name if place == places[-1] else f"{name} or worse": list(places[place:])
                 for place, name in enumerate(classes) if place}
    else:
        asked = {name: [place] for place, name in enumerate(classes)}
    return [Question(name=name, truth=np.isin(truth, of), chance=np.clip(shares[:, of].sum(axis=1), 0, 1),
                     raw=np.clip(raw[:, of].sum(axis=1), 0, 1)) for name, of in asked.items()]


def answered(question: Question, units: Sequence[str]) -> Answer:
    """Return how well a question is answered, with 95 % intervals over units."""
    truth, chance = question.truth, question.chance
    ranking, rates = Ranking(truth, chance), RateAt(truth, chance, held="specificity", at_least=SPECIFICITY)

    def measure(weights: Float) -> Mapping[str, Float]:
        return {"auroc": ranking(weights)[0], **rates(weights)}

    found, corners = bootstrap(measure, units), roc(truth, chance)
    if lack := only(truth):
        found = dict.fromkeys(found, Interval(value=None, low=None, high=None, note=f"not defined: {lack}"))
    return Answer(name=question.name, n=len(truth), positives=int(truth.sum()), auroc=found["auroc"],
                  sensitivity=found["sensitivity"],
                  roc=None if corners is None else {"fpr": corners[0].tolist(), "tpr": corners[1].tolist()},
                  calibration={"before": calibration(truth, question.raw), "after": calibration(truth, chance)},
                  curve=decision_curve(truth, chance, units))


def calibration(truth: NDArray[np.bool_], chance: Float) -> dict[str, list[float]]:
    """Return the mean chance, the share that is so, Wilson's interval of it and the count, of groups of like chance.

    Equal chances stay in one group, so that the order of the samples plays no part.
    """
    groups = min(GROUPS, max(1, len(truth) // FEWEST))
    edges = np.quantile(chance, np.arange(1, groups) / groups)
    place = np.searchsorted(edges, chance, side="left")
    found: dict[str, list[float]] = {name: [] for name in ("chance", "share", "low", "high", "count")}
    for group in np.unique(place):
        of = place == group
        low, high = wilson(int(truth[of].sum()), int(of.sum()))
        for name, value in (("chance", chance[of].mean()), ("share", truth[of].mean()), ("low", low), ("high", high),
                            ("count", of.sum())):
            found[name].append(float(value))
    return found
