"""Cross-validation on volumes: all patients predicted by networks that have not seen them; the networks as one."""

import json

import numpy as np
import pytest

from excite.deploy.volume_predictor import VolumePredictor
from excite.jobs.volumes.folds import cross_validate
from excite.jobs.volumes.predict import predict_patients
from small_volumes import CLASSES, read_rows, small_table, volume_config

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    table = small_table(tmp_path_factory.mktemp("volumes"), patients=14, missing=(3,))
    config = volume_config(table, **{"split.folds": 2, "volumes.classes": CLASSES, "split.val": 0.2})
    return table, cross_validate(config, out=tmp_path_factory.mktemp("runs") / "cv")


def test_every_patient_counts_once_and_is_predicted_by_the_other_network(made):
    table, found = made
    assert found.evaluation.n == found.evaluation.n_units == 14 and len(found.runs) == 2
    assert "all 2 folds" in found.text() and "sensitivity at 0.9" in found.text()
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
