"""Scenes predicted by a bundle: what torch and numpy say of every pixel's window, in tiles of any size."""

import io
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from numpy.typing import NDArray
from torch import nn

from bundles import linear_bundle, seal
from excite.attention.plan import AttentionPlan
from excite.data.scenes.cube import Cube
from excite.deploy import scene_predictor
from excite.deploy.scene_predictor import ScenePredictor, labelled
from excite.errors import DataError, ModelError, UsageError
from excite.outcome.decode import softmax
from excite.progress import Progress
from scene_bundles import CLASSES, cube, logits_of, network, reduction, scene_bundle

WINDOW, TEMPERATURE = 10, 1.7
pytestmark = pytest.mark.slow
Made = tuple[Path, nn.Module]


@pytest.fixture(scope="module", params=["whole", "windows"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A bundle whose network takes a whole scene, and one whose network looks at each window as a whole."""
    plan = AttentionPlan(kind="se") if request.param == "windows" else None
    model = network(WINDOW, attention=plan)
    folder = scene_bundle(tmp_path_factory.mktemp("bundle") / "b", model, window=WINDOW, temperature=TEMPERATURE)
    assert ScenePredictor(folder, threads=1).method == request.param
    return folder, model


def expected(model: nn.Module, reduced: NDArray[np.float32], border: str = "reflect") -> NDArray[np.float64]:
    return softmax(logits_of(model, reduced, WINDOW, border) / TEMPERATURE)


def gaps() -> NDArray[np.bool_]:
    """Return where a scene of the usual size holds data."""
    valid = np.ones((21, 17), bool)
    valid[3:6, 4:9], valid[-1, -1] = False, False
    return valid


def test_every_pixel_is_what_the_network_says_of_its_window(made: Made) -> None:
    values = cube()
    found = ScenePredictor(made[0], threads=1)(values, probabilities=True)
    shares = expected(made[1], reduction().apply(values))
    assert found.probabilities is not None and found.classes == CLASSES
    np.testing.assert_allclose(found.probabilities, shares, atol=1e-5)
    np.testing.assert_allclose(found.probabilities.sum(axis=2), 1, atol=1e-6)
    sure = np.ptp(np.sort(shares, axis=2)[..., -2:], axis=2) > 1e-4
    assert sure.mean() > 0.99 and len(np.unique(found.labels)) > 1
    np.testing.assert_array_equal(found.labels[sure], shares.argmax(axis=2)[sure] + 1)
    np.testing.assert_array_equal(found.confidence, found.probabilities.max(axis=2))
    assert (found.labels.dtype, found.confidence.dtype) == (np.int32, np.float32)


def test_beyond_a_border_of_zeros_lie_reduced_zeros(made: Made, tmp_path: Path) -> None:
    folder, model = made
    edited = tmp_path / "b"
    copy_of(folder, edited, lambda tree: tree["preprocess"].update(border="zero"))
    shares = expected(model, reduction().apply(cube()), "zero")
    found = ScenePredictor(edited, threads=1)(cube(), probabilities=True, tile=8).probabilities
    np.testing.assert_allclose(found, shares, atol=1e-5)
    assert np.abs(shares - expected(model, reduction().apply(cube()))).max() > 0.01


def copy_of(folder: Path, target: Path, change: Any) -> Path:
    """Copy a bundle and change its bundle.json, with the checksums of an honest one."""
    target.mkdir(parents=True)
    for file in folder.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    tree = json.loads((target / "bundle.json").read_text(encoding="utf-8"))
    change(tree)
    (target / "bundle.json").write_text(json.dumps(tree), encoding="utf-8")
    seal(target)
    return target


@pytest.mark.parametrize("tile", [1000, 16, 7, 3])
def test_tiles_of_any_size_give_the_same(made: Made, tile: int) -> None:
    predictor = ScenePredictor(made[0], threads=1)
    whole, tiled = (predictor(Cube(values=cube(), source="x", valid=gaps()), tile=side, probabilities=True)
                    for side in (192, tile))
    assert whole.probabilities is not None and tiled.probabilities is not None
    np.testing.assert_allclose(tiled.probabilities, whole.probabilities, atol=1e-5)
    assert (tiled.labels != whole.labels).mean() < 0.01


def test_pixels_without_data_are_zero_and_change_nothing_by_what_they_hold(made: Made) -> None:
    values, valid, predictor = cube(), gaps(), ScenePredictor(made[0], threads=1)
    values[~valid] = np.nan
    reduced = reduction().apply(cube())
    reduced[~valid] = 0
    found = predictor(Cube(values=values, source="x", valid=valid), probabilities=True)
    assert found.probabilities is not None
    assert not any(one[~valid].any() for one in (found.labels, found.confidence, found.probabilities))
    np.testing.assert_allclose(found.probabilities[valid], expected(made[1], reduced)[valid], atol=1e-5)
    assert (found.labels[valid] > 0).all()


def test_a_scene_smaller_than_a_window_is_mirrored_again_and_again(made: Made) -> None:
    small = cube(3, 2)
    shares = expected(made[1], reduction().apply(small))
    np.testing.assert_allclose(ScenePredictor(made[0])(small, probabilities=True).probabilities, shares, atol=1e-5)


def test_whole_numbers_and_mapped_files_are_read_as_they_are(made: Made, tmp_path: Path) -> None:
    values = np.rint(cube()).astype(np.int16)
    np.save(tmp_path / "cube.npy", values)
    predictor = ScenePredictor(made[0], threads=1)
    found, again = predictor(values), predictor(np.load(tmp_path / "cube.npy", mmap_mode="r"), tile=9)
    np.testing.assert_allclose(found.confidence, expected(made[1], reduction().apply(values)).max(axis=2), atol=1e-5)
    np.testing.assert_allclose(again.confidence, found.confidence, atol=1e-5)


def test_progress_counts_pixels(made: Made) -> None:
    stream = io.StringIO()
    ScenePredictor(made[0], threads=1)(cube(), tile=11, progress=Progress(stream, every=0))
    assert [line.split(",")[0] for line in stream.getvalue().splitlines()] == [
        f"predicting pixels: {done}/357" for done in (80, 170, 258, 357)]


def test_threads_are_those_that_are_asked_for(made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def opened(file: Path, *, threads: int) -> onnxruntime.InferenceSession:
        seen.append(threads)
        return onnxruntime.InferenceSession(file)

    monkeypatch.setattr(scene_predictor, "open_session", opened)
    monkeypatch.setattr(scene_predictor, "usable_cores", lambda: 5)
    assert [ScenePredictor(made[0], threads=given).threads for given in (None, 3)] == seen == [5, 3]


def test_what_is_refused(made: Made, tmp_path: Path) -> None:
    folder, _ = made
    predictor = ScenePredictor(folder, threads=1)
    with pytest.raises(DataError, match=r"^scene.hdr: the network was trained on 16 bands, the cube has 15; drop the "
                                        "same bands as in training"):
        predictor(Cube(values=cube()[..., 1:], source="scene.hdr"))
    with pytest.raises(DataError, match=r"a cube must have rows, columns and bands, got shape \(21, 16\)"):
        predictor(cube()[:, 0])
    broken = cube()
    broken[20, 3, 2] = np.inf
    with pytest.raises(DataError, match="near row 15, column 0: the cube holds values that are not finite; name them "
                                        "with no_data"):
        predictor(broken, tile=6)
    with pytest.raises(UsageError, match="tile must be at least 1, got 0"):
        predictor(cube(), tile=0)
    with pytest.raises(UsageError, match="threads must be at least 1, got 0"):
        ScenePredictor(folder, threads=0)


def test_a_bundle_that_does_not_fit_is_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the bundle must be one for scenes, this one is for classification; excite "
                                         "predict takes images with it"):
        ScenePredictor(linear_bundle(tmp_path / "images"))
    four = copy_of(made[0], tmp_path / "four", lambda tree: tree.update(classes=["a", "b", "c", "d"]))
    with pytest.raises(ModelError, match=r"model.onnx: the network does not fit the bundle \(its outputs are logits.*, "
                                         r"not 4 logits\); export the bundle again"):
        ScenePredictor(four)
    other = copy_of(made[0], tmp_path / "other", lambda tree: tree["preprocess"].update(window=8))
    with pytest.raises(ModelError, match=r"(run .*|fit the bundle \(its windows are not of 8 pixels\)); export "
                                         "the bundle again"):
        ScenePredictor(other)(cube())
    for number, (change, text) in enumerate((({"window": 0}, "preprocess.window must be at least 1, got 0"),
                         ({"border": "edge"}, "preprocess.border must be reflect or zero, got 'edge'"),
                         ({"reduction": None}, "preprocess.reduction must be a mapping"),
                         ({"reduction": {"kind": "pca"}}, "the stored band reduction cannot be used"))):
        wrong = copy_of(made[0], tmp_path / str(number), lambda tree, new=change: tree["preprocess"].update(new))
        with pytest.raises(ModelError, match=text):
            ScenePredictor(wrong)


def test_it_runs_where_there_is_no_torch(made: Made, tmp_path: Path) -> None:
    np.save(tmp_path / "cube.npy", cube())
    code = ("import sys\nfor name in ('torch', 'sklearn', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
            "from pathlib import Path\nfrom excite.jobs.scenes.predict import map_scene\n"
            "map_scene(*sys.argv[1:3], out=Path(sys.argv[3]), threads=1)")
    out = tmp_path / "map.npy"
    done = subprocess.run([sys.executable, "-c", code, str(made[0]), str(tmp_path / "cube.npy"), str(out)],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    np.testing.assert_array_equal(np.load(out), ScenePredictor(made[0], threads=1)(cube()).labels)


def test_labels_count_from_one_and_zero_is_no_data() -> None:
    labels, sure = labelled(np.array([[[0.2, 0.5, 0.3], [0, 0, 0], [0.9, 0.1, 0]]], np.float32))
    assert labels.tolist() == [[2, 0, 1]] and sure.tolist() == [pytest.approx([0.5, 0, 0.9])]
