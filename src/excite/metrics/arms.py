"""Several ways of training on the same test images: differences, ranking, and what chance could have done.

A difference has two chances in it: which units were tested, and how the training fell out (its seed). Both are counted,
as readers and cases are in reading studies: trainings are the readers, nested in their arm, and the test units are the
cases, which all of them share. Of one arm's mean over S seeds, and of a difference of two such means,

    variance = W / S + C,

W the variance over seeds as it is seen on these units, C the covariance over units of two different trainings
(bootstrap over whole units). W holds the part of the units in which two trainings differ by chance already, C what all
trainings of an arm have in common: so nothing is counted twice. Student's t, its degrees of freedom by Satterthwaite.

How much trainings differ is taken to be the same in all arms, but for restless ones: excite.metrics.restless.

Source: Obuchowski and Rockette, Communications in Statistics 24:285, 1995, equations of the test of readers and cases;
degrees of freedom, Hillis, Statistics in Medicine 26:596, 2007; Satterthwaite, Biometrics Bulletin 2:110, 1946. How
often it errs is in docs/study.md, measured by benchmarks/study.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import nctdtrinc
from scipy.stats import t

from excite.errors import UsageError
from excite.metrics.holm import holm
from excite.metrics.intervals import resampled
from excite.metrics.ranking import Float
from excite.metrics.restless import chance_of

LEVEL, ALPHA, POWER = 0.95, 0.05, 0.8
DRAWS = 20_000  # of the ranking
FEWEST = 100    # resamples in which a number must be defined
Measure = Callable[[Float], Mapping[str, Float]]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval; p and what is missed belong to differences.

    Args:
        p: That a difference is chance, two-sided.
        holm: The same, corrected for all arms.
        missed: A true difference below this would have been missed in more than one of five such studies.
    """

    value: float
    low: float | None
    high: float | None
    p: float | None = None
    holm: float | None = None
    missed: float | None = None

    @property
    def shown(self) -> bool:
        """Return whether a difference is more than chance, all arms considered."""
        return self.holm is not None and self.holm < ALPHA


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a study shows of its arms, in their order; the first is the baseline.

    Args:
        arms: The mean of each over its seeds.
        differences: Of each from the baseline; None for itself.
        best: Chance to be the best, if units and trainings were drawn anew.
        ranks: 95 % range of each one's rank, 1 for the best.
        seeds: The number of each training, (A, S).
        seed_deviation: Of one training, pooled over the arms that are not restless; None with one seed.
        restless: Places of the arms whose seeds differ so much more that their own chance is counted.
    """

    arms: list[Estimate]
    differences: list[Estimate | None]
    best: list[float]
    ranks: list[tuple[int, int]]
    seeds: list[list[float]]
    seed_deviation: float | None
    restless: list[int]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """One number of every training: as it is, and in resamples of the test units.

    Args:
        values: Of each arm and seed, (A, S).
        draws: In resamples that all of them share, (A, S, R).
        units: How many there are.
    """

    values: Float
    draws: Float
    units: int

    @property
    def arms(self) -> int:
        """Return how many arms there are."""
        return len(self.values)

    @property
    def seeds(self) -> int:
        """Return how many seeds each has."""
        return len(self.values[0])


def drawn(measures: Sequence[Sequence[Measure]], units: Sequence[str], metrics: Sequence[str], *,
          resamples: int = 2000, seed: int = 0) -> dict[str, Drawn]:
    """Return numbers of every training in the same resamples of whole units.

    Args:
        measures: Of each arm, of each seed: weights (R, N) -> numbers by name.
        units: What each sample belongs to and is not independent of.
        metrics: Names of the numbers.
        resamples: How many; those in which a number is not defined are left out for all trainings.
        seed: Of the draws.

    Raises:
        UsageError: a number is not defined on the samples as they are, or in nearly no resample.
    """
    names, unit = np.unique(np.asarray(units, dtype=object).astype(str), return_inverse=True)
    one = np.ones((1, len(unit)))
    values = {name: np.array([[measure(one)[name][0] for measure in arm] for arm in measures]) for name in metrics}
    parts: dict[str, list[Float]] = {name: [] for name in metrics}
    for weights in resampled(unit, len(names), resamples=resamples, seed=seed) if len(names) > 1 else ():
        found = [[measure(weights) for measure in arm] for arm in measures]
        for name in metrics:
            parts[name].append(np.array([[each[name] for each in arm] for arm in found]))
    made = {}
    for name in metrics:
        draws = np.concatenate(parts[name], axis=2) if parts[name] else values[name][..., None]
        draws = draws[..., ~np.isnan(draws).any(axis=(0, 1))]
        if np.isnan(values[name]).any() or (len(names) > 1 and draws.shape[2] < min(FEWEST, resamples)):
            raise UsageError(f"{name.replace('_', ' ')} is not defined for every training, or in too few resamples",
                             fix="another metric, or a larger test part")
        made[name] = Drawn(values=values[name], draws=draws, units=len(names))
    return made


def compare_arms(found: Drawn, *, better: int = 1, share: bool = False, seed: int = 0) -> Comparison:
    """Return differences from the first arm with 95 % intervals, Holm's p, and the ranking with its uncertainty.

    Args:
        found: One number of every training.
        better: 1 where more is better, -1 where less is.
        share: It is from 0 to 1, and so are the ends of its intervals.
        seed: Of the ranking's draws.
    """
    if better not in (1, -1):
        raise UsageError(f"better must be 1 or -1, got {better}")
    count = found.arms
    arms = [_within_limits(_estimate(found, np.eye(count)[place]), 0.0, 1.0, share) for place in range(count)]
    ranks, chance = _ranks(found, better, seed), chance_of(found.values)
    return Comparison(
        arms=arms, differences=from_first(found, share=share),
        best=[float((ranks[place] == 1).mean()) for place in range(count)],
        ranks=[tuple(int(end) for end in np.quantile(of, [0.025, 0.975], method="inverted_cdf"))  # type: ignore[misc]
               for of in ranks],
        seeds=found.values.tolist(), seed_deviation=None if chance is None else float(np.sqrt(chance.pooled)),
        restless=[] if chance is None else np.flatnonzero(chance.restless).tolist())


def from_first(found: Drawn, *, share: bool = False) -> list[Estimate | None]:
    """Return the difference of each arm from the first, p corrected for all; None for the first itself.

    Args:
        found: One number of every training.
        share: It is from 0 to 1, and so are the ends of its intervals.
    """
    each = np.eye(found.arms)
    differences = [_within_limits(_estimate(found, row - each[0], tests=found.arms - 1), -1.0, 1.0, share)
                   for row in each[1:]]
    corrected = holm([one.p if one.p is not None else 1.0 for one in differences])
    return [None, *(replace(one, holm=p if one.p is not None else None)
                    for one, p in zip(differences, corrected, strict=True))]


def pair(found: Drawn, first: int, second: int) -> Estimate:
    """Return how much the second arm is above the first, alone: p is not corrected for others."""
    return _estimate(found, np.eye(found.arms)[second] - np.eye(found.arms)[first], tests=1)


def _estimate(found: Drawn, weights: Float, *, tests: int | None = None) -> Estimate:
    """Return a weighted sum of the arms' means with its interval.

    Args:
        weights: Of each arm.
        tests: With how many others it is tested; None: not tested.
    """
    value = float(weights @ found.values.mean(axis=1))
    if found.units < 2:
        return Estimate(value=value, low=None, high=None)
    variance, freedom = _variance(found, weights)
    error, reach = float(np.sqrt(variance)), float(t.ppf((1 + LEVEL) / 2, freedom))
    interval = {"value": value, "low": value - reach * error, "high": value + reach * error}
    if tests is None:
        return Estimate(**interval)
    p = float(2 * t.sf(abs(value) / error, freedom)) if error > 0 else float(value == 0)
    strict = t.ppf(1 - ALPHA / 2 / tests, freedom)
    return Estimate(**interval, p=p, missed=float(nctdtrinc(freedom, 1 - POWER, strict)) * error)


def _within_limits(one: Estimate, least: float, most: float, share: bool) -> Estimate:
    """Return an estimate whose interval ends where its number does."""
    if not share or one.low is None or one.high is None:
        return one
    return replace(one, low=max(least, one.low), high=min(most, one.high))


def _variance(found: Drawn, weights: Float) -> tuple[float, float]:
    """Return the variance of a weighted sum of the arms' means, and its degrees of freedom."""
    sums = np.einsum("a,asr->sr", weights, found.draws)
    scale = found.units / (found.units - 1)  # a bootstrap's variance is so much too small
    whole = float(sums.mean(axis=0).var()) * scale
    chance = chance_of(found.values)
    if chance is None:
        return whole, found.units - 1.0
    training, freedom = chance.variance(weights**2)
    common = max(0.0, whole - float(weights**2 @ _apart(found)) * scale / found.seeds)
    training /= found.seeds
    spread = training**2 / freedom + common**2 / (found.units - 1)
    return max(training + common, whole), (training + common) ** 2 / spread if spread > 0 else found.units - 1.0


