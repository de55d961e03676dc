"""The page: one file, no address in it, everything escaped, what is not defined said, readable by machines."""

import base64
import io
import os
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from excite.errors import EnvironmentFault
from excite.metrics.evaluation import evaluate
from excite.report.page import DISCLAIMER, LARGEST, Picture, ReportData, render, write_report
from html_reader import Reader

Made = Callable[..., ReportData]

def test_the_reader_of_these_tests_sees_a_wrong_nesting() -> None:
    with pytest.raises(AssertionError, match="closes another"):
        Reader("<p><b>x</p></b>")


def test_one_offline_file(report_data: Made, tmp_path: Path) -> None:
    file = write_report(tmp_path / "report.html", report_data())
    text = file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file] and len(text.encode()) < LARGEST
    assert not re.search(r"https?:|//[a-z]+\.|<script|@import|url\((?!#)", text)
    page = Reader(text)
    for tag, attrs in page.tags:
        for name in ("src", "href", "xlink:href"):
            target = attrs.get(name)
            assert target is None or target.startswith(("#", "data:image/jpeg;base64,")), (tag, target)
    assert "default-src 'none'" in str(page.of("meta"))


def test_ids_are_unique_and_every_inner_link_arrives(report_data: Made) -> None:
    page = Reader(render(report_data()))
    ids = Counter(attrs["id"] for _, attrs in page.tags if attrs.get("id"))
    assert max(ids.values()) == 1, ids.most_common(3)
    inner = {(attrs.get("href") or "")[1:] for _, attrs in page.tags if (attrs.get("href") or "").startswith("#")}
    assert inner <= set(ids)
    assert set(re.findall(r"url\(#([^)]+)\)", render(report_data()))) <= set(ids)


def test_it_can_be_read_without_seeing(report_data: Made) -> None:
    page = Reader(render(report_data()))
    assert all(attrs.get("alt") for attrs in page.of("img")) and len(page.of("img")) == 18
    assert all(attrs.get("aria-label") for attrs in page.of("svg")) and len(page.of("svg")) == 5
    assert all(attrs.get("scope") in ("row", "col") for attrs in page.of("th"))
    assert len(page.of("h1")) == 1 and page.of("html")[0]["lang"] == "en"
    assert [tag for tag, _ in page.tags if re.fullmatch(r"h\d", tag)][:2] == ["h1", "h2"]


def test_the_numbers_of_the_evaluation_stand_on_the_page(report_data: Made) -> None:
    data = report_data()
    text = Reader(render(data)).text
    for metric in data.evaluation["metrics"].values():
        assert f"{metric['value']:.3f}" in text and f"{metric['low']:.3f} to {metric['high']:.3f}" in text
    for row in data.evaluation["confusion"]:
        assert all(str(count) in text for count in row)
    for word in ("1.342", "0.5512", "0.5034", "189 images", "optimistic", "2,231,558", "5.4\N{NO-BREAK SPACE}ms",
                 "2 threads", DISCLAIMER, "nothing of other hospitals", "excite predict runs/planes/bundle",
                 "right on unseen patients"):
        assert word in text, word
    assert "always answering “other” would give an accuracy of 0.314 and a balanced accuracy of 0.167" in text


def test_everything_from_outside_is_escaped(report_data: Made) -> None:
    evil = "<script>alert('x')</script>\"&$_{x}"
    made = report_data()
    evaluation: dict[str, Any] = {**made.evaluation, "classes": [evil, *made.classes[1:]], "notes": [evil]}
    for key in ("per_class", "roc"):
        evaluation[key] = {evil if name == made.classes[0] else name: of for name, of in evaluation[key].items()}
    picture = Picture(file=evil, truth=evil, label=evil, probability=0.5, thumbnail=np.zeros((8, 8), np.uint8))
    text = render(report_data(
        title=evil, lead=evil, classes=(evil, *made.classes[1:]), evaluation=evaluation, recipe=evil, grid=[picture],
        split_notes=[evil], reasons={evil: evil}, weights=evil, environment={evil: evil}, limits=[evil], created=evil,
        leaks=[{"kind": evil, "message": evil, "file": evil, "row": 1, "severity": "error"}],
        next_commands=[(evil, evil)], counts={"train": {evil: 3}}))
    assert "<script" not in text
    page = Reader(text)
    assert page.text.count("<script>alert('x')</script>") >= 12
    assert not page.of("script")


