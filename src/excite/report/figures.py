"""The drawings of the report: matplotlib without a screen, as SVG whose colours are the page's own variables."""

import re
from collections.abc import Mapping, Sequence
from io import StringIO
from typing import Any

import matplotlib
from markupsafe import Markup, escape
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import MaxNLocator, PercentFormatter

# Stand-ins that become CSS variables, so that one drawing serves the light and the dark page.
INK, MUTED, LINE, PAPER = "#010101", "#020202", "#030303", "#040404"
SERIES = tuple(f"#05050{digit}" for digit in range(8))
VARIABLES = {INK: "--ink", MUTED: "--muted", LINE: "--line", PAPER: "--card",
             **{color: f"--c{place}" for place, color in enumerate(SERIES)}}
OF_CLASSES = {"balanced_accuracy": "balanced accuracy", "macro_auroc": "AUROC", "accuracy": "accuracy"}
DASHES = ("-", "--", ":", "-.")
STYLE: Any = {"svg.fonttype": "none", "svg.hashsalt": "excite", "font.size": 10, "axes.edgecolor": LINE,
         "axes.labelcolor": MUTED, "text.color": INK, "xtick.color": MUTED, "ytick.color": MUTED, "axes.grid": True,
         "grid.color": LINE, "grid.linewidth": 0.7, "axes.spines.top": False, "axes.spines.right": False,
         "axes.axisbelow": True, "lines.linewidth": 2, "legend.frameon": False, "legend.fontsize": 9,
         "axes.titlesize": 11, "axes.titlelocation": "left", "axes.titlepad": 10, "xtick.major.size": 0,
         "ytick.major.size": 0}


def learning_curves(epochs: Sequence[Mapping[str, Any]], *, name: str,
                    scores: Mapping[str, str] = OF_CLASSES, sample: str = "image") -> list[Markup]:
    """Return two drawings: the losses, and the scores of the validation part, with the best epoch marked.

    Args:
        epochs: Of the log.
        name: Of the drawings, for their ids.
        scores: Which numbers of the validation, and what they are called; the first is told in words.
        sample: What one of the data is called.
    """
    if not epochs:
        return []
    steps = [int(one["epoch"]) for one in epochs]
    best = [int(one["epoch"]) for one in epochs if one.get("best")]
    with matplotlib.rc_context(STYLE):
        loss, axes = figure_of(f"Loss per {sample}", "epoch")
        for place, part in enumerate(("train", "val")):
            _line(axes, steps, [one.get(part, {}).get("loss") for one in epochs], SERIES[place],
                  {"train": "training", "val": "validation"}[part])
        axes.set_ylim(bottom=0)
        _finish(axes, best)
        drawn, axes = figure_of("Validation scores", "epoch")
        for place, (key, label) in enumerate(scores.items()):
            values = [one.get("val", {}).get(key) for one in epochs]
            if any(value is not None for value in values):
                _line(axes, steps, values, SERIES[place], label)
        axes.set_ylim(top=1.005)
        _finish(axes, best)
        last, (first, called) = epochs[-1], next(iter(scores.items()))
        told = f"after {steps[-1]} epochs; best epoch {best[-1] if best else 'not marked'}"
        return [svg(loss, name=f"{name}-loss", alt=f"Training and validation loss {told}; the last validation loss is "
                                                   f"{said(last.get('val', {}).get('loss'))}"),
                svg(drawn, name=f"{name}-scores", alt=f"Validation scores {told}; the last {called} is "
                                                      f"{said(last.get('val', {}).get(first))}")]


