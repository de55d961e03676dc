"""Networks for scenes compared: two trainings on one cube, pixel by pixel; other splits and labels are refused."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from excite import compare
from excite.data.scenes.label_files import read_labels
from excite.errors import DataError, UsageError
from excite.jobs.scenes.data import sha256
from excite.jobs.scenes.evaluate import evaluate_scene
from excite.jobs.scenes.finish import PARTS
from excite.jobs.scenes.train import train_scene
from small_scenes import scene_config, small_scene

pytestmark = pytest.mark.slow


def trained(folder: Path, cube: Path, **changes: object) -> Path:
    return train_scene(scene_config(cube, **changes), out=folder, images=False).folder


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run that learnt next to nothing, one that learnt, and the cube of both."""
    folder = tmp_path_factory.mktemp("scenes")
    cube = small_scene(folder / "scene")
    return (trained(folder / "short", cube, **{"loop.epochs": 1, "seed": 7}), trained(folder / "long", cube), cube)


def test_each_test_pixel_counts_and_every_number_is_that_of_the_runs(runs: tuple[Path, Path, Path]) -> None:
    short, long, _ = runs
    found = compare(short, long, resamples=300)
    assert (found.sample, found.unit_kind, found.metric) == ("pixel", "spatial block", "balanced_accuracy")
    assert found.n == int((np.load(short / PARTS) == 3).sum()) and found.n_units < found.n
    for run, side in ((short, "a"), (long, "b")):
        evaluation = evaluate_scene(run, threads=1)
        for name in ("balanced_accuracy", "auroc_macro", "nll"):
            assert getattr(found.pairs[name], side).value == pytest.approx(evaluation.metrics[name].value, abs=1e-5)
    assert found.verdict == "better" and "a window" in found.sentence
    assert any(f"{found.n} pixels are of {found.n_units} units (spatial block)" in note for note in found.notes)


def test_other_splits_and_other_labels_are_refused(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    short, _, cube = runs
    other = trained(tmp_path / "split", cube, **{"loop.epochs": 1, "split.seed": 9})
    with pytest.raises(DataError, match="the test sets differ .* pixels are in A's alone .row ") as told:
        compare(short, other)
    assert "train both with the same split" in str(told.value)
    moved = shutil.copytree(cube.parent, tmp_path / "moved") / cube.name
    again = relabelled(short, cube, moved, tmp_path / "relabelled")
    with pytest.raises(DataError, match="the truth of 1 of .* pixels differs .row "):
        compare(short, again)


def relabelled(run: Path, cube: Path, moved: Path, folder: Path) -> Path:
    """Return a copy of a run whose scene has one test pixel of another class, as if it had been trained so."""
    file = moved.with_name("cube_labels.hdr")
    row, column = np.argwhere(np.load(run / PARTS) == 3)[0]
    raw = np.fromfile(file.with_suffix(".img"), np.uint8)
    values = raw.reshape(read_labels(file).values.shape)
    values[row, column] = values[row, column] % 3 + 1
    values.tofile(file.with_suffix(".img"))
    copy = Path(shutil.copytree(run, folder))
    config = copy / "config.yaml"
    config.write_text(config.read_text(encoding="utf-8").replace(str(cube), str(moved)), encoding="utf-8")
    hashes = json.loads((copy / "hashes.json").read_text(encoding="utf-8"))
    hashes["labels"] = sha256(read_labels(file).values)
    (copy / "hashes.json").write_text(json.dumps(hashes), encoding="utf-8")
    return copy


def test_another_scene_serves_both(runs: tuple[Path, Path, Path], tmp_path: Path) -> None:
    short, long, cube = runs
    other = small_scene(tmp_path / "other", seed=6, height=30)
    found = compare(short, long, data=other, resamples=20)
    assert found.n == int((read_labels(other.with_name("cube_labels.hdr")).values > 0).sum())
    assert found.question.b.value == pytest.approx(
        evaluate_scene(long, other, threads=1).metrics["balanced_accuracy"].value, abs=1e-5)
    seen = compare(short, long, data=cube, resamples=20)
    assert seen.beware[0].startswith("BEWARE: A and B"), "both were trained on it"
    with pytest.raises(UsageError, match="a bundle has no scene of its own"):
        compare(short / "bundle", long)
