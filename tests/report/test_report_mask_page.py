"""The page on masks: one file, its numbers the evaluation's, its pictures where they are, everything escaped."""

import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from excite.ellipse import Ellipse
from excite.jobs.overlays import edges, worst
from excite.metrics.mask_evaluation import evaluate_masks
from excite.metrics.mask_image import MaskRow, head_row, mask_scores
from excite.report import mask_figures
from excite.report.html import LARGEST
from excite.report.mask_page import MaskReportData, render_masks, write_mask_report
from excite.report.overlay import Overlay, path, shown, told
from excite.report.words import DISCLAIMER, parity_told
from html_reader import Reader
from made_up_masks import SHAPE, evaluation, made_up, overlay, rows_of


@cache
def rows() -> tuple[list[MaskRow], list[Any]]:
    return rows_of(40, real=False)


@cache
def made() -> MaskReportData:
    return made_up(rows=rows())


@cache
def page() -> str:
    return render_masks(made())


def test_one_offline_file_without_an_address(tmp_path: Path) -> None:
    file = write_mask_report(tmp_path / "report.html", made())
    text = file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file] and len(text.encode()) < LARGEST
    assert not re.search(r"https?:|//[a-z]+\.|<script|@import|url\((?!#)", text)
    for tag, attrs in Reader(text).tags:
        for name in ("src", "href", "xlink:href"):
            target = attrs.get(name)
            assert target is None or target.startswith(("#", "data:image/jpeg;base64,")), (tag, target)
    write_mask_report(tmp_path / "bare.html", made(), images=False)
    bare = (tmp_path / "bare.html").read_text(encoding="utf-8")
    assert "left out as asked" in bare and "data:image" not in bare


def test_a_page_that_would_be_too_large_goes_without_pictures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("excite.report.html.LARGEST", 60_000)
    text = write_mask_report(tmp_path / "report.html", made()).read_text(encoding="utf-8")
    assert "would exceed 0.06 MB" in text and "data:image" not in text


def test_ids_are_unique_and_every_inner_link_arrives() -> None:
    read = Reader(page())
    ids = Counter(attrs["id"] for _, attrs in read.tags if attrs.get("id"))
    assert max(ids.values()) == 1, ids.most_common(3)
    inner = {(attrs.get("href") or "")[1:] for _, attrs in read.tags if (attrs.get("href") or "").startswith("#")}
    assert inner <= set(ids) and {"agreement", "intervals", "pictures", "grid0", "worst7"} <= inner
    assert set(re.findall(r"url\(#([^)]+)\)", page())) <= set(ids)


def test_it_can_be_read_without_seeing() -> None:
    read = Reader(page())
    said = [attrs for attrs in read.of("svg") if not attrs.get("aria-hidden")]
    assert all(attrs.get("aria-label") for attrs in said) and len(said) == 2 * 16 + 5
    assert all(attrs.get("scope") in ("row", "col") for attrs in read.of("th"))
    assert [tag for tag, _ in read.tags if re.fullmatch(r"h\d", tag)][:2] == ["h1", "h2"]


def test_the_numbers_of_the_evaluation_stand_on_the_page() -> None:
    text, found = Reader(page()).text, made().evaluation
    for name, one in found.metrics.items():
        digits = 2 if name.endswith("_mm") else 3
        assert one.value is not None and one.low is not None and one.high is not None
        assert f"{one.value:.{digits}f}" in text and f"{one.low:.{digits}f} to {one.high:.{digits}f}" in text, name
    for third in found.slices:
        assert f"{third.low:.1f} to {third.high:.1f} mm" in text
        assert f"{third.metrics['adf_mm'].value:.2f}" in text
    for note in found.notes:
        assert re.sub(r"\s+", " ", note) in text
    for word in (DISCLAIMER, "25,253,893", "96\N{NO-BREAK SPACE}ms", "promised 90 %", "agree to a Dice of 1.000000",
                 "right on average", "The best epoch, the level and the width of the intervals were chosen",
                 "no head was found"):
        assert word in text, word


