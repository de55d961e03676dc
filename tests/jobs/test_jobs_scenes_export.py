"""A network for scenes exported again: the same weights and answers, proved on windows of a cube."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from excite.data.scenes.cube import Cube
from excite.deploy.bundle import WEIGHTS, read_bundle, update_bundle, write_bundle
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import DataError, ModelError, ParityError, UsageError
from excite.jobs.export import export_again
from excite.jobs.scenes import export
from excite.jobs.scenes.train import train_scene
from scene_bundles import CLASSES, KEPT, cube, network, reduction, scene_bundle
from small_scenes import scene_config, small_scene, windows_of

pytestmark = pytest.mark.slow
RECORD: dict[str, Any] = {"name": "hybridsn", "dims": 2, "in_channels": KEPT, "num_classes": len(CLASSES),
                          "options": {"window": 9}, "attention": None}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = scene_bundle(tmp_path_factory.mktemp("bundle") / "b", network(9), window=9, temperature=1.3)
    update_bundle(made, model=RECORD)
    return made


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    np.save(tmp_path / "cube.npy", cube())
    return tmp_path / "cube.npy"


def test_the_new_bundle_has_the_same_weights_and_answers(bundle: Path, scene: Path, tmp_path: Path) -> None:
    info = export_again(bundle, tmp_path / "again", data=[scene], images=20)
    assert info == read_bundle(tmp_path / "again") and info.parity["n"] == 20 and info.temperature == 1.3
    assert "exported_again" in info.provenance and info.classes == CLASSES
    old, new = load_file(bundle / WEIGHTS), load_file(tmp_path / "again" / WEIGHTS)
    assert old.keys() == new.keys() and all((old[key] == new[key]).all() for key in old)
    before, after = (ScenePredictor(one, threads=1)(cube(), probabilities=True).probabilities
                     for one in (bundle, tmp_path / "again"))
    assert before is not None
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_it_is_proved_on_windows_of_pixels_with_data(bundle: Path) -> None:
    valid = np.zeros((21, 17), bool)
    valid[4:9, 3:] = True
    made = export._windows(ScenePredictor(bundle), Cube(values=cube(), source="x", valid=valid), 8)
    reduced = reduction().apply(cube())
    reduced[~valid] = 0
    every = windows_of(reduced, 9)[valid]
    assert made.shape == (8, KEPT, 9, 9)
    chosen = [int(np.abs(every - one).max(axis=(1, 2, 3)).argmin()) for one in made]
    np.testing.assert_allclose(made, every[chosen], atol=1e-6)
    assert chosen == sorted(set(chosen)) and (chosen[0], chosen[-1]) == (0, len(every) - 1)
    few = export._windows(ScenePredictor(bundle), Cube(values=cube(), source="x", valid=valid), 500)
    assert len(few) == len(every)


def test_a_run_is_proved_on_its_own_cube(tmp_path: Path) -> None:
    run = train_scene(scene_config(small_scene(tmp_path / "scene"), **{"loop.epochs": 1}), out=tmp_path / "run").folder
    info = export_again(run, tmp_path / "again", images=7)
    assert info.parity["n"] == 7 and info.metrics == read_bundle(run / "bundle").metrics
    shutil.move(run / "bundle", tmp_path / "alone")
    with pytest.raises(UsageError, match="a bundle alone has no cube to prove the export on; name one with --data"):
        export_again(tmp_path / "alone", tmp_path / "third")
    assert export_again(tmp_path / "alone", tmp_path / "third", data=[tmp_path / "scene"], images=3).parity["n"] == 3


def test_one_cube_is_asked_for(bundle: Path, scene: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="one cube proves the export, got 2"):
        export_again(bundle, tmp_path / "again", data=[scene, scene])
    np.save(tmp_path / "narrow.npy", cube()[..., :5])
    with pytest.raises(DataError, match="the network was trained on 16 bands, the cube has 5"):
        export_again(bundle, tmp_path / "again", data=[tmp_path / "narrow.npy"])


def test_what_differs_or_cannot_be_built_leaves_nothing(bundle: Path, scene: Path, tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    own = replace(read_bundle(bundle), model={})
    write_bundle(tmp_path / "own", own, weights=bundle / WEIGHTS, onnx=bundle / "model.onnx")
    with pytest.raises(ModelError, match="the bundle does not say how to build its network"):
        export_again(tmp_path / "own", tmp_path / "again", data=[scene])
    state = load_file(bundle / WEIGHTS)
    save_file({key: value for key, value in state.items() if key != "classifier.bias"}, tmp_path / "w")
    write_bundle(tmp_path / "cut", read_bundle(bundle), weights=tmp_path / "w", onnx=bundle / "model.onnx")
    with pytest.raises(ModelError, match=r"1 missing \(classifier.bias\)"):
        export_again(tmp_path / "cut", tmp_path / "again", data=[scene])

    def other(model: Any, file: Path, windows: Any) -> Any:
        raise ParityError("other")

    monkeypatch.setattr(export, "export_scene", other)
    with pytest.raises(ParityError):
        export_again(bundle, tmp_path / "again", data=[scene])
    assert not (tmp_path / "again").exists()
