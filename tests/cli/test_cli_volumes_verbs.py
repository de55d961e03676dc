"""The verbs that measure, ship and rehearse a network for volumes, as a user types them."""

import json
import shutil

import numpy as np
import pytest
from typer.testing import CliRunner

import excite as package
from excite.cli.main import build
from excite.deploy.volume_mask_predictor import VolumeMaskPredictor
from excite.errors import DataError, UsageError
from small_scans import small_scans
from small_volumes import read_rows, small_table, write_rows

pytestmark = pytest.mark.slow
RUNNER = CliRunner()
LOOP = ["--epochs", "1", "--threads", "1", "--set", "loop.precision=float32"]
SMALL = [*LOOP, "--batch-size", "4", "--set", "volumes.shape=[4,16,16]", "--set", "volumes.spacing=[4,2,2]",
         "--set", "model.options={trunk_options: {width: 0.25}, width: 16}"]
PATCH = [*LOOP, "--batch-size", "2", "--set", "volumes.patch=[8,16,16]"]


def excite(*arguments):
    done = RUNNER.invoke(build(), list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("volumes")
    table = small_table(folder, patients=16, missing=(3,))
    excite("train", table, "--out", folder / "run", *SMALL)
    return folder / "run"


@pytest.fixture(scope="module")
def masked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    excite("train", small_scans(folder), "--out", folder / "run", *PATCH)
    return folder / "run"


def test_evaluate_measures_run_and_bundle(run, tmp_path):
    told = excite("evaluate", run)
    assert told.stdout.startswith("test: ") and f"next: open {run / 'report.html'}" in told.stderr
    assert json.loads(excite("evaluate", run, "--json").stdout)["n"] == len(
        read_rows(run / "predictions-test.csv"))
    rows = read_rows(run.parent / "patients.csv")
    other = write_rows(tmp_path / "other.csv", [row | {name: str(run.parent / row[name]) for name in ("t1", "adc")
                                                       if row[name]} for row in rows])
    done = excite("evaluate", run / "bundle", "--data", other, "--label-col", "grade", "--out", tmp_path / "there")
    assert "LEAK: the network was trained on maps of" in done.stdout and "next: excite predict" in done.stderr
    assert len(read_rows(tmp_path / "there/predictions-other.csv")) == 16
    rows[0] |= {"t1": "gone.nii.gz"}
    write_rows(other, [row | {"adc": ""} for row in rows[:1]] + [
        row | {name: str(run.parent / row[name]) for name in ("t1", "adc") if row[name]} for row in rows[1:]])
    with pytest.raises(DataError, match="1 of 16 rows could not be used") as fault:
        excite("evaluate", run, "--data", other)
    assert fault.value.exit_code == 3
    with pytest.raises(UsageError, match="--views must be left out here: for images only"):
        excite("evaluate", run, "--views", "flip")
    with pytest.raises(UsageError, match="--labels must be left out here"):
        excite("evaluate", run, "--labels", "x.png")


def test_export_of_both_kinds(run, masked, tmp_path):
    for source, what in ((run, "TABLE"), (masked, "SCAN.nii.gz")):
        done = excite("export", source, "--out", tmp_path / what, "--images", "2", "--json")
        assert json.loads(done.stdout)["parity"]["n"] == 2
        assert f"next: excite predict {tmp_path / what} {what}" in done.stderr
    scan = {"scan": masked.parent / "scans/s1.nii.gz"}
    old, new = (VolumeMaskPredictor(one, threads=1)(scan).labels for one in (masked, tmp_path / "SCAN.nii.gz"))
    np.testing.assert_array_equal(new, old)
    alone = shutil.copytree(masked / "bundle", tmp_path / "alone")
    with pytest.raises(UsageError, match="a bundle alone has no scans to prove the export on"):
        excite("export", alone, "--out", tmp_path / "x")
    done = excite("export", alone, "--out", tmp_path / "x", "--data", masked.parent / "scans", "--images", "3",
                  "--json")
    assert json.loads(done.stdout)["parity"]["n"] == 3


def test_label_volumes_load_and_are_measured_from_python(masked):
    predictor = package.load(masked)
    assert isinstance(predictor, VolumeMaskPredictor)
    assert predictor({"scan": masked.parent / "scans/s1.nii.gz"}).labels.shape == (9, 16, 18)
    found = package.evaluate(masked, threads=1, resamples=20)
    assert found.part == "test" and set(found.per_class) == {"label 1", "label 2"}


def test_dry_run_of_both_kinds_leaves_nothing(run, masked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = run.parent / "patients.csv"
    done = excite("train", table, "--dry-run", "--folds", "4", *SMALL)
    assert done.exit_code == 0 and "time:  " in done.stdout and "for each of 4 folds" in done.stdout
    plan = json.loads(excite("train", masked.parent / "scans.csv", "--dry-run", "--json", *PATCH).stdout)
    assert {"labels", "network", "split", "leaks", "recipe", "time"} <= plan.keys()
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="--dry-run must be left out here: for trainings of whole networks only"):
        excite("train", table, "--dry-run", "--frozen-features", "--folds", "4")
