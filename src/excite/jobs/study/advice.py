"""What a study says in words: what is shown, what is not, what to take, and what to beware of."""

from collections.abc import Sequence

from excite.jobs.study.results import ArmResult, Results
from excite.jobs.study.times import is_apart
from excite.metrics.arms import Estimate
from excite.metrics.direction import spoken, unit_of
from excite.report.words import standing_warnings

FEW_UNITS = 30  # below which intervals are rough
NAMED = 4       # arms that are named one by one in a sentence


def advice(found: Results) -> list[str]:
    """Return the advice, the sentence that matters first."""
    if cannot_answer(found):
        count, whole = sum(found.unproven.values()), len(found.arms) * len(found.seeds)
        return [f"This study cannot answer: {count} of {whole} trainings are not shown to be better than one answer "
                "for every image; more epochs, another learning rate or more images first, then compare."]
    if len(found.seeds) == 1:
        return [_single(found)]
    better = [arm for arm in found.arms if arm.difference and arm.difference.shown and _gain(found, arm) > 0]
    worse = [arm for arm in found.arms if arm.difference and arm.difference.shown and _gain(found, arm) < 0]
    rest = [arm for arm in found.arms[1:] if arm not in better and arm not in worse]
    base = found.arms[0]
    said = [*(_shown(found, arm) for arm in sorted(better, key=lambda arm: -_gain(found, arm)))]
    if rest:
        said.append(_not_shown(found, rest))
    said += [_shown(found, arm) for arm in worse]
    if (chosen := choice(found)) is not None:
        said.append(_take(chosen, base, better))
    return said


def choice(found: Results) -> ArmResult | None:
    """Return the arm to take: of those that are shown to be better the best, the baseline where none is.

    One that is shown to be faster, and is not shown to be worse, goes before it. None where the study cannot answer,
    or has one seed.
    """
    if cannot_answer(found) or len(found.seeds) == 1:
        return None
    better = [arm for arm in found.arms if arm.difference and arm.difference.shown and _gain(found, arm) > 0]
    among = sorted(better, key=lambda arm: -_gain(found, arm)) or [
        arm for arm in found.arms if not (arm.difference and arm.difference.shown) and not _unlearned(found, arm)]
    chosen = among[0]
    for arm in among[1:]:
        chosen = arm if _is_faster(arm, chosen) else chosen
    return chosen


def cannot_answer(found: Results) -> bool:
    """Return whether half of the trainings, or of the baseline's, are not shown to have learned anything."""
    count, whole = sum(found.unproven.values()), len(found.arms) * len(found.seeds)
    return 2 * count >= whole or _unlearned(found, found.arms[0])


def told(found: Results, mark: str) -> list[str]:
    """Return warnings and advice as they are read: warnings first, but for that the study cannot answer.

    Args:
        mark: Before each warning.
    """
    warned = [f"{mark}{text}" for text in cautions(found)]
    return [*advice(found), *warned] if cannot_answer(found) else [*warned, *advice(found)]


def cautions(found: Results) -> list[str]:
    """Return what has to be known before any number is believed."""
    said = standing_warnings(simulated=found.simulated, unproven=(), unit_kind=found.unit_kind, leaks=())
    said += [f"{arm}, seed {seed} failed, and the arm is left out: {error}" for arm, seed, error in found.failed]
    if found.unproven:
        each = ", ".join(f"{name} {count} of {len(found.seeds)}" for name, count in found.unproven.items())
        said.append(f"Trainings that are not shown to be better than one answer for every image: {each}. Networks that "
                    "have learned nothing cannot be compared; more epochs, or more images.")
    said += found.missed
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
    costs, apart = arm.milliseconds - base.milliseconds, is_apart(arm.turns, base.turns)
    price = ("and costs {:.2g} ms more" if apart > 0 else "and takes {:.2g} ms less").format(abs(costs))
    if not apart or (apart < 0 and not _is_faster(arm, base)):
        price = f"and is not shown to differ in time ({arm.milliseconds:.3g} ms; {base.milliseconds:.3g} ms)"
    return (f"{arm.name} is {way} than {base.name} by {amount(found, size.value)} of {spoken(found.metric)} "
            f"{span(found, interval)} (Holm p {p_text(one.holm)}), {price}.")


def _not_shown(found: Results, rest: Sequence[ArmResult]) -> str:
    """Return that nothing is shown between the baseline and the rest, and what could have been missed."""
    arms = [found.arms[0], *rest]
    among = _listed([arm.name for arm in arms])
    if len(arms) > NAMED:
        among = (f"the {len(arms)} arms" if len(arms) == len(found.arms)
                 else f"{arms[0].name} and {len(rest)} of the other arms")
    return f"No difference of {spoken(found.metric)} can be shown between {among}{_missed(found, rest)}."