def _ranks(found: Drawn, better: int, seed: int) -> NDArray[np.int64]:
    """Return the rank of each arm in draws of units and trainings, (A, DRAWS); equal ones share the better rank."""
    rng, chance = np.random.default_rng([seed, 2]), chance_of(found.values)
    picked = rng.integers(found.draws.shape[2], size=DRAWS)
    means = found.draws.mean(axis=1)
    drawn_means = found.values.mean(axis=1)[:, None] + (means - means.mean(axis=1, keepdims=True))[:, picked]
    if chance is not None:
        # What two trainings of an arm differ by beyond the units, which the resamples have already.
        each = [chance.variance(row) for row in np.eye(found.arms)]
        beyond = np.maximum(0.0, np.array([variance for variance, _ in each]) - _apart(found))
        drawn_means = drawn_means + np.sqrt(beyond / found.seeds)[:, None] * rng.standard_t(
            np.array([freedom for _, freedom in each])[:, None], size=drawn_means.shape)
    high = better * np.round(drawn_means, 12)
    ranks: NDArray[np.int64] = 1 + (high[None] > high[:, None]).sum(axis=1)
    return ranks


def _apart(found: Drawn) -> Float:
    """Return the variance over units that each training of an arm has for itself: its own, less what two share."""
    own, seeds = found.draws.var(axis=2).sum(axis=1), found.seeds
    shared = (found.draws.sum(axis=1).var(axis=1) - own) / (seeds * (seeds - 1))
    apart: Float = own / seeds - shared
    return apart
