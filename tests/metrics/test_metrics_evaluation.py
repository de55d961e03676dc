"""An evaluation says what it knows, with intervals, and what it does not know."""

import json

import numpy as np
import pytest

from excite.errors import DataError, UsageError
from excite.metrics.classification import measure
from excite.metrics.evaluation import Evaluation, evaluate
from excite.metrics.intervals import wilson

CLASSES = ("benign", "malignant", "normal")


def sample(seed: int = 0, n: int = 200) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    chances = rng.dirichlet(np.ones(3), n) * 0.6 + 0.4 * np.eye(3)[truth]
    return truth, chances / chances.sum(1, keepdims=True), [f"P{place // 4}" for place in range(n)]


def evaluated(truth: np.ndarray, chances: np.ndarray, units: list[str], **more: object) -> Evaluation:
    return evaluate(truth, chances, CLASSES, units, part="test", unit_kind="patient", **more)  # type: ignore[arg-type]


def test_the_plain_data_have_the_agreed_form_and_the_right_numbers() -> None:
    truth, chances, units = sample()
    plain = json.loads(json.dumps(evaluated(truth, chances, units, notes=["by hand"]).to_json(), allow_nan=False))
    alone = measure(truth, chances, CLASSES)
    assert (plain["part"], plain["n"], plain["n_units"], plain["unit_kind"]) == ("test", 200, 50, "patient")
    assert set(plain["metrics"]) == {name for name in alone if "/" not in name}
    for name, one in plain["metrics"].items():
        assert one["value"] == alone[name] and one["low"] <= one["high"], name
        assert name == "ece" or one["low"] <= one["value"] <= one["high"], name
    for label in CLASSES:
        for name in ("precision", "recall", "specificity", "f1", "auroc", "ap"):
            assert plain["per_class"][label][name]["value"] == alone[f"{name}/{label}"]
    assert [plain["per_class"][label]["support"] for label in CLASSES] == np.bincount(truth).tolist()
    assert np.trace(plain["confusion"]) / 200 == plain["metrics"]["accuracy"]["value"]
    assert set(plain["roc"]) == set(CLASSES) and plain["roc"]["normal"]["tpr"][-1] == 1
    assert sum(plain["reliability"]["count"]) == 200
    assert plain["notes"][0] == "by hand" and any("50 whole units (patient)" in note for note in plain["notes"])


def test_wilsons_interval_stands_beside_the_bootstraps() -> None:
    truth, chances, units = sample(1)
    low, high = wilson(int((chances.argmax(1) == truth).sum()), len(truth))
    assert any(f"[{low:.3f}, {high:.3f}]" in note for note in evaluated(truth, chances, units).notes)


def test_an_absent_class_is_named_and_not_defined() -> None:
    truth, chances, units = sample()
    found = evaluated(np.where(truth == 2, 0, truth), chances, units)
    assert any("no image of class normal" in note for note in found.notes)
    assert found.per_class["normal"]["auroc"].value is None
    assert found.per_class["normal"]["auroc"].note == "not defined: no image of this class"
    assert "normal" not in found.roc and found.metrics["auroc_macro"].low is not None
    assert "not defined" in found.text()


def test_one_class_is_not_defined_and_never_zero() -> None:
    found = evaluated(np.zeros(20, int), np.tile([0.8, 0.1, 0.1], (20, 1)), [str(place) for place in range(20)])
    assert found.metrics["auroc_macro"].value is None and found.metrics["kappa"].value is None
    assert found.metrics["auroc_macro"].note == "not defined: only one class occurs"
    assert found.per_class["benign"]["specificity"].note == "not defined: every image is of this class"
    assert found.per_class["normal"]["precision"].note == "not defined: no image of this class"
    assert any("without width" in note for note in found.notes)
    json.dumps(found.to_json(), allow_nan=False)


