"""Nested cross-validation on volumes: each row predicted once, nothing learnt from it, one folder with one report."""

import json
import shutil

import numpy as np
import pytest
from scipy.special import softmax

from excite.config import load_config
from excite.errors import DataError, UsageError
from excite.jobs.volumes.folds.cross_validation import cross_validate
from excite.jobs.volumes.nested.cross_validation import nested_cross_validate
from excite.jobs.volumes.nested.data import nested_data
from excite.jobs.volumes.nested.loop import Simpler, outer_loop
from excite.jobs.volumes.nested.sections import NestedConfig
from excite.jobs.volumes.predict import predict_patients
from excite.jobs.volumes.train import train_volumes
from excite.metrics.intervals import Interval
from excite.progress import silent
from small_volumes import CLASSES, SETTINGS, read_rows, small_table, volume_config, write_map, write_rows

FEW = {"split.folds": 3, "nested.inner": 2, "nested.penalties": (0.1, 1.0), "nested.components": (3, None)}


def nested_config(table, **changes):
    """Return a config of heads that are chosen in seconds."""
    return load_config(NestedConfig, values=SETTINGS | FEW | {"volumes.table": table} | changes)


def with_ages(folder, *, patients=18, missing=(3, 8)):
    """Write a table with a column age, which is empty once and says nothing."""
    rows = read_rows(small_table(folder, patients=patients, missing=missing))
    for number, row in enumerate(rows):
        row["age"] = "" if number == 5 else str(40 + number * 7 % 23)
    return write_rows(folder / "patients.csv", rows)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXCITE_CACHE", str(tmp_path_factory.mktemp("cache")))
        table = with_ages(tmp_path_factory.mktemp("volumes"))
        config = nested_config(table, **{"volumes.clinical": ("age",), "volumes.classes": CLASSES})
        yield table, config, nested_cross_validate(config, out=tmp_path_factory.mktemp("runs") / "nested")


@pytest.mark.slow
def test_every_patient_is_predicted_once_and_found(made):
    _, _, run = made
    rows = read_rows(run.folder / "predictions.csv")
    assert [int(row["line"]) for row in rows] == list(range(2, 20)) and {row["fold"] for row in rows} == {"1", "2", "3"}
    assert run.evaluation.n == run.evaluation.n_units == 18
    hits = np.mean([row["label"] == row["truth"] for row in rows])
    assert run.evaluation.metrics["accuracy"].value == pytest.approx(hits) and hits > 0.7
    assert run.simpler[0].numbers["balanced_accuracy"].value == 1.0  # the mean T1 tells the class
    assert all(float(row["low"]) + float(row["high"]) == pytest.approx(1, abs=1e-5) for row in rows)


@pytest.mark.slow
def test_the_folder_has_one_summary_and_one_report_that_tell_the_choices(made):
    _, _, run = made
    found = json.loads((run.folder / "folds.json").read_text(encoding="utf-8"))
    assert found["folds"] == 3 and len(found["chosen"]) == 3 and found["inner_ms"] > 0
    assert all(one["penalty"] in (0.1, 1.0) and one["components"] in (3, None) and one["fits"] == 8
               for one in found["chosen"])
    assert [one["name"] for one in found["simpler"]] == ["mean, spread and percentiles of each map, age", "age alone"]
    page = run.report.read_text(encoding="utf-8")
    assert run.report == run.folder / "folds.html" and len(list(run.folder.glob("*.html"))) == 1
    for text in ("Simpler heads", "chosen in each fold: fold 1", "24 heads in", "random values: it was never trained",
                 "learnt anew on the training rows of each fold", "What few patients cannot show", "Components"):
        assert text in page, text
    assert "24 heads in" in run.text() and "a head on age alone: AUROC" in run.text()


@pytest.mark.slow
def test_the_same_call_again_gives_the_same_and_another_config_is_refused(made):
    table, config, run = made
    before = (run.folder / "predictions.csv").read_bytes()
    again = nested_cross_validate(config, out=run.folder)
    assert (run.folder / "predictions.csv").read_bytes() == before
    assert again.evaluation.metrics == run.evaluation.metrics
    with pytest.raises(UsageError, match="this run began with another config: nested.inner: 2 -> 3"):
        nested_cross_validate(nested_config(table, **{"nested.inner": 3, "volumes.clinical": ("age",),
                                                      "volumes.classes": CLASSES}), out=run.folder)


