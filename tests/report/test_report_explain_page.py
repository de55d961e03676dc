"""The page of explanations: one file, escaped, its warnings before the pictures, its curves with their areas."""

from dataclasses import replace

import numpy as np
import pytest

from excite.report.explain_page import ExplainData, ShownExplanation, render_explain, write_explain_page

CURVE = {"shares": [0, 0.5, 1], "own": [0.9, 0.2, 0.1], "reverse": [0.9, 0.8, 0.1], "random_mean": [0.9, 0.5, 0.1],
         "area": 0.35, "reverse_area": 0.65, "random_areas": [0.5] * 19, "passed": True, "words": "it uses them"}


def page(*, deletion=True, randomisation=True, task="classification", **changes):
    checks = {"deletion": CURVE | {"passed": deletion},
              "randomisation": {"passed": randomisation, "words": "other pictures", "depths": [
                  {"layer": "head.<last>", "layers": 1, "median": 0.625},
                  {"layer": "stem", "layers": 9, "median": None}]}}
    one = {"file": "a/<b>.png", "predicted": "cat", "explained": "dog", "probability": 0.25, "layer": "backbone, 7 x 7",
           "picture": np.zeros((20, 30, 3), np.uint8), "checks": checks, "notes": ["read <this>"]} | changes
    return ExplainData(title="T <1>", method="Grad-CAM", task=task, created="2026-01-02T03:04:05+00:00", n=3,
                       shown=[ShownExplanation(**one), ShownExplanation(file="c.png", error="c.png: broken")])


def test_one_file_that_loads_nothing_and_escapes_everything(tmp_path):
    text = write_explain_page(tmp_path / "explain.html", page()).read_text(encoding="utf-8")
    assert "http" not in text.replace("http-equiv", "")
    assert "<b>.png" not in text and "read <this>" not in text and "T <1>" not in text
    assert text.count("data:image/jpeg") == 1
    for words in ("probability 0.250", "the network says cat", "Layer backbone, 7 x 7 places", "c.png: broken",
                  "area 0.350",
                  "<td>head.&lt;last&gt; (1 layer)</td><td>0.62</td>",
                  "<td>stem (9 layers)</td><td>nothing to compare</td>", "even an untrained network can pass both",
                  "✓ Deletion: it uses them.", "they say nothing about regions"):
        assert words in text


@pytest.mark.parametrize(("deletion", "randomisation"), [(False, True), (True, False)])
def test_what_failed_is_said_before_the_pictures(deletion, randomisation):
    text = render_explain(page(deletion=deletion, randomisation=randomisation))
    assert text.index("None of the 1 checked pictures passed its checks") < text.index("<main>")
    assert "✗" in text


def test_a_page_without_checks_says_so():
    text = render_explain(page(checks=None))
    assert "No picture was checked. A picture is not right for being pretty" in text
    assert "None of the" not in text


def test_bands_are_drawn_and_what_they_mean_is_said():
    bands = {"unit": "nm", "places": [400.0, 500.0, 600.0], "importance": [0.1, -0.7, 0.2]}
    text = render_explain(page(task="scene", picture=None, bands=bands))
    assert "Importance of the bands for dog, most at 500" in text
    assert "7 x 7 places drawn over an image" not in text


def test_occlusion_is_explained_in_its_own_words():
    hidden = render_explain(replace(page(), method="Occlusion: by how much"))
    assert "whose hiding lowers" in hidden and "the named layer" not in hidden
    assert "the named layer" in render_explain(page())
