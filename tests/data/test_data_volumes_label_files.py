"""Label volumes: checked against their image, and written on a scan's own grid, whatever its axes are."""

from pathlib import Path

import nibabel
import numpy as np
import pytest
from nibabel.orientations import axcodes2ornt, inv_ornt_aff, ornt_transform

from excite.data.volumes.label_files import read_labels, write_labels
from excite.data.volumes.reading import read_volume
from excite.data.volumes.volume import Volume
from excite.errors import DataError
from small_scans import AFFINE, scan_of, write_scan


def turned(values, affine, codes):
    """Return the same scan as a file with other axes stores it."""
    way = ornt_transform(nibabel.io_orientation(affine), axcodes2ornt(codes))
    return nibabel.apply_orientation(values, way), affine @ inv_ornt_aff(way, values.shape)


@pytest.mark.parametrize("codes", ["RAS", "LPS", "PIR", "SAL", "ILA", "ASR"])
@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
def test_labels_have_the_axes_and_the_affine_of_the_scan(tmp_path, codes, kind):
    image, labels = scan_of(0)
    oblique = nibabel.affines.from_matvec(AFFINE[:3, :3] @ [[0.98, 0.199, 0], [-0.199, 0.98, 0], [0, 0, 1]], [3, 4, 5])
    stored, affine = turned(image, oblique, codes)
    nibabel.save(kind(stored, affine), tmp_path / "scan.nii.gz")
    scan = read_volume(tmp_path / "scan.nii.gz")
    nibabel.save(kind(turned(labels, oblique, codes)[0], affine), tmp_path / "mask.nii.gz")
    known, _ = read_labels(tmp_path / "mask.nii.gz", image=scan)
    assert known.shape == scan.shape and known.dtype == np.int16
    found = nibabel.load(write_labels(tmp_path / "out" / "found.nii.gz", known, like=scan))
    assert type(found) is kind and found.get_data_dtype() == np.uint8
    np.testing.assert_array_equal(np.asarray(found.dataobj), turned(labels, oblique, codes)[0])
    np.testing.assert_array_equal(found.affine, nibabel.load(tmp_path / "scan.nii.gz").affine)
    for code in ("sform_code", "qform_code"):
        assert found.header[code] == nibabel.load(tmp_path / "scan.nii.gz").header[code]


def test_scaled_scans_do_not_scale_their_labels(tmp_path):
    image = nibabel.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), AFFINE)
    image.header.set_slope_inter(0.5, 10)
    nibabel.save(image, tmp_path / "scan.nii")
    scan = read_volume(tmp_path / "scan.nii")
    labels = np.zeros(scan.shape, np.int16)
    labels[1, 2, 0], labels[0, 0, 0] = 300, 7
    found = nibabel.load(write_labels(tmp_path / "l.nii", labels, like=scan))
    assert found.get_data_dtype() == np.int16 and set(np.unique(found.get_fdata())) == {0, 7, 300}
    np.testing.assert_array_equal(read_labels(tmp_path / "l.nii", image=scan)[0], labels)


def test_a_scan_that_is_no_nifti_file_gets_the_axes_that_were_read(tmp_path):
    affine = np.array([[0, 0, 2.0, 1], [0, 3.0, 0, 2], [4.0, 0, 0, 3], [0, 0, 0, 1]])
    scan = Volume(values=np.zeros((2, 3, 4), np.float32), affine=affine, source=Path(tmp_path / "scan.mha"))
    labels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    again = read_volume(write_labels(tmp_path / "l.nii.gz", labels, like=scan))
    np.testing.assert_array_equal(again.values, labels)
    np.testing.assert_allclose(again.affine, affine)


@pytest.mark.parametrize(("change", "message"), [
    (lambda labels, affine: (labels[:-1], affine), "the mask has 9 x 16 x 17 voxels, its image 9 x 16 x 18"),
    (lambda labels, affine: (labels, affine + [[0, 0, 0, 3], *[[0] * 4] * 3]), "corners are up to 3 mm apart"),
    (lambda labels, affine: (labels * 0.25, affine), "whole numbers from 0 to 32767, got 0[.](25|5) and"),
    (lambda labels, affine: (-labels.astype(np.int16), affine), "whole numbers from 0 to 32767, got -"),
    (lambda labels, affine: (labels.astype(np.float32) * 1e5, affine), "whole numbers from 0 to 32767, got"),
    (lambda labels, affine: (labels, affine * [[1.02], [1], [1], [1]]), "lies on another grid than its image")])
def test_a_mask_that_does_not_fit_is_an_error(tmp_path, change, message):
    image, labels = scan_of(0)
    write_scan(tmp_path / "scan.nii.gz", image)
    write_scan(tmp_path / "mask.nii.gz", *change(labels, AFFINE))
    with pytest.raises(DataError, match=message):
        read_labels(tmp_path / "mask.nii.gz", image=read_volume(tmp_path / "scan.nii.gz"))
