"""The drawings of a study: metric against measured time with the front, and the differences from the baseline."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import matplotlib
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from excite.metrics.pareto import pareto
from excite.report.figures import MUTED, SERIES, STYLE, plain, svg

if TYPE_CHECKING:
    from excite.report.study_page import ArmTold

MARKS = "osD^vPX*"
WIDE = 3.0  # slowest to fastest from which time is drawn in logarithms


def front_figure(arms: Sequence["ArmTold"], *, metric: str, better: int) -> Markup:
    """Return each arm's mean with its interval and its single seeds against its milliseconds, the front drawn."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 4.0), layout="constrained")
        axes = figure.add_subplot()
        _front(axes, arms, better)
        for place, arm in enumerate(arms):
            color, mark = SERIES[place % 8], MARKS[place // 8 % len(MARKS)]
            if arm.low is not None and arm.high is not None:
                axes.plot([arm.milliseconds] * 2, [arm.low, arm.high], color=color, linewidth=1.4)
            axes.plot([arm.milliseconds] * len(arm.seeds), arm.seeds, ".", color=color, markersize=5, alpha=0.55)
            axes.plot([arm.milliseconds], [arm.value], mark, color=color, markersize=8, label=plain(arm.name))
        times = [arm.milliseconds for arm in arms]
        if max(times) > WIDE * min(times):
            axes.set_xscale("log")
        axes.margins(x=0.1)
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.set_xlabel("ms an image, one thread, measured in turns")
        axes.set_ylabel(metric + (" (less is better)" if better < 0 else ""))
        figure.legend(loc="outside right upper")
        best = ", ".join(arms[place].name for place in _places(arms, better))
        return svg(figure, name="front", alt=f"{metric} against milliseconds of each arm; on the front: {best}")


def difference_figure(arms: Sequence["ArmTold"], *, unit: str, better: int) -> Markup:
    """Return the difference of each arm from the baseline with its interval."""
    shown = [(arm, arm.difference) for arm in arms if arm.difference is not None]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.6, 1.2 + 0.36 * len(shown)), layout="constrained")
        axes = figure.add_subplot()
        axes.axvline(0, color=MUTED, linewidth=1.2, linestyle=":")
        for place, (arm, value) in enumerate(shown):
            color = SERIES[(place + 1) % 8]
            if arm.difference_low is not None and arm.difference_high is not None:
                axes.plot([arm.difference_low, arm.difference_high], [place] * 2, color=color)
            axes.plot(value, place, "o", color=color, markersize=7,
                      markerfacecolor=color if arm.shown else "none")
        axes.set_yticks(range(len(shown)), [plain(arm.name) for arm, _ in shown])
        axes.set_ylim(len(shown) - 0.5, -0.5)
        axes.grid(axis="y", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(nbins=7))
        way = "right" if better > 0 else "left"
        axes.set_xlabel(f"difference from {plain(arms[0].name)}{', ' + unit if unit else ''} (better to the {way}); "
                        "filled: shown")
        words = "; ".join(f"{arm.name} {value:.2f}" for arm, value in shown)
        return svg(figure, name="differences", alt=f"Differences from {arms[0].name} with 95 % intervals: {words}")


def _front(axes: Axes, arms: Sequence["ArmTold"], better: int) -> None:
    places = _places(arms, better)
    axes.plot([arms[place].milliseconds for place in places], [arms[place].value for place in places],
              drawstyle="steps-post", color=MUTED, linewidth=1.2, linestyle="--", zorder=0, label="front")


def _places(arms: Sequence["ArmTold"], better: int) -> list[int]:
    return pareto([arm.milliseconds for arm in arms], [arm.value for arm in arms], better=better)
