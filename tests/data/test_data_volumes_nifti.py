"""NIfTI volumes: every orientation equal to nibabel's own, and the faults N1 to N8 that readers pass over."""

import gzip
import struct
import tracemalloc
from itertools import permutations, product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.volumes.nifti import read_nifti
from excite.data.volumes.volume import Volume
from excite.errors import DataError, UsageError

SIZES, SHIFT = np.array([0.7, 1.5, 4.0]), [-31.0, 12.5, 88.0]
VOXELS = np.random.default_rng(3).normal(900, 300, (4, 5, 6)).astype(np.float32)


def affine_of(axes: tuple[int, ...] = (0, 1, 2), signs: tuple[int, ...] = (1, 1, 1)) -> NDArray[np.float64]:
    affine = np.eye(4)
    affine[:3, :3] = 0
    for column, (row, sign) in enumerate(zip(axes, signs, strict=True)):
        affine[row, column] = sign * SIZES[column]
    affine[:3, 3] = SHIFT
    return affine


def plant(path: Path, values: NDArray[Any] = VOXELS, affine: NDArray[np.float64] | None = None,
          kind: Any = nibabel.Nifti1Image, **fields: Any) -> Path:
    image = kind(values, affine_of() if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    nibabel.save(image, path)
    return path


def poked(path: Path, place: int, form: str, *values: float) -> Path:
    """Change bytes of an unpacked file, as damage does, where nibabel would not write them."""
    content = bytearray(path.read_bytes())
    struct.pack_into(form, content, place, *values)
    path.write_bytes(content)
    return path


def assert_canonical(volume: Volume, path: Path) -> None:
    canonical = nibabel.as_closest_canonical(nibabel.load(path))
    assert volume.values.flags["C_CONTIGUOUS"] and volume.values.dtype == np.float32
    assert np.array_equal(volume.values, canonical.get_fdata(dtype=np.float32).T)
    assert np.allclose(volume.spacing, canonical.header.get_zooms()[:3][::-1], rtol=1e-6)
    index = np.array([1, 2, 3])
    assert np.allclose(volume.affine @ [*index, 1], canonical.affine @ [*index[::-1], 1], atol=1e-4)


@pytest.mark.parametrize("axes", list(permutations(range(3))))
def test_flipped_permuted_and_anisotropic_affines_are_turned_as_nibabel_does(tmp_path: Path, axes: tuple[int, ...]
                                                                              ) -> None:
    for signs in product((1, -1), repeat=3):
        path = plant(tmp_path / "map.nii.gz", affine=affine_of(axes, signs))
        volume = read_nifti(path)
        assert_canonical(volume, path)
        assert volume.notes == () and volume.source == path and volume.spacing_known
        assert volume.affine[2, 0] > 0 and volume.affine[1, 1] > 0 and volume.affine[0, 2] > 0


def test_the_first_voxel_of_a_flipped_file_lies_where_it_did(tmp_path: Path) -> None:
    path = plant(tmp_path / "map.nii", affine=affine_of(signs=(-1, -1, 1)))  # as DICOM converters write it
    volume = read_nifti(path)
    assert volume.values[0, 0, 0] == VOXELS[3, 4, 0] and volume.values[5, 4, 3] == VOXELS[0, 0, 5]
    assert np.allclose((volume.affine @ [0, 4, 3, 1])[:3], SHIFT, atol=1e-5)


def test_oblique_and_sheared_axes_are_kept_and_noted(tmp_path: Path) -> None:
    angle = np.radians(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    path = plant(tmp_path / "map.nii", affine=turn @ affine_of())
    volume = read_nifti(path)
    assert_canonical(volume, path)
    assert volume.notes == ("the axes are up to 20.0 degrees off the patient's; they are kept",)
    sheared = affine_of()
    sheared[0, 2] = SIZES[2] * np.tan(np.radians(5))
    notes = read_nifti(plant(tmp_path / "map.nii", affine=sheared)).notes
    assert notes == ("the axes are up to 5.0 degrees off the patient's; they are kept",
                     "the axes are 5.0 degrees off right angles; they are kept")


@pytest.mark.parametrize("kind", [nibabel.Nifti1Image, nibabel.Nifti2Image])
@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4"])
def test_every_type_byte_order_and_version(tmp_path: Path, kind: Any, dtype: str) -> None:
    values = (np.arange(120).reshape(4, 5, 6) - (0 if "u" in dtype else 50)).astype(dtype)
    image = kind(values, affine_of(), kind.header_class(endianness=">" if ">" in dtype else "<"))
    image.set_data_dtype(values.dtype)
    nibabel.save(image, tmp_path / "map.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "map.nii.gz").values, values.T)


def test_slope_and_intercept_are_applied(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(np.arange(120, dtype=np.int16).reshape(4, 5, 6), affine_of())
    image.header.set_slope_inter(0.25, -7)
    image.to_filename(tmp_path / "map.nii")
    raw = nibabel.load(tmp_path / "map.nii")
    assert np.asarray(raw.dataobj).max() != 119  # else nothing was scaled
    assert_canonical(read_nifti(tmp_path / "map.nii"), tmp_path / "map.nii")


def test_whole_numbers_that_float32_rounds_are_counted(tmp_path: Path) -> None:
    values = np.full((2, 2, 2), 2**24, np.int32)
    assert read_nifti(plant(tmp_path / "a.nii", values)).notes == ()
    values[0, 0] = 2**24 + 1
    assert read_nifti(plant(tmp_path / "a.nii", values)).notes == (
        "2 voxels are whole numbers beyond 16,777,216, which float32 rounds",)


def test_qform_and_sform_that_disagree(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, affine_of())
    image.set_sform(affine_of(), code="mni")
    moved = affine_of()
    moved[0, 3] += 12.34
    image.set_qform(moved, code="scanner")
    nibabel.save(image, tmp_path / "map.nii")
    volume = read_nifti(tmp_path / "map.nii")
    assert_canonical(volume, tmp_path / "map.nii")
    assert volume.notes == ("the qform (scanner) places corners up to 12.3 mm off the sform (MNI), which was used",)
    image.set_qform(affine_of(), code="scanner")
    nibabel.save(image, tmp_path / "map.nii")
    assert read_nifti(tmp_path / "map.nii").notes == ()
    poked(tmp_path / "map.nii", 256, "<3f", 2.0, 2.0, 2.0)  # no quaternion of length 1
    assert read_nifti(tmp_path / "map.nii").notes == ("the qform cannot be used; the sform was",)


def test_only_a_qform_or_none_of_both(tmp_path: Path) -> None:
    path = plant(tmp_path / "map.nii", affine=affine_of(signs=(-1, 1, 1)), sform_code=0, qform_code=1)
    assert_canonical(read_nifti(path), path)
    poked(plant(tmp_path / "map.nii"), 252, "<2h", 0, 0)
    volume = read_nifti(path)
    assert_canonical(volume, path)
    assert volume.notes == ("the header has neither qform nor sform: the axes are taken as left, front and head, as "
                            "nibabel does",)


@pytest.mark.parametrize(("unit", "factor"), [("meter", 1000), ("micron", 0.001), ("mm", 1), ("unknown", 1)])
def test_lengths_in_other_units(tmp_path: Path, unit: str, factor: float) -> None:
    image = nibabel.Nifti1Image(VOXELS, affine_of())
    image.header.set_xyzt_units(unit)
    nibabel.save(image, tmp_path / "map.nii")
    volume = read_nifti(tmp_path / "map.nii")
    assert volume.spacing == pytest.approx(SIZES[::-1] * factor)
    assert bool(volume.notes) == (factor != 1)


# N1
@pytest.mark.parametrize("name", ["map.nii", "map.nii.gz"])
@pytest.mark.parametrize("kept", [0, 1, 100, 351, 0.5, 0.99])
def test_n1_a_cut_file(tmp_path: Path, name: str, kept: float) -> None:
    path = plant(tmp_path / name)
    content = path.read_bytes()
    path.write_bytes(content[:int(kept if kept >= 1 or not kept else kept * len(content))])
    with pytest.raises(DataError) as caught:
        read_nifti(path)
    expected = "ends before" if 0 < kept < 1 or kept == 351 or "gz" in name and kept > 9 else "the file is"
    assert str(caught.value).startswith(f"{path}: the ") and expected in str(caught.value)
    assert "fetch it again from its source" in str(caught.value)


def test_n1_the_text_of_a_cut_file_and_a_wrong_checksum(tmp_path: Path) -> None:
    path = plant(tmp_path / "map.nii.gz")
    content = bytearray(path.read_bytes())
    path.write_bytes(content[:-100])
    with pytest.raises(DataError) as caught:
        read_nifti(path)
    assert str(caught.value) == (f"{path}: the NIfTI file is cut: it ends before its last voxel; the file was cut or "
                                 "damaged on its way; fetch it again from its source")
    content[-5] ^= 1
    content[-6] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read \((CRC check failed|Incorrect length)"):
        read_nifti(path)


# N2
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_n2_voxels_that_are_no_numbers(tmp_path: Path, bad: float) -> None:
    values = VOXELS.copy()
    values[1, 2, :3] = bad
    path = plant(tmp_path / "map.nii.gz", values)
    with pytest.raises(DataError) as caught:
        read_nifti(path)
    assert str(caught.value) == (
        f"{path}: 3 of 120 voxels are NaN or infinite (one such voxel spoils a whole training); give a value for them "
        "where they lie outside the organ, such as fill=nan, which counts as not seen (in a training: "
        "volumes.gaps=unseen); or mend the map")
    volume = read_nifti(path, fill=-1)
    assert volume.notes == ("3 of 120 voxels were NaN or infinite and are now -1",)
    assert np.array_equal(volume.values, np.where(np.isfinite(values), values, -1).T)
    unseen = read_nifti(path, fill=np.nan)
    assert np.isnan(unseen.values).sum() == 3 and unseen.notes[0].endswith("and count as not seen")
    with pytest.raises(UsageError, match="fill must be a number or NaN, got inf"):
        read_nifti(path, fill=np.inf)


def test_n2_a_float64_that_overflows_float32(tmp_path: Path) -> None:
    values = VOXELS.astype(np.float64)
    values[0, 0, 0] = 1e300
    with pytest.raises(DataError, match="1 of 120 voxels are NaN or infinite"):
        read_nifti(plant(tmp_path / "map.nii", values))


# N3
@pytest.mark.parametrize(("numbers", "message"), [
    ([0.0] * 12, "the affine is singular: voxels of 0 x 0 x 0 mm (a size is zero, or two axes are parallel)"),
    ([float("nan")] * 12, "the affine holds NaN or infinite numbers (nothing says where voxels lie)"),
    ([1, 2, 0, 0, 1, 2, 0, 0, 0, 0, 1, 0], "the affine is singular: voxels of 1.41421 x 2.82843 x 1 mm"),
])
def test_n3_an_affine_that_places_nothing(tmp_path: Path, numbers: list[float], message: str) -> None:
    path = poked(plant(tmp_path / "map.nii", sform_code=2), 280, "<12f", *numbers)
    with pytest.raises(DataError) as caught:
        read_nifti(path)
    assert message in str(caught.value) and "write the file again with the right affine" in str(caught.value)


@pytest.mark.parametrize("size", [0.0, float("nan"), float("inf")])
def test_n3_voxel_sizes_that_are_none(tmp_path: Path, size: float) -> None:
    path = poked(plant(tmp_path / "map.nii", sform_code=0, qform_code=1), 84, "<f", size)
    with pytest.raises(DataError, match="affine is singular|affine holds NaN"):
        read_nifti(path)


# N5 (N4 is above: every orientation)
def test_n5_other_numbers_of_axes(tmp_path: Path) -> None:
    assert read_nifti(plant(tmp_path / "a.nii", VOXELS[..., None])).notes == ("a fourth axis of length 1 was dropped",)
    with pytest.raises(DataError) as caught:
        read_nifti(plant(tmp_path / "a.nii", np.stack([VOXELS] * 7, -1)))
    assert str(caught.value) == (
        f"{tmp_path / 'a.nii'}: the file holds 7 volumes (4 x 5 x 6 x 7), not one (times, echoes, b-values and "
        "directions all look like this); take them apart (nibabel.four_to_three) and name the one that is meant")
    with pytest.raises(DataError, match=r"holds 3 volumes \(4 x 5 x 6 x 1 x 3\)"):
        read_nifti(plant(tmp_path / "a.nii", np.stack([VOXELS[..., None]] * 3, -1)))
    with pytest.raises(DataError, match=r"holds a picture of 4 x 5 pixels, no volume"):
        read_nifti(plant(tmp_path / "a.nii", VOXELS[..., 0]))
    assert read_nifti(plant(tmp_path / "a.nii", VOXELS[..., :1])).shape == (1, 5, 4)


# N6
@pytest.mark.parametrize("slices", [0, -3])
def test_n6_no_slices(tmp_path: Path, slices: int) -> None:
    with pytest.raises(DataError, match=f"the volume has no voxels: its header says 4 x 5 x {slices}; fetch it again"):
        read_nifti(poked(plant(tmp_path / "map.nii"), 46, "<h", slices))


# N7
@pytest.mark.parametrize(("sizes", "message"), [
    ((30000, 30000, 30), r"30000 x 30000 x 30 voxels, 100.58 GB in memory; the limit is 2.00 GB \(or its header"),
    ((4, 5, 7), "is cut: it ends before its last voxel"),
    ((4, 5, 5), r"the file holds more than its header says \(the header says 4 x 5 x 5 voxels of float32\)"),
])
@pytest.mark.parametrize("packed", [False, True])
def test_n7_a_header_that_lies_about_the_size(tmp_path: Path, sizes: tuple[int, ...], message: str, packed: bool
                                               ) -> None:
    path = poked(plant(tmp_path / "map.nii"), 42, "<3h", *sizes)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    with pytest.raises(DataError, match=message):
        read_nifti(path)


@pytest.mark.parametrize("offset", [-8.0, 20.0, 1e30, float("nan")])
def test_n7_voxels_that_begin_nowhere(tmp_path: Path, offset: float) -> None:
    with pytest.raises(DataError, match="the header says that the voxels begin at byte"):
        read_nifti(poked(plant(tmp_path / "map.nii"), 108, "<f", offset))


def test_n7_a_header_behind_which_others_lie(tmp_path: Path) -> None:
    image = nibabel.Nifti1Image(VOXELS, affine_of())
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", b"x" * 5000))
    nibabel.save(image, tmp_path / "map.nii.gz")
    assert np.array_equal(read_nifti(tmp_path / "map.nii.gz").values, VOXELS.T)


# N8
def test_n8_a_bomb_behind_a_small_header_is_not_unpacked(tmp_path: Path) -> None:
    plain = plant(tmp_path / "map.nii").read_bytes()
    with gzip.open(tmp_path / "bomb.nii.gz", "wb") as file:
        file.write(plain)
        for _ in range(64):
            file.write(bytes(2**20))
    tracemalloc.start()
    with pytest.raises(DataError, match="the file holds more than its header says"):
        read_nifti(tmp_path / "bomb.nii.gz")
    assert tracemalloc.get_traced_memory()[1] < 2**20
    tracemalloc.stop()


def test_n8_a_bomb_whose_header_owns_up_is_refused_by_the_limit(tmp_path: Path) -> None:
    path = plant(tmp_path / "bomb.nii.gz", np.zeros((256, 256, 256), np.uint8))
    tracemalloc.start()
    with pytest.raises(DataError, match=r"256 x 256 x 256 voxels, 0.06 GB in memory; the limit is 0.03 GB"):
        read_nifti(path, limit_bytes=2**25)
    assert tracemalloc.get_traced_memory()[1] < 2**20
    assert read_nifti(path, limit_bytes=2**26).shape == (256, 256, 256)
    assert tracemalloc.get_traced_memory()[1] < 2**26 * 1.3  # one mask of the voxels that are no numbers beside them
    tracemalloc.stop()


@pytest.mark.parametrize(("dtype", "message"), [
    (np.complex64, "the voxels are complex numbers, not one real number each; save the map itself"),
    ([("R", "u1"), ("G", "u1"), ("B", "u1")], "the voxels are colours, not one real number each"),
])
def test_voxels_of_several_numbers(tmp_path: Path, dtype: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_nifti(plant(tmp_path / "map.nii", np.zeros((2, 2, 2), dtype)))


@pytest.mark.parametrize(("place", "form", "value", "message"), [
    (70, "<h", 9999, "the NIfTI file cannot be read"), (70, "<h", 0, "the voxels are colours"),
    (70, "<h", 64, "is cut: it ends before"), (70, "<h", 4, "the file holds more than its header says"),
    (344, "4s", b"ni1\0", "the file is one of a pair"), (344, "4s", b"nope", "the file is no NIfTI file"),
])
def test_other_headers(tmp_path: Path, place: int, form: str, value: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        read_nifti(poked(plant(tmp_path / "map.nii"), place, form, value))


def test_damaged_headers_give_a_volume_or_one_kind_of_error(tmp_path: Path) -> None:
    content, random = plant(tmp_path / "map.nii").read_bytes(), np.random.default_rng(8)
    refused = 0
    for _ in range(400):
        damaged = bytearray(content)
        damaged[random.integers(348)] ^= 1 << random.integers(8)
        (tmp_path / "map.nii").write_bytes(damaged)
        try:
            assert np.isfinite(read_nifti(tmp_path / "map.nii").values).all()
        except DataError as fault:
            refused += str(fault).startswith(f"{tmp_path / 'map.nii'}: ")
    assert refused > 10


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"map.nii: the file cannot be read \(No such file or directory\)"):
        read_nifti(tmp_path / "map.nii")


@pytest.mark.real
def test_the_real_hippocampi(real_data: Path) -> None:
    files = sorted((real_data / "hippocampus").glob("*Tr/*.nii.gz"))
    assert len(files) == 400
    for path in files[::10]:
        volume = read_nifti(path)
        assert_canonical(volume, path)
        depth, height, width = volume.shape
        assert volume.spacing == (1, 1, 1) and 24 <= depth <= 47 and 40 <= height <= 59 and 31 <= width <= 43
        assert set(np.unique(volume.values)) <= {0, 1, 2} or "images" in str(path)


@pytest.mark.real
@pytest.mark.slow
def test_all_real_hippocampi(real_data: Path) -> None:
    counts = np.zeros(3, int)
    for path in sorted((real_data / "hippocampus" / "labelsTr").glob("*.nii.gz")):
        labels, image = read_nifti(path), read_nifti(path.parents[1] / "imagesTr" / path.name)
        assert labels.shape == image.shape and np.array_equal(labels.affine, image.affine) and not image.notes
        counts += np.bincount(labels.values.astype(int).ravel(), minlength=3)
    assert 0.02 < counts[1] / counts.sum() < 0.035 and 0.02 < counts[2] / counts.sum() < 0.035
