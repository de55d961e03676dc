"""What a study says in words: what is shown, what is not, what to take, and what to beware of."""

from collections.abc import Sequence

from excite.jobs.study.results import ArmResult, Results
from excite.metrics.arms import Estimate
from excite.metrics.direction import unit_of, words
from excite.metrics.pareto import AS_FAST
from excite.report.words import standing_warnings

FEW_UNITS = 30  # below which intervals are rough
WHOLE = 100.0  # points: a share has no larger difference


def advice(found: Results) -> list[str]:
    """Return the advice, the sentence that matters first."""
    if _learned_nothing(found):
        return ["Nothing can be advised: no training is shown to be better than one answer for every image. More "
                "epochs or more images first, then compare."]
    better = [arm for arm in found.arms if arm.difference and arm.difference.shown and _gain(found, arm) > 0]
    worse = [arm for arm in found.arms if arm.difference and arm.difference.shown and _gain(found, arm) < 0]
    rest = [arm for arm in found.arms[1:] if arm not in better and arm not in worse]
    base = found.arms[0]
    said = [*(_shown(found, arm) for arm in sorted(better, key=lambda arm: -_gain(found, arm)))]
    if rest:
        said.append(_not_shown(found, [base, *rest]))
    said += [_shown(found, arm) for arm in worse]
    if (chosen := choice(found)) is not None:
        said.append(_take(chosen, better or [base, *rest]))
    return said


def choice(found: Results) -> ArmResult | None:
    """Return the arm to take: the fastest of those that are shown to be better, else of those not shown to be worse.

    Of arms as fast as each other, within what timing can tell, the first in the study's order. None where no network
    has learned anything.
    """
    if _learned_nothing(found):
        return None
    better = [arm for arm in found.arms if arm.difference and arm.difference.shown and _gain(found, arm) > 0]
    among = better or [arm for arm in found.arms if not (arm.difference and arm.difference.shown)]
    fastest = min(arm.milliseconds for arm in among)
    return next(arm for arm in among if arm.milliseconds <= AS_FAST * fastest)


def cautions(found: Results) -> list[str]:
    """Return what has to be known before any number is believed."""
    said = standing_warnings(simulated=found.simulated, unproven=(), unit_kind=found.unit_kind, leaks=())
    said += [f"{arm}, seed {seed} failed, and the arm is left out: {error}" for arm, seed, error in found.failed]
    if found.unproven:
        each = ", ".join(f"{name} {count} of {len(found.seeds)}" for name, count in found.unproven.items())
        said.append(f"Trainings that are not shown to be better than one answer for every image: {each}. Networks that "
                    "have learned nothing cannot be compared; more epochs, or more images.")
    if len(found.seeds) == 1:
        said.append("One seed: nothing is known of the training's chance. Intervals count the test units alone, and "
                    "another seed may turn the order round; --seeds 3 or more.")
    elif found.units >= 2:
        said += _restless(found)
    if found.units < 2:
        said.append("One test unit only: nothing shows how units differ, and there are no intervals.")
    elif found.units < FEW_UNITS:
        said.append(f"{found.units} test units ({found.unit_kind}): intervals from so few are rough.")
    return said


def amount(found: Results, value: float, *, signed: bool = False) -> str:
    """Return a difference of the metric with its unit: "1.9 points"."""
    unit = unit_of(found.metric)[1]
    return number(found, value, signed=signed) + (f" {unit}" if unit else "")


def number(found: Results, value: float, *, signed: bool = False) -> str:
    """Return a difference of the metric in its unit: "1.9"."""
    times, unit = unit_of(found.metric)
    text = f"{value * times:+.1f}" if unit == "points" else f"{value * times:+.3g}"
    return text if signed else text.removeprefix("+")


def span(found: Results, one: Estimate) -> str:
    """Return the interval of a difference, "[0.4, 3.4]"."""
    if one.low is None or one.high is None:
        return "(no interval)"
    return f"[{number(found, one.low)}, {number(found, one.high)}]"


def p_text(value: float) -> str:
    """Return a p-value with two digits: "0.03", or "< 0.001"."""
    return "< 0.001" if value < 0.001 else f"{value:.2g}" if value < 0.1 else f"{value:.2f}"


def _gain(found: Results, arm: ArmResult) -> float:
    """Return how much better an arm is than the baseline."""
    return found.better * (arm.difference.value if arm.difference else 0.0)


def _shown(found: Results, arm: ArmResult) -> str:
    """Return a difference that is shown, with its price."""
    one, base = arm.difference, found.arms[0]
    assert one is not None and one.holm is not None
    way = "better" if _gain(found, arm) > 0 else "worse"
    size = Estimate(value=abs(one.value), low=None, high=None)
    interval = one if one.value > 0 else Estimate(value=-one.value, low=_minus(one.high), high=_minus(one.low))
    costs = arm.milliseconds - base.milliseconds
    if abs(costs) <= (AS_FAST - 1) * base.milliseconds:
        price = f"and is as fast ({arm.milliseconds:.3g} ms)"
    else:
        price = f"and costs {costs:.2g} ms more" if costs > 0 else f"and takes {-costs:.2g} ms less"
    return (f"{arm.name} is {way} than {base.name} by {amount(found, size.value)} of {words(found.metric)} "
            f"{span(found, interval)} (Holm p {p_text(one.holm)}), {price}.")


def _not_shown(found: Results, arms: Sequence[ArmResult]) -> str:
    """Return that nothing is shown, and what could not have been seen."""
    missed = [arm.difference.missed for arm in arms if arm.difference and arm.difference.missed is not None]
    tail = ""
    if missed:
        tail = (f" (differences under about {amount(found, max(missed))} could not have been seen)"
                if max(missed) * unit_of(found.metric)[0] < WHOLE or unit_of(found.metric)[1] != "points"
                else " (and none could have been seen, however large)")
    return f"No difference of {words(found.metric)} can be shown between {_listed([arm.name for arm in arms])}{tail}."


def _learned_nothing(found: Results) -> bool:
    return all(found.unproven.get(arm.name, 0) == len(found.seeds) for arm in found.arms)


def _take(chosen: ArmResult, among: Sequence[ArmResult]) -> str:
    """Return which arm to take, and why."""
    if len(among) == 1:
        return f"Take {chosen.name} ({chosen.milliseconds:.3g} ms), if the difference is worth its time."
    fastest = min(among, key=lambda arm: arm.milliseconds)
    why = "it is the fastest of them" if fastest is chosen else "it is as fast as any of them, and comes first"
    return f"Take {chosen.name}: {why} ({chosen.milliseconds:.3g} ms)."


def _restless(found: Results) -> list[str]:
    """Return the arms whose own seeds differ by more than the arms do."""
    means = [arm.value.value for arm in found.arms]
    apart = max(means) - min(means)
    wide = [(max(arm.seeds) - min(arm.seeds), arm.name) for arm in found.arms]
    more = [f"{name} by {amount(found, width)}" for width, name in wide if width > apart]
    if not more:
        return []
    return [f"Seeds differ more than arms: the seeds of {_listed(more)}, the arms' means by {amount(found, apart)} at "
            "most. A comparison of single trainings would have shown whatever the seeds happen to show."]


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