@pytest.mark.slow
def test_it_leaves_no_network_and_no_place_for_one(made):
    table, _, run = made
    with pytest.raises(UsageError, match="leaves numbers and no network to predict with"):
        list(predict_patients(run.folder, [str(table)]))
    with pytest.raises(UsageError, match="the folder holds a run of its own"):
        cross_validate(volume_config(table, **{"split.folds": 3}), out=run.folder)


@pytest.mark.parametrize("features", ["pooled", "levels"])
def test_what_a_tested_patient_holds_changes_nothing_of_the_others_features(tmp_path, features):
    table = with_ages(tmp_path, patients=12)
    config = nested_config(table, **{"nested.features": features, "volumes.clinical": ("age",)})

    def columns(rows_left_out):
        data = nested_data(config, silent())
        train = np.array([row for row in range(12) if row not in rows_left_out])
        return data.columns(train, silent())

    before, all_before = columns([0]), columns([])
    write_map(tmp_path / "maps/0_t1.nii.gz", 5000, seed=77)
    after, all_after = columns([0]), columns([])
    assert np.array_equal(before.maps[1:], after.maps[1:], equal_nan=True)
    assert not np.array_equal(before.maps[0], after.maps[0])
    leaky = not np.array_equal(all_before.maps[1:], all_after.maps[1:], equal_nan=True)
    assert leaky == (features == "pooled")  # a scale that has seen the patient moves; simple numbers have no scale
    assert np.isnan(after.maps[3]).any() and np.isnan(after.others[5, 0]) and after.others.shape == (12, 3)


def test_one_patient_in_two_folds_is_told(tmp_path):
    rows = read_rows(small_table(tmp_path, patients=12, missing=()))
    for row in rows:  # all have one T1: whatever the folds, some are parted
        row["t1"] = "maps/0_t1.nii.gz"
    table = write_rows(tmp_path / "patients.csv", rows)
    leaks = nested_data(nested_config(table, **{"nested.features": "levels"}), silent()).leaks
    assert leaks and {one.kind for one in leaks} == {"same-files-in-two-folds"}
    assert "is a file of line 2, which is in fold " in leaks[0].message


@pytest.mark.slow
def test_labels_without_meaning_are_not_learnt(tmp_path):
    """With nothing to find, an evaluation that leaks would find something: 10,000 features tell any 40 rows apart."""
    rows = read_rows(small_table(tmp_path, patients=40, missing=()))
    for row, label in zip(rows, np.random.default_rng(4).permutation([0, 1] * 20), strict=True):
        row["grade"] = CLASSES[label]
    table = write_rows(tmp_path / "patients.csv", rows)
    run = nested_cross_validate(nested_config(table), out=tmp_path / "run")
    assert 0.2 < run.evaluation.metrics["auroc_macro"].value < 0.75 and run.evaluation.unproven


@pytest.mark.slow
def test_a_trained_trunk_serves_other_patients_and_refuses_its_own(tmp_path):
    (tmp_path / "first").mkdir(), (tmp_path / "second").mkdir()
    first = small_table(tmp_path / "first", patients=12, missing=())
    run = train_volumes(volume_config(first), out=tmp_path / "trained")
    with pytest.raises(DataError, match="the trunk was trained on 8 of the 12 rows"):
        nested_cross_validate(nested_config(first, **{"model.weights": str(run.folder)}), out=tmp_path / "own")
    assert not (tmp_path / "own").exists()
    file = run.folder / "bundle/weights.safetensors"
    with pytest.raises(DataError, match="the trunk was trained on 8 of the 12 rows"):
        nested_data(nested_config(first, **{"model.weights": str(file)}), silent())
    shutil.copy(file, tmp_path / "copied.safetensors")
    data = nested_data(nested_config(first, **{"model.weights": str(tmp_path / "copied.safetensors")}), silent())
    assert data.trunk.caution.startswith("What the weights file was trained on is not told beside it.")
    rows = read_rows(small_table(tmp_path / "second", patients=12, missing=(3,)))
    for number, row in enumerate(rows):
        write_map(tmp_path / "second" / row["t1"], 1000 + 500 * (number % 2), seed=500 + number)
        if row["adc"]:  # a file that it shares with a trained patient would make it one
            write_map(tmp_path / "second" / row["adc"], 2000, seed=700 + number, shape=(10, 10, 3),
                      spacing=(3.5, 3.5, 5.0))
    found = nested_cross_validate(nested_config(tmp_path / "second/patients.csv", **{
        "model.weights": str(run.folder), "volumes.shape": (8, 32, 32)}), out=tmp_path / "nested")
    page = found.report.read_text(encoding="utf-8")
    assert "those that the trunk was trained at" in page and "never trained" not in page
    assert "4 x 16 x 16 voxels" in page  # the trunk's own grid


