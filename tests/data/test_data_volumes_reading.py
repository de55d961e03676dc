"""Which reader a path gets: by content before suffix, and what is read by none."""

import gzip
from pathlib import Path

import nibabel
import numpy as np
import pytest

from excite.data.volumes.reading import read_volume
from excite.errors import DataError
from made_up_dicom import STACK, plant_stack

VOXELS = np.random.default_rng(3).normal(900, 300, (4, 5, 6)).astype(np.float32)


def nifti(path: Path, values: np.ndarray = VOXELS) -> Path:
    nibabel.save(nibabel.Nifti1Image(values, np.diag([2.0, 3, 4, 1])), path)
    return path


@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz", "map.dcm", "map", "map.NII.GZ", "map.nii.bak"])
@pytest.mark.parametrize("packed", [False, True])
def test_nifti_by_content(tmp_path: Path, name: str, packed: bool) -> None:
    content = nifti(tmp_path / "x.nii").read_bytes()
    (tmp_path / name).write_bytes(gzip.compress(content, mtime=0) if packed else content)
    volume = read_volume(tmp_path / name)
    assert np.array_equal(volume.values, VOXELS.T) and volume.spacing == (4, 3, 2) and volume.shape == (6, 5, 4)


def test_dicom_folders_and_files(tmp_path: Path) -> None:
    folder = plant_stack(tmp_path / "series")
    plant_stack(folder, (1, 2), uid="1.2.8", name="ADC", RescaleSlope=2)  # in place of two of the others
    assert np.array_equal(read_volume(folder, series="adc").values, 2 * STACK[:2, ::-1, ::-1].astype(np.float32))
    assert read_volume(next(folder.glob("*.dcm"))).shape == (1, 6, 7)
    (folder / "0000.dcm").rename(tmp_path / "no_suffix")
    assert read_volume(tmp_path / "no_suffix").shape == (1, 6, 7)


def test_arrays_of_archives(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", a=VOXELS[None])
    volume = read_volume(Path(f"{tmp_path / 'x.npz'}#a[0]"))
    assert np.array_equal(volume.values, VOXELS) and not volume.spacing_known
    nifti(tmp_path / "x.nii").rename(tmp_path / "y.npz#a[0]")  # a file whose own name looks like an address
    assert np.array_equal(read_volume(tmp_path / "y.npz#a[0]").values, VOXELS.T)
    with pytest.raises(DataError, match=r"'.npz' cannot be read; name the array, FILE.npz#KEY\[INDEX\]"):
        read_volume(tmp_path / "x.npz")


def test_one_pattern_serves_a_table_of_dicom_and_others(tmp_path: Path) -> None:
    assert read_volume(nifti(tmp_path / "x.nii"), series="T1*").shape == (6, 5, 4)


def test_fill_and_limit_reach_the_reader(tmp_path: Path) -> None:
    values = VOXELS.copy()
    values[0, 0, 0] = np.nan
    np.savez(tmp_path / "x.npz", a=values)
    for path in (nifti(tmp_path / "x.nii", values), Path(f"{tmp_path / 'x.npz'}#a")):
        assert "1 of 120 voxels were NaN" in read_volume(path, fill=0).notes[-1]
        with pytest.raises(DataError, match="the limit is"):
            read_volume(path, limit_bytes=479)
    with pytest.raises(DataError, match="the limit is"):
        read_volume(plant_stack(tmp_path / "series"), limit_bytes=479)


@pytest.mark.parametrize(("name", "content", "message"), [
    ("x.png", b"\x89PNG\r\n\x1a\n", "volumes of kind '.png' cannot be read; known: .nii, .nii.gz, .dcm, .ima, folders"),
    ("x", b"hello", r"volumes of kind '\(no suffix\)' cannot be read"),
    ("x.gz", b"\x1f\x8bhello", "volumes of kind '.gz' cannot be read"),
    ("x.gz", gzip.compress(b"hello", mtime=0), "volumes of kind '.gz' cannot be read"),
    ("x.nii.gz", b"\x1f\x8bhello", "the NIfTI file cannot be read|is cut"),
    ("x.nii", b"", r"the file is empty \(0 bytes\)"), ("x.dcm", b"hello", "the DICOM file is cut, or none"),
])
def test_what_nothing_reads(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        read_volume(tmp_path / name)
    assert str(caught.value).startswith(f"{tmp_path / name}: ")


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        read_volume(tmp_path / "x.nii")
    assert str(caught.value) == f"{tmp_path / 'x.nii'}: there is no such file or folder; check the path"
    with pytest.raises(DataError, match="there is no DICOM picture; name the folder of the series"):
        read_volume(tmp_path)


@pytest.mark.real
def test_real_volumes_of_three_kinds(real_data: Path) -> None:
    label = read_volume(next((real_data / "hippocampus" / "labelsTr").glob("*.nii.gz")))
    assert set(np.unique(label.values)) == {0, 1, 2} and label.spacing == (1, 1, 1)
    brain = read_volume(real_data / "brain_mm_dicom", series="t2_REG")
    assert brain.shape == (22, 320, 280) and brain.spacing == pytest.approx((6.5, 0.6875, 0.6875))
    gland = read_volume(Path(f"{real_data / 'adrenalmnist3d' / 'adrenalmnist3d_64.npz'}#val_images[3]"))
    assert gland.shape == (64, 64, 64) and set(np.unique(gland.values)) == {0, 255} and not gland.spacing_known
