"""MATLAB and NumPy files: which array is meant, axes of both MATLAB versions, damage and pickles."""

import io
import struct
import sys
import zipfile
import zlib
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
from scipy.io import savemat

from excite.data.scenes import array, matlab
from excite.data.scenes.label_files import read_labels
from excite.data.scenes.reading import open_cube
from excite.errors import DataError, EnvironmentFault, UsageError

CUBE = np.random.default_rng(1).integers(0, 9000, (4, 3, 5)).astype(np.uint16)
LABELS = np.array([[1, 2, 0], [2, 2, 1], [0, 0, 1], [1, 1, 1]], np.uint8)


def plant_hdf5(path: Path, arrays: dict[str, np.ndarray], *, matlab: bool = True) -> Path:
    """Write a file as MATLAB 7.3 does: axes reversed, a class attribute, 512 bytes of its own before."""
    h5py = pytest.importorskip("h5py")
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, array in arrays.items():
            file[name] = array.T if matlab else array
            if matlab:
                file[name].attrs["MATLAB_class"] = np.bytes_(array.dtype.name)
        file.create_group("#refs#")
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\0\2IM")
    return path


@pytest.mark.parametrize("kind", ["u1", "i2", "u2", "i4", "f4", "f8", "u8"])
@pytest.mark.parametrize("compressed", [False, True])
def test_the_only_cube_and_the_only_labels_of_a_mat_file(tmp_path: Path, kind: str, compressed: bool) -> None:
    file = tmp_path / "scene.mat"
    savemat(file, {"cube": CUBE.astype(kind), "gt": LABELS, "rows": 4, "name": "here", "wave": np.arange(5.0)},
            do_compression=compressed)
    cube = open_cube(file)
    assert np.array_equal(cube.values, CUBE.astype(kind)) and cube.values.dtype == np.dtype(kind)
    assert np.array_equal(read_labels(file).values, LABELS)


