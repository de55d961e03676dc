"""The page on a scene: one file, its maps in the colours of its legend, its numbers the evaluation's, all in pixels."""

import base64
import io
import re
from collections import Counter
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from excite.data.scenes.palette import palette
from excite.errors import UsageError
from excite.report import scene_tables
from excite.report.html import LARGEST, png
from excite.report.scene_figures import hexes
from excite.report.scene_page import SceneReportData, render_scene, write_scene_report
from excite.report.words import DISCLAIMER, cost_rows, parity_told
from html_reader import Reader
from made_up_scene import made_up_scene

TITLES = ["False colour", "Truth", "Prediction", "Errors", "Confidence", "Split"]
DRAWINGS = ("scene_figures.spectra_together", "figures.class_counts", "figures.reliability")


@cache
def made() -> SceneReportData:
    return made_up_scene(side=60, count=5)


@cache
def page() -> str:
    return render_scene(made())


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the drawings out: two seconds a page saved."""
    for drawing in DRAWINGS:
        monkeypatch.setattr(f"excite.report.{drawing}", lambda *_, **__: "")
    for drawing in ("figures.learning_curves", "scene_figures.spectra_apart"):
        monkeypatch.setattr(f"excite.report.{drawing}", lambda *_, **__: [])


def decoded(source: str) -> NDArray[np.uint8]:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(source.split(",")[1]))).convert("RGB"))


def pictures(text: str) -> dict[str, NDArray[np.uint8]]:
    return {str(img["alt"]).split(" of the scene")[0]: decoded(str(img["src"])) for img in Reader(text).of("img")}


def swatches(text: str) -> list[tuple[str, str]]:
    return re.findall(r'<li><i class="swatch" style="background:(#[0-9a-f]{6})"></i>([^<]+)</li>', text)


def test_one_offline_file_without_an_address(tmp_path: Path) -> None:
    file = write_scene_report(tmp_path / "report.html", made())
    text = file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file] and len(text.encode()) < LARGEST
    assert not re.search(r"https?:|//[a-z]+\.|<script|@import|url\((?!#)", text)
    for tag, attrs in Reader(text).tags:
        for name in ("src", "href", "xlink:href"):
            target = attrs.get(name)
            assert target is None or target.startswith(("#", "data:image/png;base64,")), (tag, target)


def test_maps_can_be_left_out_and_are_where_the_page_would_be_too_large(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, undrawn: None) -> None:
    bare = write_scene_report(tmp_path / "bare.html", made(), images=False).read_text(encoding="utf-8")
    assert "left out as asked" in bare and "data:image" not in bare and 'href="#maps"' not in bare
    assert "pictures above" not in bare
    monkeypatch.setattr("excite.report.html.LARGEST", 30_000)
    text = write_scene_report(tmp_path / "report.html", made()).read_text(encoding="utf-8")
    assert "would exceed 0.03 MB" in text and "data:image" not in text


def test_ids_are_unique_and_every_inner_link_arrives() -> None:
    read = Reader(page())
    ids = Counter(attrs["id"] for _, attrs in read.tags if attrs.get("id"))
    assert max(ids.values()) == 1, ids.most_common(3)
    inner = {(attrs.get("href") or "")[1:] for _, attrs in read.tags if (attrs.get("href") or "").startswith("#")}
    assert inner <= set(ids)
    assert {"maps", "spectra", "baselines", "confusion", "classes", "calibration", "data", "limits"} <= inner
    assert set(re.findall(r"url\(#([^)]+)\)", page())) <= set(ids)


def test_it_can_be_read_without_seeing() -> None:
    read = Reader(page())
    assert all(attrs.get("aria-label") for attrs in read.of("svg")) and len(read.of("svg")) == 1 + 5 + 4
    assert all(attrs.get("alt") for attrs in read.of("img")) and list(pictures(page())) == TITLES
    assert all(attrs.get("scope") in ("row", "col") for attrs in read.of("th"))
    assert [tag for tag, _ in read.tags if re.fullmatch(r"h\d", tag)][:2] == ["h1", "h2"]


def test_the_numbers_of_the_evaluation_stand_on_the_page_with_oa_aa_and_kappa_first() -> None:
    text, found = Reader(page()).text, made().evaluation
    for name, one in found["metrics"].items():
        assert f"{one['value']:.3f}" in text and f"{one['low']:.3f} to {one['high']:.3f}" in text, name
    names = re.findall(r'<th scope="row">([^<]+)<small>', page())
    assert names[:3] == ["Overall accuracy, OA", "Average accuracy, AA", "Cohen&#39;s kappa"]
    assert len(names) == len(set(names)) == len(found["metrics"]) - 2  # recalls stand under AA and OA
    assert re.findall(r"<dt>([^<]+)</dt>", page())[:5] == ["OA, overall", "AA, average", "Cohen&#39;s kappa",
                                                           "Test pixels", "Overlap"]
    cells = [int(count) for count in re.findall(r"<td class=\"(?:right|wrong|empty)\"[^>]*><b>(\d+)</b>", page())]
    assert cells == [count for row in found["confusion"] for count in row]
    for word in (DISCLAIMER, "1.342", "1890 pixels", "5,122,176", "0.37 ms a pixel",
                 "The best epoch and the temperature", "nothing of other scenes, sensors, seasons or light",
                 "what lies beside a pixel", *made().split_words):
        assert word in text, word


def test_it_speaks_of_pixels_and_never_of_images() -> None:
    spoken = page()
    for note in made().evaluation["notes"]:  # the metrics' own words
        spoken = spoken.replace(note.replace("'", "&#39;"), "")
    body = re.sub(r"<[^>]+>", " ", spoken[spoken.index("<body>"):])
    labels = " ".join(re.findall(r'(?:alt|aria-label)="([^"]*)"', spoken))
    assert re.findall(r"[^ ]* *[Ii]mages?\b[^.]*", body + labels) == []
    for word in ("Loss per pixel", "share of pixels (x 0.4)", "Test pixels", "Pixels of each class", "64 real pixels",
                 "Multiply-adds a pixel"):
        assert word in spoken, word


def test_the_legend_the_maps_and_the_spectra_have_the_same_colours() -> None:
    count, data = len(made().classes), made()
    expected = list(zip(hexes(palette(count)), data.classes, strict=True))
    assert swatches(page())[:count] == expected and swatches(page())[count][1] == "no label"
    found = pictures(page())
    for title, labels in (("Truth", data.truth), ("Prediction", data.predicted)):
        for place, (colour, _) in enumerate(expected):
            here = found[title][labels == place + 1]
            assert len(here) and set(hexes(here)) == {colour}, (title, place)
    assert set(hexes(found["Truth"][data.truth == 0])) == {swatches(page())[count][0]}
    for place, (colour, name) in enumerate(expected):
        drawing = re.search(rf'aria-label="Spectrum of {name}".*?</svg>', page(), re.DOTALL)
        assert drawing and f"stroke: {colour}" in drawing[0] and f"fill: {colour}" in drawing[0]
        assert not set(re.findall(r"#[0-9a-f]{6}\b", drawing[0])) & {one for one, _ in expected[place + 1:]}


def test_errors_and_split_are_in_the_colours_of_their_legends_and_counted() -> None:
    data, found = made(), pictures(page())
    colours = {name: colour for colour, name in swatches(page())}
    test = (data.parts == 3) & (data.truth > 0)
    wrong = test & (data.truth != data.predicted)
    for title, name, where in (("Errors", "wrong", wrong), ("Errors", "right", test & ~wrong),
                               ("Errors", "unlabelled", data.truth == 0), ("Split", "training", data.parts == 1),
                               ("Errors", "labelled, not test", (data.truth > 0) & ~test),
                               ("Split", "validation", data.parts == 2), ("Split", "test", data.parts == 3),
                               ("Split", "labelled, left out (guard)", (data.truth > 0) & (data.parts == 0)),
                               ("Split", "in no part", (data.truth == 0) & (data.parts == 0))):
        shown = (found[title] == np.frombuffer(bytes.fromhex(colours[name][1:]), np.uint8)).all(axis=2)
        assert where.any() and (shown == where).all(), (title, name)
    right = np.trace(np.array(data.evaluation["confusion"]))
    assert f"{right:,} of {data.evaluation['n']:,} test pixels are right" in page()


def test_a_large_map_is_shrunk_without_mixing_colours() -> None:
    labels = np.random.default_rng(0).integers(0, 3, (1401, 500))
    colours = np.array([[0, 0, 0], [200, 0, 0], [0, 0, 99]], np.uint8)
    source, size = png(colours[labels], side=700)
    found = decoded(source)
    assert size == (250, 700) == found.shape[1::-1]
    assert {tuple(one) for one in found.reshape(-1, 3)} == {tuple(one) for one in colours}
    assert png(colours[labels[:5, :4]], side=700)[1] == (4, 5)


@pytest.mark.parametrize("count", [1, 2, 256, 257])
def test_a_map_keeps_every_colour_exactly(count: int) -> None:
    draw = np.random.default_rng(0)
    colours = draw.integers(0, 256, (count, 3), dtype=np.uint8)
    pixels = colours[np.concatenate([np.arange(count), draw.integers(0, count, 60 * 50 - count)]).reshape(60, 50)]
    assert (decoded(png(pixels, side=700)[0]) == pixels).all()


@pytest.mark.parametrize(("changes", "says", "otherwise"), [
    ({"simulated": True}, "All scenes here are SIMULATED", {"simulated": False}),
    ({"leaky": True, "overlap": 1.0}, "WARNING: 100 % of test pixels lie inside training windows: the numbers flatter.",
     {"overlap": 0.0}),
    ({"overlap": 0.9999}, "WARNING: 99.9 % of test pixels", {}),
    ({"leaky": True, "overlap": None}, "WARNING: training pixels lie among the test pixels: the numbers flatter.", {}),
    ({"overlap": 0.0}, "0 % of test pixels lie inside training windows.", {"overlap": None}),
    ({"overlap": None}, "No test pixel is known to lie inside a training window.", {}),
    ({"baselines": [("SVM", {"accuracy": {"value": 0.9999}, "kappa": {"value": 0.0}}, 3.0)]},
     "The network is not better than the baseline SVM: OA 1.000 against", {}),
    ({"pairs": ["McNemar says so."]}, "McNemar says so.", {"pairs": ()}),
    ({"temperature": None}, "No temperature was fitted", {}),
    ({"leaks": [{"kind": "k", "message": "pixels twice", "file": "f", "row": 1}]}, "pixels twice", {}),
])
def test_warnings_stand_where_they_are_due_and_nowhere_else(changes: dict[str, Any], says: str,
                                                            otherwise: dict[str, Any], undrawn: None) -> None:
    plain = replace(made(), simulated=False)
    assert says in Reader(render_scene(replace(plain, **changes), images=False)).text
    assert says not in Reader(render_scene(replace(plain, **otherwise), images=False)).text


def test_the_overlap_is_the_first_warning_and_no_patient_is_missed(undrawn: None) -> None:
    text = render_scene(replace(made(), leaky=True, overlap=1.0), images=False)
    notes = re.findall(r'<p class="warning" role="note">([^<]+)</p>', text)
    assert notes[0].startswith("WARNING: 100 %") and len(notes) == 2
    assert "patient" not in text and '<p class="bad">100 % of test pixels lie' in text


def test_baselines_stand_beside_the_network_which_is_first() -> None:
    rows = re.findall(r"<tr( class=\"own\")?><th scope=\"row\">([^<]+)</th>(.*?)</tr>",
                      page()[page().index('class="methods"'):page().index('id="confusion"')])
    assert [(bool(own), name) for own, name, _ in rows] == [
        (True, "hybridsn"), (False, "SVM, RBF"), (False, "random forest"), (False, "nearest mean spectrum")]
    for (_, _, cells), metrics, time in zip(rows, [made().evaluation["metrics"], *(one[1] for one in made().baselines)],
                                            ["412 s", "14 s", "3.1 s", "0.02 s"], strict=True):
        assert re.findall(r'<td class="n">([^<]+)<', cells) == [
            *(f"{metrics[key]['value']:.3f}" for key in ("accuracy", "balanced_accuracy", "kappa")), time]
    assert [scene_tables.time_told(one) for one in (None, 9.94, 599.0, 1800.0)] == ["", "9.9 s", "599 s", "30 min"]


def test_without_baselines_and_spectra_there_is_no_section_of_them(undrawn: None) -> None:
    text = render_scene(replace(made(), baselines=(), spectra=None, cost={}, parity=None, environment={}, units={}))
    assert 'id="baselines"' not in text and 'id="spectra"' not in text
    assert 'href="#baselines"' not in text and 'href="#spectra"' not in text
    Reader(text)


def test_everything_from_outside_is_escaped() -> None:
    evil = "<script>alert('x')</script>\"&$_{x}"
    data, evaluation = made(), dict(made().evaluation)
    first = data.classes[0]
    evaluation |= {"classes": [evil, *data.classes[1:]], "notes": [evil], "part": evil, "unit_kind": evil,
                   "failed": [{"file": evil, "error": evil}],
                   "per_class": {evil if name == first else name: of for name, of in evaluation["per_class"].items()}}
    assert data.spectra is not None
    text = render_scene(replace(
        data, title=evil, lead=evil, classes=[evil, *data.classes[1:]], evaluation=evaluation, recipe=evil,
        split_words=[evil], split_notes=[evil], reasons={evil: evil}, weights=evil, environment={evil: evil},
        limits=[evil], created=evil, counts={"train": {evil: 3}}, unit_kind=evil, next_commands=[(evil, evil)],
        pairs=[evil], network=evil, baselines=[(evil, data.evaluation["metrics"], 1.0)],
        spectra=replace(data.spectra, wavelength_unit=evil),
        leaks=[{"kind": evil, "message": evil, "file": evil, "row": 1, "severity": "error"}]))
    assert "<script" not in text
    Reader(text)


@pytest.mark.parametrize(("changes", "says"), [
    ({"predicted": np.zeros((60, 59), int)}, r"predicted must have the size of truth, \(60, 60\), got \(60, 59\)"),
    ({"false_colour": np.zeros((3, 3, 3), np.uint8)}, "false_colour must have the size of truth"),
    ({"truth": np.full((60, 60), 6)}, "truth must be from 0 to 5, got 6 to 6"),
    ({"parts": np.full((60, 60), 4, np.uint8)}, "parts must be from 0 to 3, got 4 to 4"),
    ({"spectra": made_up_scene(side=40, count=4).spectra}, r"spectra must have one row a class \(5\), got 4"),
])
def test_maps_that_do_not_belong_together_are_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        replace(made(), **changes)


def test_the_data_class_takes_keywords_only() -> None:
    with pytest.raises(TypeError):
        SceneReportData("title")  # type: ignore[call-arg, misc]


def test_shared_words_name_the_sample() -> None:
    cost = {"macs": 10, "milliseconds": 0.0374}
    assert cost_rows(cost, sample="pixel") == [
        ("Multiply-adds a pixel", "10"), ("Measured here", "0.037 ms a pixel, median, preprocessing left out")]
    assert cost_rows(cost)[0][0] == "Multiply-adds an image"
    assert "of 7 real pixels" in parity_told({"n": 7, "max_abs": 1e-6, "agreement": 1.0}, sample="pixel")