def test_few_units_and_a_class_that_is_never_named_are_said() -> None:
    truth, chances, units = sample(2, n=60)
    chances[:, 2] = 0
    chances /= chances.sum(1, keepdims=True)
    found = evaluated(truth, chances, units)
    notes = found.notes
    assert found.per_class["normal"]["precision"].note == "not defined: this class is never predicted"
    assert any("fewer than 10 units of class" in note and "normal" in note for note in notes)
    assert any("class normal is never predicted" in note for note in notes)


def test_an_ece_below_its_own_interval_is_explained() -> None:
    truth = np.repeat([0, 1, 2, 0, 1], [60, 20, 20, 40, 10])
    chances = np.repeat([[0.6, 0.2, 0.2], [0.8, 0.1, 0.1]], [100, 50], axis=0)
    found = evaluated(truth, chances, [str(place) for place in range(150)])
    assert found.metrics["ece"].value == pytest.approx(0, abs=1e-12)  # sure by .6 and .8, right in .6 and .8
    assert any("interval of the ece lies above" in note for note in found.notes)
    assert not any("interval of the ece" in note for note in evaluated(*sample()).notes)


def test_the_text_holds_every_class_and_the_chosen_numbers() -> None:
    truth, chances, units = sample()
    found = evaluated(truth, chances, units)
    text = found.text(("auroc_macro",))
    assert "auroc macro" in text and found.metrics["auroc_macro"].text() in text and "kappa" not in text
    assert "kappa" in found.text() and all(name in text for name in CLASSES)


def test_files_that_failed_are_listed_and_end_with_exit_code_3() -> None:
    found = evaluated(*sample(), failed=[{"file": "a.png", "error": "a.png: cut"}])
    with pytest.raises(DataError, match="1 of 201 rows could not be used.*a.png: cut") as caught:
        found.raise_failures()
    assert caught.value.exit_code == 3 and found.to_json()["failed"][0]["file"] == "a.png"
    evaluated(*sample()).raise_failures()


def test_units_must_fit() -> None:
    truth, chances, units = sample()
    with pytest.raises(UsageError, match="units must have one name an image"):
        evaluated(truth, chances, units[:-1])


def test_chance_is_said_to_be_no_better_than_the_largest_class() -> None:
    truth, _, units = sample(3)
    chances = np.random.default_rng(9).dirichlet(np.ones(3), len(truth))
    found = evaluated(truth, chances, units, notes=["by hand"])
    share = np.bincount(truth).max() / len(truth)
    (note,) = found.unproven
    assert note == found.notes[0] and note.startswith("not shown to be better than always answering benign:")
    assert "that answer's 0.333" in note and f"that answer's {share:.3f}" in note
    lines = found.text().splitlines()
    assert lines[1] == f"  BEWARE: {note}" and found.text().count(note) == 1


def test_what_is_better_than_the_largest_class_is_not_doubted() -> None:
    assert not evaluated(*sample()).unproven and "BEWARE" not in evaluated(*sample()).text()


def test_a_fair_balanced_accuracy_does_not_hide_a_low_accuracy() -> None:
    truth = np.repeat([0, 1, 2], [160, 20, 20])
    guess = np.where(np.arange(200) < 100, truth, np.where(truth == 0, 1, truth))  # every rare one, 100 of 160
    found = evaluated(truth, 0.9 * np.eye(3)[guess] + 0.1 / 3, [str(place) for place in range(200)])
    (note,) = found.unproven
    assert "balanced" not in note and "accuracy 0.700" in note and note.endswith("that answer's 0.800")


def test_one_class_alone_is_not_compared() -> None:
    found = evaluated(np.zeros(20, int), np.tile([0.8, 0.1, 0.1], (20, 1)), [str(place) for place in range(20)])
    assert not found.unproven


def test_the_text_begins_with_what_matters() -> None:
    lines = evaluated(*sample()).text().splitlines()
    assert [line.split("  ")[1] for line in lines[1:5]] == ["balanced accuracy", "auroc macro", "accuracy", "f1 macro"]
