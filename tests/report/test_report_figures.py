"""The drawings hold the data's own numbers and the page's own colours."""

import re
from collections.abc import Callable

import numpy as np
import pytest

from excite.report import figures, tables
from excite.report.page import ReportData


def points(drawing: str, color: str) -> list[np.ndarray]:  # type: ignore[type-arg]
    """Return the corners of each line of a colour."""
    found = []
    for path, style in re.findall(r'<path d="([^"]+)"[^>]*style="([^"]+)"', drawing):
        if f"stroke: var({color})" in style and "fill: none" in style:
            found.append(np.array(re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", path), float))
    return found


def test_roc_corners_are_the_data() -> None:
    fpr, tpr = [0.0, 0.2, 0.2, 0.6, 1.0], [0.0, 0.4, 0.7, 0.9, 1.0]
    drawing = figures.roc({"a": {"fpr": fpr, "tpr": tpr}}, {"a": 0.75})
    curve = max(points(str(drawing), "--c0"), key=len)
    assert len(curve) == 5
    width, height = curve[-1] - curve[0]
    np.testing.assert_allclose((curve[:, 0] - curve[0, 0]) / width, fpr, atol=1e-4)
    np.testing.assert_allclose((curve[:, 1] - curve[0, 1]) / height, tpr, atol=1e-4)


def test_colours_are_variables_in_light_and_dark_alike(report_data: Callable[..., ReportData]) -> None:
    data = report_data()
    drawn = [figures.class_counts(data.counts, data.classes), figures.reliability(data.evaluation["reliability"], None),
             *figures.learning_curves(data.curves["training"], name="c")]
    for one in drawn:
        assert not set(re.findall(r"#[0-9a-f]{6}\b", str(one))), "a colour that does not follow the page"
        assert "var(--ink)" in one and "var(--c0)" in one


def test_undefined_scores_leave_a_gap_and_no_line_for_what_is_never_defined() -> None:
    epochs = [{"epoch": n, "train": {"loss": 1.0 / n},
               "val": {"loss": 1.0, "accuracy": 0.5, "balanced_accuracy": None if n == 2 else 0.4,
                       "macro_auroc": None}} for n in (1, 2, 3)]
    loss, scores = (str(one) for one in figures.learning_curves(epochs, name="c"))
    assert "balanced accuracy" in scores and ">AUROC<" not in scores and "not marked" in loss
    assert figures.learning_curves([], name="c") == []


def test_names_that_mean_something_to_matplotlib_are_drawn_as_they_are() -> None:
    drawing = str(figures.class_counts({"train": {"$x^2$": 3, "_hidden": 2, "a<b": 1}}, ("$x^2$", "_hidden", "a<b")))
    text = re.sub(r"<[^>]+>", "", drawing)
    assert "$x^2$" in text and "_hidden" in text and "a&lt;b" in text


@pytest.mark.parametrize(("metric", "expected"), [
    ({"value": 0.5, "low": 0.25, "high": 1.0, "note": None}, ("0.500", "0.250 to 1.000")),
    ({"value": 0.5, "low": None, "high": None, "note": "one unit"}, ("0.500", "one unit")),
    ({"value": None, "low": None, "high": None, "note": "not defined: one class"}, ("not defined", "one class")),
    (None, ("not defined", "")),
])
def test_numbers_as_text(metric: dict[str, object] | None, expected: tuple[str, str]) -> None:
    assert tables.number(metric) == expected


def test_bars_lie_on_the_track_and_confusion_shares_are_of_rows() -> None:
    rows = tables.metric_rows({"kappa": {"value": -0.1, "low": -0.4, "high": 0.2}, "own_score": {"value": 3.0},
                               "accuracy/class": {"value": 1.0}})
    assert rows[0].bar == (0.0, 0.0, 20.0) and rows[1].bar is None and len(rows) == 2
    cells = tables.confusion_rows([[3, 1], [0, 0]], ("a", "b"))
    assert [cell["share"] for cell in cells[0]["cells"]] == [75.0, 25.0]
    assert [cell["share"] for cell in cells[1]["cells"]] == [0.0, 0.0]
    assert tables.count_rows({"train": {"a": 2}, "test": {"a": 1, "b": 4}}, ("a", "b")) == [
        ("a", [2, 1], 3), ("b", [0, 4], 4), ("all", [2, 5], 7)]


@pytest.mark.parametrize(("value", "text"), [(999.6, "1,000"), (700_756, "700,756"), (0, "0"),
                                             (3_504_872, "3.50\N{NO-BREAK SPACE}million"),
                                             (3e9, "3.00\N{NO-BREAK SPACE}billion")])
def test_large_numbers_never_wrap(value: float, text: str) -> None:
    assert tables.large(value) == text
