"""The verbs on hyperspectral cubes as a user types them: what they print, write and refuse, and their exit codes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundles import linear_bundle
from excite.cli.main import main
from excite.cli.scenes import is_for_scenes, task_of
from excite.data.scenes.envi import read_envi
from excite.data.scenes.label_files import read_labels
from excite.deploy.scene_predictor import ScenePredictor
from excite.jobs.scenes.finish import LABELS
from small_scenes import small_scene

pytestmark = pytest.mark.slow
OPTIONS = ("--window", "9", "--epochs", "1", "--batch-size", "64", "--threads", "1", "--set", "split.block=8", "--set",
           "loop.precision=float32", "--set", "reduction.components=13", "--set", "loop.ema=0.5", "--set",
           "split.train=0.4")
Excite = Callable[..., tuple[int, str, str]]


@pytest.fixture
def excite(capsys: pytest.CaptureFixture[str]) -> Excite:
    """Run the command line in this process; return its exit code and what it wrote."""
    def run(*arguments: object) -> tuple[int, str, str]:
        capsys.readouterr()
        with pytest.raises(SystemExit) as done:
            main([str(one) for one in arguments])
        return int(done.value.code or 0), *capsys.readouterr()

    return run


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a simulated scene in `scene`, another in `other` and a trained run in `run`."""
    folder = tmp_path_factory.mktemp("scenes")
    small_scene(folder / "scene")
    small_scene(folder / "other", seed=6, height=20)
    with pytest.raises(SystemExit) as done:
        main(["train", str(folder / "scene"), "--out", str(folder / "run"), "--set", "baselines=[svm]", *OPTIONS])
    assert done.value.code == 0
    return folder


def test_training_again_tells_the_finished_run_in_words_and_in_json(folder: Path, excite: Excite) -> None:
    asked = ("train", folder / "scene", "--out", folder / "run", "--set", "baselines=[svm]", *OPTIONS)
    code, out, err = excite(*asked, "--json", "--no-images")
    tree = json.loads(out)
    assert code == 0 and tree["run"] == str(folder / "run") and tree["epochs"] == 1
    assert set(tree["baselines"]) == {"SVM on spectra"} and 0.5 < tree["metrics"]["accuracy"]["value"] <= 1
    assert f"resuming {folder / 'run'}" in err
    assert f"next: excite predict {folder / 'run'} CUBE --out map.png" in err
    assert "data:image" not in (folder / "run" / "report.html").read_text(encoding="utf-8")
    code, out, err = excite(*asked, "--seed", "7")
    assert (code, out) == (2, "") and "this run began with another config: seed: 42 -> 7" in err


def test_a_cube_is_mapped(folder: Path, excite: Excite, tmp_path: Path) -> None:
    code, out, err = excite("predict", folder / "run", folder / "scene" / "cube.hdr", "--out", tmp_path / "map.hdr",
                            "--threads", 1)
    assert code == 0, err
    expected = read_labels(folder / "run" / LABELS).values
    assert (read_labels(tmp_path / "map.hdr").values == expected).all()
    classes = ScenePredictor(folder / "run").info.classes
    told = ", ".join(f"{name} {(expected == place + 1).sum():,}" for place, name in enumerate(classes))
    assert out.startswith(f"{folder / 'scene' / 'cube.hdr'}: {told} pixels, ")
    assert f"written: {tmp_path / 'map.hdr'}" in err and "WARNING" not in err
    cube = folder / "scene" / "cube.hdr"
    assert f"next: excite evaluate {folder / 'run'} --data {cube} --labels LABELS" in err


def test_several_cubes_are_lines_of_json_and_one_that_fails_does_not_stop_the_rest(folder: Path, excite: Excite,
                                                                                 tmp_path: Path) -> None:
    np.save(tmp_path / "narrow.npy", np.ones((5, 5, 3), np.float32))
    cubes = [folder / "scene" / "cube.hdr", tmp_path / "narrow.npy", folder / "other" / "cube.hdr"]
    code, out, err = excite("predict", folder / "run", *cubes, "--json")
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert code == 3 and [line["file"] for line in lines] == [str(one) for one in cubes]
    assert "the network was trained on 24 bands, the cube has 3" in lines[1]["error"]
    assert [sum(lines[place]["pixels"].values()) for place in (0, 2)] == [40 * 44, 20 * 44]
    assert all(lines[place]["notes"] == [] for place in (0, 2))
    assert "1 of 3 cubes could not be used" in err
    code, out, err = excite("predict", folder / "run", cubes[1])
    assert (code, out) == (3, "") and "the cube has 3" in err and "narrow.npy" in err
    code, out, err = excite("predict", folder / "run", *cubes[1:])
    assert code == 3 and out.startswith(str(cubes[2])) and "failed: " in err


