"""Two models on the same samples: every number of both, the difference with its interval, and how likely it is chance.

- The interval resamples whole units, of both models at once. Each end is the outer one of two: of percentiles, a little
  wider than plain ones, as Student's t is wider than the normal distribution; and of t times the standard error that
  the resamples show. With few units either alone ends too early now and then.
- The interval of accuracy where each unit is one sample is Tango's, of paired shares.
- p of a number that follows from sums: how often is the difference as large when the two models' answers to a unit are
  swapped by chance? Exact, however few units there are, where it is chance which of the models gave which answer.
- No p of mean precision and F1 where only one of the models never answers with a class that occurs: the class counts
  as 0 for that model alone, which swaps do away with, so that they would find any such pair different.
- p of AUROC and average precision, which cannot rank the scores of two models together: by each unit's part in the
  error of the difference, DeLong's where a unit is one sample, with Student's t.

Source: the interval, Hesterberg, "What teachers should know about the bootstrap", The American Statistician 69:371,
2015, sections 4 and 5; swaps, Good, "Permutation, parametric and bootstrap tests of hypotheses", 2005. How often each
errs is in docs/compare.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtr, stdtrit

from excite.errors import UsageError
from excite.metrics.delong import by_unit, components
from excite.metrics.intervals import Interval, bootstrap
from excite.metrics.mcnemar import mcnemar
from excite.metrics.precision_error import precision_components
from excite.metrics.ranking import Float
from excite.metrics.side import RANKED, Numbers, Side
from excite.metrics.tango import tango
from excite.progress import Progress

RESAMPLES = 10_000
AT_ONCE = 2_000_000  # swaps in memory at a time
ALPHA = 0.05
LEVEL, WIDEST = 0.95, 0.9999  # of percentiles: with three units or fewer t would ask for more than there are
SWAP, MCNEMAR, PARTS = "swaps", "McNemar, exact", "by parts"
COUNTS_AS_0 = ("precision_macro", "precision_weighted", "f1_macro", "f1_weighted")
DELONG = {True: "DeLong", False: "DeLong by unit"}  # whether each unit is one sample


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One number of two models.

    Args:
        a: Of A, with its own interval.
        b: Of B.
        difference: B minus A.
        p: That it is chance, two-sided; None: not tested.
        test: That p is of.
    """

    a: Interval
    b: Interval
    difference: Interval
    p: float | None
    test: str | None

    @property
    def disputed(self) -> bool:
        """Whether p and the interval say different things: one shows a difference and the other does not."""
        p, low, high = self.p, self.difference.low, self.difference.high
        return p is not None and low is not None and high is not None and (p < ALPHA) == (low <= 0 <= high)


def paired(a: Side, b: Side, units: Sequence[str], *, resamples: int = RESAMPLES, seed: int = 0,
           progress: Progress | None = None) -> dict[str, Pair]:
    """Return every number of two models on the same samples, with the test of its difference.

    Args:
        a: One.
        b: The other, on the same samples in the same order.
        units: What each sample belongs to and is not independent of.
        resamples: Of the bootstrap, and swaps.
        seed: Of both.

    Raises:
        UsageError: the sides do not have the same samples, or not one unit each.
    """
    if not len(a.columns) == len(b.columns) == len(units):
        raise UsageError(f"both sides and the units must be one a sample, got {len(a.columns)}, {len(b.columns)} and "
                         f"{len(units)}")
    first, second, count = a.measure(), b.measure(), len(set(units))
    drawn: dict[str, list[Float]] = {}

    def measure(weights: Float) -> Numbers:
        of_a, of_b = first(weights), second(weights)
        apart = {name: of_b[name] - of_a[name] for name in of_a}
        for name, values in apart.items():
            drawn.setdefault(name, []).append(values)
        return {f"{side}:{name}": values for side, found in (("a", of_a), ("b", of_b), ("d", apart))
                for name, values in found.items()}

    found = bootstrap(measure, units, resamples=resamples, seed=seed, level=widened(count), progress=progress)
    differences = {name: _outer(found[f"d:{name}"], np.concatenate(values[1:] or values), count)  # [0] is what was seen
                   for name, values in drawn.items()}
    if a.right is not None and b.right is not None and count == len(units):
        a_only, b_only, _ = mcnemar(a.right, b.right)
        low, high = tango(a_only, b_only, count)
        differences["accuracy"] = replace(differences["accuracy"], low=low, high=high, note=None)
    chance = chances(a, b, units, swaps=resamples, seed=seed)
    return {name: Pair(a=found[f"a:{name}"], b=found[f"b:{name}"], difference=one,
                       p=chance[name][0] if name in chance else None, test=chance[name][1] if name in chance else None)
            for name, one in differences.items()}


