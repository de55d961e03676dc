"""A cube mapped to files: what they hold, where on earth they lie, and what is never overwritten."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from excite.data.scenes.cube import Cube
from excite.data.scenes.envi import read_envi, write_envi
from excite.data.scenes.label_files import read_labels
from excite.deploy.bundle import update_bundle
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import DataError, EnvironmentFault, UsageError
from excite.jobs.scenes.predict import map_scene
from scene_bundles import CLASSES, cube, network, scene_bundle

pytestmark = pytest.mark.slow
PLACE = "{UTM, 1, 1, 500000, 4400000, 20, 20, 16, North, WGS-84}"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return scene_bundle(tmp_path_factory.mktemp("bundle") / "b", network(9), window=9)


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    """A cube on earth, with a corner without data."""
    values = cube()
    values[:2, :3] = -99
    write_envi(tmp_path / "scene.hdr", values, {"map info": PLACE, "data ignore value": -99})
    return tmp_path / "scene.hdr"


@pytest.mark.parametrize("suffix", [".png", ".npy", ".mat", ".hdr"])
def test_the_map_is_what_the_bundle_predicts(bundle: Path, scene: Path, suffix: str) -> None:
    out, sure = scene.parent / "maps" / f"map{suffix}", scene.parent / "maps" / "sure.npy"
    found = map_scene(bundle, scene, out=out, confidence=sure, threads=1)
    valid = np.ones((21, 17), bool)
    valid[:2, :3] = False
    expected = ScenePredictor(bundle, threads=1)(Cube(values=cube(), source="x", valid=valid))
    written = read_labels(out)
    np.testing.assert_array_equal(written.values, expected.labels)
    np.testing.assert_array_equal(np.load(sure), expected.confidence)
    assert suffix in (".png", ".npy") or written.classes == CLASSES
    assert (found.labels, found.confidence, found.without_data) == (str(out), str(sure), 6)
    assert found.pixels == {name: int((expected.labels == place + 1).sum()) for place, name in enumerate(CLASSES)}
    assert set(found.to_json()) == {"file", "labels", "confidence", "pixels", "without_data", "seconds", "notes"}
    assert found.notes == ("6 of 357 pixels hold no data (no_data is -99.0)",)
    if suffix == ".hdr":
        assert read_envi(out).header["map info"] == PLACE


def test_bands_can_be_dropped_and_gaps_named(bundle: Path, tmp_path: Path) -> None:
    values = np.concatenate([np.full((21, 17, 1), 7, np.float32), cube()], axis=2)
    values[0, 0] = np.nan
    np.savez(tmp_path / "scene.npz", other=cube(), cube=values)
    found = map_scene(bundle, tmp_path / "scene.npz", variable="cube", drop_bands=[0], no_data="nan", threads=1)
    assert found.without_data == 1 and found.labels is None and sum(found.pixels.values()) == 21 * 17 - 1
    with pytest.raises(DataError, match="the network was trained on 16 bands, the cube has 17"):
        map_scene(bundle, tmp_path / "scene.npz", variable="cube", no_data="nan")


def test_what_training_was_told_of_its_cube_holds_for_others(bundle: Path, tmp_path: Path) -> None:
    told = {"drop_bands": [0], "no_data": -5, "calibrated": True}
    taught = tmp_path / "bundle"
    shutil.copytree(bundle, taught)
    update_bundle(taught, provenance={"cube": told})
    values = np.concatenate([np.full((21, 17, 1), 7, np.float32), cube()], axis=2)
    values[4, 5] = -5
    np.save(tmp_path / "scene.npy", values)
    found = map_scene(taught, tmp_path / "scene.npy", out=tmp_path / "map.npy", threads=1)
    valid = np.ones((21, 17), bool)
    valid[4, 5] = False
    expected = ScenePredictor(bundle, threads=1)(Cube(values=cube(), source="x", valid=valid))
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), expected.labels)
    assert found.notes[:2] == ("1 of the cube's 17 bands were dropped, as in training",
                               "1 of 357 pixels hold no data (no_data is -5)")
    assert found.notes[2].startswith("WARNING: the network was trained on reflectance")
    other = map_scene(taught, tmp_path / "scene.npy", drop_bands=[0], no_data=7, threads=1)
    assert other.without_data == 0 and "as in training" not in " ".join(other.notes)


def test_bands_that_training_dropped_may_hold_anything(bundle: Path, tmp_path: Path) -> None:
    values, expected = np.insert(cube(), [0, 9], np.nan, axis=2), ScenePredictor(bundle, threads=1)(cube()).labels
    np.save(tmp_path / "scene.npy", values)
    np.save(tmp_path / "white.npy", np.ones((1, 17, 18)))
    np.save(tmp_path / "dark.npy", np.zeros((1, 17, 18)))
    with pytest.raises(DataError, match="the network was trained on 16 bands, the cube has 18"):
        map_scene(bundle, tmp_path / "scene.npy")
    taught = Path(shutil.copytree(bundle, tmp_path / "taught"))
    update_bundle(taught, provenance={"cube": {"drop_bands": [0, 10]}})
    found = map_scene(taught, tmp_path / "scene.npy", out=tmp_path / "map.npy", threads=1)
    assert found.without_data == 0 and found.notes == ("2 of the cube's 18 bands were dropped, as in training",)
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), expected)
    map_scene(taught, tmp_path / "scene.npy", out=tmp_path / "map.npy", threads=1, white=tmp_path / "white.npy",
              dark=tmp_path / "dark.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "map.npy"), expected)


@pytest.mark.parametrize(("given", "text"), [
    ({"out": "map.csv"}, "a label map must end in .png, .npy, .mat, .hdr, got map.csv"),
    ({"confidence": "sure.png"}, "a map of confidence must end in .npy, got sure.png"),
    ({"out": "scene.hdr"}, "scene.hdr: the cube would be overwritten; write to another file"),
    ({"out": "a/../scene.hdr"}, "scene.hdr: the cube would be overwritten"),
    ({"out": "one.npy", "confidence": "one.npy"}, "one.npy: one map would be overwritten"),
])
def test_what_cannot_be_written_is_refused_before_anything_is_done(bundle: Path, scene: Path, given: dict[str, Any],
                                                                   text: str) -> None:
    files = {name: scene.parent / file for name, file in given.items()}
    (scene.parent / "a").mkdir()
    for source in (scene, scene.with_suffix(".img")):
        before = {file.name: file.read_bytes() for file in scene.parent.iterdir() if file.is_file()}
        with pytest.raises(UsageError, match=text):
            map_scene(bundle, source, **files)
        assert {file.name: file.read_bytes() for file in scene.parent.iterdir() if file.is_file()} == before


def test_a_cube_is_not_overwritten_through_a_link(bundle: Path, scene: Path) -> None:
    link = scene.parent / "link.img"
    link.symlink_to(scene.with_suffix(".img"))
    before = scene.with_suffix(".img").read_bytes()
    with pytest.raises(UsageError, match="scene.img: the cube would be overwritten"):
        map_scene(bundle, scene, out=link.with_suffix(".hdr"))
    assert scene.with_suffix(".img").read_bytes() == before


def test_the_no_data_value_of_a_header_comes_before_that_of_training(bundle: Path, scene: Path, tmp_path: Path) -> None:
    taught = tmp_path / "taught"
    shutil.copytree(bundle, taught)
    update_bundle(taught, provenance={"cube": {"no_data": 0}})
    assert map_scene(taught, scene, threads=1).without_data == 6
    values = cube()
    values[0, :5] = 0
    np.save(tmp_path / "bare.npy", values)  # says nothing itself
    assert map_scene(taught, tmp_path / "bare.npy", threads=1).without_data == 5
    assert map_scene(taught, scene, no_data=-98, threads=1).without_data == 0


def test_an_array_is_not_overwritten_either(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", cube())
    with pytest.raises(UsageError, match="cube.npy: the cube would be overwritten"):
        map_scene(bundle, tmp_path / "cube.npy", confidence=tmp_path / "cube.npy")


def test_a_folder_that_cannot_be_made_is_told(bundle: Path, scene: Path) -> None:
    (scene.parent / "file").touch()
    for name, key in (("map.png", "out"), ("sure.npy", "confidence")):
        with pytest.raises(EnvironmentFault, match=f"{name}: the map cannot be written .*; make room, or name"):
            map_scene(bundle, scene, threads=1, **{key: scene.parent / "file" / name})  # type: ignore[arg-type]


def test_a_cube_that_is_not_there_is_told(bundle: Path, tmp_path: Path) -> None:
    for name in ("gone.hdr", "gone.npy", "gone"):
        with pytest.raises(DataError, match="the file does not exist"):
            map_scene(bundle, tmp_path / name)


def test_a_scene_of_one_class_is_mapped_too(bundle: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", np.tile(cube()[:1, :1], (21, 17, 1)))
    found = map_scene(bundle, tmp_path / "cube.npy", out=tmp_path / "map.png")
    assert sorted(found.pixels.values()) == [0, 0, 21 * 17]