@pytest.mark.parametrize(("changes", "says", "otherwise"), [
    ({"simulated": True}, "SIMULATED", {"simulated": False}),
    ({"unit_kind": "image"}, "split BY IMAGE", {}),
    ({"unit_kind": "group"}, "No patients are known", {}),
    ({"leaks": [{"kind": "k", "message": "m", "file": "f", "row": 1}]}, "The leak check found", {}),
])
def test_warnings_stand_where_they_are_due_and_nowhere_else(changes: dict[str, Any], says: str,
                                                            otherwise: dict[str, Any],
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    for drawing in ("mask_figures.bland_altman", "mask_figures.errors_by_width", "figures.class_counts"):
        monkeypatch.setattr(f"excite.report.{drawing}", lambda *_: "")
    monkeypatch.setattr("excite.report.figures.learning_curves", lambda *_, **__: [])
    plain = replace(made(), simulated=False, grid=(), worst=())
    assert says in Reader(render_masks(replace(plain, **changes))).text
    assert says not in Reader(render_masks(replace(plain, **otherwise))).text


def test_intervals_that_hold_less_than_promised_are_a_warning() -> None:
    narrow = [replace(row, head=None if row.head is None else replace(
        row.head, interval_mm=None if row.head.hc_mm is None else (row.head.hc_mm - 0.01, row.head.hc_mm + 0.01)))
        for row in rows()[0]]
    data = replace(made(), evaluation=evaluation(narrow), grid=(), worst=())
    assert "hold the truth less often than they promise" in Reader(render_masks(data)).text
    assert "less often than they promise" not in page()


def test_without_a_pixel_size_no_millimetre_is_stated() -> None:
    some, pictures = rows_of(12, real=False, mm=False, lost=0)
    data = made_up(rows=(some, pictures), evaluation=evaluation(some, promised=None), interval="", level="")
    text = Reader(render_masks(data)).text
    assert "No pixel size is known: nothing is stated in millimetres" in text and "not defined" in text
    assert "so there is nothing to compare" in text and "how far off one circumference may be is not known" in text
    assert mask_figures.bland_altman(data.evaluation) is None and mask_figures.errors_by_width(data.evaluation) is None


def test_segmentation_has_no_section_on_heads() -> None:
    some, pictures = rows_of(15, real=False)
    plain = [replace(row, head=None) for row in some]
    found = evaluate_masks(plain, task="segmentation", classes=("lesion",), part="test", unit_kind="patient",
                           resamples=50)
    data = made_up(rows=(some, pictures), evaluation=found,
                   grid=[overlay(plain[0], pictures[0], heads=False)], worst=[])
    text = render_masks(data)
    assert "Circumference" not in text and 'id="agreement"' not in text and "Dice by size" in text
    assert "The best epoch and the level were chosen" in text and "HD95" in Reader(text).text
    Reader(text)


def test_everything_from_outside_is_escaped() -> None:
    evil = "<script>alert('x')</script>\"&$_{x}"
    row = replace(rows()[0][0], file=evil, notes=(evil,))
    found = replace(made().evaluation, classes=(evil,), notes=(evil,), part=evil, unit_kind=evil,
                    failed=({"file": evil, "error": evil},))
    text = render_masks(replace(
        made(), title=evil, lead=evil, evaluation=found, recipe=evil, split_notes=[evil], reasons={evil: evil},
        weights=evil, environment={evil: evil}, limits=[evil], created=evil, level=evil, interval=evil,
        counts={"train": {evil: 3}}, unit_kind=evil, next_commands=[(evil, evil)], worst=[],
        leaks=[{"kind": evil, "message": evil, "file": evil, "row": 1, "severity": "error"}],
        grid=[overlay(row, rows()[1][0])]))
    assert "<script" not in text
    Reader(text)


def test_the_worst_come_first_and_heads_that_were_not_found_before_all() -> None:
    order = worst(rows()[0])
    assert order[0].head is not None and order[0].head.ellipse is None
    errors = [row.head.errors.adf_mm for row in order[1:] if row.head and row.head.errors]
    assert errors == sorted(errors, reverse=True) and len(order) == len(rows()[0])  # type: ignore[type-var]
    plain = worst([replace(row, head=None) for row in rows()[0]])
    dices = [row.scores["dice"] for row in plain]
    assert dices == sorted(dices)  # type: ignore[type-var]
    nothing = mask_scores(np.zeros(SHAPE, bool), np.zeros(SHAPE, bool), spacing=None)
    assert worst([MaskRow(file="", line=2, unit="", sizes=nothing[0], scores=nothing[1])]) == []


def test_each_picture_says_whether_its_interval_holds_the_truth() -> None:
    truth = Ellipse(200.0, 135.0, 80.0, 60.0, 0.3)
    row = rows()[0][0]

    def verdict(low: float, high: float) -> tuple[tuple[str, str], list[str]]:
        return told(replace(row, head=head_row(truth, truth._replace(a=82.0), spacing=(0.35,), shape=SHAPE,
                                               interval_mm=(low, high))))

    assert verdict(150, 160)[0] == ("right", "✓ inside its interval")
    kind, words = verdict(157, 160)
    assert kind == ("wrong", "✗ outside its interval") and "interval 157.0 to 160.0 mm" in words
    hc = [0.35 * one.circumference for one in (truth._replace(a=82.0), truth)]
    assert words[0] == f"HC {hc[0]:.1f} mm, truth {hc[1]:.1f}: {hc[0] - hc[1]:+.1f} mm"
    assert told(replace(row, head=head_row(truth, None, spacing=(0.35,), shape=SHAPE)))[0][0] == "wrong"


def test_lines_lie_on_the_pixels_they_are_of() -> None:
    """A square of pixels 10..19: its edge runs from 9.5 to 19.5, and on a page of half the size from 5 to 10."""
    mask = np.zeros((40, 60), bool)
    mask[10:20, 10:20] = True
    (line,) = edges(mask)
    assert line.min(axis=0) == pytest.approx([9.5, 9.5], abs=0.3) and line.max(axis=0) == pytest.approx(
        [19.5, 19.5], abs=0.3)
    drawn = np.array([float(value) for value in re.findall(r"[\d.]+", path([line], (0.5, 0.5)))]).reshape(-1, 2)
    assert drawn.min(axis=0) == pytest.approx([5, 5], abs=0.2) and drawn.max(axis=0) == pytest.approx([10, 10], abs=0.2)
    mask[14:16, 14:16] = False
    assert len(edges(mask)) == 2 and edges(np.zeros((5, 5), bool)) == []
    border = edges(np.ones((5, 8), bool))
    assert border[0].max(axis=0) == pytest.approx([7.5, 4.5], abs=0.3)


def test_a_large_picture_is_shrunk_and_its_lines_with_it() -> None:
    row = rows()[0][0]
    one = Overlay(picture=np.zeros((540, 800), np.uint8), row=row, truth=[np.array([[399.5, 269.5], [0.0, 0.0],
                                                                                   [10.0, 3.0]])])
    found = shown(one, "x")
    assert (found["width"], found["height"]) == (480, 324) and found["truth"].startswith("M240.0 162.0L0.3 0.3L")


def test_figures_tell_their_numbers_in_words() -> None:
    found = made().evaluation
    agreement, widths = str(mask_figures.bland_altman(found)), str(mask_figures.errors_by_width(found))
    assert f"mean difference {found.metrics['df_mm'].text()} mm" in agreement
    inside = sum(row.head is not None and row.head.inside is True for row in found.rows)
    assert f"; {inside} lie inside" in widths
    assert "var(--c0)" in agreement and "#0505" not in agreement + widths
    dots = widths.count("<use ")
    assert dots >= len(found.rows) - 1  # one a head that was found, and the axes' ticks


def test_parity_is_told_as_it_was_measured() -> None:
    classes = {"n": 32, "max_abs": 2.1e-6, "max_rel": 1e-6, "agreement": 1.0}
    assert parity_told(classes).startswith("The exported network agrees with the trained one on 100.0 % of 32 real")
    masks = {"n": 8, "max_abs": 1e-5, "max_rel": 1e-6, "dice": 0.999999, "hc": 0.0012, "hc_unit": "mm"}
    assert "agree to a Dice of 0.999999, circumferences differ by at most 0.0012 mm; largest" in parity_told(masks)
    assert parity_told({**masks, "hc": None}).count("circumferences") == 0 and parity_told(None) == ""


def test_the_data_class_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        MaskReportData("title")  # type: ignore[call-arg, misc]
