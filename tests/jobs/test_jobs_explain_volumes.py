"""Explanations of volumes in files: the affine of nibabel, the grid of the scan, maps that are missing left out."""

import json

import nibabel
import numpy as np
import pytest

from excite.data.volumes.grid import Grid
from excite.data.volumes.reading import read_volume
from excite.errors import DataError
from excite.jobs.explain.explain import explain_files
from excite.jobs.explain.volume_files import montage, write_like, write_on_grid
from excite.jobs.volumes.train import train_volumes
from small_volumes import read_rows, small_table, volume_config, write_map

OBLIQUE = np.array([[-0.9, 0.3, 0, 30], [0.3, 0.9, 0.1, -20], [0, -0.1, 1.5, 5], [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [np.diag([2.0, 3, 4, 1]), np.diag([-1.0, -1, 2, 1]), OBLIQUE])
def test_importance_lies_on_the_scans_own_voxels(tmp_path, affine):
    values = np.zeros((5, 6, 7), np.float32)
    values[1, 4, 2] = 1.0
    nibabel.save(nibabel.Nifti1Image(values, affine), tmp_path / "scan.nii.gz")
    volume = read_volume(tmp_path / "scan.nii.gz")
    found = nibabel.load(write_like(tmp_path / "out" / "heat.nii.gz", volume.values, volume))
    assert np.allclose(found.affine, affine, atol=1e-5)
    assert np.array_equal(np.asarray(found.dataobj), values)


def test_importance_on_the_networks_grid_has_the_patients_millimetres(tmp_path):
    write_map(tmp_path / "t1.nii.gz", 1000, seed=0, shift=(12, -7, 3))
    grid = Grid.of(read_volume(tmp_path / "t1.nii.gz")).centred(shape=(4, 16, 12), spacing=(4, 2, 2))
    values = np.zeros(grid.shape, np.float32)
    values[1, 5, 9] = 1.0
    found = nibabel.load(write_on_grid(tmp_path / "heat.nii.gz", values, grid))
    place = np.argwhere(np.asarray(found.dataobj) == 1)
    assert place.tolist() == [[9, 5, 1]]
    assert np.allclose(nibabel.affines.apply_affine(found.affine, place[0]), (grid.affine @ [1, 5, 9, 1])[:3])
    assert found.header.get_xyzt_units()[0] == "mm"


def test_a_montage_has_a_row_for_each_map_that_is_there():
    stored = np.random.default_rng(0).random((3, 6, 16, 8)).astype(np.float32)
    stored[1] = np.nan
    importance = np.zeros((3, 6, 16, 8), np.float32)
    picture = montage(stored, importance, (4.0, 1.0, 1.0))
    assert picture.shape == (2 * 184, 5 * 94, 3)
    importance[2, :, 15, 7] = 1.0  # front and left of the patient: above and, seen from the feet, on the right
    marked = montage(stored, importance, (4.0, 1.0, 1.0))
    changed = np.argwhere((marked != picture).any(axis=2))
    assert changed[:, 0].min() >= 184
    assert (changed[:, 0] - 184).max() < 40
    assert (changed[:, 1] % 94).max() < 40


@pytest.mark.slow
def test_each_map_of_a_patient_has_its_picture_and_a_missing_one_none(tmp_path):
    table = small_table(tmp_path, patients=16, missing=(3, 8))
    run = train_volumes(volume_config(table), out=tmp_path / "run")
    few = tmp_path / "few.csv"
    lines = table.read_text(encoding="utf-8").splitlines()
    few.write_text("\n".join([lines[0], lines[1], lines[4], lines[2].replace("maps/1_t1", "maps/none")]) + "\n")
    assert read_rows(few)[1]["adc"] == ""
    found = explain_files(run.folder, [str(few)], out=tmp_path / "out", checks=1, threads=1)
    assert (found.n, found.failed, found.checked) == (3, 1, 1)
    whole, lacking, lost = json.loads((tmp_path / "out" / "explanations.json").read_text())["explanations"]
    assert [one.rsplit("_", 2)[-2] for one in whole["files"]] == ["t1", "adc", "P00"]
    assert [one.rsplit("_", 2)[-2] for one in lacking["files"]] == ["t1", "P03"]
    assert "without adc: it has no picture" in lacking["notes"]
    assert "none" in lost["error"]
    image = nibabel.load(whole["files"][0])
    assert image.shape == (16, 16, 4)
    assert np.allclose(np.abs(np.diag(image.affine))[:3], (2, 2, 4))
    assert 0 <= np.asarray(image.dataobj).min() <= np.asarray(image.dataobj).max() <= 1
    with pytest.raises(DataError, match="1 of 3 files could not be used"):
        found.raise_failures()
