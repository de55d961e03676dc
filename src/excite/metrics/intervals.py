"""How far a number may be off: a bootstrap over whole units, and Wilson's formula to cross-check an accuracy."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from excite.errors import UsageError
from excite.progress import Progress, silent

Float = NDArray[np.float64]
AT_ONCE = 1_000_000   # weights in memory at a time
FEWEST = 100          # resamples in which a number must be defined for an interval


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A number and the interval around it; None: not defined, and `note` says why.

    Args:
        value: On the data as they are.
        low: Lower end.
        high: Upper end.
        note: What has to be known to read it.
    """

    value: float | None
    low: float | None
    high: float | None
    note: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return "0.834 [0.771, 0.894]", or why there is no number."""
        if self.value is None:
            return self.note or "not defined"
        if self.low is None or self.high is None:
            return f"{self.value:.3f} ({self.note or 'no interval'})"
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


def bootstrap(measure: Callable[[Float], Mapping[str, Float]], units: Sequence[str], *, resamples: int = 1000,
              seed: int = 0, level: float = 0.95, progress: Progress | None = None) -> dict[str, Interval]:
    """Return every number with its percentile interval from resampling whole units.

    A resample draws as many units as there are, with replacement, and weighs each sample by how often its unit came:
    pictures of one patient come and go together, because they are not independent. Resamples in which a number is not
    defined are left out of its interval and counted in its note.

    Args:
        measure: Weights (R, N) -> numbers by name, (R,) each, NaN where not defined.
        units: The unit of each sample.
        resamples: How many.
        seed: Of the draws; the same seed gives the same interval.
        level: Share of the resamples inside.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3; whole clusters as in Field and
        Welsh, "Bootstrapping clustered data", JRSS B 2007.
    """
    if resamples < 1 or not 0 < level < 1:
        raise UsageError(f"resamples must be at least 1 and level between 0 and 1, got {resamples} and {level}")
    if not len(units):
        raise UsageError("units must name the unit of each sample, got none")
    names, unit = np.unique(np.asarray(units, dtype=object).astype(str), return_inverse=True)
    values = {name: float(value[0]) for name, value in measure(np.ones((1, len(unit)))).items()}
    if len(names) < 2:
        note = "no interval: one unit only, so nothing shows how units differ"
        return {name: _alone(value, note) for name, value in values.items()}
    parts: dict[str, list[Float]] = {name: [] for name in values}
    progress, done = progress or silent(), 0
    for weights in resampled(unit, len(names), resamples=resamples, seed=seed):
        for name, value in measure(weights).items():
            parts[name].append(value)
        done += len(weights)
        progress.step("bootstrap", done, resamples)
    return {name: _interval(values[name], np.concatenate(found), level) for name, found in parts.items()}


def resampled(unit: NDArray[np.int64], count: int, *, resamples: int, seed: int) -> Iterator[Float]:
    """Yield weights (r, N) of `resamples` resamples in all; they do not depend on how many come at a time."""
    rng = np.random.default_rng(seed)
    step = max(1, AT_ONCE // len(unit))
    for begin in range(0, resamples, step):
        rows = min(step, resamples - begin)
        drawn = rng.integers(count, size=(rows, count)) + np.arange(rows)[:, None] * count
        often = np.bincount(drawn.ravel(), minlength=rows * count).reshape(rows, count)
        yield often[:, unit].astype(np.float64)


def wilson(right: int, count: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return Wilson's interval of a proportion of independent samples.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    if not 0 <= right <= count or count < 1:
        raise UsageError(f"right must be from 0 to count and count at least 1, got {right} of {count}")
    z2 = float(ndtri((1 + level) / 2)) ** 2
    share = right / count
    middle = (share + z2 / (2 * count)) / (1 + z2 / count)
    half = (z2 * (share * (1 - share) / count + z2 / (4 * count**2))) ** 0.5 / (1 + z2 / count)
    return max(0.0, middle - half), min(1.0, middle + half)


def _interval(value: float, found: Float, level: float) -> Interval:
    if np.isnan(value):
        return _alone(value, None)
    defined = found[~np.isnan(found)]
    lost = len(found) - len(defined)
    note = f"not defined in {lost} of {len(found)} resamples, which are left out" if lost else None
    if len(defined) < min(FEWEST, len(found)):
        return _alone(value, f"no interval: {note}, and {len(defined)} are too few")
    low, high = (float(end) for end in np.quantile(defined, [(1 - level) / 2, (1 + level) / 2]))
    if low == high:
        same = "all resamples give the same value, so the interval has no width; the true one has"
        note = f"{note}; {same}" if note else same
    return Interval(value=value, low=low, high=high, note=note)


def _alone(value: float, note: str | None) -> Interval:
    return Interval(value=None if np.isnan(value) else value, low=None, high=None, note=note)
