"""Scenes by their usual names, and four real ones: a cube in the wrong order is seen by its spectra."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.io import loadmat, savemat

from excite.data.scenes.envi import write_envi
from excite.data.scenes.label_files import write_labels
from excite.data.scenes.public import SCENES, public_scene
from excite.data.scenes.reading import open_cube
from excite.data.scenes.scene import Scene, find_scene, open_scene
from excite.errors import DataError, UsageError

CUBE = np.random.default_rng(2).integers(1, 99, (6, 5, 4)).astype(np.uint16)
LABELS = np.tile(np.arange(5, dtype=np.uint8), (6, 1))
# Classes and class names at either end, as the public listing has them.
LISTED = {"Indian_pines_gt": (16, "Alfalfa", "Stone-Steel-Towers"), "PaviaU_gt": (9, "Asphalt", "Shadows"),
          "Pavia_gt": (9, "Water", "Bare Soil"),
          "Salinas_gt": (16, "Brocoli_green_weeds_1", "Vinyard_vertical_trellis"),
          "KSC_gt": (13, "Scrub", "Water"), "Botswana_gt": (14, "Water", "Exposed soils")}
AGREEMENT = {"jasper": 0.91, "samson": 0.91, "moffett": 0.98, "muufl_crop": 0.86}
COUNTS = {"jasper": (3493, 3326, 2428, 753), "samson": (3015, 3666, 2344), "moffett": (1409, 812, 279),
          "muufl_crop": (1565, 1938, 1196, 2255, 1146)}


def plant(folder: Path, cube: str, labels: str) -> Path:
    savemat(folder / f"{cube}.mat", {cube: CUBE})
    savemat(folder / f"{labels}.mat", {labels: LABELS})
    return folder / f"{cube}.mat"


def agreement(cube: np.ndarray, labels: np.ndarray) -> float:
    """Return the share of pixels whose nearest class mean is that of their own class."""
    pixels, classes = cube.reshape(-1, cube.shape[-1]).astype(np.float64), labels.ravel()
    means = np.stack([pixels[classes == label].mean(0) for label in np.unique(classes)])
    nearest = ((pixels[:, None] - means) ** 2).sum(2).argmin(1)
    return float((np.unique(classes)[nearest] == classes).mean())


@pytest.mark.parametrize(("cube", "labels"), [
    ("Indian_pines_corrected", "Indian_pines_gt"), ("PaviaU", "PaviaU_gt"), ("Pavia", "Pavia_gt"),
    ("Salinas_corrected", "Salinas_gt"), ("KSC", "KSC_gt"), ("Botswana", "Botswana_gt")])
def test_public_scenes_by_their_names(tmp_path: Path, cube: str, labels: str) -> None:
    file = plant(tmp_path, cube, labels)
    for scene in (find_scene(file), find_scene(tmp_path), open_scene(file, tmp_path / f"{labels}.mat")):
        count, first, last = LISTED[labels]
        assert (len(scene.labels.classes), scene.labels.classes[0], scene.labels.classes[-1]) == (count, first, last)
        assert np.array_equal(scene.cube.values, CUBE) and np.array_equal(scene.labels.values, LABELS)
        assert any("papers print other orders" in note for note in scene.notes) == (cube == "Pavia")
        assert any(f"no pixel has label 5 to {count}" in note for note in scene.notes)


def test_every_public_scene_is_here_once() -> None:
    assert {scene.labels for scene in SCENES} == {name.lower() for name in LISTED}
    assert all(len(set(scene.classes)) == len(scene.classes) for scene in SCENES)
    assert public_scene(Path("other_gt.mat")) is None


def test_files_of_ones_own(tmp_path: Path) -> None:
    np.save(tmp_path / "field.npy", CUBE)
    np.save(tmp_path / "field_labels.npy", LABELS)
    scene = find_scene(tmp_path / "field.npy")
    assert scene.name == "field" and scene.labels.classes == ("class 1", "class 2", "class 3", "class 4")
    savemat(tmp_path / "both.mat", {"a": CUBE, "b": LABELS})
    both = open_scene(tmp_path / "both.mat", tmp_path / "both.mat", classes="wxyz", drop_bands=[0])
    assert both.labels.classes == tuple("wxyz") and np.array_equal(both.cube.values, CUBE[:, :, 1:])


def test_a_folder_without_a_scene_is_told_in_brief(tmp_path: Path) -> None:
    for number in range(12):
        np.save(tmp_path / f"{number:02d}.npy", CUBE)
    with pytest.raises(DataError, match=r"no cube with labels \(the folder has 00.npy, .*, 09.npy and 2 more\)"):
        find_scene(tmp_path)


def test_labels_beside_a_cube_are_found_however_it_is_read(tmp_path: Path) -> None:
    values = np.concatenate([CUBE.astype(np.float32), np.full((*LABELS.shape, 1), np.nan, np.float32)], axis=2)
    savemat(tmp_path / "a.mat", {"x": values, "y": np.zeros_like(values)})
    savemat(tmp_path / "a_gt.mat", {"one": LABELS, "two": np.zeros_like(LABELS)})
    bands = CUBE.shape[2]
    np.save(tmp_path / "white.npy", np.full((1, LABELS.shape[1], bands + 1), 3.0))
    np.save(tmp_path / "dark.npy", np.full((1, LABELS.shape[1], bands + 1), 1.0))
    options: dict[str, Any] = {
        "variable": "x", "label_variable": "one", "drop_bands": [bands], "classes": ["a", "b", "c", "d"], "no_data": -1,
        "white": tmp_path / "white.npy", "dark": tmp_path / "dark.npy", "wavelengths": range(500, 501 + bands)}
    for path in (tmp_path / "a.mat", tmp_path):
        scene = find_scene(path, **options)
        np.testing.assert_allclose(scene.cube.values, (CUBE - 1.0) / 2, rtol=1e-6)
        assert np.array_equal(scene.labels.values, LABELS) and scene.labels.classes == tuple("abcd")
        assert scene.cube.wavelengths == tuple(range(500, 500 + bands))


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64])
def test_a_cube_that_is_called_like_labels_has_its_own(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "float_labels.npy", CUBE)
    np.save(tmp_path / "float_labels_gt.npy", LABELS.astype(kind))
    for path in (tmp_path / "float_labels.npy", tmp_path):
        scene = find_scene(path)
        assert np.array_equal(scene.labels.values, LABELS) and np.array_equal(scene.cube.values, CUBE)
    np.save(tmp_path / "float_labels_gt.npy", LABELS + 0.5)
    with pytest.raises(DataError, match="float_labels_gt.npy: labels must be whole numbers, 30 of 30 are not"):
        find_scene(tmp_path / "float_labels.npy")


@pytest.mark.parametrize("suffix", [".tif", ".TIFF"])
def test_a_tif_cube_is_refused_with_what_to_do(tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"a{suffix}"
    file.touch()
    np.save(tmp_path / "a_gt.npy", LABELS)
    for read in (find_scene, open_cube, lambda path: open_scene(path, tmp_path / "a_gt.npy")):
        with pytest.raises(DataError, match=f"hyperspectral cubes are not read from {suffix.lower()} files; convert it "
                                            r"to ENVI \(gdal_translate -of ENVI IN.tif OUT.img\), or save its array "
                                            r"\(rows, columns, bands\) as .npy or .mat"):
            read(file)


def test_an_envi_pair_is_one_scene(tmp_path: Path) -> None:
    write_envi(tmp_path / "field.hdr", CUBE)
    np.save(tmp_path / "labels.npy", LABELS)
    scene = open_scene(tmp_path / "field.img", tmp_path / "labels.npy")
    write_labels(tmp_path / "field_gt.dat", scene.labels)
    again = find_scene(tmp_path)
    assert np.array_equal(again.labels.values, LABELS) and np.array_equal(again.cube.values, CUBE)


def test_ambiguous_and_missing_scenes_list_what_was_found(tmp_path: Path) -> None:
    plant(tmp_path, "PaviaU", "PaviaU_gt")
    plant(tmp_path, "KSC", "KSC_gt")
    with pytest.raises(DataError) as caught:
        find_scene(tmp_path)
    assert str(caught.value) == (f"{tmp_path}: 2 scenes could be meant (KSC.mat with KSC_gt.mat; PaviaU.mat with "
                                 "PaviaU_gt.mat); name both files of one")
    assert find_scene(tmp_path / "KSC.mat").name == "Kennedy Space Center"
    (tmp_path / "KSC_gt.mat").rename(tmp_path / "truth.mat")
    with pytest.raises(DataError, match=r"no labels for the cube \(none of KSC_gt, KSC_labels, KSC_label, "
                                        r"KSC_groundtruth, KSC_ground_truth lies beside it\); name both files, or call "
                                        r"the labels as the cube with _gt"):
        find_scene(tmp_path / "KSC.mat")
    (tmp_path / "KSC_gt.csv").touch()
    with pytest.raises(DataError, match=r"no labels for the cube \(KSC_gt.csv lies beside it, and labels are read from "
                                        r".mat, .npy, .npz, .png, "):
        find_scene(tmp_path / "KSC.mat")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"no cube with labels \(the folder has no file of a known kind\)"):
        find_scene(tmp_path / "empty")
    with pytest.raises(DataError, match="there is no such file or folder"):
        find_scene(tmp_path / "none")
    with pytest.raises(UsageError, match=r"the labels must be named \(the file holds no abundances\)"):
        open_scene(tmp_path / "KSC.mat")
    with pytest.raises(UsageError, match=r"the labels must be named \(the array KSC of the file is asked for, not its "
                                         r"abundances\); name the label file too: --labels, or scene.labels"):
        open_scene(tmp_path / "KSC.mat", variable="KSC")
    with pytest.raises(UsageError, match="purest is for abundances"):
        open_scene(tmp_path / "KSC.mat", tmp_path / "truth.mat", purest=0.9)


def test_a_pair_that_does_not_fit(tmp_path: Path) -> None:
    file = plant(tmp_path, "KSC", "KSC_gt")
    savemat(tmp_path / "KSC_gt.mat", {"KSC_gt": LABELS.T})
    with pytest.raises(DataError, match=r"the cube has 6 x 5 pixels, the labels 5 x 6 .*transpose would fit"):
        find_scene(file)


def test_labelled_pixels_without_data_are_unlabelled(tmp_path: Path) -> None:
    values = CUBE.astype(np.float32)
    values[0, 1], values[0, 0] = np.nan, np.nan  # one labelled, one not
    np.save(tmp_path / "a.npy", values)
    np.save(tmp_path / "a_gt.npy", LABELS)
    with pytest.raises(DataError, match="2 of 30 pixels hold NaN"):
        find_scene(tmp_path)
    scene = open_scene(tmp_path / "a.npy", tmp_path / "a_gt.npy", no_data="nan")
    assert scene.labels.values[0].tolist() == [0, 0, 2, 3, 4]
    assert scene.notes == ("2 of 30 pixels hold no data (no_data is nan)", "1 labelled pixels hold no data: unlabelled")


def test_pixels_down_the_columns(tmp_path: Path) -> None:
    shares = np.eye(5)[LABELS]
    savemat(tmp_path / "a.mat", {"Y": CUBE.reshape(30, 4, order="F").T, "S_GT": shares})
    scene = find_scene(tmp_path)
    assert np.array_equal(scene.cube.values, CUBE) and np.array_equal(scene.labels.values, LABELS + 1)
    assert "the file gives its classes no names" in scene.notes
    savemat(tmp_path / "a.mat", {"Y": CUBE.reshape(30, 4).T[:, 1:], "S_GT": shares})
    with pytest.raises(DataError, match=r"Y has shape \(4, 29\), the abundances are of 6 x 5 pixels"):
        find_scene(tmp_path)


@pytest.mark.real
@pytest.mark.parametrize("name", AGREEMENT)
def test_real_scenes(real_data: Path, name: str) -> None:
    scene = find_scene(real_data / "hsi" / f"{name}.mat")
    raw = loadmat(real_data / "hsi" / f"{name}.mat")
    assert isinstance(scene, Scene) and scene.labels.counts.tolist() == list(COUNTS[name])
    assert scene.cube.values.dtype == raw["Y"].dtype
    assert agreement(scene.cube.values, scene.labels.values) == pytest.approx(AGREEMENT[name], abs=0.005)
    if raw["Y"].ndim == 2:  # the planted failure: rows for columns
        wrong = raw["Y"].T.reshape(*scene.cube.shape, -1)
        assert agreement(wrong, scene.labels.values) < 0.5
        assert len(scene.labels.classes) == raw["S_GT"].shape[2] and "class 1" not in scene.labels.classes
    kept = find_scene(real_data / "hsi" / f"{name}.mat", purest=0.9).labels.counts.sum()
    assert 0.405 <= kept / scene.labels.values.size <= 0.685  # 32 to 59 % of the pixels are mixed


@pytest.mark.real
def test_a_folder_of_real_scenes_is_ambiguous(real_data: Path) -> None:
    with pytest.raises(DataError, match="4 scenes could be meant .jasper.mat; moffett.mat; muufl_crop.mat; samson.mat"):
        find_scene(real_data / "hsi")
