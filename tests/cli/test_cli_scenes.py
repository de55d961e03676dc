"""`excite train CUBE` and `excite predict RUN CUBE`: what they print, write and refuse, and their exit codes."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bundles import linear_bundle
from excite.cli.main import main
from excite.cli.scenes import is_for_scenes, is_scene_bundle
from excite.data.scenes.label_files import read_labels
from excite.deploy.scene_predictor import ScenePredictor
from excite.jobs.scene_finish import LABELS
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
    assert f"written: {tmp_path / 'map.hdr'}" in err


def test_several_cubes_are_lines_of_json_and_one_that_fails_does_not_stop_the_rest(folder: Path, excite: Excite,
                                                                                 tmp_path: Path) -> None:
    np.save(tmp_path / "narrow.npy", np.ones((5, 5, 3), np.float32))
    cubes = [folder / "scene" / "cube.hdr", tmp_path / "narrow.npy", folder / "other" / "cube.hdr"]
    code, out, err = excite("predict", folder / "run", *cubes, "--json")
    lines: list[dict[str, Any]] = [json.loads(line) for line in out.splitlines()]
    assert code == 3 and [line["file"] for line in lines] == [str(one) for one in cubes]
    assert "the network was trained on 24 bands, the cube has 3" in lines[1]["error"]
    assert [sum(lines[place]["pixels"].values()) for place in (0, 2)] == [40 * 44, 20 * 44]
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
    (("predict", "run", "scene/cube.hdr", "other/cube.hdr", "--out", "m.png"), 2, "--out must be for one cube, got 2"),
    (("predict", "run", "scene/cube.hdr", "--out", "m.csv"), 2, "a label map must end in .png, .npy, .mat, .hdr"),
    (("predict", "run", "gone.hdr"), 3, "the file does not exist"),
    (("predict", "run", "scene/cube.hdr", "--out", "scene/cube.hdr"), 2, "the cube would be overwritten"),
])
def test_what_cannot_be_is_one_message_and_its_exit_code(folder: Path, excite: Excite, monkeypatch: pytest.MonkeyPatch,
                                                         arguments: tuple[str, ...], code: int, message: str) -> None:
    monkeypatch.chdir(folder)
    Path("table.csv").write_text("image,label\na.png,x\n", encoding="utf-8")
    Path("images.yaml").write_text("data: {}\n", encoding="utf-8")
    Path("scene.yaml").write_text("task: scene\n", encoding="utf-8")
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
    assert is_scene_bundle(folder / "run") and is_scene_bundle(folder / "run" / "bundle")
    assert not is_scene_bundle(linear_bundle(tmp_path / "images")) and not is_scene_bundle(tmp_path / "gone")


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

    monkeypatch.setattr("excite.jobs.scene_repeats.repeat_scene", repeated)
    labels = folder / "scene" / "cube_labels.hdr"
    asked = ("train", folder / "scene" / "cube.hdr", "--labels", labels, "--out", "two", "--repeats", 2, "--no-images")
    assert excite(*asked)[:2] == (0, "2 trainings\n")
    code, out, _ = excite(*asked, "--json")
    assert (code, json.loads(out)) == (0, {"repeats": 2})
    assert seen == [(2, labels, Path("two"), False)] * 2
