"""Volumes of .npz files: the right one, without the others in memory, and what is no volume."""

import multiprocessing
import time
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from excite.data.volumes import archives
from excite.data.volumes.archives import is_address, read_member
from excite.errors import DataError

VOXELS = np.random.default_rng(1).integers(0, 255, (9, 3, 4, 5)).astype(np.uint8)


def plant(path: Path, *, packed: bool = True, **arrays: Any) -> Path:
    (np.savez_compressed if packed else np.savez)(path, **arrays)
    return path


def at(path: Path, key: str) -> Path:
    return Path(f"{path}#{key}")


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("kind", ["u1", "i2", "f4", "f8", ">i4", "?"])
def test_each_volume_in_any_order(tmp_path: Path, packed: bool, kind: str) -> None:
    file = plant(tmp_path / "x.npz", packed=packed, train_images=VOXELS.astype(kind), one=VOXELS[0].astype(kind))
    for index in (0, 1, 2, 8, 3, 0):
        volume = read_member(at(file, f"train_images[{index}]"))
        assert np.array_equal(volume.values, VOXELS[index].astype(kind).astype(np.float32))
        assert volume.values.dtype == np.float32 and volume.values.flags.writeable
        assert volume.source == at(file, f"train_images[{index}]")
    assert np.array_equal(read_member(at(file, "one")).values, VOXELS[0].astype(kind).astype(np.float32))


def test_the_voxel_size_is_said_to_be_unknown(tmp_path: Path) -> None:
    volume = read_member(at(plant(tmp_path / "x.npz", a=VOXELS), "a[1]"))
    assert not volume.spacing_known and volume.spacing == (1, 1, 1)
    assert volume.notes == ("the file says no voxel size: 1 mm is assumed, and the axes are taken as they are",)
    assert (volume.affine @ [1, 2, 3, 1]).tolist() == [3, 2, 1, 1]  # D towards the head, W to the right


def test_one_volume_is_in_memory_and_a_sequence_unpacks_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                       ) -> None:
    file = plant(tmp_path / "x.npz", a=np.zeros((64, 64, 64, 64), np.uint8))
    read_member(at(file, "a[0]"))
    tracemalloc.start()
    for index in range(64):
        read_member(at(file, f"a[{index}]"))
    assert tracemalloc.get_traced_memory()[1] < 12 * 64**3  # bytes, float32, a mask; the array has 64 of them
    tracemalloc.stop()
    unpacked, update = [], zipfile.ZipExtFile._update_crc
    monkeypatch.setattr(zipfile.ZipExtFile, "_update_crc",
                        lambda self, data: (unpacked.append(len(data)), update(self, data))[1])
    archives._member.cache_clear()
    for index in range(64):
        read_member(at(file, f"a[{index}]"))
    assert sum(unpacked) < 1.1 * 64**4


def test_a_file_that_changed_is_read_anew(tmp_path: Path) -> None:
    file = plant(tmp_path / "x.npz", a=VOXELS)
    assert read_member(at(file, "a[0]")).shape == (3, 4, 5)
    time.sleep(0.01)
    plant(file, a=VOXELS[:, :2])
    assert read_member(at(file, "a[0]")).shape == (2, 4, 5)


def _read(path: Path) -> tuple[list[float], int]:
    return read_member(path).values.ravel().tolist(), archives._member.cache_info().misses


def test_forked_processes_do_not_share_a_stream(tmp_path: Path) -> None:
    path = at(plant(tmp_path / "x.npz", a=VOXELS), "a[4]")
    expected, opened = _read(path)
    assert _read(path) == (expected, opened)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.map(_read, [path] * 2) == [(expected, opened + 1)] * 2