@pytest.mark.parametrize(("arguments", "code", "message"), [
    (("train", "scene", "--size", "64"), 2, "--size must be left out here: for images only"),
    (("train", "scene", "--dry-run", "--budget", "3m"), 2, "--budget, --dry-run must be left out here: for images"),
    (("train", "scene", "--frozen-features"), 2, "--frozen-features must be left out here: for images only"),
    (("train", "table.csv", "--window", "9"), 2, "--window must be left out here: for a hyperspectral cube only"),
    (("train", "gone.npy", "--window", "9"), 3, "gone.npy"),
    (("train", "scene", "--window", "7"), 2, "window must be at least 9 for hybridsn, got 7"),
    (("train", "scene", "--window", "0"), 2, "window: Input should be greater than or equal to 1, got 0"),
    (("train", "scene", "--set", "splt.kind=random"), 2, "did you mean 'split'"),
    (("train", "scene/cube.hdr", "--labels", "gone.png"), 3, "the file does not exist"),
    (("train", "scene", "--config", "images.yaml"), 3, "scene"),
    (("train", "--config", "scene.yaml"), 2, "no cube is given"),
    (("predict", "run", "scene/cube.hdr", "--masks", "m"), 2, "--masks must be left out here: for images only"),
    (("predict", "run", "scene/cube.hdr", "--batch-size", "4"), 2, "--batch-size must be left out here: for images"),
    (("predict", "run", "scene/cube.hdr", "other/cube.hdr", "--out", "m.png"), 2, "--out must be a folder for several"),
    (("predict", "run", "scene", "--confidence", "m.npy"), 2, "--confidence must be a folder for several cubes, got m"),
    (("predict", "run", "scene/cube.hdr", "scene/cube.img", "--out", "maps"), 2, "two cubes would have the same map"),
    (("predict", "run", "run/checkpoints"), 3, "the folder holds no cube"),
    (("predict", "run", "scene/cube.hdr", "--white", "w.npy"), 2, "--white and --dark must be given together"),
    (("predict", "run", "scene/cube.hdr", "--drop-bands", "4-2"), 2, "--drop-bands must be numbers and runs of them"),
    (("predict", "run", "scene/cube.hdr", "--no-data", "none"), 2, "--no-data must be a number or nan, got 'none'"),
    (("predict", "run", "scene/cube.hdr", "--variable", "x"), 2, "variable 'x' cannot be chosen"),
    (("predict", "images", "a.png", "--confidence", "c.npy"), 2, "--confidence must be left out here: for hyper"),
    (("predict", "images", "a.png", "--white", "w", "--no-data", "0"), 2, "--no-data, --white must be left out here"),
    (("predict", "gone", "a.npy", "--confidence", "c.npy"), 4, "the bundle does not exist"),
    (("evaluate", "run", "--views", "one", "--tolerance", "1"), 2, "--views, --tolerance must be left out here: for i"),
    (("evaluate", "run", "--patient-col", "p"), 2, "--patient-col must be left out here: for images only"),
    (("evaluate", "run", "--labels", "x", "--drop-bands", "0"), 2, "--labels, --drop-bands must be left out here: for "
                                                                    "--data only"),
    (("evaluate", "run/bundle"), 2, "a bundle has no scene of its own"),
    (("evaluate", "run", "--split", "all"), 2, "split must be train, val, test, got 'all'"),
    (("evaluate", "run/bundle", "--data", "other", "--maps"), 2, "maps must have a folder"),
    (("evaluate", "run/bundle", "--data", "other/cube.hdr", "--labels", "other/cube_labels.hdr", "--classes", "a,b,c"),
     3, "labels that the network does not know: 'a'"),
    (("evaluate", "images", "--maps", "--block", "4"), 2, "--block, --maps must be left out here: for hyperspectral"),
    (("export", "run/bundle", "--out", "run"), 2, "the folder holds other files and no bundle"),
    (("predict", "run", "scene/cube.hdr", "--out", "m.csv"), 2, "a label map must end in .png, .npy, .mat, .hdr"),
    (("predict", "run", "gone.hdr"), 3, "the file does not exist"),
    (("predict", "run", "cube.tif"), 3, "convert it to ENVI (gdal_translate -of ENVI "),
    (("train", "cube.tif", "--labels", "scene/cube_labels.hdr"), 3, "cubes are not read from .tif files"),
    (("train", "cube.tif"), 3, "cubes are not read from .tif files"),
    (("evaluate", "run", "--data", "cube.tif"), 3, "cubes are not read from .tif files"),
    (("predict", "run", "table.csv"), 3, "the table has no column cube"),
    (("train", "scene", "--set", "scene.drop_bands=3-1"), 2, "scene.drop_bands: must be numbers and runs of them"),
    (("predict", "run", "scene/cube.hdr", "--out", "scene/cube.hdr"), 2, "the cube would be overwritten"),
])
def test_what_cannot_be_is_one_message_and_its_exit_code(folder: Path, excite: Excite, monkeypatch: pytest.MonkeyPatch,
                                                         arguments: tuple[str, ...], code: int, message: str) -> None:
    monkeypatch.chdir(folder)
    Path("table.csv").write_text("image,label\na.png,x\n", encoding="utf-8")
    Path("images.yaml").write_text("data: {}\n", encoding="utf-8")
    Path("scene.yaml").write_text("task: scene\n", encoding="utf-8")
    Path("cube.tif").touch()
    if not Path("images").exists():
        linear_bundle(Path("images"))
    found, out, err = excite(*arguments)
    assert found == code and message in err and not out, err
    assert "Traceback" not in err and not Path("runs").exists()


