"""A threshold for yes or no: chosen on one set at a promised rate, applied on another, where the promise is looked at.

Sensitivity is the share of the class that is called so, specificity the share of the others that is not; a sample is
called so from the threshold on. A threshold chosen and measured on the same samples looks better than it is, by more
the fewer there are. On samples that it was not chosen on both rates may fall short of the promise, and are reported.

Source: definitions as in Pepe, "The Statistical Evaluation of Medical Tests for Classification and Prediction", Oxford
2003, section 2.1 and, for one rate at a given other, section 4.3.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError, UsageError
from excite.metrics.binary import Values, binary, only
from excite.metrics.intervals import Interval, bootstrap
from excite.metrics.ranking import Float, ratio
from excite.progress import Progress

Rate = Literal["sensitivity", "specificity"]
SLACK = 1e-9  # of a share that counts as reached: 9 / 10 is not quite 0.9


@dataclass(frozen=True, kw_only=True)
class OperatingPoint:
    """A threshold and what it promises.

    Args:
        threshold: From this score on a sample is called of the class.
        held: Which rate was asked for: "specificity" or "sensitivity".
        at_least: How much of it.
        sensitivity: On the samples that it was chosen on.
        specificity: On them.
        n: How many they were.
        note: What has to be known of it.
    """

    threshold: float
    held: Rate
    at_least: float
    sensitivity: float
    specificity: float
    n: int
    note: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)


class RateAt:
    """The best of one rate where the other is at least a given one, for many weightings of the samples.

    Args:
        of_class: (N,) bool.
        score: The higher, the surer, (N,).
        held: The rate that is given; the other one is measured.
        at_least: How much of it, above 0 and at most 1.
    """

    def __init__(self, of_class: NDArray[np.bool_], score: Float, *, held: Rate, at_least: float) -> None:
        if held not in get_args(Rate):
            raise UsageError(f"held must be 'sensitivity' or 'specificity', got {held!r}")
        if not 0 < at_least <= 1:
            raise UsageError(f"at_least must be above 0 and at most 1, got {at_least}")
        self.held, self.at_least = held, at_least
        self.order = np.argsort(-score, kind="stable")
        ranked = score[self.order]
        ends = np.flatnonzero(np.r_[ranked[1:] != ranked[:-1], True])
        self.thresholds: Float = np.r_[np.nextafter(ranked[0], np.inf), ranked[ends]]  # the first calls nothing so
        self._ends, self._of_class = ends, of_class[self.order]

    def rates(self, weights: Float) -> tuple[Float, Float]:
        """Return sensitivity and specificity at each threshold, NaN where a side weighs nothing.

        Shape:
            (R, N) -> (R, T), (R, T)
        """
        ranked = weights[:, self.order]
        called = [np.cumsum(np.where(side, ranked, 0.0), axis=1) for side in (self._of_class, ~self._of_class)]
        true, false = (np.pad(one[:, self._ends], ((0, 0), (1, 0))) for one in called)
        positives, negatives = (np.broadcast_to(one[:, -1:], one.shape) for one in (true, false))
        return ratio(true, positives), ratio(negatives - false, negatives)

    def best(self, weights: Float) -> NDArray[np.int64]:
        """Return the place of the threshold with the most of the other rate, (R,); of equal ones the most of this."""
        sensitivity, specificity = self.rates(weights)  # the one grows with the place, the other falls
        if self.held == "specificity":
            edge = _last(specificity >= self.at_least - SLACK)
            return _first(sensitivity >= np.take_along_axis(sensitivity, edge, axis=1) - SLACK)[:, 0]
        edge = _first(sensitivity >= self.at_least - SLACK)
        return _last(specificity >= np.take_along_axis(specificity, edge, axis=1) - SLACK)[:, 0]

    def __call__(self, weights: Float) -> Mapping[str, Float]:
        """Return {"sensitivity" or "specificity": (R,)}, the rate that is not held; NaN: not defined."""
        pair = self.rates(weights)
        name, values = ("sensitivity", pair[0]) if self.held == "specificity" else ("specificity", pair[1])
        found = np.take_along_axis(values, self.best(weights)[:, None], axis=1)[:, 0]
        return {name: np.where(np.isnan(pair[0] + pair[1]).any(axis=1), np.nan, found)}


def choose_point(truth: Values, score: Values, *, held: Rate, at_least: float) -> OperatingPoint:
    """Return the threshold with the most of one rate where the other, `held`, is at least `at_least`.

    Args:
        truth: Whether each sample is of the class.
        score: The higher, the surer; a probability, most often.
        held: "specificity", and the sensitivity is made as large as it can be, or the reverse.
        at_least: How much of it, above 0 and at most 1.

    Shape:
        (N,), (N,)

    Raises:
        DataError: one side has no sample, or a value cannot be; the row is named. UsageError: an option cannot be.
    """
    of_class, values = binary(truth, score, None)
    rates = RateAt(of_class, values, held=held, at_least=at_least)
    if lack := only(of_class):
        raise DataError("a threshold needs samples of the class and others to be chosen on", why=lack)
    even = np.ones((1, len(values)))
    place = int(rates.best(even)[0])
    sensitivity, specificity = (float(one[0, place]) for one in rates.rates(even))
    return OperatingPoint(
        threshold=float(rates.thresholds[place]), held=held, at_least=at_least, sensitivity=sensitivity,
        specificity=specificity, n=len(values),
        note=None if place else "no threshold that keeps the promise finds a sample of the class: none is called so")


def apply_point(point: OperatingPoint, truth: Values, score: Values, units: Sequence[str], *, resamples: int = 1000,
                seed: int = 0, progress: Progress | None = None) -> dict[str, Interval]:
    """Return sensitivity, specificity, ppv and npv of a threshold on samples that it was not chosen on.

    The intervals are those of these samples; how uncertain the choice itself was is not in them. ppv and npv are for
    a share of the class as here.

    Args:
        point: The threshold.
        truth: Whether each sample is of the class.
        score: As it was chosen on.
        units: What each sample belongs to and is not independent of: the patient.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Shape:
        (N,), (N,), N units.

    Raises:
        DataError: there is no sample, or a value cannot be; the row is named.
    """
    of_class, values = binary(truth, score, units)
    called = values >= point.threshold
    cells = np.stack([of_class & called, of_class & ~called, ~of_class & called, ~of_class & ~called], axis=1)

    def measure(weights: Float) -> Mapping[str, Float]:
        hit, missed, false, right = (weights @ cells).T
        return {"sensitivity": ratio(hit, hit + missed), "specificity": ratio(right, right + false),
                "ppv": ratio(hit, hit + false), "npv": ratio(right, right + missed)}

    lacks = {"sensitivity": "no sample of the class", "specificity": "every sample is of the class",
             "ppv": "no sample is called of the class", "npv": "every sample is called of the class"}
    found = bootstrap(measure, units, resamples=resamples, seed=seed, progress=progress)
    return {name: one if one.value is not None else
            Interval(value=None, low=None, high=None, note=f"not defined: {lacks[name]}")
            for name, one in found.items()}


def rate_at(truth: Values, score: Values, units: Sequence[str], *, held: Rate, at_least: float, resamples: int = 1000,
            seed: int = 0, progress: Progress | None = None) -> Interval:
    """Return the sensitivity at a specificity, or the reverse, the threshold chosen anew in each resample.

    It describes how well scores rank; no threshold comes out of it that could be used, see `choose_point`.

    Args:
        truth: Whether each sample is of the class.
        score: The higher, the surer.
        units: What each sample belongs to and is not independent of: the patient.
        held: The rate that is given.
        at_least: How much of it.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: there is no sample, or a value cannot be; the row is named. UsageError: an option cannot be.
    """
    of_class, values = binary(truth, score, units)
    measure = RateAt(of_class, values, held=held, at_least=at_least)
    found, = bootstrap(measure, units, resamples=resamples, seed=seed, progress=progress).values()
    return found if found.value is not None else Interval(value=None, low=None, high=None,
                                                          note=f"not defined: {only(of_class)}")


def _first(where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the first place of each row that is so, (R, 1); 0 where none is."""
    places: NDArray[np.int64] = where.argmax(axis=1, keepdims=True)
    return places


def _last(where: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Return the last place of each row that is so, (R, 1); the last of all where none is."""
    places: NDArray[np.int64] = where.shape[1] - 1 - _first(where[:, ::-1])
    return places