@pytest.mark.parametrize(("key", "message"), [
    ("a", r"the array has 4 axes \(9 x 3 x 4 x 5\); KEY\[INDEX\] needs an array \(N, D, H, W\), KEY alone one \(D, H"),
    ("a[9]", r"there is no volume 9 \(the array has 9, counted from 0\); check the index"),
    ("flat[0]", r"the array has 2 axes \(9 x 60\)"), ("a2[0]", "there is no array 'a2'; did you mean 'a'"),
    ("objects[0]", "the array 'objects' holds Python objects"), ("words[0]", "the array 'words' holds <U1"),
    ("fortran[0]", "the array 'fortran' holds numbers in Fortran order"), ("complex[0]", "holds complex128"),
    ("none[0]", "the volume has no voxels: its header says 0 x 2 x 2"),
    ("bad[0]", "2 of 8 voxels are NaN or infinite"),
])
def test_what_is_no_volume(tmp_path: Path, key: str, message: str) -> None:
    bad = np.ones((1, 2, 2, 2))
    bad[0, 0, 0] = np.nan, np.inf
    file = plant(tmp_path / "x.npz", a=VOXELS, flat=VOXELS.reshape(9, -1), objects=np.full((1, 2, 2, 2), None),
                 words=np.full((1, 2, 2, 2), "a"), fortran=np.asfortranarray(VOXELS), bad=bad,
                 complex=VOXELS.astype(complex), none=np.zeros((1, 0, 2, 2)))
    with pytest.raises(DataError, match=message):
        read_member(at(file, key))


def test_fill_and_limit(tmp_path: Path) -> None:
    values = VOXELS.astype(np.float32)
    values[0, 0, 0, 0] = np.nan
    file = plant(tmp_path / "x.npz", a=values)
    volume = read_member(at(file, "a[0]"), fill=7)
    assert volume.values[0, 0, 0] == 7 and volume.notes[1] == "1 of 60 voxels were NaN or infinite and are now 7"
    with pytest.raises(DataError, match="the limit is 0.00 GB"):
        read_member(at(file, "a[1]"), limit_bytes=4 * 59)
    assert read_member(at(file, "a[1]"), limit_bytes=4 * 60).shape == (3, 4, 5)


@pytest.mark.parametrize("damage", ["cut", "text", "empty", "claim"])
def test_damaged_files(tmp_path: Path, damage: str) -> None:
    file = plant(tmp_path / "x.npz", a=VOXELS)
    content = file.read_bytes()
    file.write_bytes({"cut": content[:-40], "text": b"hello", "empty": b"", "claim": content}[damage])
    if damage == "claim":
        with zipfile.ZipFile(file) as archive:
            inner = archive.read("a.npy").replace(b"(9, 3, 4, 5)", b"(9, 3, 9, 5)")
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("a.npy", inner)
    with pytest.raises(DataError, match=r"the array is cut|the NumPy file cannot be read \(") as caught:
        read_member(at(file, "a[8]"))
    assert str(caught.value).startswith(f"{file}#a[8]: ")


def test_addresses(tmp_path: Path) -> None:
    assert all(is_address(Path(text)) for text in ("a.npz#k[3]", "b/A.NPZ#k", "a#b.npz#k[0]"))
    assert not any(is_address(Path(text)) for text in ("a.npz", "a.npz#", "a.npz#k[x]", "a.npz#k[-1]", "a.zip#k"))
    with pytest.raises(DataError, match="the address names no array of a .npz file; write FILE"):
        read_member(tmp_path / "a.npz")
    with pytest.raises(DataError, match=r"no.npz: the file does not exist; check the path"):
        read_member(tmp_path / "no.npz#k")


@pytest.mark.real
@pytest.mark.slow
def test_real_adrenal_glands(real_data: Path) -> None:
    file = real_data / "adrenalmnist3d" / "adrenalmnist3d_64.npz"
    with np.load(file) as archive:
        expected = archive["test_images"]
    for index in (0, 1, 150, 297, 2):
        volume = read_member(at(file, f"test_images[{index}]"))
        assert np.array_equal(volume.values, expected[index]) and set(np.unique(volume.values)) <= {0, 255}
    with pytest.raises(DataError, match=r"there is no volume 298 \(the array has 298"):
        read_member(at(file, "test_images[298]"))
