"""Whether acting on a probability does more good than acting on everybody or on nobody: net benefit by threshold.

Who acts from a probability of p on holds one missed case for as bad as (1 - p) / p needless treatments. With n samples,
TP of the class and FP others being treated, the net benefit in cases found a sample is

    TP / n - FP / n * p / (1 - p)

Treating nobody has 0; treating all has the share of the class less the share of the others times p / (1 - p). A model
is of use at thresholds where it is above both.

Source: Vickers and Elkin, "Decision curve analysis: a novel method for evaluating prediction models", Medical Decision
Making 2006, doi 10.1177/0272989X06295361, equation of net benefit; intervals: bootstrap over units, as the authors' own
later tutorial (Vickers et al., BMC Medical Informatics and Decision Making 2008, doi 10.1186/1472-6947-8-53).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import UsageError
from excite.metrics.binary import Values, binary, only
from excite.metrics.intervals import Interval, bootstrap
from excite.metrics.ranking import Float
from excite.progress import Progress

THRESHOLDS = tuple(percent / 100 for percent in range(1, 100))


@dataclass(frozen=True, kw_only=True)
class DecisionCurve:
    """Net benefit at each threshold, with intervals over units.

    Args:
        thresholds: Probabilities from which on one acts.
        model: Net benefit of acting on the model's probability; at least the threshold counts.
        treat_all: Of acting on every sample; nobody's is 0 everywhere.
        advantage: Of the model over the better of all and nobody, from the same resamples; an interval above 0 is the
            proof that the model is of use there.
        note: Why nothing is defined, where one class alone occurs.
    """

    thresholds: tuple[float, ...]
    model: tuple[Interval, ...]
    treat_all: tuple[Interval, ...]
    advantage: tuple[Interval, ...]
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def useful(self) -> tuple[float, ...]:
        """Return the thresholds at which the whole interval of the advantage is above 0."""
        return tuple(threshold for threshold, one in zip(self.thresholds, self.advantage, strict=True)
                     if one.low is not None and one.low > 0)


def decision_curve(truth: Values, chance: Values, units: Sequence[str], *, thresholds: Sequence[float] = THRESHOLDS,
                   resamples: int = 1000, seed: int = 0, progress: Progress | None = None) -> DecisionCurve:
    """Return the decision curve of one class against the rest.

    Net benefit is a mean over samples, so a resample of one class counts like any other.

    Args:
        truth: Whether each sample is of the class.
        chance: Its probability, calibrated: the threshold is read as one.
        units: What each sample belongs to and is not independent of: the patient.
        thresholds: Above 0 and below 1, increasing; those that a clinic would choose from.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Shape:
        (N,), (N,), N units.

    Raises:
        DataError: there is no sample, or a probability cannot be; the row is named. UsageError: a threshold cannot be,
            or there is not one unit a sample.
    """
    of_class, values = binary(truth, chance, units, probabilities=True)
    given = tuple(float(one) for one in thresholds)
    if not given or not all(0 < one < 1 for one in given) or list(given) != sorted(set(given)):
        raise UsageError(f"thresholds must be increasing, above 0 and below 1, got {given[:5]}",
                         why="at 0 everybody and at 1 nobody is treated, whatever the model says")
    if lack := only(of_class):
        note = f"not defined: {lack}"
        nothing = (Interval(value=None, low=None, high=None, note=note),) * len(given)
        return DecisionCurve(thresholds=given, model=nothing, treat_all=nothing, advantage=nothing, note=note)
    found = bootstrap(NetBenefit(of_class, values, given), units, resamples=resamples, seed=seed, progress=progress)
    model, treat_all, advantage = ([found[f"{name}/{place}"] for place in range(len(given))]
                                   for name in ("model", "treat_all", "advantage"))
    return DecisionCurve(thresholds=given, model=tuple(model), treat_all=tuple(treat_all), advantage=tuple(advantage))


class NetBenefit:
    """Net benefit at many thresholds under many weightings: what each sample adds to it, made once.

    Args:
        of_class: (N,) bool.
        chance: (N,), the probability of the class.
        thresholds: Above 0 and below 1.
    """

    def __init__(self, of_class: NDArray[np.bool_], chance: Float, thresholds: Sequence[float]) -> None:
        limits = np.asarray(thresholds, np.float64)
        self._all = np.where(of_class[:, None], 1.0, -limits / (1 - limits))
        self._model = self._all * (chance[:, None] >= limits)

    def __call__(self, weights: Float) -> Mapping[str, Float]:
        """Return model/PLACE, treat_all/PLACE and advantage/PLACE for each row of weights, (R, N) -> (R,) each."""
        total = weights.sum(axis=1, keepdims=True)
        model, treat_all = weights @ self._model / total, weights @ self._all / total
        parts = {"model": model, "treat_all": treat_all, "advantage": model - np.maximum(treat_all, 0)}
        return {f"{name}/{place}": values[:, place] for name, values in parts.items()
                for place in range(values.shape[1])}
