"""A network for scenes measured again: a run gives the numbers of its training, other scenes those of their maps."""

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score

from excite.data.phantom.hyperspectral import simulate_tissue
from excite.data.scenes.envi import read_envi, write_envi
from excite.data.scenes.label_files import read_labels, write_labels
from excite.data.scenes.labels import LabelMap
from excite.data.scenes.sections import SceneSection
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import DataError, EnvironmentFault, ModelError, UsageError
from excite.jobs import run_folder as files
from excite.jobs.scenes.data import LEAST, sha256
from excite.jobs.scenes.evaluate import evaluate_scene
from excite.jobs.scenes.finish import PARTS
from excite.jobs.scenes.measured import blocks
from excite.jobs.scenes.predict import map_scene
from excite.jobs.scenes.train import train_scene
from excite.metrics.evaluation import Evaluation
from excite.models.hybridsn import BORDER
from small_scenes import scene_config, small_scene

pytestmark = pytest.mark.slow


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished run, the cube that it was trained on, and another one."""

    run: Path
    cube: Path
    other: Path

    def copied(self, folder: Path) -> Path:
        """Return a copy of the run, to be changed."""
        return Path(shutil.copytree(self.run, folder / "run"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("scenes")
    cube, other = small_scene(folder / "scene"), small_scene(folder / "other", seed=6, height=30)
    train_scene(scene_config(cube, **{"loop.epochs": 1}), out=folder / "run")
    return Made(run=folder / "run", cube=cube, other=other)


def map_of(run: Path, cube: Path) -> np.ndarray[Any, Any]:
    return ScenePredictor(run, threads=1)(read_envi(cube)).labels


def told(found: Evaluation) -> str:
    return " | ".join(found.notes)


# A run on its own scene.


def test_a_run_gives_the_numbers_of_its_training(made: Made, tmp_path: Path) -> None:
    before = json.loads((made.run / files.EVALUATION).read_text(encoding="utf-8"))
    found = evaluate_scene(made.run, out=tmp_path / "out", threads=1)
    assert found.to_json() == before
    assert json.loads((tmp_path / "out" / files.EVALUATION).read_text(encoding="utf-8")) == before
    assert [file.name for file in (tmp_path / "out").iterdir()] == [files.EVALUATION]


def test_other_threads_change_nothing_to_speak_of(made: Made, tmp_path: Path) -> None:
    one, two = (evaluate_scene(made.run, out=tmp_path, threads=threads) for threads in (1, 2))
    assert one.confusion.tolist() == two.confusion.tolist()
    assert one.metrics["nll"].value == pytest.approx(two.metrics["nll"].value, abs=1e-5)


@pytest.mark.parametrize(("part", "code", "warning"), [
    ("train", 1, "WARNING: the network was trained on these pixels"),
    ("val", 2, "WARNING: this part chose the best epoch and fitted the temperature")])
def test_the_parts_that_training_saw_are_measured_with_a_warning(made: Made, tmp_path: Path, part: str, code: int,
                                                                 warning: str) -> None:
    run = made.copied(tmp_path)
    found = evaluate_scene(run, split=part, maps=True)
    places = np.load(run / PARTS) == code
    truth, answers = read_labels(made.cube.with_name("cube_labels.hdr")).values, map_of(run, made.cube)
    assert found.n == places.sum() and found.notes[0].startswith(warning)
    assert found.metrics["accuracy"].value == pytest.approx(accuracy_score(truth[places], answers[places]))
    assert (run / f"evaluation-{part}.json").is_file()
    assert (read_labels(run / f"prediction-{part}.png").values == answers).all()
    errors = np.asarray(Image.open(run / f"errors-{part}.png"))
    assert (errors[places & (truth == answers)] == (0x56, 0xB4, 0xE9)).all()
    assert (errors[places & (truth != answers)] == (0xFF, 0x7A, 0x1A)).all()
    assert (errors[~places & (truth > 0)] == (0x5A, 0x62, 0x70)).all() and (errors[truth == 0] == (38, 42, 50)).all()
    before = json.loads((made.run / files.EVALUATION).read_text(encoding="utf-8"))
    assert json.loads((run / files.EVALUATION).read_text(encoding="utf-8")) == before


def moved(made: Made, folder: Path) -> tuple[Path, Path]:
    """Return a run whose config names a copy of the cube, and the copy."""
    run, cube = made.copied(folder), shutil.copytree(made.cube.parent, folder / "scene") / made.cube.name
    text = (run / files.CONFIG).read_text(encoding="utf-8")
    (run / files.CONFIG).write_text(text.replace(str(made.cube), str(cube)), encoding="utf-8")
    return run, cube


def test_a_run_on_a_scene_that_changed_is_refused(made: Made, tmp_path: Path) -> None:
    run, cube = moved(made, tmp_path)
    evaluate_scene(run)
    values = np.fromfile(cube.with_suffix(".img"), np.uint8)
    changed = values.copy()
    changed[100] ^= 1
    changed.tofile(cube.with_suffix(".img"))
    with pytest.raises(DataError, match=r"cube.hdr: cube changed since the training \(the sha256 is not that in "
                                        r"hashes.json\); put the old file back, or measure the new one with --data"):
        evaluate_scene(run)
    values.tofile(cube.with_suffix(".img"))
    labels = cube.with_name("cube_labels.img")
    old = np.fromfile(labels, np.uint8)
    np.where(old == 1, 2, old).astype(np.uint8).tofile(labels)
    with pytest.raises(DataError, match="cube_labels.hdr: labels changed since the training"):
        evaluate_scene(run)
    old.tofile(labels)
    header = labels.with_suffix(".hdr").read_text(encoding="utf-8")
    names = read_labels(labels.with_suffix(".hdr")).classes
    labels.with_suffix(".hdr").write_text(header.replace(names[0], "moss"), encoding="utf-8")
    with pytest.raises(DataError, match=f"the names of the classes changed since the training .they were {names[0]}"):
        evaluate_scene(run)
    cube.unlink()
    with pytest.raises(DataError, match=r"start excite where the training was started, or correct the paths in .*yaml"):
        evaluate_scene(run)


def test_a_split_that_is_not_made_again_is_refused(made: Made, tmp_path: Path) -> None:
    run = made.copied(tmp_path)
    parts = np.load(run / PARTS)
    np.save(run / PARTS, np.roll(parts, 1))
    with pytest.raises(EnvironmentFault, match="the split of the run cannot be made again as it was"):
        evaluate_scene(run)
    for content in (b"", b"nonsense"):
        (run / PARTS).write_bytes(content)
        with pytest.raises(EnvironmentFault, match="parts.npy: a file of the run is missing or damaged"):
            evaluate_scene(run)
    np.save(run / PARTS, parts)
    (run / files.HASHES).write_text("[1", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match="hashes.json: a file of the run is missing or damaged"):
        evaluate_scene(run)


def test_a_run_that_has_not_ended_is_told(made: Made, tmp_path: Path) -> None:
    run = made.copied(tmp_path)
    assert "has not ended" not in told(evaluate_scene(run, resamples=10))
    (run / files.REPORT).unlink()
    assert "WARNING: the run has not ended (it has no report): its temperature may be missing" in evaluate_scene(
        run, resamples=10).notes


# Another scene.


def test_another_scene_is_measured_on_all_its_labels(made: Made, tmp_path: Path) -> None:
    found = evaluate_scene(made.run / "bundle", made.other.parent, out=tmp_path / "out", maps=True)
    truth, answers = read_labels(made.other.with_name("cube_labels.hdr")).values, map_of(made.run, made.other)
    places = truth > 0
    for name, score in (("accuracy", accuracy_score), ("balanced_accuracy", balanced_accuracy_score),
                        ("kappa", cohen_kappa_score)):
        assert found.metrics[name].value == pytest.approx(score(truth[places], answers[places]))
    assert found.n == places.sum() and found.part == "cube" and found.unit_kind == "spatial block"
    assert found.n_units == len(np.unique(blocks(truth.shape, window=9)[0][places]))
    assert "units are blocks of at least 9 x 9 pixels, with windows of 9" in told(found)
    assert "does not say what it was trained on" in told(found) and "LEAK" not in told(found)
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == [
        "errors.png", "evaluation.json", "prediction.png"]
    assert (read_labels(tmp_path / "out" / "prediction.png").values == answers).all()
    assert json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8")) == found.to_json()


def test_without_maps_only_the_tiles_with_labels_are_predicted(made: Made, tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    labels = read_labels(made.other.with_name("cube_labels.hdr"))
    few = np.where(np.arange(30)[:, None] < 3, labels.values, 0).astype(np.int32)
    assert len(np.unique(few)) > 2
    write_labels(tmp_path / "few.hdr", LabelMap(values=few, classes=labels.classes, source="x"))
    seen: list[int] = []
    original = ScenePredictor.logits
    monkeypatch.setattr(ScenePredictor, "logits", lambda self, block: seen.append(1) or original(self, block))
    monkeypatch.setattr(ScenePredictor.predict, "__kwdefaults__", {"tile": 10, "where": None})
    section = SceneSection(labels=tmp_path / "few.hdr")
    found = evaluate_scene(made.run / "bundle", made.other, scene=section)
    first = len(seen)
    whole = evaluate_scene(made.run / "bundle", made.other, scene=section, maps=True, out=tmp_path / "out")
    assert found.to_json() == whole.to_json() and first < len(seen) - first
    assert found.n == np.count_nonzero(few)


def test_classes_are_matched_by_name_and_those_that_are_not_there_have_no_numbers(made: Made, tmp_path: Path) -> None:
    labels = read_labels(made.other.with_name("cube_labels.hdr"))
    turned = np.array([0, 2, 1, 0], np.int32)[labels.values]
    names = (labels.classes[1], labels.classes[0], "bog")
    write_labels(tmp_path / "turned.mat", LabelMap(values=turned, classes=names, source="x"))
    found = evaluate_scene(made.run / "bundle", made.other, scene=SceneSection(labels=tmp_path / "turned.mat"))
    answers, truth = map_of(made.run, made.other), np.where(labels.values < 3, labels.values, 0)
    places = truth > 0
    assert found.metrics["accuracy"].value == pytest.approx(accuracy_score(truth[places], answers[places]))
    gone = found.classes[2]
    assert found.per_class[gone]["recall"].value is None and found.support[gone] == 0
    assert f"no pixel of class {gone} in this part" in told(found)
    write_labels(tmp_path / "numbers.png", LabelMap(values=labels.values, classes=labels.classes, source="x"))
    numbered = evaluate_scene(made.run / "bundle", made.other, scene=SceneSection(labels=tmp_path / "numbers.png"))
    assert numbered.n == np.count_nonzero(labels.values)
    assert "the labels have no names: their numbers are taken for the network's, 1 " in told(numbered)
    section = SceneSection(labels=tmp_path / "numbers.png", classes=("bog", "fen", "moss"))
    with pytest.raises(DataError, match="labels that the network does not know: 'bog'"):
        evaluate_scene(made.run / "bundle", made.other, scene=section)


def test_more_bands_whose_wavelengths_are_known_are_chosen_from(made: Made, tmp_path: Path) -> None:
    cube = read_envi(made.other)
    assert cube.wavelengths is not None
    more = np.insert(np.asarray(cube.values), [3, 9], 0.77, axis=2)
    wavelengths = np.insert(np.array(cube.wavelengths), [3, 9], [np.mean(cube.wavelengths[2:4]),
                                                                 np.mean(cube.wavelengths[8:10])])
    write_envi(tmp_path / "cube.hdr", more, {"wavelength": wavelengths.tolist(), "wavelength units": "Nanometers"})
    labels = made.other.with_name("cube_labels.hdr")
    found, expected = (evaluate_scene(made.run, one, scene=SceneSection(labels=labels), out=tmp_path)
                       for one in (tmp_path / "cube.hdr", made.other))
    assert found.confusion.tolist() == expected.confusion.tolist()
    assert "of the cube's 26 bands those 24 were taken" in told(found)


def test_bands_that_training_dropped_are_dropped_in_every_cube(made: Made, tmp_path: Path) -> None:
    for name, cube in (("first", made.cube), ("second", made.other)):
        values = np.asarray(read_envi(cube).values)
        np.save(tmp_path / f"{name}.npy", np.insert(values, [4, 4, 20], 55.0, axis=2))
    labels = {name: cube.with_name("cube_labels.hdr") for name, cube in (("first", made.cube), ("second", made.other))}
    config = scene_config(tmp_path / "first.npy", **{"loop.epochs": 1, "scene.labels": labels["first"],
                                                     "scene.drop_bands": (4, 5, 22)})
    run = train_scene(config, out=tmp_path / "run").folder
    assert json.loads((run / files.EVALUATION).read_text(encoding="utf-8")) == evaluate_scene(run, threads=1).to_json()
    other, section = tmp_path / "second.npy", SceneSection(labels=labels["second"])
    found = evaluate_scene(run / "bundle", other, scene=section)
    asked = evaluate_scene(run / "bundle", other, scene=section.model_copy(update={"drop_bands": (4, 5, 22)}))
    assert found.confusion.tolist() == asked.confusion.tolist()
    assert "3 of the cube's 27 bands were dropped, as in training" in told(found)
    np.save(other, np.insert(np.asarray(read_envi(made.other).values), [4, 4, 20], np.nan, axis=2))
    assert evaluate_scene(run / "bundle", other, scene=section).confusion.tolist() == asked.confusion.tolist()
    assert "LEAK" in told(evaluate_scene(run, tmp_path / "first.npy", out=tmp_path,
                                         scene=SceneSection(labels=labels["first"])))
    mapped = map_scene(run, other)
    assert mapped.notes == ("3 of the cube's 27 bands were dropped, as in training",)
    assert mapped.pixels == map_scene(run, other, drop_bands=(4, 5, 22)).pixels


def test_the_scene_of_the_training_is_called_a_leak(made: Made, tmp_path: Path) -> None:
    assert "LEAK: the network was trained on pixels of cube, or chosen by them" in told(
        evaluate_scene(made.run, made.cube, out=tmp_path))
    found = evaluate_scene(made.run, made.other, out=tmp_path)
    assert "LEAK" not in told(found) and "not known" not in told(found)


def test_blocks_are_at_least_a_window_and_about_a_hundred() -> None:
    for shape, window, block, side in (((145, 145), 11, None, 15), ((40, 44), 9, None, 9), ((610, 340), 25, None, 46),
                                       ((50, 50), 3, 20, 20), ((5, 400), 9, None, 9)):
        unit, found = blocks(shape, window=window, block=block)
        assert found == side and unit.shape == shape and unit.min() == 1 and unit.max() <= 100
        for number in range(1, unit.max() + 1):
            rows, columns = np.nonzero(unit == number)
            extent = (np.ptp(rows) + 1, np.ptp(columns) + 1)
            assert extent[0] * extent[1] == len(rows)  # a rectangle
            assert all(side <= one < 2 * side or one == length for one, length in zip(extent, shape, strict=True))


# A table of cubes.


def test_of_a_table_each_cube_is_predicted_alone_and_patients_are_the_units(tmp_path: Path) -> None:
    table = simulate_tissue(tmp_path / "tissue", patients=4, cubes=1, height=26, width=24, bands=24, classes=2, seed=2)
    first = tmp_path / "tissue" / "P001_01" / "cube.hdr"
    run = train_scene(scene_config(first, **{"loop.epochs": 1, "split.block": None, "border": "reflect"}),
                      out=tmp_path / "run").folder
    found = evaluate_scene(run, table, out=tmp_path / "out")
    truth, answers = [], []
    for number in range(1, 5):
        cube = tmp_path / "tissue" / f"P{number:03d}_01" / "cube.hdr"
        labels = read_labels(cube.with_name("cube_labels.hdr")).values
        truth.append(labels[labels > 0])
        answers.append(map_of(run, cube)[labels > 0])
    assert found.metrics["accuracy"].value == pytest.approx(accuracy_score(np.concatenate(truth),
                                                                           np.concatenate(answers)))
    assert (found.n_units, found.unit_kind, found.n) == (4, "patient", sum(map(len, truth)))
    assert "LEAK: the network was trained on pixels of P001_01, or chosen by them" in told(found)


# What cannot be.


@pytest.mark.parametrize(("given", "kind", "message"), [
    ({"run_or_bundle": "bundle"}, UsageError, "a bundle has no scene of its own; name a cube with --data"),
    ({"split": "tets"}, UsageError, "split must be train, val, test, got 'tets'; did you mean 'test'?"),
    ({"split": "val", "data": "other"}, UsageError, "split is for a run's own scene"),
    ({"block": 9}, UsageError, "block is for other data"),
    ({"block": 0, "data": "other"}, UsageError, "block must be at least 1 pixel, got 0"),
    ({"run_or_bundle": "bundle", "data": "other", "maps": True}, UsageError, "maps must have a folder; name one"),
    ({"data": "gone.hdr"}, DataError, "there is no such file or folder"),
    ({"run_or_bundle": "gone"}, UsageError, "a bundle has no scene of its own"),
    ({"run_or_bundle": "gone", "data": "other"}, ModelError, "the bundle does not exist"),
    ({"out": "file/out"}, EnvironmentFault, "the evaluation cannot be written"),
])
def test_what_cannot_be_is_refused(made: Made, tmp_path: Path, given: dict[str, Any], kind: type[Exception],
                                   message: str) -> None:
    places = {"bundle": made.run / "bundle", "other": made.other, "gone": tmp_path / "gone",
              "gone.hdr": tmp_path / "gone.hdr", "file/out": tmp_path / "file" / "out"}
    (tmp_path / "file").touch()
    arguments = {name: places.get(value, value) if isinstance(value, str) else value for name, value in given.items()}
    with pytest.raises(kind, match=message):
        evaluate_scene(**{"run_or_bundle": made.run, **arguments})


def test_torch_is_not_needed(made: Made, tmp_path: Path) -> None:
    code = ("import sys\nfor name in ('torch', 'sklearn', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
            "from excite.jobs.scenes.evaluate import evaluate_scene\n"
            f"for data in (None, {str(made.other)!r}):\n"
            f"    print(evaluate_scene({str(made.run)!r}, data, out={str(tmp_path / 'out')!r}).n)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.split()) == 2


def test_a_hash_is_of_values_in_whatever_order_of_bytes() -> None:
    values = np.arange(24, dtype="<f4").reshape(2, 3, 4)
    assert sha256(values) == sha256(values.astype(">f4")) != sha256(values + 1)
    assert sha256(values) != sha256(values.astype("<f8"))


def test_the_smallest_window_that_is_advised_is_one_that_the_network_takes() -> None:
    assert LEAST["hybridsn"] == BORDER + 1
