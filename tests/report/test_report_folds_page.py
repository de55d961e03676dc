"""The page of a cross-validation: its numbers, its words about few patients, one offline file, everything escaped."""

import re
from collections import Counter
from dataclasses import asdict

import numpy as np
import pytest

from excite.data.row import Row
from excite.jobs.volumes.folds.numbers import EACH, Predicted, measured
from excite.jobs.volumes.folds.report import answer_told
from excite.report.folds_figures import by_fold, useful
from excite.report.folds_page import FoldsData, FoldTold, render, small_words, write_folds_report
from html_reader import Reader

COUNT = 4


def numbers(classes, *, better=1.5):
    draw = np.random.default_rng(0)
    truth = np.arange(48) % len(classes)
    shares = np.exp(draw.normal(size=(48, len(classes))) + better * np.eye(len(classes))[truth])
    shares /= shares.sum(1, keepdims=True)
    return measured(Predicted(
        classes=classes, graded=True, rows=tuple(Row(image="x", line=row) for row in range(48)), truth=truth,
        fold=np.arange(48) // 12 + 1, units=tuple(f"P{row}" for row in range(48)), unit_kind="patient", shares=shares,
        raw=shares**2 / (shares**2).sum(1, keepdims=True)), by="head")


def page(classes=("none", "mild", "severe"), **changes):
    found = numbers(classes)
    folds = [FoldTold(rows={"trained": 36, "tested": 12}, missing={"t1": 0, "adc": number},
                      numbers=found.each[number], chosen={"Penalty": "0.1"},
                      temperature={"value": 1.25, "n": 36, "note": "it is at the limit" if number == 2 else None})
             for number in range(COUNT)]
    names = [f"fold {number}" for number in range(1, COUNT + 1)]
    values = {
        "title": "kidneys", "simulated": False, "lead": "A head tells grades.", "recipe": "seed: 42\n", "by": "head",
        "sample": "patient",
        "counts": {name: dict.fromkeys(classes, 12 // len(classes)) for name in names}, "unit_kind": "patient",
        "units": dict.fromkeys(names, 12), "classes": classes, "evaluation": found.evaluation.to_json(),
        "grades": {name: one.to_json() for name, one in found.grades.items()}, "before": found.before,
        "answers": [answer_told(one) for one in found.answers], "specificity": 0.9, "folds": folds,
        "made": ["the units were divided into 4 folds, seed 42"], "selected": "The penalty of each fold",
        "drawn": {"lines": {name: {0.1: 0.9, 1.0: 0.7} for name in names}, "marks": dict.fromkeys(names, 1.0),
                  "title": "Inner loss", "below": "penalty", "beside": "loss", "whole": False, "logarithmic": True},
        "simpler": [{"name": "age alone", **{name: {"value": 0.61, "low": 0.5, "high": 0.7, "note": None} for name in
                                             ("auroc_macro", "balanced_accuracy", "nll", "gain")}}]}
    return FoldsData(**values | changes)


def test_one_offline_file_whose_links_arrive(tmp_path):
    file = write_folds_report(tmp_path / "folds.html", page())
    text = file.read_text(encoding="utf-8")
    assert list(tmp_path.iterdir()) == [file]
    assert not re.search(r"https?:|//[a-z]+\.|<script|@import|url\((?!#)", text)
    read = Reader(text)
    ids = Counter(attrs["id"] for _, attrs in read.tags if attrs.get("id"))
    assert max(ids.values()) == 1, ids.most_common(3)
    assert {(attrs.get("href") or "")[1:] for attrs in read.of("a")} <= set(ids)
    assert all(attrs.get("aria-label") for attrs in read.of("svg")) and len(read.of("svg")) == 1 + 2 * 2 + 2
    assert all(attrs.get("scope") in ("row", "col") for attrs in read.of("th"))


def test_all_numbers_stand_on_the_page():
    data = page()
    text = Reader(render(data)).text
    for one in (*data.evaluation["metrics"].values(), *data.grades.values(),
                *(one["auroc"] for one in data.answers), *(one["sensitivity"] for one in data.answers)):
        assert f"{one['value']:.3f}" in text and f"{one['low']:.3f} to {one['high']:.3f}" in text
    for fold in data.folds:
        assert all(f"{fold.numbers[name]:.3f}" in text for name in EACH)
    assert f"{data.before['nll']:.4f}" in text and "1.25" in text
    for word in ("mild or worse", "Weighted kappa", "seed 42", "age alone", "0.610", "fold 3: it is at the limit",
                 "as few as 36 rows", "The penalty of each fold were chosen", "adc 0 1 2 3 6"):
        assert word in text, word
    assert "image" not in text.replace("burned", "")


def test_two_classes_have_one_question_and_no_grades():
    data = page(classes=("healthy", "ill"))
    text = Reader(render(data)).text
    assert "who is of class ill?" in text and "kappa, quadratic" not in text
    assert "Sensitivity at specificity 0.9" in text and len(Reader(render(data)).of("svg")) == 1 + 2 + 2


def test_a_simpler_head_that_is_better_is_warned_of():
    simpler = page().simpler[0]
    assert "is better on the same rows" not in render(page())
    beaten = simpler | {"gain": {"value": -0.2, "low": -0.3, "high": -0.1, "note": None}}
    text = Reader(render(page(simpler=[beaten]))).text
    area = page().evaluation["metrics"]["auroc_macro"]["value"]
    assert ("A simpler head, on age alone, is better on the same rows: its AUROC is 0.610, that of this head "
            f"{area:.3f} (gained: -0.200, 95 %: -0.300 to -0.100).") in text
    assert text.index("is better on the same rows") < text.index("Result on all 4 folds")


def test_rows_are_called_what_they_are():
    text = Reader(render(page(sample="examination"))).text
    assert "chance that an examination of a class" in text and "share of examinations that are right" in text
    assert "Test examinations" in text


def test_words_about_few_patients_hold_the_numbers():
    said = " ".join(small_words(page()))
    metrics = page().evaluation["metrics"]
    assert "The rarest class, none, has 16 rows: one of them more or less that is right moves its recall by 6 points" \
        in said
    one, area = metrics["balanced_accuracy"], metrics["auroc_macro"]["value"]
    assert f"{one['value']:.3f} could as well be {one['low']:.3f} or {one['high']:.3f}" in said
    means = [fold.numbers["auroc_macro"] for fold in page().folds]
    assert f"{area:.3f} in all, {np.mean(means):.3f} as the mean of the folds" in said
    assert "They hold these 4 heads as they are" in said and "split.seed=1" in said


def test_everything_from_outside_is_escaped():
    evil = "<script>alert('x')</script>$_{x}"
    data = page(classes=("none", evil), title=evil, lead=evil, made=[evil], cautions=[evil], reasons={evil: evil},
                simpler=[page().simpler[0] | {"name": evil}], leaks=[{"kind": evil, "message": evil, "file": evil}])
    text = render(data)
    assert "<script" not in text and Reader(text).text.count("<script>alert('x')</script>$_{x}") > 8


def test_what_is_not_defined_is_said():
    data = page()
    lost = {"value": None, "low": None, "high": None, "note": "not defined: every sample is of the class"}
    answer = data.answers[0] | {"auroc": lost, "sensitivity": lost, "roc": None,
                                "curve": data.answers[0]["curve"] | {"note": lost["note"]}}
    text = Reader(render(page(answers=[answer]))).text
    assert "not defined" in text and "every sample is of the class" in text and "ROC: not defined" in text


def test_warnings_come_first():
    text = Reader(render(page(simulated=True, unit_kind="near-duplicate cluster", cautions=["The trunk is random."],
                              leaks=[asdict(numbers(("a", "b")).answers[0].auroc) | {
                                  "kind": "same-files-in-two-folds", "message": "the same", "file": None}]))).text
    assert text.index("All patients here are SIMULATED") < text.index("No patients are known") < text.index(
        "The leak check found") < text.index("The trunk is random.") < text.index("Result on all 4 folds")


@pytest.mark.parametrize(("helped", "text"), [
    ((), "at no threshold"), ((0.2,), "at 20 %"), ((0.1, 0.2, 0.3), "from 10 % to 30 %"),
    ((0.1, 0.3, 0.4), "from 30 % to 40 %, and at 1 other threshold"),
    ((0.1, 0.2, 0.4), "from 10 % to 20 %, and at 1 other threshold")])
def test_where_acting_helps_in_words(helped, text):
    assert useful((0.1, 0.2, 0.3, 0.4), helped) == text


def test_a_drawing_by_fold_says_what_was_chosen_and_goes_without_what_is_not_known():
    drawn = by_fold({"fold 1": {1.0: 0.5, 2.0: None}, "fold 2": {1.0: None}}, title="Loss", below="epoch",
                    beside="loss", marks={"fold 1": 1.0, "fold 2": 1.0}, whole=True)
    assert 'aria-label="Loss; chosen in each fold: fold 1 1, fold 2 1"' in drawn
