"""The verbs on scans with masks as a user types them."""

import json

import nibabel
import pytest
from typer.testing import CliRunner

from excite.cli.main import build
from excite.cli.volume_masks import is_for_volume_masks
from excite.errors import UsageError
from small_scans import scan_of, small_scans, write_scan

RUNNER = CliRunner()
SMALL = ["--epochs", "1", "--threads", "1", "--set", "volumes.patch=[8,16,16]", "--set", "loop.precision=float32"]


def excite(*arguments):
    done = RUNNER.invoke(build(), list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def test_what_a_training_is_for(tmp_path):
    table = small_scans(tmp_path, scans=2)
    config = tmp_path / "c.yaml"
    assert is_for_volume_masks(table, None) and is_for_volume_masks(table, config)
    for text, expected in (("task: volumes", False), ("task: volume_masks", True), ("seed: 1", True),
                           ("data: {}", False)):
        config.write_text(text, encoding="utf-8")
        assert is_for_volume_masks(table, config) is expected
    assert not is_for_volume_masks(tmp_path, None) and not is_for_volume_masks(None, None)


def test_check_counts_labels_and_fails_where_a_mask_does_not_fit(tmp_path):
    table = small_scans(tmp_path, scans=4)
    done = excite("check", table)
    assert done.exit_code == 0 and "0 background 4" not in done.stderr and "0 4, 1 4, 2 4" in done.stderr
    assert f"next: excite train {table}" in done.stderr
    write_scan(tmp_path / "masks/s1.nii.gz", scan_of(1)[1][:-3])
    done = excite("check", table, "--json")
    assert done.exit_code == 3 and json.loads(done.stdout)["faults"][0]["kind"] == "unusable-scan"
    with pytest.raises(UsageError, match="--label-col must be left out here"):
        excite("check", table, "--label-col", "mask")


@pytest.mark.slow
def test_train_and_predict(tmp_path):
    table, run = small_scans(tmp_path), tmp_path / "run"
    done = excite("train", table, "--out", run, *SMALL, "--attention", "none",
                  "--classes", "background,a,b", "--json")
    tree = json.loads(done.stdout)
    assert tree["unit_kind"] == "patient" and set(tree["per_class"]) == {"a", "b"}
    assert "network: unet(encoder=resnet20), random weights" in done.stderr and "next: excite predict" in done.stderr
    scan = tmp_path / "scans/s0.nii.gz"
    done = excite("predict", run, scan, scan, "--out", tmp_path / "labels", "--json")
    first, second = map(json.loads, done.stdout.splitlines())
    assert first["labels"].endswith("s0_labels.nii.gz") and second["labels"].endswith("scans_s0_labels.nii.gz")
    assert nibabel.load(first["labels"]).shape == (18, 16, 9)
    said = excite("predict", run, scan)
    assert " ml" in said.stdout and "--out FOLDER writes the labels" in said.stderr
    with pytest.raises(UsageError, match="--out must be a folder for label volumes"):
        excite("predict", run, scan, "--out", tmp_path / "x.csv")
    with pytest.raises(UsageError, match="--masks must be left out here: for images only"):
        excite("predict", run, scan, "--masks", tmp_path / "m")


def test_options_of_other_work_are_refused(tmp_path):
    table = small_scans(tmp_path, scans=4)
    for option in (("--folds", "5"), ("--size", "64"), ("--window", "9")):
        with pytest.raises(UsageError, match=f"{option[0]} must be left out here"):
            excite("train", table, *option)
