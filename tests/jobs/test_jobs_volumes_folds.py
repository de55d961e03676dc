"""Cross-validation on volumes: all patients predicted by networks that have not seen them; the networks as one."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.special import softmax

from excite.data.folds import make_folds
from excite.data.volumes.volume_table import read_volume_table
from excite.deploy.bundle import read_bundle
from excite.deploy.volume_predictor import VolumePredictor
from excite.errors import DataError
from excite.jobs.volumes.finish import logits_of
from excite.jobs.volumes.folds import cross_validation
from excite.jobs.volumes.folds.cross_validation import _predicted, _simpler, cross_validate
from excite.jobs.volumes.predict import predict_patients
from excite.jobs.volumes.prepare import prepare_volumes
from excite.progress import silent
from small_volumes import CLASSES, read_rows, small_table, volume_config, write_rows


def folds_config(table, **changes):
    """Return a config of two folds that train in seconds."""
    return volume_config(table, **{"split.folds": 2, "volumes.classes": CLASSES, "split.val": 0.2} | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    table = small_table(tmp_path_factory.mktemp("volumes"), patients=14, missing=(3,))
    return table, cross_validate(folds_config(table), out=tmp_path_factory.mktemp("runs") / "cv")


@pytest.mark.slow
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


@pytest.mark.slow
def test_the_folder_predicts_as_the_mean_of_its_networks(made):
    table, found = made
    file = table.parent / "maps/0_t1.nii.gz"
    [one] = predict_patients(found.folder, [f"t1={file}"], threads=1)
    each = [VolumePredictor(run.folder, threads=1)([{"t1": file}])[0] for run in found.runs]
    assert np.allclose(list(one.probabilities.values()),
                       np.mean([list(single.probabilities.values()) for single in each], axis=0))
    assert one.label == max(one.probabilities, key=one.probabilities.get) and one.notes.count("without adc") == 1


@pytest.mark.slow
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


@pytest.mark.slow
def test_chances_before_the_temperature_are_the_networks_own(made):
    table, found = made
    predicted = found.numbers.predicted
    infos = [read_bundle(run.folder / "bundle") for run in found.runs]
    cold = _predicted(read_volume_table(folds_config(table).volumes), list(found.runs),
                      [replace(info, temperature=0.02) for info in infos], graded=False)
    for number, (run, info) in enumerate(zip(found.runs, infos, strict=True), 1):
        split = {"split.fold": number}
        logits, truth = logits_of(VolumePredictor(run.folder, threads=1), prepare_volumes(folds_config(table, **split)),
                                  "test")
        rows = list(run.split.test)
        assert np.array_equal(predicted.truth[rows], truth) and set(predicted.fold[rows]) == {number}
        for raw in (predicted.raw[rows], cold.raw[rows]):
            assert np.allclose(raw, softmax(logits.astype(float), axis=1), atol=1e-6)
        for heat, shares in ((info.temperature, predicted.shares), (0.02, cold.shares)):
            assert np.allclose(shares[rows], softmax(logits.astype(float) / heat, axis=1), atol=1e-4)
        nll = -np.log(predicted.shares[rows, truth]).mean()
        assert nll == pytest.approx(run.evaluation.metrics["nll"].value, abs=1e-6)


@pytest.mark.slow
def test_simpler_heads_are_compared_on_the_same_folds(made):
    table, found = made
    [one] = found.simpler
    assert one.name == "mean, spread and percentiles of each map"
    assert one.numbers["auroc_macro"].value > 0.9  # the mean T1 tells the class
    assert one.numbers["gain"].value == pytest.approx(
        found.evaluation.metrics["auroc_macro"].value - one.numbers["auroc_macro"].value)


@pytest.mark.slow
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


def divided(folder, *, patients=12):
    """Return a table and its lines, each with the fold in which it is tested."""
    table = small_table(folder, patients=patients, missing=())
    config = folds_config(table)
    folds = make_folds(read_volume_table(config.volumes).manifest, 2, seed=config.split.seed)
    return table, list(zip(read_rows(table), folds.of, strict=True))


def refused(table, folder, monkeypatch, message, **changes):
    """Assert that the cross-validation is refused before anything is trained."""
    trained = []
    monkeypatch.setattr(cross_validation, "train_volumes", lambda *_, **__: trained.append(1))
    with pytest.raises(DataError, match=message):
        cross_validate(folds_config(table, **changes), out=folder)
    assert not trained and not folder.exists()


def test_what_the_second_fold_lacks_is_told_before_the_first_is_trained(tmp_path, monkeypatch):
    table, rows = divided(tmp_path)
    write_rows(table, [row | {"egfr": "60" if fold == 1 else str(30 + place)} for place, (row, fold) in
                       enumerate(rows)])
    refused(table, tmp_path / "cv", monkeypatch, "^fold 2 of 2: the column egfr must hold different values in the "
            "training part, got 60 alone .*leave it out", **{"volumes.clinical": ("egfr",)})


def test_a_class_that_one_fold_alone_has_is_told_before_the_first_is_trained(tmp_path, monkeypatch):
    table, rows = divided(tmp_path)
    write_rows(table, [row | ({"grade": "rare"} if place == 3 else {}) for place, (row, _) in enumerate(rows)])
    refused(table, tmp_path / "cv", monkeypatch, "^fold [12] of 2: no training image of class rare",
            **{"volumes.classes": (*CLASSES, "rare")})


@pytest.mark.slow
def test_a_network_that_a_simpler_head_beats_is_told_in_the_text(made):
    _, found = made
    [one] = found.simpler
    for low, high, beaten in ((-0.4, -0.1, True), (-0.4, 0.1, False)):
        gain = replace(one.numbers["gain"], value=-0.2, low=low, high=high)
        text = replace(found, simpler=(replace(one, numbers=one.numbers | {"gain": gain}),)).text()
        assert ("THIS SIMPLER HEAD IS BETTER than the networks" in text) == beaten