def test_pictures_are_the_thumbnails_and_can_be_left_out(report_data: Made, tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    seen = np.kron(draw.integers(0, 255, (8, 8, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    grey = np.full((40, 60, 1), 128, np.uint8)
    one = {"truth": "brain", "label": "brain", "probability": 0.93}
    data = report_data(worst=(), grid=[Picture(file="a.png", thumbnail=seen, **one),
                                       Picture(file="b.png", thumbnail=grey, **one)])
    shown = Reader(render(data)).of("img")
    decoded = [np.asarray(Image.open(io.BytesIO(base64.b64decode(str(img["src"]).split(",")[1])))) for img in shown]
    assert decoded[0].shape == seen.shape and np.abs(decoded[0].astype(int) - seen).mean() < 12
    assert decoded[1].shape == (40, 60) and np.abs(decoded[1].astype(int) - 128).max() <= 2
    without = write_report(tmp_path / "a.html", data, images=False).read_text(encoding="utf-8")
    assert "<img" not in without and "left out as asked" in without and 'href="#pictures"' not in without


def test_a_page_that_would_be_too_large_goes_without_pictures_and_says_so(report_data: Made, tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (200, 200, 3), dtype=np.uint8)
    many = [Picture(file="a", truth="brain", label="brain", probability=1, thumbnail=noise)] * 200
    text = write_report(tmp_path / "a.html", report_data(grid=many)).read_text(encoding="utf-8")
    assert len(text.encode()) <= LARGEST and "<img" not in text and "would exceed 5 MB" in text


@pytest.mark.parametrize(("changes", "says", "otherwise"), [
    ({"simulated": True}, "All images here are SIMULATED", {}),
    ({"unit_kind": "image"}, "split BY IMAGE", {}),
    ({"unit_kind": "near-duplicate cluster"}, "No patients are known", {}),
    ({"leaks": [{"kind": "patient", "message": "patient 7 in two parts", "file": None}]}, "patient 7 in two parts", {}),
    ({"leaks": ()}, "No patient, no group, no identical", {"leaks": [{"kind": "x", "message": "y", "file": "z"}]}),
    ({"temperature": None}, "No temperature was fitted", {}),
    ({"temperature": {"value": 1.3, "nll_before": 0.6, "nll_after": 0.5, "n": 99}},
     "99 validation images are too few to trust this temperature",
     {"temperature": {"value": 1.3, "nll_before": 0.6, "nll_after": 0.5, "n": 100}}),
    ({"calibration_before": {"ece": 0.03, "nll": 0.6}}, "0.0300 0.0410 worse on the test part",
     {"calibration_before": {"ece": 0.05, "nll": 0.6}}),
    ({"calibration_before": {"ece": 0.05, "nll": 0.5}}, "0.5000 0.5120 worse on the test part", {}),
    ({"calibration_before": {"ece": 0.05, "nll": 0.6}}, "0.0500 0.0410 better", {}),
    ({"created": "2026-11-23T22:50:12+01:00"}, "2026-11-23 21:50 UTC", {}),
    ({"cost": {"parameters": 700_756}}, "Parameters 700,756 of the network", {}),
    ({"cost": {"parameters": 2_231_558}}, "Parameters 2.23\N{NO-BREAK SPACE}million of the network", {"cost": {}}),
    ({"cost": {"milliseconds": 5.43, "threads": 1}}, "Speed 5.4\N{NO-BREAK SPACE}ms an image, 1 thread", {"cost": {}}),
    ({"limits": ["The 91.45 % of the source is not comparable."]}, "91.45", {}),
])
def test_warnings_stand_where_they_are_due_and_nowhere_else(report_data: Made, monkeypatch: pytest.MonkeyPatch,
                                                            changes: dict[str, Any], says: str,
                                                            otherwise: dict[str, Any]) -> None:
    for drawing in ("class_counts", "reliability", "roc"):
        monkeypatch.setattr(f"excite.report.figures.{drawing}", lambda *_, **__: "")  # a second of drawing saved
    monkeypatch.setattr("excite.report.figures.learning_curves", lambda *_, **__: [])
    assert says in Reader(render(report_data(**changes))).text
    assert says not in Reader(render(report_data(**otherwise))).text


def test_what_is_not_defined_is_said_with_the_reason(report_data: Made) -> None:
    """A test part with one class: the metrics' own evaluation, no made-up one."""
    draw = np.random.default_rng(0)
    chances = draw.dirichlet((3, 1, 1), 12)
    found = evaluate(np.zeros(12, int), chances, ("a", "b", "c"), [f"p{n // 2}" for n in range(12)], part="test",
                     unit_kind="patient", resamples=50)
    text = Reader(render(report_data(evaluation=found.to_json(), classes=("a", "b", "c"),
                                     counts={"test": {"a": 12}}))).text
    assert "not defined" in text and "only one class occurs" in text and "no image of this class" in text
    assert "ROC: not defined" in text and "nan" not in text.lower() and "None" not in text


def test_a_run_of_the_metrics_own_evaluation_is_drawn(report_data: Made) -> None:
    draw = np.random.default_rng(1)
    truth = draw.integers(0, 3, 90)
    chances = draw.dirichlet((1, 1, 1), 90) + 0.8 * np.eye(3)[truth]
    chances /= chances.sum(1, keepdims=True)
    found = evaluate(truth, chances, ("a", "b", "c"), [f"p{n // 3}" for n in range(90)], part="test",
                     unit_kind="patient", resamples=50).to_json()
    text = Reader(render(report_data(evaluation=found, classes=("a", "b", "c"), counts={"test": {"a": 30}}))).text
    assert all(note in text for note in found["notes"])


def test_short_runs_and_empty_facts_are_no_fault(report_data: Made) -> None:
    epoch = {"event": "epoch", "epoch": 1, "lr": 1e-3, "train": {"loss": 1.0}, "seconds": 1.0, "best": True,
             "val": {"loss": 1.1, "accuracy": 0.5, "balanced_accuracy": None, "macro_auroc": None}}
    text = render(report_data(curves={"training": [epoch]}, cost={}, environment={}, parity=None, units={}, grid=(),
                              worst=(), reasons={}, next_commands=(), weights="", temperature=None,
                              reliability_before=None))
    Reader(text)
    assert 'id="pictures"' not in text
    Reader(render(report_data(curves={})))
    Reader(render(report_data(curves={"a": [epoch], "b": [epoch]})))


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="POSIX only")
def test_a_folder_that_is_not_there_is_an_environment_fault(report_data: Made, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentFault, match="the report cannot be written"):
        write_report(tmp_path / "missing" / "report.html", report_data(), images=False)


def test_what_is_no_better_than_one_answer_is_a_warning_and_stands_once(report_data: Made) -> None:
    draw = np.random.default_rng(1)
    truth = draw.choice(3, 90, p=[0.6, 0.2, 0.2])
    for chances, due in ((draw.dirichlet((1, 1, 1), 90), True), (0.9 * np.eye(3)[truth] + 0.1 / 3, False)):
        found = evaluate(truth, chances, ("a", "b", "c"), [f"p{n}" for n in range(90)], part="test",
                         unit_kind="patient", resamples=50).to_json()
        text = render(report_data(evaluation=found, classes=("a", "b", "c"), counts={"test": {"a": 30}}))
        banner = 'role="note">The network is not shown to be better than always answering a: balanced accuracy'
        assert (banner in text) == due
        assert Reader(text).text.count("not shown to be better") == due


def test_a_caption_holds_the_whole_name_and_its_title_the_path(report_data: Made) -> None:
    pixels = np.zeros((8, 8), np.uint8)
    name = "a_name_that_is_much_too_long_for_one_line_of_a_caption_0001.png"
    files = [f"/data/clinic/benign/{name}", f"C:\\data\\benign\\{name}", "alone.png"]
    page = Reader(render(report_data(worst=(), grid=[
        Picture(file=file, truth="brain", label="brain", probability=1, thumbnail=pixels) for file in files])))
    assert page.text.count(f" benign/{name} ") == 2 and " alone.png " in page.text
    assert [small["title"] for small in page.of("small") if "title" in small] == files


def test_no_number_stands_twice_and_none_has_an_empty_bar(report_data: Made) -> None:
    text = render(report_data())
    assert "Recall, macro" not in text and "Recall, weighted" not in text and "also: recall, macro" in text
    bars, numbers = text.split("<h3>Other numbers</h3>")
    assert bars.count('<td class="wide">') == bars.count('<span class="bar"') == 9
    assert "Brier score" not in bars and "Brier score" in numbers and '<td class="wide">' not in numbers
