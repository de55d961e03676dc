"""The drawings of the gate report: every gate of every layer by value and by variation, and what layers are worth."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from excite.report.figures import MUTED, SERIES, STYLE, figure_of, plain, svg

COLUMNS = 240  # of a heat map; a layer's gates are spread over them
PALE = 0.1     # the variation that is drawn darkest at least: less is pale, and no structure
COLOURS = LinearSegmentedColormap.from_list("gates", ["#dfe7ea", "#7fbcc8", "#0b7285", "#062f3a"])


def gate_maps(layers: Sequence[Mapping[str, Any]]) -> Markup:
    """Return two heat maps, a row a layer, its gates from the least open to the most: value, and variation."""
    most = [float(one["largest"]) for one in layers]
    order = [np.argsort(one["mean"], kind="stable") for one in layers]
    values = _rows([one["mean"][places] / top for one, places, top in zip(layers, order, most, strict=True)])
    spread = _rows([one["std"][places] / top for one, places, top in zip(layers, order, most, strict=True)])
    with matplotlib.rc_context({**STYLE, "axes.grid": False}):
        figure = Figure(figsize=(9.4, 1.3 + 0.24 * len(layers)), layout="constrained")
        left, right = figure.subplots(1, 2, sharey=True)
        _map(left, values, layers, "Value, of the largest", 1.0)
        _map(right, spread, layers, "Standard deviation over inputs", max(float(spread.max()), PALE))
        return svg(figure, name="gate-maps", alt=f"Heat maps of the gates of {len(layers)} layers: their mean, and "
                                                 "their standard deviation over inputs")


def gate_costs(costs: Sequence[Mapping[str, Any]], score: str, how: str, *, title: str) -> Markup:
    """Return what each layer is worth, with its interval."""
    found = [one for one in costs if one["how"] == how]
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of(title, f"{score.replace('_', ' ')} lost")
        figure.set_size_inches(5.2, 1.3 + 0.26 * len(found))
        axes.axvline(0, color=MUTED, linewidth=1)
        for place, one in enumerate(found):
            lost = one["lost"][score]
            if lost["value"] is None:
                continue
            if lost["low"] is not None:
                axes.plot([lost["low"], lost["high"]], [place, place], color=SERIES[0], linewidth=2)
            axes.plot([lost["value"]], [place], "o", color=SERIES[0], markersize=6)
        axes.set_yticks(range(len(found)), [plain(short(one["name"])) for one in found])
        axes.set_ylim(len(found) - 0.5, -0.5)
        return svg(figure, name=f"gate-costs-{how}", alt=f"{title}: {score.replace('_', ' ')} lost a layer, with 95 % "
                                                         "intervals")


def short(name: str) -> str:
    """Return a layer's name without what all have in common."""
    return name.removeprefix("backbone.").removesuffix(".attention") or name


def _rows(lines: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return lines of different lengths, each spread over the columns."""
    return np.stack([line[(np.arange(COLUMNS) * len(line) // COLUMNS)] for line in lines])


def _map(axes: Axes, values: NDArray[np.float64], layers: Sequence[Mapping[str, Any]], title: str, most: float) -> None:
    axes.imshow(values, aspect="auto", interpolation="nearest", cmap=COLOURS, vmin=0, vmax=most)
    axes.set_title(f"{title}; darkest: {most:.2f}")
    axes.set_xlabel("gates of the layer, least open first")
    axes.set_xticks([])
    axes.set_yticks(range(len(layers)), [plain(f"{short(one['name'])} ({one['gates']})") for one in layers])
    axes.spines[:].set_visible(False)