def chances(a: Side, b: Side, units: Sequence[str], *, swaps: int = RESAMPLES, seed: int = 0
            ) -> dict[str, tuple[float | None, str]]:
    """Return p of the difference of each number, and the test it is of; see `paired`, which has the numbers too."""
    found = {**_swapped(a, b, units, swaps=swaps, seed=seed), **_ranked(a, b, units)}
    if a.right is not None and b.right is not None and len(set(units)) == len(units):
        found["accuracy"] = (mcnemar(a.right, b.right).p, MCNEMAR)
    untested = COUNTS_AS_0 if set(a.unsaid) != set(b.unsaid) else ()
    return {name: one for name, one in found.items() if name not in untested}


def widened(count: int, level: float = LEVEL) -> float:
    """Return the level of percentiles that hold `level` with `count` units."""
    if count < 2:
        return level
    reach = stdtrit(count - 1, (1 + level) / 2) * np.sqrt(count / (count - 1))
    return float(min(1 - 2 * ndtr(-reach), WIDEST))


def _outer(one: Interval, drawn: Float, count: int) -> Interval:
    """Return the interval of a difference with each end moved out to t standard errors, where those reach further.

    There is none where all resamples give the same value: an interval without width would look like proof.
    """
    if one.value is None or one.low is None or one.high is None:
        return one
    if one.low == one.high:
        return replace(one, low=None, high=None, note="no interval: all resamples give the same value")
    reach = float(stdtrit(count - 1, (1 + LEVEL) / 2) * np.nanstd(drawn) * np.sqrt(count / (count - 1)))
    return replace(one, low=min(one.low, one.value - reach), high=max(one.high, one.value + reach))


def _swapped(a: Side, b: Side, units: Sequence[str], *, swaps: int, seed: int
             ) -> dict[str, tuple[float | None, str]]:
    """Return p of each number that follows from sums: the share of swaps with a difference as large as was seen."""
    of_a, of_b = (_sums(side.columns, units) for side in (a, b))
    middle, apart = (of_a + of_b).sum(axis=0) / 2, (of_b - of_a) / 2
    first, second = (side.numbers(of.sum(axis=0)[None]) for side, of in ((a, of_a), (b, of_b)))
    observed = {name: abs(float(second[name][0] - first[name][0])) for name in first}
    rng, step = np.random.default_rng([seed, 1]), max(1, AT_ONCE // len(apart))
    reached: dict[str, int] = {}
    defined: dict[str, int] = {}
    for begin in range(0, swaps, step):
        rows = min(step, swaps - begin)
        bits = np.unpackbits(rng.integers(256, size=(rows, -(-len(apart) // 8)), dtype=np.uint8), axis=1)
        moved = (bits[:, : len(apart)] * 2.0 - 1) @ apart
        low, high = a.numbers(middle - moved), b.numbers(middle + moved)
        for name, values in high.items():
            change = np.abs(values - low[name])
            defined[name] = defined.get(name, 0) + int((~np.isnan(change)).sum())
            reached[name] = reached.get(name, 0) + int((change >= observed[name] - 1e-9).sum())
    return {name: ((1 + count) / (1 + defined[name]), SWAP) for name, count in reached.items()
            if not np.isnan(observed[name])}


def _ranked(a: Side, b: Side, units: Sequence[str]) -> dict[str, tuple[float | None, str]]:
    """Return p of AUROC and average precision, of each class and their mean."""
    tests = {"auroc": DELONG[len(set(units)) == len(units)], "ap": PARTS}
    parts: dict[str, list[tuple[float, Float]]] = {kind: [] for kind in RANKED}
    found: dict[str, tuple[float | None, str]] = {}
    for label, positive in a.positive.items():
        for kind, of in zip(RANKED, (components, precision_components), strict=True):
            (value_a, part_a), (value_b, part_b) = (of(positive, side.scores[label]) for side in (a, b))
            parts[kind].append((value_b - value_a, by_unit(part_b - part_a, units)))
            found[f"{kind}/{label}"] = _by_error(*parts[kind][-1]), tests[kind]
    for kind, each in parts.items():
        if each:
            found[f"{kind}_macro"] = _by_error(float(np.mean([value for value, _ in each])),
                                               np.mean([part for _, part in each], axis=0)), tests[kind]
    return found


def _by_error(difference: float, parts: Float) -> float | None:
    """Return p of a difference by the units' parts in its error; None where there is no error to go by."""
    error = float(np.sqrt((parts**2).sum()))
    if error == 0 or len(parts) < 2:
        return 1.0 if difference == 0 else None
    return float(2 * stdtr(len(parts) - 1, -abs(difference) / error))


def _sums(columns: Float, units: Sequence[str]) -> Float:
    """Return the sums over each unit, (U, M)."""
    _, unit = np.unique(np.asarray(units, dtype=object).astype(str), return_inverse=True)
    order: NDArray[np.int64] = np.argsort(unit, kind="stable")
    sums: Float = np.add.reduceat(columns[order].astype(np.float64),
                                  np.flatnonzero(np.r_[True, np.diff(unit[order]) > 0]), axis=0)
    return sums