def roc(curves: Mapping[str, Mapping[str, Sequence[float]]], areas: Mapping[str, float | None]) -> Markup | None:
    """Return one-vs-rest ROC curves; None where no class has one."""
    drawn = {name: curve for name, curve in curves.items() if len(curve.get("fpr") or ()) > 1}
    if not drawn:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("ROC, each class against the rest", "1 - specificity", square=True)
        axes.set_ylabel("sensitivity")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":")
        for place, (name, curve) in enumerate(drawn.items()):
            area = areas.get(name)
            axes.plot(curve["fpr"], curve["tpr"], color=SERIES[place % 8], linestyle=DASHES[place // 8 % 4],
                      label=plain(name) + (f"  {area:.3f}" if area is not None else ""), clip_on=False)
        axes.legend(loc="lower right", title="AUROC", alignment="right", ncols=1 if len(drawn) <= 10 else 2)
        _unit(axes)
        words = ", ".join(f"{name} {said(areas.get(name))}" for name in drawn)
        return svg(figure, name="roc", alt=f"ROC curves; area under each: {words}")


def reliability(after: Mapping[str, Sequence[float | None]], before: Mapping[str, Sequence[float | None]] | None,
                *, sample: str = "image") -> Markup:
    """Return accuracy against confidence, with how many samples lie where."""
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("Is a stated 80 % right in 80 %?", "stated probability", square=True)
        axes.set_ylabel("share that is right")
        axes.plot([0, 1], [0, 1], color=MUTED, linewidth=1, linestyle=":", label="perfect")
        total = max(1.0, sum(count or 0 for count in after["count"]))
        axes.bar([place or 0 for place in after["confidence"]],
                 [0.4 * (count or 0) / total for count in after["count"]], width=0.05,
                 color=SERIES[0], alpha=0.2, label=f"share of {sample}s (x 0.4)")
        for curve, color, label, dash in ((before, SERIES[1], "before", "--"), (after, SERIES[0], "after", "-")):
            if curve is None:
                continue
            points = [(x, y) for x, y, count in zip(curve["confidence"], curve["accuracy"], curve["count"], strict=True)
                      if count and x is not None and y is not None]
            axes.plot([x for x, _ in points], [y for _, y in points], dash, color=color, marker="o", markersize=4,
                      label=f"{label} temperature" if before is not None else "network", clip_on=False)
        axes.legend(loc="upper left")
        _unit(axes)
        return svg(figure, name="reliability", alt=f"Reliability diagram: accuracy of the test {sample}s against "
                                                   "their stated probability, in bins")


def class_counts(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str], *, sample: str = "image") -> Markup:
    """Return the samples of each class, stacked by part."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.2, 1.0 + 0.36 * len(classes)), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(axis="y", visible=False)
        starts = [0] * len(classes)
        for place, (part, of) in enumerate(counts.items()):
            widths = [of.get(name, 0) for name in classes]
            axes.barh([plain(name) for name in classes], widths, left=starts, height=0.62, color=SERIES[place % 8],
                      label={"train": "training", "val": "validation"}.get(part, part))
            starts = [start + width for start, width in zip(starts, widths, strict=True)]
        for row, total in enumerate(starts):
            axes.annotate(str(total), (total, row), xytext=(6, 0), textcoords="offset points", va="center", color=MUTED,
                          fontsize=9)
        axes.invert_yaxis()
        axes.margins(x=0.12)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
        axes.set_xlabel(f"{sample}s")
        figure.legend(loc="outside upper left", ncols=4)
        words = ", ".join(f"{name} {total}" for name, total in zip(classes, starts, strict=True))
        return svg(figure, name="counts", alt=f"{sample.capitalize()}s of each class: {words}")


def heat_map(values: Sequence[Sequence[float | None]], names: Sequence[str], *, name: str, title: str, below: str,
             left: str) -> Markup:
    """Return a square table of numbers of 0 or more as shades; what is not defined stays empty.

    Args:
        values: Row by row.
        names: Of the rows, and of the columns.
        name: Of the drawing, for its ids.
        below: What a column is.
        left: What a row is.
    """
    most = max((one for row in values for one in row if one is not None), default=0.0) or 1.0
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(1.6 + 0.34 * len(names), 1.5 + 0.3 * len(names)), layout="constrained")
        axes = figure.add_subplot()
        axes.grid(visible=False)
        axes.set_title(f"{title}; full colour: {most:.2f}")
        for row, of in enumerate(values):
            for column, one in enumerate(of):
                if one is not None:
                    axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, color=SERIES[0], linewidth=0,
                                             alpha=max(one, 0.0) / most))
        for axis, say in ((axes.xaxis, below), (axes.yaxis, left)):
            axis.set_ticks(range(len(names)), labels=list(names))
            axis.set_label_text(say)
        axes.tick_params(axis="x", rotation=90)
        axes.set_xlim(-0.5, len(names) - 0.5)
        axes.set_ylim(len(names) - 0.5, -0.5)
        return svg(figure, name=name, alt=f"{title}: {len(names)} rows and columns, the largest {most:.3f}")


def svg(figure: Figure, *, name: str, alt: str) -> Markup:
    """Return a figure as inline SVG: no address in it, ids of its own, the page's colours, scaling with the page."""
    stream = StringIO()
    FigureCanvasSVG(figure)
    figure.savefig(stream, format="svg", transparent=True,
                   metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = stream.getvalue()
    text = text[text.index("<svg"):]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text)
    text = text.replace("xlink:href", "href")
    text = re.sub(r'(\sid="|url\(#|\shref="#)', rf"\g<1>{name}-", text)
    for color, variable in VARIABLES.items():
        text = text.replace(color, f"var({variable})")
    box = re.search(r'viewBox="[^"]*"', text)
    head = f'<svg class="figure" role="img" aria-label="{escape(alt)}" {box[0] if box else ""}>'
    text = re.sub(r"<svg[^>]*>", lambda _: head, text, count=1)
    return Markup(re.sub(r"\n\s*", "\n", text))


def plain(text: str) -> str:
    """Return a label that matplotlib takes as it is, dollar signs and a leading underscore too."""
    return ("\u200b" + text if text.startswith("_") else text).replace("$", r"\$")


def figure_of(title: str, below: str, *, square: bool = False) -> tuple[Figure, Axes]:
    """Return a drawing with a title and what its horizontal axis is."""
    figure = Figure(figsize=(4.8, 4.5) if square else (5.2, 3.3), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.set_xlabel(below)
    return figure, axes


def _line(axes: Axes, steps: list[int], values: Sequence[float | None], color: str, label: str) -> None:
    known = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    axes.plot([step for step, _ in known], [value for _, value in known], color=color, label=label,
              marker="o" if len(known) < 12 else None, markersize=4)


def _finish(axes: Axes, best: list[int]) -> None:
    if best:
        axes.axvline(best[-1], color=MUTED, linewidth=1, linestyle=":", label=f"best epoch, {best[-1]}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8))
    axes.legend(loc="best")


def _unit(axes: Axes) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_aspect("equal")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))


def said(value: float | None) -> str:
    """Return a number with three digits, or that it is not defined."""
    return "not defined" if value is None else f"{value:.3f}"
