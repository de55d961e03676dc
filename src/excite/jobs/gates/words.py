"""What the numbers of gates mean, in sentences with the numbers at hand."""

from collections.abc import Sequence

from excite.explain.gate_ablation import GateCost
from excite.explain.gate_statistics import STATES, LayerGates
from excite.report.gates_figures import short

LITTLE = 0.05    # share of the variance below which gates hardly depend on the input
CHANNELS = ("Gates are about channels, not regions: a gate scales a whole channel, everywhere alike. Which part of an "
            "{sample} a network looks at is another question; excite explain without --gates pictures it.")
PLACES = ("The gates of {names} differ from place to place. Here they are averaged over the places of an {sample}, so "
          "what they do within one is not told by these numbers, apart from their unevenness.")


def words(layers: Sequence[LayerGates], costs: Sequence[GateCost], *, sample: str = "image",
          classes: Sequence[str] | None = None) -> list[str]:
    """Return what the gates do, what they depend on, and what can go."""
    found = [_article(CHANNELS, sample)]
    if places := [one.name for one in layers if one.kind != "channel"]:
        found.append(_article(PLACES, sample).format(names=_named(places)))
    return [*found, _states(layers), *_inputs(layers, sample), *_classes(layers, classes), *_worth(layers, costs)]


def _article(text: str, sample: str) -> str:
    article = f"an {sample}" if sample[0] in "aeiou" else f"a {sample}"
    return text.replace("an {sample}", article)


def _states(layers: Sequence[LayerGates]) -> str:
    total = {state: sum(one.states.count(state) for one in layers) for state in STATES}
    count = sum(total.values())
    return (f"Of {count} gates in {len(layers)} layers {total['dead']} are dead (always off), {total['saturated']} "
            f"saturated (always fully open), {total['constant']} constant between, and {total['live']} "
            f"({100 * total['live'] / count:.0f} %) vary with the input.")


def _inputs(layers: Sequence[LayerGates], sample: str) -> list[str]:
    fixed = [one.name for one in layers if "live" not in one.states]
    faint = [one.name for one in layers if "live" in one.states and one.share_of_inputs < LITTLE]
    said = [f"Every gate of {_named(fixed)} is the same for all {sample}s: these layers weigh channels and attend to "
            "nothing. They can be folded into a convolution (--fold)."] if fixed else []
    if faint:
        said.append(f"In {_named(faint)} less than {100 * LITTLE:.0f} % of the gates' variance is over {sample}s: "
                    "which channel it is matters far more than what is seen.")
    if not fixed and not faint:
        said.append(f"In every layer at least {100 * LITTLE:.0f} % of the gates' variance is over {sample}s: the gates "
                    "do depend on the input.")
    return said


def _classes(layers: Sequence[LayerGates], classes: Sequence[str] | None) -> list[str]:
    known = [(one.eta_corrected, one.name) for one in layers if one.eta_corrected is not None]
    if not known:
        return [] if classes is None else ["Whether gates differ between classes is not known: each class needs inputs "
                                           "of its own, several of them, and gates that vary."]
    most, name = max(known)
    chance = next(one.eta_by_chance for one in layers if one.name == name)
    return [f"The class explains at most {100 * max(most, 0):.0f} % of how a layer's gates vary ({short(name)}; "
            f"corrected for the {100 * (chance or 0):.1f} % that shuffled labels would explain)."]


def _worth(layers: Sequence[LayerGates], costs: Sequence[GateCost]) -> list[str]:
    score = next(iter(costs[0].lost))
    called = score.replace("_", " ")
    means = [one for one in costs if one.how == "mean" and one.lost[score].value is not None]
    useless = [one.name for one in means if (one.lost[score].low or 0) <= 0]
    said = []
    worst = max(means, key=lambda one: one.lost[score].value or 0, default=None)
    if worst is not None and (worst.lost[score].value or 0) > 0:
        said.append(f"As constants, the gates of {short(worst.name)} cost most: {called} falls by "
                    f"{worst.lost[score].text()}.")
    if useless:
        said.append(f"For {len(useless)} of {len(layers)} layers it is not shown that {called} falls when their gates "
                    f"are constants ({_named(useless)}); such layers may go one at a time, --fold measures how many "
                    "together.")
    return said


def _named(names: Sequence[str]) -> str:
    shown = ", ".join(map(short, names[:6]))
    return shown if len(names) <= 6 else f"{shown} and {len(names) - 6} more"
