"""The picture of `excite bench networks`: published accuracy against measured time, and which networks are worth it."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from excite.errors import EnvironmentFault, UsageError
from excite.jobs.bench_networks import Bench, Row
from excite.jobs.bench_networks_pairs import MATCHES, Match

OURS, PEER, INK, LINE = "#0b6e4f", "#b4552d", "#222222", "#dddddd"
NEAR = 0.9  # percent; labels of two networks nearer than that would meet


class Point(NamedTuple):
    """A network: top-1 in percent, milliseconds an image of ours and of the public one."""

    label: str
    top1: float
    ours: float
    peer: float | None


def check(file: Path, matches: Sequence[Match]) -> None:
    """See that a picture can be drawn, before minutes of measuring.

    Raises:
        UsageError: the file does not end in .png, or no network has a published accuracy.
    """
    if file.suffix != ".png":
        raise UsageError(f"--picture must be a file that ends in .png, got {str(file)!r}")
    if not any(match.published for match in matches):
        known = ", ".join(match.name for match in MATCHES if match.published)
        raise UsageError("--picture needs a network with a published accuracy", fix=f"these have one: {known}")


def draw(file: Path, found: Bench) -> None:
    """Write the picture: a panel for each batch, a line from each public network to the same of the library.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    passes = [row for row in found.rows if row.work == "forward" and len(row.shape) == 4]
    shapes = sorted({row.shape for row in passes})
    shown = {shape: points([row for row in passes if row.shape == shape]) for shape in shapes}
    figure = Figure(figsize=(1.5 + 5.5 * len(shapes), 5.8), layout="constrained")
    panels = figure.subplots(1, len(shapes), sharex=True, sharey=True, squeeze=False)[0]
    for axes, shape in zip(panels, shapes, strict=True):
        _panel(axes, shown[shape])
        axes.set_title(f"batch {shape[0]}, {shape[2]} x {shape[3]}", loc="left", fontsize=10, color=INK)
    panels[0].set_ylabel("ImageNet top-1, %, as published", color=INK)
    times = [time for one in shown.values() for point in one for time in (point.ours, point.peer) if time]
    panels[0].set_xlim(min(times) / 4, max(times) * 1.6)
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center",
                  ncols=2 if len(shapes) == 1 else 4, frameon=False)
    where = found.machine
    figure.suptitle(f"Accuracy against time: {where['cpu']}, threads: {where['threads']}, torch {where['torch']}",
                    fontsize=11, color=INK)
    FigureCanvasAgg(figure)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(file, dpi=150)
    except OSError as fault:
        raise EnvironmentFault("the picture cannot be written", where=file, why=str(fault),
                               fix="name another file with --picture") from None


def points(rows: Sequence[Row]) -> list[Point]:
    """Return the networks with a published accuracy, the least accurate first."""
    published = {match.label: match.published for match in MATCHES}
    found = []
    for row in rows:
        source = published.get(row.network)
        if source is not None and source.top1 is not None:
            peer = row.times["peer"].median / row.shape[0] if row.peer else None
            found.append(Point(row.network, source.top1, row.times["default"].median / row.shape[0], peer))
    return sorted(found, key=lambda point: point.top1)


def front(places: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the (milliseconds, accuracy) that no other beats in both, the fastest first."""
    best: list[tuple[float, float]] = []
    for time, accuracy in sorted(places, key=lambda place: (place[0], -place[1])):
        if not best or accuracy > best[-1][1]:
            best.append((time, accuracy))
    return best


def _panel(axes: Axes, shown: Sequence[Point]) -> None:
    """Draw the networks of one batch."""
    _dress(axes)
    ours = [(point.ours, point.top1) for point in shown]
    peers = [(point.peer, point.top1) for point in shown if point.peer is not None]
    for point in shown:
        axes.plot([point.ours, point.peer or point.ours], [point.top1] * 2, color=LINE, linewidth=2.5, zorder=1)
    for places, color, name in ((peers, PEER, "public, as it comes"), (ours, OURS, "excite, for_prediction")):
        if places:
            axes.plot(*zip(*places, strict=True), "o", color=color, markersize=7, label=name, zorder=3)
            axes.plot(*zip(*front(places), strict=True), drawstyle="steps-post", color=color, linewidth=1.3,
                      linestyle="--", label="Pareto front of these", zorder=2)
    _label(axes, shown)


def _label(axes: Axes, shown: Sequence[Point]) -> None:
    """Write each name to the left of its points, or above the right one where the name below is too near."""
    taken, halo = float("-inf"), [withStroke(linewidth=3, foreground="white")]
    for point in shown:
        left = point.top1 - taken >= NEAR
        taken = point.top1 if left else taken
        ends = [time for time in (point.ours, point.peer) if time]
        axes.annotate(point.label, (min(ends) if left else max(ends), point.top1), fontsize=9, color=INK,
                      xytext=(-8, 0) if left else (5, 11), textcoords="offset points", va="center", ha="right",
                      path_effects=halo, zorder=4)


def _dress(axes: Axes) -> None:
    """Scale the axes and draw what is behind the points."""
    axes.set_xscale("log")
    axes.set_xlabel("ms an image", color=INK)
    ticks = [digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5)]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.grid(color=LINE, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.margins(y=0.08)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