def test_what_a_training_is_for_is_told_by_its_file_or_config(folder: Path, tmp_path: Path) -> None:
    for text, expected in (("task: scene\n", True), ("scene: {}\n", True), ("task: heads\n", False),
                           ("data: {}\n", False), ("seed: 1\n", None)):
        file = tmp_path / "a.yaml"
        file.write_text(text, encoding="utf-8")
        assert is_for_scenes(folder / "scene", file) is (True if expected is None else expected), text
        assert is_for_scenes(Path("a.csv"), file) is bool(expected), text
    assert is_for_scenes(folder / "scene" / "cube.hdr", None) and not is_for_scenes(None, None)
    assert not is_for_scenes(folder / "run", None)


def test_a_bundle_is_for_scenes_or_it_is_left_to_who_opens_it(folder: Path, tmp_path: Path) -> None:
    assert task_of(folder / "run") == task_of(folder / "run" / "bundle") == "scene"
    assert task_of(linear_bundle(tmp_path / "images")) == "classification" and task_of(tmp_path / "gone") is None


def test_a_folder_of_cubes_is_mapped_into_a_folder(folder: Path, excite: Excite, tmp_path: Path) -> None:
    code, out, err = excite("predict", folder / "run", folder / "scene", folder / "other", "--out", tmp_path / "maps",
                            "--confidence", tmp_path / "sure", "--threads", 1)
    assert code == 0 and len(out.splitlines()) == 2, err
    assert sorted(file.name for file in (tmp_path / "maps").iterdir()) == [
        "other_cube.hdr", "other_cube.img", "scene_cube.hdr", "scene_cube.img"]
    for name in ("scene", "other"):
        expected = ScenePredictor(folder / "run", threads=1)(read_envi(folder / name / "cube.hdr"))
        assert (read_labels(tmp_path / "maps" / f"{name}_cube.hdr").values == expected.labels).all()
        assert (np.load(tmp_path / "sure" / f"{name}_cube-confidence.npy") == expected.confidence).all()
    one = folder / "other" / "cube.hdr"
    assert excite("predict", folder / "run", one, "--out", tmp_path / "one")[0] == 0
    assert (tmp_path / "one" / "cube.hdr").is_file()


