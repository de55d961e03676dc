"""Folders of cubes, and one map a cube: nothing that is no cube is mapped, no map overwrites another."""

from pathlib import Path

import numpy as np
import pytest

from excite.data.phantom.hyperspectral import simulate_tissue
from excite.data.scenes.label_files import write_labels
from excite.data.scenes.labels import LabelMap
from excite.errors import DataError, UsageError
from excite.jobs.scenes.files import cubes_of, maps_of


def test_of_a_folder_its_cubes_are_taken_and_nothing_else(tmp_path: Path) -> None:
    simulate_tissue(tmp_path, patients=2, cubes=1, height=9, width=8, bands=5, classes=2, seed=1)
    cubes = [tmp_path / name / "cube.hdr" for name in ("P001_01", "P002_01")]
    assert {file.name for file in cubes[0].parent.iterdir()} >= {"abundances.npy", "cube_labels.hdr", "cube.img"}
    whole = LabelMap(values=np.ones((9, 8), np.int32), classes=("a", "b"), source="x")
    write_labels(tmp_path / "maps.hdr", whole)
    np.save(tmp_path / "sure.npy", np.ones((9, 8), np.float32))
    np.save(tmp_path / "z.npy", np.ones((9, 8, 5), np.float32))
    (tmp_path / "damaged.npy").write_bytes(b"no array")
    (tmp_path / ".hidden.npy").touch()
    (tmp_path / "empty.npy").touch()
    np.savez(tmp_path / "zipped.npz", x=np.ones((2, 2, 2)))
    (tmp_path / "zipped.npz").rename(tmp_path / "zipped.npy")
    assert cubes_of([tmp_path]) == [*cubes, *(tmp_path / f"{name}.npy" for name in ("damaged", "empty", "z", "zipped"))]
    assert cubes_of([str(cubes[1]), tmp_path / "gone.hdr", tmp_path / "P001_01"]) == [
        cubes[1], tmp_path / "gone.hdr", cubes[0]]


def test_of_a_table_every_cube_is_taken(tmp_path: Path) -> None:
    table = simulate_tissue(tmp_path / "t", patients=2, cubes=1, height=9, width=8, bands=5, classes=2, seed=1)
    cubes = [tmp_path / "t" / name / "cube.hdr" for name in ("P001_01", "P002_01")]
    assert cubes_of([table, tmp_path / "z.npy"]) == [*cubes, tmp_path / "z.npy"]
    (tmp_path / "images.csv").write_text("image,label\na.png,x\n", encoding="utf-8")
    with pytest.raises(DataError, match="images.csv: the table has no column cube and no column labels"):
        cubes_of([tmp_path / "images.csv"])


def test_a_folder_without_a_cube_is_told(tmp_path: Path) -> None:
    np.save(tmp_path / "cube_gt.npy", np.ones((4, 4), np.uint8))
    with pytest.raises(DataError, match=r"the folder holds no cube \(looked for .mat, .npy, .npz, .hdr that are no "
                                        r"labels\); name the cubes"):
        cubes_of([tmp_path])


@pytest.mark.parametrize(("cubes", "names"), [
    (["a.hdr", "b.npy"], ["a", "b"]), (["p/cube.hdr", "q/cube.hdr"], ["p_cube", "q_cube"]),
    (["p/x/cube.hdr", "q/x/cube.hdr", "r/other.hdr"], ["p_x_cube", "q_x_cube", None]),
    (["p/Cube.hdr", "q/cube.hdr"], ["p_Cube", "q_cube"]), (["sc.ene.hdr"], ["sc.ene"])])
def test_each_cube_has_a_map_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cubes: list[str],
                                        names: list[str | None]) -> None:
    monkeypatch.chdir(tmp_path)
    found = maps_of([Path(one) for one in cubes], Path("maps"), ".hdr")
    assert len({str(file).casefold() for file in found}) == len(cubes)
    for file, name in zip(found, names, strict=True):
        assert file.parent == Path("maps") and (name is None or file.name == f"{name}.hdr")


@pytest.mark.parametrize("cubes", [["a.hdr", "a.hdr"], ["a.hdr", "./x/../a.img"], ["a.npy", "b.npy", "a.mat"]])
def test_a_map_that_would_be_overwritten_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                    cubes: list[str]) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UsageError, match="a.*: two cubes would have the same map; name each cube once"):
        maps_of([Path(one) for one in cubes], Path("maps"), ".hdr")