@pytest.mark.parametrize("suffix", [".mat", ".npz"])
def test_several_arrays_are_listed_and_one_is_chosen(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"scene{suffix}"
    arrays = {"raw": CUBE, "noise": CUBE[:, :, :2] / 2, "gt": LABELS}
    savemat(file, arrays) if suffix == ".mat" else np.savez(file, **arrays)
    with pytest.raises(DataError) as caught:
        open_cube(file)
    assert str(caught.value) == (
        f"{file}: several arrays with 3 axes (the file has raw (4 x 3 x 5), noise (4 x 3 x 2), gt (4 x 3)); choose one "
        "by scene.variable=raw (of a cube to predict: --variable)")
    assert np.array_equal(open_cube(file, variable="noise").values, CUBE[:, :, :2] / 2)
    with pytest.raises(UsageError, match=r"there is no numeric array 'rwa'; did you mean 'raw'\? the file has raw"):
        open_cube(file, variable="rwa")
    with pytest.raises(DataError, match=r"a cube must be \(rows, columns, bands\), got shape \(4, 3\)"):
        open_cube(file, variable="gt")


@pytest.mark.parametrize("suffix", [".mat", ".npz"])
def test_no_array_fits(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"scene{suffix}"
    savemat(file, {"gt": LABELS}) if suffix == ".mat" else np.savez(file, gt=LABELS)
    with pytest.raises(DataError, match=r"no array with 3 axes \(the file has gt \(4 x 3\)\)"):
        open_cube(file)


def test_version_7_3_needs_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "new.mat"
    file.write_bytes(b"MATLAB 7.3 MAT-file".ljust(512, b"\0") + b"\x89HDF\r\n\x1a\n" + bytes(100))
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(EnvironmentFault) as caught:
        open_cube(file)
    assert str(caught.value) == (f"{file}: MATLAB files of version 7.3 need another package (h5py is not installed); "
                                 "pip install 'excite[matlab]', or save it in MATLAB by save(..., '-v7')")
    assert caught.value.exit_code == 5


def test_version_7_3_is_turned_wherever_matlab_wrote_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Item(np.ndarray):
        attrs: ClassVar[dict[str, bytes]] = {"MATLAB_class": b"uint16"}

    class File(dict[str, np.ndarray]):
        __enter__ = __exit__ = lambda self, *_: self  # noqa: E731

    stand_in = ModuleType("h5py")
    stand_in.File = lambda *_: File(cube=CUBE.T.view(Item), gt=LABELS.T.view(Item))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "h5py", stand_in)
    (tmp_path / "new.mat").write_bytes(bytes(512) + b"\x89HDF\r\n\x1a\n")
    assert np.array_equal(open_cube(tmp_path / "new.mat").values, CUBE)
    assert np.array_equal(read_labels(tmp_path / "new.mat").values, LABELS)


def test_version_7_3_has_its_axes_the_right_way_round(tmp_path: Path) -> None:
    file = plant_hdf5(tmp_path / "new.mat", {"cube": CUBE, "gt": LABELS.astype(float)})
    cube = open_cube(file)
    assert np.array_equal(cube.values, CUBE) and cube.values.dtype == CUBE.dtype
    assert np.array_equal(read_labels(file).values, LABELS)
    plant_hdf5(tmp_path / "new.mat", {"a": CUBE, "b": CUBE[:, :, 1:]})
    with pytest.raises(DataError, match=r"the file has a \(4 x 3 x 5\), b \(4 x 3 x 4\)"):
        open_cube(file)
    other = plant_hdf5(tmp_path / "other.mat", {"cube": CUBE}, matlab=False)  # h5py's own order: nothing is turned
    assert np.array_equal(open_cube(other).values, CUBE)


def test_version_7_3_that_is_cut(tmp_path: Path) -> None:
    file = plant_hdf5(tmp_path / "new.mat", {"cube": CUBE})
    file.write_bytes(file.read_bytes()[:900])
    with pytest.raises(DataError, match="the MATLAB file cannot be read"):
        open_cube(file)


@pytest.mark.parametrize("suffix", [".mat", ".npy", ".npz"])
@pytest.mark.parametrize("damage", ["empty", "cut", "text"])
def test_damaged_files(tmp_path: Path, suffix: str, damage: str) -> None:
    file = tmp_path / f"scene{suffix}"
    {".mat": lambda: savemat(file, {"cube": CUBE}), ".npy": lambda: np.save(file, CUBE),
     ".npz": lambda: np.savez(file, cube=CUBE)}[suffix]()
    content = file.read_bytes()
    file.write_bytes({"empty": b"", "cut": content[:len(content) - 60], "text": b"hello " * 100}[damage])
    with pytest.raises(DataError) as caught:
        open_cube(file)
    assert str(file) in str(caught.value) and "fix" not in str(caught.value) and "pickle" not in str(caught.value)


def damaged_npz(file: Path, kind: str) -> None:
    """Write an archive that zipfile, zlib or NumPy stumble over."""
    np.savez_compressed(file, cube=CUBE)
    content = bytearray(file.read_bytes())
    local, central = content.index(b"PK\3\4"), content.index(b"PK\1\2")
    if kind == "stream":
        content[local + 60:local + 80] = b"\xff" * 20
    elif kind == "encrypted":
        content[local + 6] |= 1
        content[central + 8] |= 1
    elif kind == "method":
        content[local + 8:local + 10] = content[central + 10:central + 12] = struct.pack("<H", 77)
    file.write_bytes(content)
    if kind in ("claim", "inner"):
        head = io.BytesIO()
        np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**4,) * 3})
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("cube.npy", head.getvalue() + bytes(100) if kind == "claim" else bytes(content))


@pytest.mark.parametrize(("kind", "why"), [
    ("stream", "Error -3 while decompressing data"), ("encrypted", "encrypted, password required"),
    ("method", "compression method is not supported"), ("inner", "the magic string is not correct"),
    ("claim", r"cube.npy is said to be \(10000, 10000, 10000\) of float64, and has 228 bytes"),
])
def test_damaged_archives(tmp_path: Path, kind: str, why: str) -> None:
    damaged_npz(tmp_path / "scene.npz", kind)
    with pytest.raises(DataError, match=rf"scene.npz: the NumPy file cannot be read \(.*{why}"):
        open_cube(tmp_path / "scene.npz")


def test_an_archive_called_an_array(tmp_path: Path) -> None:
    np.savez(tmp_path / "scene.npz", cube=CUBE)
    (tmp_path / "scene.npz").rename(tmp_path / "scene.npy")
    with pytest.raises(DataError, match="the file is no NumPy array; save it by np.save"):
        open_cube(tmp_path / "scene.npy")


