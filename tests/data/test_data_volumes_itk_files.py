"""MetaImage and NRRD files: the same place and values as the NIfTI file that SimpleITK writes, or the missing extra."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from excite.data.volumes.itk_files import read_itk
from excite.data.volumes.nifti import read_nifti
from excite.errors import DataError, EnvironmentFault

VOXELS = np.random.default_rng(6).normal(900, 90, (4, 5, 6)).astype(np.float32)


@pytest.fixture
def itk() -> Any:
    return pytest.importorskip("SimpleITK", reason="the extra itk is not installed")


def plant(itk: Any, path: Path, values: np.ndarray = VOXELS, *, packed: bool = False, **options: Any) -> Path:
    image = itk.GetImageFromArray(values, **options)
    if image.GetDimension() == 3:
        image.SetSpacing((0.7, 1.5, 4.0))
        image.SetOrigin((-10.0, 20.0, 30.0))
        image.SetDirection((0, 0.6, 0.8, 1, 0, 0, 0, 0.8, -0.6))
    itk.WriteImage(image, str(path), packed)
    return path


def test_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(EnvironmentFault) as caught:
        read_itk(tmp_path / "map.mha")
    assert str(caught.value) == (f"{tmp_path / 'map.mha'}: .mha files need another package (SimpleITK is not "
                                 "installed); pip install 'excite[itk]', or save the volume as .nii.gz")


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".mha", ".mhd", ".nrrd", ".nhdr"])
@pytest.mark.parametrize("kind", ["f4", "u1", "i2"])
def test_equal_to_nifti(tmp_path: Path, itk: Any, suffix: str, packed: bool, kind: str) -> None:
    values = VOXELS.astype(kind)
    volume = read_itk(plant(itk, tmp_path / f"map{suffix}", values, packed=packed))
    other = read_nifti(plant(itk, tmp_path / "map.nii", values))
    assert np.array_equal(volume.values, other.values) and np.allclose(volume.affine, other.affine, atol=1e-4)
    assert volume.notes == other.notes and volume.source == tmp_path / f"map{suffix}"
    assert sorted(volume.spacing) == pytest.approx([0.7, 1.5, 4.0])


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("suffix", [".mha", ".nrrd"])
@pytest.mark.parametrize("kept", [0.9, 0.7])
def test_a_cut_file(tmp_path: Path, itk: Any, suffix: str, packed: bool, kept: float) -> None:
    path = plant(itk, tmp_path / f"map{suffix}", packed=packed)
    content = path.read_bytes()
    path.write_bytes(content[:int(kept * len(content))])
    with pytest.raises(DataError, match=r"the file cannot be read \(.+\); the file was cut") as caught:
        read_itk(path)
    assert "No such file" not in str(caught.value)


def test_a_header_without_voxel_size_is_in_doubt(tmp_path: Path, itk: Any) -> None:
    path = tmp_path / "map.mha"
    itk.WriteImage(itk.GetImageFromArray(VOXELS), str(path))
    content = path.read_bytes()
    path.write_bytes(content.replace(b"ElementSpacing = 1 1 1\n", b""))
    assert path.read_bytes() != content
    assert read_itk(path).notes == ("voxels of 1 mm that begin at 0: it is the same where a header says no voxel size, "
                                    "which cannot be told here",)


def test_what_is_no_volume(tmp_path: Path, itk: Any) -> None:
    path = tmp_path / "map.mha"
    with pytest.raises(DataError, match=r"the file has 2 axes \(6 x 5\), not three; save one volume a file"):
        read_itk(plant(itk, path, VOXELS[0]))
    with pytest.raises(DataError, match=r"the voxels are not one real number each \(vector of 32-bit float\)"):
        read_itk(plant(itk, path, np.stack([VOXELS] * 2, -1), isVector=True))
    with pytest.raises(DataError, match=r"6 x 5 x 4 voxels, 0.00 GB in memory; the limit is"):
        read_itk(plant(itk, path), limit_bytes=479)
    values = VOXELS.copy()
    values[0, 0, 0] = np.nan
    with pytest.raises(DataError, match="1 of 120 voxels are NaN or infinite"):
        read_itk(plant(itk, path, values))
    assert read_itk(path, fill=0).notes[-1] == "1 of 120 voxels were NaN or infinite and are now 0"
    path.write_text("hello")
    with pytest.raises(DataError, match=r"map.mha: the file cannot be read \(.+\); the file was cut or damaged"):
        read_itk(path)
