"""The drawings of a report on masks: agreement of circumferences, errors by interval, Dice by size."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes

from excite.metrics.intervals import Interval
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.metrics.mask_image import HeadRow
from excite.report.figures import INK, MUTED, SERIES, STYLE, figure_of, said, svg

DOT: Any = {"s": 15, "linewidths": 0, "alpha": 0.8, "clip_on": False}
OF_MASKS = {"dice": "Dice", "iou": "IoU"}
HELD, MISSED = SERIES[0], SERIES[1]
PLAIN, OUTSIDE = "truth inside its interval", "truth outside its interval"


def bland_altman(found: MaskEvaluation) -> Markup | None:
    """Return predicted minus true circumference against the mean of both, with the limits of agreement."""
    heads = [row.head for row in found.rows if row.head and row.head.hc_mm is not None and row.head.true_hc_mm]
    if len(heads) < 2:
        return None
    across = [((one.hc_mm or 0) + (one.true_hc_mm or 0)) / 2 for one in heads]
    apart = [(one.hc_mm or 0) - (one.true_hc_mm or 0) for one in heads]
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("Predicted minus true circumference", "mean of predicted and true, mm")
        figure.set_size_inches(5.2, 3.9)
        axes.set_ylabel("difference, mm")
        axes.axhline(0, color=MUTED, linewidth=1)
        _dots(axes, across, apart, heads)
        _level(axes, found.metrics["df_mm"], INK, "mean")
        for key in ("loa_low_mm", "loa_high_mm"):
            _level(axes, found.metrics[key], MUTED, "limit")
        axes.margins(y=0.12)
        words = "; ".join(f"{name} {found.metrics[key].text()} mm" for key, name in (
            ("df_mm", "mean difference"), ("loa_low_mm", "lower limit"), ("loa_high_mm", "upper limit")))
        return svg(figure, name="agreement", alt=f"Bland-Altman plot of {len(heads)} circumferences: {words}")


def errors_by_width(found: MaskEvaluation) -> Markup | None:
    """Return the size of each error against half the width of its interval: above the diagonal the truth is outside."""
    heads = [row.head for row in found.rows if row.head and row.head.inside is not None]
    if len(heads) < 2:
        return None
    half = [(one.width_mm or 0) / 2 for one in heads]
    error = [abs((one.hc_mm or 0) - (one.true_hc_mm or 0)) for one in heads]
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("Error against the width of its interval", "half the width of the interval, mm (log)")
        figure.set_size_inches(5.2, 3.9)
        axes.set_ylabel("size of the error, mm")
        low, high = min(half) * 0.9, max(half) * 1.1
        top = max(max(error), np.median(half)) * 1.08
        axes.set_xscale("log")
        _plain_ticks(axes, low, high)
        line = np.geomspace(low, high, 100)
        axes.fill_between(line, line, np.maximum(line, top * 1.5), color=MISSED, alpha=0.07, linewidth=0)
        axes.plot(line, line, color=MUTED, linewidth=1, linestyle=":")
        _dots(axes, half, error, heads)
        axes.set_xlim(low, high)
        axes.set_ylim(0, top)
        inside = sum(one.inside is True for one in heads)
        return svg(figure, name="widths", alt=f"Errors of {len(heads)} circumferences against half the width of their "
                                              f"interval; {inside} lie inside")


def dice_by_size(found: MaskEvaluation) -> Markup | None:
    """Return the Dice of each image in which something is, against how much of it that fills."""
    known = [(100 * row.sizes.truth / row.sizes.image, row.scores["dice"]) for row in found.rows
             if row.sizes.truth and row.scores["dice"] is not None]
    if len(known) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("Dice by size of what is there", "share of the image, % (log)")
        axes.set_ylabel("Dice")
        share = [size for size, _ in known]
        axes.set_xscale("log")
        _plain_ticks(axes, min(share) * 0.8, max(share) * 1.25)
        axes.scatter(share, [value for _, value in known], color=HELD, **DOT)
        axes.set_ylim(-0.02, 1.02)
        return svg(figure, name="sizes", alt=f"Dice of {len(known)} images against the size of the true region; mean "
                                             f"{said(found.metrics['dice'].value)}")


def _dots(axes: Axes, across: Sequence[float], up: Sequence[float], heads: Sequence[HeadRow]) -> None:
    """Draw one dot a head; where the truth is outside of the interval, in another colour and shape."""
    for inside, color, marker, label in ((True, HELD, "o", PLAIN), (False, MISSED, "D", OUTSIDE)):
        chosen = [place for place, one in enumerate(heads) if (one.inside is not False) == inside]
        known = any(one.inside is not None for one in heads)
        if chosen:
            axes.scatter([across[place] for place in chosen], [up[place] for place in chosen], color=color,
                         marker=marker, label=label if known else None, **DOT)
    if any(one.inside is not None for one in heads) and axes.figure is not None:
        axes.figure.legend(loc="outside lower left", ncols=2, handletextpad=0.2, markerscale=1.4)


def _level(axes: Axes, one: Interval, color: str, name: str) -> None:
    if one.value is None:
        return
    axes.axhline(one.value, color=color, linewidth=1.3, linestyle="-" if name == "mean" else "--")
    if one.low is not None and one.high is not None:
        axes.axhspan(one.low, one.high, color=color, alpha=0.1, linewidth=0)
    axes.annotate(f"{name} {one.value:+.2f}", (1, one.value), xycoords=("axes fraction", "data"), xytext=(4, 0),
                  textcoords="offset points", va="center", color=color, fontsize=8.5, annotation_clip=False)


def _plain_ticks(axes: Axes, low: float, high: float) -> None:
    """Write 1, 1.5, 2, 3, 5, 7, 10 at a logarithmic axis, as they are."""
    steps = [step * 10.0**power for power in range(-4, 5) for step in (1, 1.5, 2, 3, 5, 7)]
    shown = [step for step in steps if low <= step <= high] or [low, high]
    shown = shown if len(shown) < 8 else [step for step in shown if f"{step:e}"[0] in "125" and f"{step:e}"[2] == "0"]
    axes.set_xticks(shown, [f"{step:g}" for step in shown])
    axes.set_xticks([], minor=True)