def test_an_array_that_no_memory_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez(tmp_path / "scene.npz", cube=CUBE)

    def full(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(array.np, "load", full)
    with pytest.raises(EnvironmentFault, match="no memory for the array 'cube'; save it by np.save, and it is read"):
        open_cube(tmp_path / "scene.npz")


@pytest.mark.parametrize("suffix", [".mat", ".npz"])
def test_arrays_that_are_far_larger_than_their_file(tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
                                                    ) -> None:
    file, cube = tmp_path / f"scene{suffix}", np.zeros((100, 100, 40))
    savemat(file, {"cube": cube}, do_compression=True) if suffix == ".mat" else np.savez_compressed(file, cube=cube)
    assert open_cube(file).shape == (100, 100)  # 3.2 MB, however small the file
    monkeypatch.setattr(array, "LARGE", 10**6)
    with pytest.raises(DataError, match=r"the array 'cube' would take 0.0 GB, \S+ times the file \(so small a file "
                                        "that fills the memory is damaged or meant to"):
        open_cube(file)
    monkeypatch.setattr(array, "BLOWN", 10**4)  # large, and the file is not small for it
    assert open_cube(file).bands == 40


def test_a_terabyte_in_a_file_is_refused_before_it_is_unpacked(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "scene.npz", cube=CUBE)
    content = bytearray((tmp_path / "scene.npz").read_bytes())
    central = content.index(b"PK\1\2")
    content[central + 24:central + 28] = struct.pack("<I", 2**32 - 2)  # the size that the archive's list says
    (tmp_path / "scene.npz").write_bytes(content)
    with pytest.raises(DataError, match="the array 'cube' would take 4.0 GB"):
        open_cube(tmp_path / "scene.npz")
    savemat(tmp_path / "scene.mat", {"cube": CUBE}, do_compression=True)
    content = bytearray((tmp_path / "scene.mat").read_bytes())
    inner = bytearray(zlib.decompress(content[136:]))
    sizes = inner.index(struct.pack("<3i", *CUBE.shape))
    inner[sizes:sizes + 12] = struct.pack("<3i", 10**4, 10**4, 10**4)
    packed = zlib.compress(inner)
    (tmp_path / "scene.mat").write_bytes(content[:132] + struct.pack("<I", len(packed)) + packed)
    with pytest.raises(DataError, match="the array 'cube' would take 931.3 GB"):
        open_cube(tmp_path / "scene.mat")


@pytest.mark.parametrize("compressed", [False, True])
def test_the_size_of_packed_variables_is_what_they_unpack_to(tmp_path: Path, compressed: bool) -> None:
    file = tmp_path / "scene.mat"
    savemat(file, {"a": np.zeros(3), "cube": CUBE, "b": np.zeros((50, 50))}, do_compression=compressed)
    found = matlab._unpacked(file)
    assert 20_000 < found < 20_200 if compressed else found == 0
    savemat(file, {"cube": CUBE[..., 0]}, format="4")
    assert matlab._unpacked(file) == 0


def test_class_names_in_a_matrix_of_characters_have_no_padding(tmp_path: Path) -> None:
    savemat(tmp_path / "scene.mat", {"labels": LABELS, "class_names": np.array(["skin ", "fat  "])})
    assert read_labels(tmp_path / "scene.mat").classes == ("skin", "fat")


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_python_objects_are_refused(tmp_path: Path, suffix: str) -> None:
    file, objects = tmp_path / f"scene{suffix}", np.empty((2, 2, 2), object)
    np.save(file, objects) if suffix == ".npy" else np.savez(file, cube=objects)
    message = "the file holds Python objects" if suffix == ".npy" else "no array with 3 axes"
    with pytest.raises(DataError, match=message):
        open_cube(file)


def test_fortran_order_of_npy_is_kept_apart(tmp_path: Path) -> None:
    np.save(tmp_path / "scene.npy", np.asfortranarray(CUBE))
    cube = open_cube(tmp_path / "scene.npy")
    assert isinstance(cube.values, np.memmap) and np.array_equal(cube.values, CUBE)