def test_the_cubes_of_a_table_are_mapped_into_a_folder(folder: Path, excite: Excite, tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("cube,labels\n" + "".join(f"{folder / name / 'cube.hdr'},{folder / name / 'cube_labels.hdr'}\n"
                                               for name in ("scene", "other")), encoding="utf-8")
    code, out, err = excite("predict", folder / "run", table, "--out", tmp_path / "maps", "--threads", 1)
    assert code == 0 and len(out.splitlines()) == 2, err
    assert {file.name for file in (tmp_path / "maps").glob("*.hdr")} == {"other_cube.hdr", "scene_cube.hdr"}


def test_labels_beside_a_cube_are_found_whatever_else_is_asked(folder: Path, excite: Excite, tmp_path: Path) -> None:
    code, out, err = excite("evaluate", folder / "run", "--data", folder / "other" / "cube.hdr", "--no-data", "-1",
                            "--classes", ",".join(ScenePredictor(folder / "run").info.classes), "--out", tmp_path)
    assert code == 0 and "812 pixels" in out, err


def test_how_a_cube_is_read_is_an_option_and_what_is_odd_is_told(folder: Path, excite: Excite, tmp_path: Path) -> None:
    values = np.array(read_envi(folder / "other" / "cube.hdr").values)
    wide = np.insert(values * 100 + 7, [0, 24], 55.0, axis=2)
    wide[0, 0] = -1
    np.savez(tmp_path / "raw.npz", cube=wide, more=wide[:3])
    np.save(tmp_path / "white.npy", np.full((2, values.shape[1], 26), 107.0))
    np.save(tmp_path / "dark.npy", np.full((2, values.shape[1], 26), 7.0))
    asked = ("predict", folder / "run", tmp_path / "raw.npz", "--variable", "cube", "--drop-bands", "0,25-25",
             "--no-data", "-1", "--out", tmp_path / "map.npy")
    code, out, err = excite(*asked, "--white", tmp_path / "white.npy", "--dark", tmp_path / "dark.npy", "--json")
    assert code == 0 and json.loads(out)["without_data"] == 1, err
    expected = ScenePredictor(folder / "run", threads=1)(values).labels
    assert (np.load(tmp_path / "map.npy") != expected).mean() < 0.1  # near the gap windows see another value
    assert "note: bands dropped as asked: 0, 25" in err and "WARNING" not in err
    code, out, err = excite(*asked)
    assert code == 0 and "WARNING: the mean value of the cube is " in err


def test_a_run_that_has_not_ended_is_told(folder: Path, excite: Excite, tmp_path: Path) -> None:
    run = Path(shutil.copytree(folder / "run", tmp_path / "run"))
    (run / "report.html").unlink()
    for place in (run, run / "bundle"):
        code, _, err = excite("predict", place, folder / "other" / "cube.hdr")
        assert code == 0 and err.startswith("WARNING: this run has not ended (it has no report): what is settled last, "
                                            "such as the temperature, may be missing; resume it with the excite train")


def test_a_run_is_measured_again(folder: Path, excite: Excite, tmp_path: Path) -> None:
    before = json.loads((folder / "run" / "evaluation.json").read_text(encoding="utf-8"))
    code, out, err = excite("evaluate", folder / "run", "--json", "--threads", 1, "--out", tmp_path / "out")
    assert code == 0 and json.loads(out) == before
    assert f"written: {tmp_path / 'out' / 'evaluation.json'}" in err and f"next: open {folder / 'run'}" in err
    code, out, _ = excite("evaluate", folder / "run", "--out", tmp_path / "out")
    assert code == 0 and out.startswith(f"test: {before['n']} pixels, {before['n_units']} units (spatial block), 95 %")


def test_another_scene_is_measured(folder: Path, excite: Excite, tmp_path: Path) -> None:
    labels = folder / "other" / "cube_labels.hdr"
    code, out, err = excite("evaluate", folder / "run" / "bundle", "--data", folder / "other" / "cube.hdr", "--labels",
                            labels, "--block", 10, "--maps", "--out", tmp_path / "out", "--resamples", 50)
    assert code == 0 and out.startswith(f"cube: {np.count_nonzero(read_labels(labels).values)} pixels, 8 units"), err
    assert "units are blocks of at least 10 x 10 pixels" in out
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"evaluation.json", "prediction.png", "errors.png"}
    assert f"next: excite predict {folder / 'run' / 'bundle'} CUBE --out map.png" in err
    np.save(tmp_path / "gt.npy", read_labels(labels).values)
    names = ",".join(read_labels(labels).classes)
    code, again, _ = excite("evaluate", folder / "run" / "bundle", "--data", folder / "other" / "cube.hdr", "--labels",
                            tmp_path / "gt.npy", "--classes", names, "--block", 10, "--resamples", 50)
    assert code == 0 and again.split("note:")[0] == out.split("note:")[0]


def test_a_run_is_exported_again(folder: Path, excite: Excite, tmp_path: Path) -> None:
    code, out, err = excite("export", folder / "run", "--out", tmp_path / "model", "--images", 5)
    assert code == 0 and out == f"bundle: {tmp_path / 'model'}\n" and "parity: " in err, err
    assert f"next: excite predict {tmp_path / 'model'} CUBE" in err


def test_repeats_are_told_together(folder: Path, excite: Excite, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    class Twice:
        def summary(self) -> dict[str, int]:
            return {"repeats": 2}

        def text(self) -> str:
            return "2 trainings"

    def repeated(config: Any, **given: Any) -> Twice:
        seen.append((config.repeats, config.scene.labels, given["out"], given["images"]))
        return Twice()

    monkeypatch.setattr("excite.jobs.scenes.repeats.repeat_scene", repeated)
    labels = folder / "scene" / "cube_labels.hdr"
    asked = ("train", folder / "scene" / "cube.hdr", "--labels", labels, "--out", "two", "--repeats", 2, "--no-images")
    assert excite(*asked)[:2] == (0, "2 trainings\n")
    code, out, _ = excite(*asked, "--json")
    assert (code, json.loads(out)) == (0, {"repeats": 2})
    assert seen == [(2, labels, Path("two"), False)] * 2