def test_each_fold_has_the_temperature_of_its_inner_folds(tmp_path):
    rows = read_rows(small_table(tmp_path, patients=20, missing=(3,)))
    for row, label in zip(rows, np.random.default_rng(4).permutation([0, 1] * 10), strict=True):
        row["grade"] = CLASSES[label]  # nothing to learn: no head is right everywhere, and its temperature is not 1
    table = write_rows(tmp_path / "patients.csv", rows)
    predicted, choices = outer_loop(nested_data(nested_config(table, **{"nested.features": "levels"}), silent()),
                                    silent())
    heat = np.array([choices[fold - 1].temperature.value for fold in predicted.fold])
    assert len(set(heat)) > 1 and 1.0 not in heat
    assert np.allclose(predicted.shares, softmax(np.log(predicted.raw) / heat[:, None], axis=1))


def test_a_simpler_head_that_is_surely_better_is_told_so():
    area = Interval(value=0.9, low=0.8, high=1.0)
    for low, high, better in ((-0.4, -0.1, True), (-0.4, 0.1, False), (None, None, False)):
        one = Simpler(name="age alone", numbers={"auroc_macro": area, "gain": Interval(value=-0.2, low=low, high=high)})
        assert one.is_better == better == one.text(than="heads").endswith(
            ": THIS SIMPLER HEAD IS BETTER than the heads")


def test_classes_that_are_called_as_columns_are_told_apart(tmp_path):
    rows = [row | {"grade": {"low": "truth", "high": "label"}[row["grade"]]}
            for row in read_rows(small_table(tmp_path, patients=12, missing=()))]
    table = write_rows(tmp_path / "patients.csv", rows)
    run = nested_cross_validate(nested_config(table, **{"nested.features": "levels"}), out=tmp_path / "run")
    found = read_rows(run.folder / "predictions.csv")
    assert [row["truth"] for row in found] == [row["grade"] for row in rows]
    assert all(row["label"] == max(("truth", "label"), key=lambda name, row=row: float(row[f"p({name})"]))
               for row in found)


def test_a_class_of_one_patient_is_refused(tmp_path):
    rows, said = read_rows(small_table(tmp_path, patients=12, missing=())), []
    for place in range(6):  # in whichever fold it lies
        changed = [row | ({"grade": "rare"} if number == place else {}) for number, row in enumerate(rows)]
        table = write_rows(tmp_path / "patients.csv", changed)
        with pytest.raises(DataError, match="of class rare") as fault:
            nested_cross_validate(nested_config(table, **{"nested.features": "levels", "split.stratify": False}),
                                  out=tmp_path / f"run{place}")
        said.append(fault.value.message())
    assert any("no row of class rare is left to learn from when fold" in text for text in said)


def test_what_does_not_go_together_is_refused(tmp_path):
    table = small_table(tmp_path, patients=12)
    for changes, text in (({"nested.features": "none"}, "nested.features=none needs volumes.clinical"),
                          ({"nested.features": "levels", "volumes.levels": "volume"},
                           "nested.features=levels needs volumes.levels=map"),
                          ({"split.fold": 1}, "split.fold must be left out"),
                          ({"nested.penalties": (1.0, 0.1)}, "penalties must be increasing")):
        with pytest.raises(UsageError, match=text):
            nested_config(table, **changes)
    with pytest.raises(DataError, match="cannot be divided into 30 folds"):
        nested_cross_validate(nested_config(table, **{"nested.inner": 30}), out=tmp_path / "run")
