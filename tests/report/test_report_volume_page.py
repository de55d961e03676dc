"""The page on volumes: patients, slices, what maps are worth, what attention does not show; everything escaped."""

import base64
import io
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from PIL import Image

from excite.report.page import ReportData
from excite.report.volume_page import Pane, PatientPicture, VolumeReportData, render_volumes, write_volume_report
from html_reader import Reader

Made = Callable[..., ReportData]
LEAK = {"kind": "clinical-tells-label", "message": "score alone tells 'b' from the rest", "file": None, "row": None}


def worth(name: str, *, low: float, value: float, high: float, kind: str = "map", n: int = 30) -> dict[str, Any]:
    one = {"value": value, "low": low, "high": high, "note": None}
    return {"name": name, "kind": kind, "n": n, "n_units": n,
            "loss": {"balanced_accuracy": one, "auroc_macro": one,
                     "nll": {"value": None, "low": None, "high": None, "note": "not defined: only one class occurs"}}}


ATTENTION = {"tokens": ["t1 0", "t1 1", "adc 0", "adc 1", "clinical"], "groups": ["t1", "adc", "clinical"],
             "weights": [[0.2] * 5] * 5, "shares": [[0.5, 0.31, 0.19]] * 3, "even": [0.4, 0.4, 0.2], "n": 7, "of": 9}


def patient(**changes: Any) -> PatientPicture:
    pixels = np.random.default_rng(0).integers(0, 255, (120, 200), dtype=np.uint8)
    panes = [Pane(name="t1", pixels=pixels, window="1 to 2"), Pane(name="adc", pixels=None, window="")]
    return PatientPicture(**{"name": "line 7", "truth": "brain", "label": "femur", "probability": 0.83,
                             "panes": panes} | changes)


@pytest.fixture
def volume_data(report_data: Made) -> Callable[..., VolumeReportData]:
    def make(**changes: Any) -> VolumeReportData:
        plain = {name: value for name, value in vars(report_data(grid=(), worst=())).items() if name != "sample"}
        return VolumeReportData(**plain | {"patients": [patient()], "attention": ATTENTION, "worth": [
            worth("t1", low=0.02, value=0.1, high=0.2), worth("age", low=-0.2, value=-0.1, high=-0.05, kind="clinical"),
            worth("adc", low=-0.01, value=0.01, high=0.03)], "doubts": ["line 3: adc is odd"]} | changes)

    return make


def test_it_speaks_of_patients_and_shows_their_slices(volume_data: Callable[..., VolumeReportData],
                                                      tmp_path: Any) -> None:
    file = write_volume_report(tmp_path / "a.html", volume_data())
    text = file.read_text(encoding="utf-8")
    page = Reader(text)
    assert not re.search(r"https?:|//[a-z]+\.|<script|@import|url\((?!#)", text)
    for words in ("Patients of the test part", "✗ femur", "83 %", "truth: brain", "line 7", "missing", "t1 1 to 2",
                  "Test patients", "236 patients that training never saw", "Multiply-adds a patient"):
        assert words in page.text, words
    own = Reader(render_volumes(volume_data(lead="", reasons={}, limits=(), split_notes=(), recipe="", next_commands=(),
                                            weights="", environment={}))).text
    assert not re.search(r".{30}\b[Ii]mages?\b", own) and "picture" not in own.split("Limits")[0]
    [picture] = page.of("img")
    assert picture["src"].startswith("data:image/png;base64,")
    shown = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture["src"].split(",")[1]))).convert("L"))
    assert np.array_equal(shown, patient().panes[0].pixels)
    ids = Counter(attrs["id"] for _, attrs in page.tags if attrs.get("id"))
    assert max(ids.values()) == 1 and {"pictures", "maps"} <= set(ids)
    assert {(attrs.get("href") or "")[1:] for _, attrs in page.tags if (attrs.get("href") or "").startswith("#")
            } <= set(ids)
    bare = write_volume_report(tmp_path / "b.html", volume_data(), images=False).read_text(encoding="utf-8")
    assert "<img" not in bare and "left out as asked" in bare and "line 7" not in bare


def test_what_maps_are_worth_stands_before_attention_with_what_that_does_not_show(
        volume_data: Callable[..., VolumeReportData]) -> None:
    text = render_volumes(volume_data())
    page = Reader(text).text
    assert page.index("Left out, one at a time") < page.index("31 %") < page.index("What this does not show")
    assert "7 of 9 test patients that lack nothing" in page and "arXiv:1902.10186" in page and "if even" in page
    rows = [re.sub(r"<[^>]+>", " ", row) for row in re.findall(r"<tr>.*?</tr>", text)]
    assert any("+0.100" in row and "0.020 to 0.200" in row and "only one class occurs" in row for row in rows)
    assert text.count('class="n good"') == 2 and text.count('class="n bad"') == 2 and "clinical column" in page
    few = render_volumes(volume_data(worth=[worth("t1", low=0.02, value=0.1, high=0.2, n=9)]))
    assert 'class="n good"' not in few and "With fewer than 10 units the intervals are rough" in few
    none = Reader(render_volumes(volume_data(worth=(), attention=None))).text
    assert "What the maps are worth" not in none


def test_doubts_are_a_list_and_a_column_that_is_the_label_a_warning(volume_data: Callable[..., VolumeReportData]
                                                                    ) -> None:
    text = render_volumes(volume_data(doubts=[f"doubt {place}" for place in range(14)], leaks=[LEAK],
                                      reasons={"doubts": "all in one line", "maps": "t1"}))
    assert all(f"<li>doubt {place}</li>" in text for place in range(14)) and "and 2 more" in text
    assert "all in one line" not in text
    assert "One column may be the label itself: score alone tells &#39;b&#39; from the rest." in text
    assert "in two parts (" not in text and "No patient, no group and no file lies in two parts" in text
    both = render_volumes(volume_data(leaks=[{"kind": "patient", "message": "x", "file": None}], doubts=()))
    assert "in two parts (1 case)" in both and "no file lies in two parts" not in both and "No map lies apart" in both


def test_everything_from_outside_is_escaped(volume_data: Callable[..., VolumeReportData]) -> None:
    evil = "<script>alert('x')</script>\"&$_{x}"
    pane = Pane(name=evil, pixels=np.zeros((8, 8), np.uint8), window=evil)
    text = render_volumes(volume_data(
        doubts=[evil], worth=[worth(evil, low=0.0, value=0.1, high=0.2)], leaks=[LEAK | {"message": evil}],
        attention=ATTENTION | {"tokens": [evil] * 5, "groups": [evil] * 3},
        patients=[patient(name=evil, truth=evil, label=evil, panes=[pane])]))
    assert "<script" not in text
    Reader(text)
