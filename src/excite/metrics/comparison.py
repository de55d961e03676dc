"""Two models compared: the question that was asked beforehand, every other number beside it, and both in words.

One number is the question: its p is not corrected, because it was named before anything was looked at. The other
numbers over all samples are one family, those of single classes another; Holm's procedure corrects the p of each.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from excite.errors import DataError, UsageError
from excite.metrics.comparison_words import sentences, table
from excite.metrics.direction import direction, words
from excite.metrics.holm import holm
from excite.metrics.mcnemar import McNemar, mcnemar
from excite.metrics.paired import ALPHA, COUNTS_AS_0, RESAMPLES, Pair, paired
from excite.metrics.side import Side
from excite.progress import Progress
from excite.registry import nearest

POWER = 2.8  # standard errors that are seen in 80 % of comparisons at 5 %: 1.96 and 0.84
NORMAL = 1.96


@dataclass(frozen=True, kw_only=True)
class Price:
    """What a prediction of one model costs; None: not known.

    Args:
        milliseconds: The fastest of one input through the network, one thread, both models in turn.
        parameters: Of the network.
        macs: Multiply-adds of one input.
        ratio: Of B's, the middle half of its milliseconds over those of A in the same turn.
    """

    milliseconds: float | None = None
    parameters: int | None = None
    macs: int | None = None
    ratio: tuple[float, float] | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Comparison:
    """B against A on the same samples.

    Args:
        names: Of A and of B.
        metric: The question.
        margin: How much worse B may be and still count as not worse, in the metric's own unit; None: not asked.
        pairs: Every number, "recall/CLASS" of a class.
        corrected: p after Holm's procedure of the numbers that are no question.
        n: Samples.
        n_units: What they belong to.
        unit_kind: What a unit is.
        sample: What a sample is: "image".
        prices: What a prediction of A and one of B costs.
        discordant: McNemar's test, where samples are independent and there is right and wrong.
        resamples: Of the bootstrap, and swaps.
        seed: Of both.
        notes: What was done, each a sentence.
        beware: What has to be known before the answer is read, each a sentence.
    """

    names: tuple[str, str]
    metric: str
    margin: float | None
    pairs: Mapping[str, Pair]
    corrected: Mapping[str, float]
    n: int
    n_units: int
    unit_kind: str
    sample: str
    prices: tuple[Price, Price]
    discordant: McNemar | None
    resamples: int
    seed: int
    notes: tuple[str, ...]
    beware: tuple[str, ...] = ()

    @property
    def question(self) -> Pair:
        """The numbers of the metric that was asked for."""
        return self.pairs[self.metric]

    @property
    def ends(self) -> tuple[float, float] | None:
        """The interval of the difference; None where there is none."""
        one = self.question.difference
        return None if one.low is None or one.high is None else (one.low, one.high)

    @property
    def detectable(self) -> float | None:
        """The least difference that 80 % of comparisons with so many units would show; None: there is no interval."""
        return None if self.ends is None else POWER * (self.ends[1] - self.ends[0]) / 2 / NORMAL

    @property
    def verdict(self) -> str:
        """One of "better", "worse", "no difference shown"; "higher", "lower" of a number that is neither."""
        one = self.question
        if one.p is None or one.p >= ALPHA or not one.difference.value:
            return "no difference shown"
        more, sign = one.difference.value > 0, direction(self.metric)
        return ("higher" if more else "lower") if not sign else "better" if more == (sign > 0) else "worse"

    @property
    def non_inferior(self) -> bool | None:
        """Whether B is shown to be worse by no more than the margin; None where none was stated."""
        if self.margin is None or self.ends is None:
            return None if self.margin is None else False
        low, high = self.ends
        return (low if direction(self.metric) > 0 else -high) > -self.margin

    @property
    def equivalent(self) -> bool | None:
        """Whether the difference is shown to be within the margin both ways; None where none was stated."""
        if self.margin is None or self.ends is None:
            return None if self.margin is None else False
        return -self.margin < self.ends[0] and self.ends[1] < self.margin

    @property
    def sentence(self) -> str:
        """The answer in plain English, with the price."""
        return sentences(self)[0]

    def text(self) -> str:
        """Return the answer, the table of all numbers and the notes, as lines for a terminal."""
        return "\n".join([*self.beware, *sentences(self), "", *table(self), "",
                          *(f"  note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {
            "beware": list(self.beware), "a": self.names[0], "b": self.names[1],
            "metric": self.metric, "margin": self.margin, "n": self.n, "n_units": self.n_units,
            "unit_kind": self.unit_kind, "verdict": self.verdict,
            "non_inferior": self.non_inferior, "equivalent": self.equivalent, "detectable": self.detectable,
            "sentences": sentences(self),
            "metrics": {name: {**asdict(one), "p_holm": self.corrected.get(name), "disputed": one.disputed}
                        for name, one in self.pairs.items()},
            "mcnemar": self.discordant._asdict() if self.discordant else None,
            "cost": {"a": asdict(self.prices[0]), "b": asdict(self.prices[1])},
            "resamples": self.resamples, "seed": self.seed, "notes": list(self.notes)}


def compare_sides(a: Side, b: Side, units: Sequence[str], *, names: tuple[str, str], metric: str, unit_kind: str,
                  sample: str = "image", margin: float | None = None, prices: tuple[Price, Price] | None = None,
                  notes: Sequence[str] = (), beware: Sequence[str] = (), resamples: int = RESAMPLES, seed: int = 0,
                  progress: Progress | None = None) -> Comparison:
    """Return two models compared on the same samples.

    Args:
        a: One.
        b: The other, on the same samples in the same order.
        units: What each sample belongs to and is not independent of.
        names: Of both.
        metric: The question, named before anything is looked at.
        unit_kind: What a unit is.
        sample: What a sample is.
        margin: How much worse B may be and still count as not worse, in the metric's own unit.
        prices: What a prediction of each costs.
        notes: What is known already.
        beware: What has to be known before the answer is read.
        resamples: Of the bootstrap, and swaps.
        seed: Of both.

    Raises:
        UsageError: there is no such metric, or the margin cannot be. DataError: the metric is not defined.
    """
    check_metric(metric, margin, a.names)
    pairs = paired(a, b, units, resamples=resamples, seed=seed, progress=progress)
    if pairs[metric].difference.value is None:
        raise DataError(f"{words(metric)} is not defined for both models", why=pairs[metric].difference.note,
                        fix="name another with --metric")
    count = len(set(units))
    test = mcnemar(a.right, b.right) if a.right is not None and b.right is not None and count == len(units) else None
    return Comparison(
        names=names, metric=metric, margin=margin, pairs=pairs, corrected=_corrected(pairs, metric), n=len(units),
        n_units=count, unit_kind=unit_kind, sample=sample, prices=prices or (Price(), Price()), discordant=test,
        resamples=resamples, seed=seed, beware=tuple(beware), notes=(
            *notes, *_untested(a, b, pairs), *_notes(pairs[metric], metric, len(units), count, unit_kind, sample,
                                                     resamples, seed), *_apart(test, sample)))


def check_metric(metric: str, margin: float | None, known: Sequence[str]) -> None:
    """Raise a UsageError where a question cannot be asked: no such number, or a margin that cannot be."""
    if margin is not None and not 0 < margin < float("inf"):
        raise UsageError(f"margin must be a number above 0, got {margin}",
                         fix="0.02 is 2 points of a share; 0.5 half a millimetre")
    if metric not in known:
        raise UsageError(f"metric must be one of {', '.join(known)}, got {metric!r}",
                         fix=nearest(metric, list(known)).strip())
    if margin is not None and not direction(metric):
        raise UsageError(f"margin must be of a number that can be worse, and {words(metric)} cannot",
                         fix="name another with --metric")


def _untested(a: Side, b: Side, pairs: Mapping[str, Pair]) -> list[str]:
    """Return which means have no p because one model alone never answers with a class that occurs."""
    alone = [f"{name} never answers {', '.join(one.unsaid)}" for name, one, other in (("A", a, b), ("B", b, a))
             if set(one.unsaid) - set(other.unsaid)]
    return [f"{', '.join(words(name) for name in COUNTS_AS_0 if name in pairs)} are not tested: {'; '.join(alone)}, "
            "which counts as 0 there and not in the other"] if alone else []


def _corrected(pairs: Mapping[str, Pair], metric: str) -> dict[str, float]:
    """Return p after Holm's procedure: numbers over all samples are one family, those of classes another."""
    found: dict[str, float] = {}
    for of_classes in (False, True):
        family = {name: one.p for name, one in pairs.items()
                  if ("/" in name) == of_classes and name != metric and one.p is not None}
        found |= zip(family, holm(list(family.values())), strict=True)
    return found


def _apart(test: McNemar | None, sample: str) -> list[str]:
    """Return what accuracy goes by where samples are independent."""
    return [] if test is None else [f"accuracy: A alone has {test.a_only} {sample}s right, B alone {test.b_only}, of "
                                    "which McNemar's p and Tango's interval of the difference are made"]


def _notes(question: Pair, metric: str, n: int, count: int, unit_kind: str, sample: str, resamples: int, seed: int
           ) -> list[str]:
    """Return how the numbers were made and what they take for granted, each a sentence."""
    said = [f"the question is {words(metric)}, named beforehand, so its p ({question.test or 'none'}) is not corrected"
            "; Holm p: the other numbers over all are one family, the numbers of single classes another",
            f"intervals: 95 %, {resamples} bootstrap resamples of {count} whole units ({unit_kind}), both networks at "
            "once; of a difference each end is the outer one of percentiles and of t standard errors; swaps: "
            f"{resamples}; seed {seed}"]
    if count < n:
        said.append(f"{n} {sample}s are of {count} units ({unit_kind}): those of one are not independent, which "
                    "McNemar's and DeLong's tests in their plain form take for granted; every p here is by unit")
    return said
