"""The drawings of a study: marks at the numbers, a logarithm only where times are far apart."""

from unittest.mock import patch

import numpy as np
import pytest
from matplotlib.axes import Axes
from test_report_study_page import arm

from excite.report import study_figures

ARMS = [arm("none", 0.8, 8.0), arm("se", 0.79, 9.0, difference=-1.0, difference_low=-3.0, difference_high=1.0)]


def drawn(times: tuple[float, ...]) -> tuple[list[tuple[list[float], list[float], str]], str]:
    """Return what was plotted, and the scale of the horizontal axis."""
    plotted: list[tuple[list[float], list[float], str]] = []
    scales: list[str] = []
    plot, scale = Axes.plot, Axes.set_xscale

    def keep(self: Axes, x: object, y: object, *more: object, **how: object) -> object:
        plotted.append((np.ravel(x).tolist(), np.ravel(y).tolist(), str(how.get("label", ""))))
        return plot(self, x, y, *more, **how)

    def told(self: Axes, value: str, **how: object) -> None:
        scales.append(value)
        scale(self, value, **how)

    arms = [arm(f"arm {place}", 0.8 + place / 100, time) for place, time in enumerate(times)]
    with patch.object(Axes, "plot", keep), patch.object(Axes, "set_xscale", told):
        study_figures.front_figure(arms, metric="accuracy", better=1)
    return plotted, scales[-1] if scales else "linear"


def test_each_arm_is_a_mark_at_its_time_and_each_seed_a_dot() -> None:
    plotted, _ = drawn((8.0, 9.0))
    assert ([8.0, 9.0], [0.8, 0.81], "front") in plotted
    assert ([9.0], [0.81], "arm 1") in plotted
    assert any(x == [9.0, 9.0] and y == pytest.approx([0.8, 0.82]) for x, y, _ in plotted)  # its two seeds


def test_time_is_in_logarithms_only_where_it_spans_much() -> None:
    assert drawn((8.0, 9.0))[1] == "linear" and drawn((1.0, 9.0))[1] == "log"


def test_differences_are_told_in_words_too() -> None:
    text = str(study_figures.difference_figure(ARMS, unit="points", better=1))
    assert "Differences from none with 95 % intervals: se -1.00" in text and "better to the right" in text
