"""Cross-validation on volumes: all patients predicted by networks that have not seen them; the networks as one."""

import json

import numpy as np
import pytest

from excite.deploy.volume_predictor import VolumePredictor
from excite.jobs.volumes.folds.cross_validation import _simpler, cross_validate
from excite.jobs.volumes.predict import predict_patients
from excite.progress import silent
from small_volumes import CLASSES, read_rows, small_table, volume_config, write_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    table = small_table(tmp_path_factory.mktemp("volumes"), patients=14, missing=(3,))
    config = volume_config(table, **{"split.folds": 2, "volumes.classes": CLASSES, "split.val": 0.2})
    return table, cross_validate(config, out=tmp_path_factory.mktemp("runs") / "cv")


def test_every_patient_counts_once_and_is_predicted_by_the_other_network(made):
    table, found = made
    assert found.evaluation.n == found.evaluation.n_units == 14 and len(found.runs) == 2
    assert "all 2 folds" in found.text() and "high: sensitivity at 0.9" in found.text()
    summary = json.loads((found.folder / "folds.json").read_text(encoding="utf-8"))
    assert summary["folds"] == 2 and summary["metrics"]["accuracy"]["value"] == pytest.approx(
        found.evaluation.metrics["accuracy"].value)
    hits = 0
    for run in found.runs:
        lines = read_rows(run.folder / "predictions-test.csv")
        told = {one.file.split("line ")[1].split(",")[0]: one.label for one in
                predict_patients(run.folder, [str(table)], threads=1)}
        assert all(told[row["line"]] == row["label"] for row in lines)
        hits += sum(row["label"] == row["truth"] for row in lines)
    assert found.evaluation.metrics["accuracy"].value == pytest.approx(hits / 14)


def test_the_folder_predicts_as_the_mean_of_its_networks(made):
    table, found = made
    file = table.parent / "maps/0_t1.nii.gz"
    [one] = predict_patients(found.folder, [f"t1={file}"], threads=1)
    each = [VolumePredictor(run.folder, threads=1)([{"t1": file}])[0] for run in found.runs]
    assert np.allclose(list(one.probabilities.values()),
                       np.mean([list(single.probabilities.values()) for single in each], axis=0))
    assert one.label == max(one.probabilities, key=one.probabilities.get) and one.notes.count("without adc") == 1


def test_one_report_tells_all_folds(made):
    _, found = made
    page = found.report.read_text(encoding="utf-8")
    assert found.report == found.folder / "folds.html"
    for text in ("who is of class high?", "Decision curve: high", "Calibration: high", "Fold by fold", "Missing maps",
                 "mean, spread and percentiles of each map", "What few patients cannot", "Validation loss; the dot is",
                 "out of the other folds, 20 % of all units are the validation part"):
        assert text in page, text
    for number, run in enumerate(found.runs, 1):
        assert f"fold {number}" in page
        assert f"{run.evaluation.metrics['balanced_accuracy'].value:.3f}" in page


def test_chances_before_the_temperature_are_the_networks_own(made):
    _, found = made
    predicted = found.numbers.predicted
    for number, run in enumerate(found.runs, 1):
        before = run.evaluation.metrics["nll"].value
        rows = predicted.fold == number
        shares = predicted.shares[rows, predicted.truth[rows]]
        assert -np.log(shares).mean() == pytest.approx(before, abs=1e-4)
        heat = VolumePredictor(run.folder, threads=1).info.temperature
        logits = np.log(predicted.shares[rows])
        expected = np.exp(heat * logits) / np.exp(heat * logits).sum(1, keepdims=True)
        assert np.allclose(predicted.raw[rows], expected, atol=1e-4)


def test_simpler_heads_are_compared_on_the_same_folds(made):
    table, found = made
    [one] = found.simpler
    assert one.name == "mean, spread and percentiles of each map"
    assert one.numbers["auroc_macro"].value > 0.9  # the mean T1 tells the class
    assert one.numbers["gain"].value == pytest.approx(
        found.evaluation.metrics["auroc_macro"].value - one.numbers["auroc_macro"].value)


def test_simpler_heads_that_cannot_be_made_stop_nothing(made):
    table, found = made
    said = []
    rows = read_rows(table)
    few = write_rows(table.with_name("few.csv"), rows[:3])
    config = volume_config(few, **{"split.folds": 2, "volumes.classes": CLASSES})
    progress = silent()
    progress.say = said.append
    assert _simpler(config, found.numbers.predicted, progress) == []
    assert said[0].startswith("no simpler heads to compare with: ")
