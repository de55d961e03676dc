"""Explanations of label volumes: on the scan's own grid, outside the patches of the region nothing, once checked."""

import json

import nibabel
import numpy as np
import pytest

from excite.jobs.explain.explain import explain_files
from excite.jobs.volume_masks.train import train_volume_masks
from small_scans import AFFINE, scan_config, scan_of, small_scans, write_scan

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    table = small_scans(folder)
    return train_volume_masks(scan_config(table, **{"loop.epochs": 2}), out=folder / "run").folder


def test_importance_lies_on_the_scans_grid_and_the_scan_is_not_found_twice(run, tmp_path):
    image, _ = scan_of(77)
    write_scan(tmp_path / "new.nii.gz", image)
    found = explain_files(run, [tmp_path / "new.nii.gz", tmp_path / "none.nii.gz"], out=tmp_path / "out", checks=1,
                          threads=1)
    assert (found.n, found.failed) == (2, 1)
    one, lost = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))["explanations"]
    assert "none.nii.gz" in lost["error"]
    assert [file.rsplit("_", 1)[1] for file in one["files"]] == ["gradcam.nii.gz", "gradcam.png"]
    heat = nibabel.load(one["files"][0])
    values = np.asarray(heat.dataobj)
    assert heat.shape == image.shape
    assert np.allclose(heat.affine, AFFINE)
    assert 0 <= values.min() <= values.max() <= 1
    assert len(one["checks"]["deletion"]["shares"]) == 4
    assert len(one["checks"]["randomisation"]["depths"]) == 3


def test_a_class_that_is_not_there_is_told(run, tmp_path):
    write_scan(tmp_path / "flat.nii.gz", np.full((18, 16, 9), 100, np.float32) + np.arange(9, dtype=np.float32))
    found = explain_files(run, [tmp_path / "flat.nii.gz"], out=tmp_path / "out", checks=1, threads=1,
                          label="label 2")
    one = json.loads((tmp_path / "out" / "explanations.json").read_text(encoding="utf-8"))["explanations"][0]
    assert found.failed == 0
    assert one["explained"] == "label 2"
    assert one["files"] or "no label 2 was found: there is no region to explain" in one["notes"]
