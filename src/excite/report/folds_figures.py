"""The drawings of a cross-validation's report: ROC, calibration and decision curve of each question, fold by fold."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator, PercentFormatter

from excite.report.figures import DASHES, MUTED, SERIES, STYLE, figure_of, plain, said, svg
from excite.report.words import plural

FLOOR = 0.25  # of the share of a question's cases: so far below 0 a decision curve is shown


def roc_of_questions(answers: Sequence[Mapping[str, Any]]) -> Markup | None:
    """Return the ROC curve of each question; None where none has one."""
    drawn = [one for one in answers if one["roc"]]
    if not drawn:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("ROC", "1 - specificity", square=True)
        axes.set_ylabel("sensitivity")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for place, one in enumerate(drawn):
            axes.plot(one["roc"]["fpr"], one["roc"]["tpr"], color=SERIES[place % 8], linestyle=DASHES[place // 8 % 4],
                      label=f"{plain(one['name'])}  {said(one['auroc']['value'])}", clip_on=False)
        axes.legend(loc="lower right", title="AUROC", alignment="right")
        _shares(axes)
        words = ", ".join(f"{one['name']} {said(one['auroc']['value'])}" for one in drawn)
        return svg(figure, name="roc", alt=f"ROC curves; area under each: {words}")


def calibration(answer: Mapping[str, Any], *, name: str) -> Markup:
    """Return how often a question is so against its stated chance, before and after the temperatures."""
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of(f"Calibration: {plain(answer['name'])}", "stated chance", square=True)
        axes.set_ylabel("observed share")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfect")
        before, after = answer["calibration"]["before"], answer["calibration"]["after"]
        axes.plot(before["chance"], before["share"], "--", color=SERIES[1], marker="o", markersize=3.5, linewidth=1.4,
                  label="before temperature", clip_on=False)
        share = np.array(after["share"])
        spread = np.clip([share - after["low"], np.array(after["high"]) - share], 0, None)
        axes.errorbar(after["chance"], share, yerr=spread, color=SERIES[0], marker="o", markersize=5, linewidth=2,
                      elinewidth=1.2, label="after, with 95 % interval", clip_on=False)
        axes.legend(loc="upper left")
        _shares(axes)
        points = "; ".join(f"{chance:.2f} stated, {found:.2f} found, {count:.0f} patients" for chance, found, count in
                           zip(after["chance"], after["share"], after["count"], strict=True))
        return svg(figure, name=name, alt=f"Calibration of {answer['name']}, groups of like chance: {points}")


def decision(answer: Mapping[str, Any], *, name: str) -> Markup:
    """Return the net benefit of acting on the stated chance, on everybody and on nobody, by threshold."""
    curve = answer["curve"]
    share = answer["positives"] / max(1, answer["n"])
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of(f"Decision curve: {plain(answer['name'])}", "threshold from which one acts",
                                 square=True)
        axes.set_ylabel("net benefit, cases found a patient")
        places = curve["thresholds"]
        low, high = ([one[end] if one[end] is not None else np.nan for one in curve["model"]] for end in
                     ("low", "high"))
        axes.fill_between(places, low, high, color=SERIES[0], alpha=0.18, linewidth=0)
        axes.plot(places, _values(curve["treat_all"]), "--", color=SERIES[1], linewidth=1.5, label="everybody")
        axes.axhline(0, color=MUTED, linewidth=1.5, linestyle=":", label="nobody")
        axes.plot(places, _values(curve["model"]), color=SERIES[0], label="stated chance, 95 % interval")
        axes.set_xlim(0, 1)
        axes.set_ylim(-FLOOR * share, 1.35 * share)
        axes.xaxis.set_major_formatter(PercentFormatter(1, decimals=0))
        axes.legend(loc="upper right")
        return svg(figure, name=name, alt=f"Decision curve of {answer['name']}: "
                                          f"{useful(curve['thresholds'], answer['useful'])}")


def useful(thresholds: Sequence[float], helped: Sequence[float]) -> str:
    """Return in words at which thresholds a model helps: the longest run of neighbours, and how many there are beside.

    >>> useful((0.1, 0.2, 0.3, 0.4), (0.1, 0.3, 0.4))
    'from 30 % to 40 %, and at 1 other threshold'
    """
    runs = list[list[int]]()
    for place in (place for place, one in enumerate(thresholds) if one in set(helped)):
        if runs and runs[-1][-1] == place - 1:
            runs[-1].append(place)
        else:
            runs.append([place])
    if not runs:
        return "at no threshold"
    best = max(runs, key=len)
    first, last = (f"{100 * thresholds[place]:.0f} %" for place in (best[0], best[-1]))
    others = len(set(helped)) - len(best)
    return (f"at {first}" if len(best) == 1 else f"from {first} to {last}") + (
        f", and at {others} other {plural('threshold', others)}" if others else "")


def by_fold(lines: Mapping[str, Mapping[float, float | None]], *, title: str, below: str, beside: str,
            marks: Mapping[str, float], whole: bool, logarithmic: bool = False) -> Markup:
    """Return one line a fold, with what was chosen in it marked.

    Args:
        lines: Of each fold, the height at each place.
        marks: Of each fold, the place that was chosen.
        whole: Places are whole numbers.
    """
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of(title, below)
        axes.set_ylabel(beside)
        for number, (name, points) in enumerate(lines.items()):
            known = {place: height for place, height in points.items() if height is not None}
            axes.plot(list(known), list(known.values()), color=SERIES[number % 8], linewidth=1.5,
                      linestyle=DASHES[number // 8 % 4], label=plain(name))
            if (height := known.get(marks[name])) is not None:
                axes.plot([marks[name]], [height], "o", color=SERIES[number % 8], markersize=6)
        if logarithmic:
            axes.set_xscale("log")
        elif whole:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
        axes.legend(loc="upper right", ncols=2)
        words = ", ".join(f"{name} {marks[name]:g}" for name in lines)
        return svg(figure, name="by-fold", alt=f"{title}; chosen in each fold: {words}")


def _values(found: Sequence[Mapping[str, Any]]) -> list[float]:
    return [np.nan if one["value"] is None else one["value"] for one in found]


def _shares(axes: Axes) -> None:
    """Make both axes run from 0 to 100 % alike."""
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
