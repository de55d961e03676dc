"""The page of gates: one offline file, every number on it, everything escaped."""

import re
from collections import Counter

import numpy as np
import pytest

from excite.report.gates_figures import short
from excite.report.gates_page import GatesData, render, write_gates_page
from html_reader import Reader

NAMES = ("backbone.stages.0.0.attention", "backbone.stages.1.0.attention")
QUANTILES = {"0": 0.1, "0.05": 0.21, "0.25": 0.3, "0.5": 0.47, "0.75": 0.6, "0.95": 0.83, "1": 0.9}


def metric(value, low, high):
    return {"value": value, "low": low, "high": high, "note": None}


def layer(name, gates, **changes):
    draw = np.random.default_rng(gates)
    values = {"name": name, "attention": "se", "kind": "channel", "n": 20, "gates": gates, "largest": 1.0,
              "shares": {"dead": 0.25, "saturated": 0.25, "constant": 0.0, "live": 0.5}, "quantiles": QUANTILES,
              "unevenness": 0.0, "between_inputs": 0.01, "between_channels": 0.03, "share_of_inputs": 0.25,
              "eta": 0.123, "eta_by_chance": 0.053, "eta_corrected": 0.077, "mean": draw.random(gates),
              "std": draw.random(gates) / 5, "class_means": draw.random((2, gates))}
    return values | changes


def cost(name, how, value):
    return {"name": name, "how": how, "lost": {"accuracy": metric(value, value - 0.01, value + 0.02),
                                              "log_likelihood": metric(2 * value, value, 3 * value)}}


def page(**changes):
    values = {"title": "Gates of toy", "part": "test", "n": 20, "units": 10, "unit_kind": "patient", "sample": "image",
              "scores": {"accuracy": 0.71, "log_likelihood": -0.9},
              "words": ["Gates are about channels, not regions.", "Half of them vary."],
              "bounds": {"dead": 0.01, "saturated": 0.99, "constant": 0.01},
              "layers": [layer(NAMES[0], 4), layer(NAMES[1], 8)], "classes": ("benign", "malignant"),
              "costs": [cost(name, how, value) for name, value in zip(NAMES, (0.031, 0.044), strict=True)
                        for how in ("mean", "one")]}
    return GatesData(**values | changes)


FOLD = {"promise": {"difference": 0.01, "loss": None}, "into": {NAMES[0]: "before: stages.0.0.branch.1.norm"},
        "left": {NAMES[1]: "8 of 8 gates vary with the input"}, "difference": 0.0031,
        "lost": {"accuracy": metric(0.0, -0.001, 0.002)}, "before": {"median": 3.21, "repeats": 9},
        "after": {"median": 2.98, "repeats": 9}, "parameters": [1000, 900], "bundle": "out/bundle",
        "notes": ["chosen and measured on the same data"]}


def test_one_offline_file_whose_links_arrive(tmp_path):
    file = write_gates_page(tmp_path / "gates.html", page(fold=FOLD))
    text = file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file]
    assert not re.search(r"https?:|//[a-z]+\.|<script|@import|url\((?!#)", text)
    read = Reader(text)
    ids = Counter(attrs["id"] for _, attrs in read.tags if attrs.get("id"))
    assert max(ids.values()) == 1, ids.most_common(3)
    assert {(attrs.get("href") or "")[1:] for attrs in read.of("a")} <= set(ids)
    assert all(attrs.get("aria-label") for attrs in read.of("svg")) and len(read.of("svg")) == 3
    assert all(attrs.get("scope") in ("row", "col") for attrs in read.of("th"))


def test_all_numbers_stand_on_the_page():
    data = page(fold=FOLD)
    text = Reader(render(data)).text
    for one in data.costs:
        for found in one["lost"].values():
            assert f"{found['value']:.3f}" in text and f"{found['low']:.3f} to {found['high']:.3f}" in text
    for word in ("Gates are about channels, not regions.", "0.47", "0.21 to 0.83", "25 %", "7.7 %",
                 "12.3 %, 5.3 % by chance", "0.710", "20 images, test", "0.0031", "2.980", "before 3.210",
                 "before: stages.0.0.branch.1.norm", "8 of 8 gates vary", "no probability may change by more than 0.01",
                 "malignant", f"{data.layers[1]['class_means'][1].mean():.3f}"):
        assert word in text, word


def test_without_classes_and_fold_their_sections_go():
    text = render(page(classes=(), layers=[layer(NAMES[0], 4, class_means=None, eta=None, eta_by_chance=None,
                                                 eta_corrected=None)]))
    assert 'id="classes"' not in text and 'id="fold"' not in text and "not defined" in Reader(text).text


def test_a_leak_comes_before_the_numbers():
    text = Reader(render(page(notes=["LEAK: the network was trained on these", "two images a patient"]))).text
    assert text.index("LEAK: the network") < text.index("Vary with the input") < text.index("two images a patient")


def test_everything_from_outside_is_escaped():
    evil = "<script>alert('x')</script>$_{x}"
    fold = FOLD | {"into": {evil: evil}, "left": {evil: evil}, "notes": [evil], "bundle": evil}
    text = render(page(title=evil, part=evil, unit_kind=evil, words=[evil, evil], classes=(evil, "b"), notes=[evil],
                       failed=[{"file": evil, "error": evil}], fold=fold, layers=[layer(evil, 4)],
                       costs=[cost(evil, how, 0.1) for how in ("mean", "one")]))
    assert "<script" not in text and Reader(text).text.count("<script>alert('x')</script>$_{x}") > 8


@pytest.mark.parametrize(("name", "said"), [
    ("backbone.stages.0.0.attention", "stages.0.0"), ("layer1.0.se", "layer1.0.se"), ("attention", "attention")])
def test_layers_are_called_by_what_tells_them_apart(name, said):
    assert short(name) == said
