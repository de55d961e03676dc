"""The page of a comparison: the answer, the differences drawn with their intervals, every number, what to know."""

from pathlib import Path
from typing import Any

import matplotlib
from markupsafe import Markup

from excite.metrics.comparison import Comparison
from excite.metrics.comparison_words import sentences, shown
from excite.metrics.direction import direction, unit_of, words
from excite.metrics.paired import Pair
from excite.report.figures import INK, MUTED, SERIES, STYLE, figure_of, svg
from excite.report.html import filled, write_page
from excite.report.words import DISCLAIMER


def write_compare_page(file: Path, found: Comparison) -> Path:
    """Write the page in one file that loads nothing, and return its path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    answer, *more = sentences(found)
    names, said = shown(found)
    rows = {title: [_row(found, name, found.pairs[name]) for name in names if ("/" in name) == of_classes]
            for title, of_classes in (("Over all", False), ("By class", True))}
    prices = [(name, *(_cost(getattr(price, key)) for price in found.prices)) for key, name in
              (("milliseconds", "milliseconds, one thread"), ("parameters", "parameters"),
               ("macs", "multiply-adds"))]
    return write_page(file, lambda images, without: filled(
        "compare.html", found=found, answer=answer, more=more, rows={key: one for key, one in rows.items() if one},
        drawing=differences(found), prices=prices, verdict=found.verdict, said=said,
        disclaimer=DISCLAIMER), images=False)


def differences(found: Comparison) -> Markup | None:
    """Return B minus A of every share over all samples with its interval; None where there is none."""
    drawn = [(name, one.difference) for name, one in ((name, found.pairs[name]) for name in shown(found)[0])
             if "/" not in name and unit_of(name)[1] == "points" and one.difference.low is not None]
    if not drawn:
        return None
    drawn = sorted(reversed(drawn), key=lambda item: item[0] == found.metric)
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("B minus A, 95 % intervals", "points")
        figure.set_size_inches(7.2, 1.2 + 0.32 * len(drawn))
        axes.axvline(0, color=MUTED, linewidth=1)
        if found.margin is not None and unit_of(found.metric)[1] == "points":
            axes.axvline(-100 * found.margin * direction(found.metric), color=SERIES[1], linewidth=1, linestyle="--")
        for place, (name, one) in enumerate(drawn):
            colour = SERIES[0] if name == found.metric else INK
            axes.plot([100 * (one.low or 0), 100 * (one.high or 0)], [place, place], color=colour, linewidth=2)
            axes.plot([100 * (one.value or 0)], [place], "o", color=colour, markersize=6)
        axes.set_yticks(range(len(drawn)), [words(name) + ("" if direction(name) > 0 else " (less is better)")
                                            for name, _ in drawn])
        axes.grid(axis="y", visible=False)
        return svg(figure, name="differences", alt="; ".join(f"{words(name)}: {one.text()}" for name, one in drawn))


def _row(found: Comparison, name: str, one: Pair) -> dict[str, Any]:
    corrected = found.corrected.get(name)
    return {"name": words(name), "question": name == found.metric, "a": _number(one.a.value), "b": _number(one.b.value),
            "difference": _number(one.difference.value, sign=True), "test": one.test or "",
            "interval": one.difference.note or "" if one.difference.low is None or one.difference.high is None else
            f"{one.difference.low:+.3f} to {one.difference.high:+.3f}",
            "p": _p(one.p) + (" !" if one.disputed else ""), "holm": _p(corrected)}


def _number(value: float | None, *, sign: bool = False) -> str:
    return "not defined" if value is None else f"{value:+.3f}" if sign else f"{value:.3f}"


def _p(value: float | None) -> str:
    return "" if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _cost(value: float | int | None) -> str:
    return "not known" if value is None else f"{value:,}" if isinstance(value, int) else f"{value:.2f}"