def _missed(found: Results, rest: Sequence[ArmResult]) -> str:
    """Return how large a difference could have been missed: of most arms, and of those that are restless."""
    restless = {found.arms[place].name for place in found.comparison.restless}
    wide = rest if found.arms[0].name in restless else [arm for arm in rest if arm.name in restless]
    missed = {arm.name: arm.difference.missed for arm in rest if arm.difference and arm.difference.missed is not None}
    groups = [max(missed[arm.name] for arm in arms) for arms in ([arm for arm in rest if arm not in wide], wide)
              if arms and all(arm.name in missed for arm in arms)]
    if not groups:
        return ""
    base = found.arms[0].value.value
    whole = max(base, 1 - base) if unit_of(found.metric)[1] == "points" else float("inf")
    said = ["even the largest that can be could have been missed" if one >= whole
            else f"differences under about {amount(found, one)} could have been missed" for one in groups]
    return f" ({said[0]}{f'; of {_listed([arm.name for arm in wide])}, {said[1]}' if len(said) > 1 else ''})"


def _unlearned(found: Results, arm: ArmResult) -> bool:
    return 2 * found.unproven.get(arm.name, 0) >= len(found.seeds)


def _is_faster(arm: ArmResult, other: ArmResult) -> bool:
    """Return whether an arm is shown to be faster than another, and its multiply-adds do not speak against it."""
    return is_apart(arm.turns, other.turns) < 0 and arm.cost.macs <= other.cost.macs


def _single(found: Results) -> str:
    """Return how single trainings differ, of which nothing follows for the arms."""
    base, rest = found.arms[0], found.arms[1:]
    each = [(arm.name, f"{amount(found, one.value, signed=True)} {span(found, one)}") for arm in rest
            if (one := arm.difference)]
    what = (f"These two trainings differ by {each[0][1]} of {spoken(found.metric)}, {each[0][0]} less {base.name}"
            if len(each) == 1 else f"These {len(found.arms)} trainings differ in {spoken(found.metric)}; from "
            f"{base.name}: {', '.join(f'{name} {value}' for name, value in each)}")
    return f"{what}; with one seed nothing is known of the training's chance, and nothing follows for the arms."


def _take(chosen: ArmResult, base: ArmResult, better: Sequence[ArmResult]) -> str:
    """Return which arm to take, and why."""
    price = f"{chosen.milliseconds:.3g} ms"
    if chosen is base:
        return f"Take {base.name}, the baseline: no other is shown to be better, and none to be faster ({price})."
    if not better:
        return (f"Take {chosen.name}: none is shown to be better, and it is faster ({price}; {base.name} takes "
                f"{base.milliseconds:.3g} ms).")
    if len(better) == 1:
        return f"Take {chosen.name} ({price}), if the difference is worth its time."
    why = ("it has the largest difference, and no other better one is shown to be faster"
           if chosen is max(better, key=lambda arm: abs(arm.difference.value if arm.difference else 0.0))
           else "it is faster than the best of the better ones")
    return f"Take {chosen.name}: {why} ({price})."


def _restless(found: Results) -> list[str]:
    """Return what the seeds of the arms do: differ more than the arms, or more in one than in another."""
    means = [arm.value.value for arm in found.arms]
    apart = max(means) - min(means)
    wide = [(max(arm.seeds) - min(arm.seeds), arm.name) for arm in found.arms]
    more = [(width, name) for width, name in wide if width > apart]
    said = []
    if more:
        whose = (f"the seeds of {_listed([f'{name} by {amount(found, width)}' for width, name in more])}"
                 if len(more) <= NAMED else
                 f"the seeds of {len(more)} of {len(wide)} arms, by up to {amount(found, max(more)[0])}")
        said = [f"Seeds differ more than arms: {whose}, the arms' means by {amount(found, apart)} at most. A "
                "comparison of single trainings would have shown whatever the seeds happen to show."]
    if found.comparison.restless:
        names = _listed([f"{name} (by {amount(found, width)})" for width, name in
                         (wide[place] for place in found.comparison.restless)])
        said.append(f"The seeds of {names} differ more than those of the other arms, so the chance of their own "
                    f"{len(found.seeds)} seeds counts, and their intervals are wide. So few seeds measure it badly: "
                    "more --seeds before anything is believed of them.")
    return said


def _minus(value: float | None) -> float | None:
    return None if value is None else -value


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
