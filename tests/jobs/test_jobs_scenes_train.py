"""Training on a scene as a whole: what ships is what is measured, nothing leaks unsaid, a run is resumed as itself."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from scipy.stats import sem, t
from sklearn.metrics import accuracy_score, balanced_accuracy_score, cohen_kappa_score, log_loss
from torch import nn

from excite.config import load_config
from excite.data.scenes.envi import read_envi, write_envi
from excite.data.scenes.label_files import read_labels
from excite.deploy.bundle import find_bundle, read_bundle
from excite.deploy.scene_predictor import ScenePredictor
from excite.engine.signals import StopFlag
from excite.errors import DataError, EnvironmentFault, Interrupted, UsageError
from excite.jobs import run_folder as files
from excite.jobs import starting
from excite.jobs.scenes import repeats
from excite.jobs.scenes import train as module
from excite.jobs.scenes.baselines import Baseline
from excite.jobs.scenes.finish import CONFIDENCE, LABELS, PARTS
from excite.jobs.scenes.prepare import prepare_scene
from excite.jobs.scenes.repeats import repeat_scene
from excite.jobs.scenes.sections import SceneConfig, with_defaults
from excite.jobs.scenes.train import SceneRun, train_scene
from excite.metrics.intervals import Interval
from html_reader import Reader
from small_scenes import WINDOW, scene_config, small_scene
from stand_ins import StopAt, Told

pytestmark = pytest.mark.slow
SAME = ("bundle/weights.safetensors", "bundle/model.onnx", LABELS, CONFIDENCE, PARTS, files.EVALUATION, files.SPLIT)


class Reached(Exception):
    """A step of the training began that a test need not wait for."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished run, its cube and what it said."""

    run: SceneRun
    cube: Path
    told: list[str]

    def copied(self, folder: Path) -> Path:
        """Return a copy of the run's folder, to be changed."""
        return Path(shutil.copytree(self.run.folder, folder / "run"))

    def moved(self, folder: Path) -> Path:
        """Return the cube in a copy of its folder, to be changed."""
        return Path(shutil.copytree(self.cube.parent, folder / "scene")) / self.cube.name


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, told = tmp_path_factory.mktemp("scenes"), Told()
    cube = small_scene(folder / "scene")
    return Made(run=train_scene(scene_config(cube), out=folder / "run", progress=told), cube=cube, told=told.texts)


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> Callable[[SceneConfig, Path], None]:
    """Resume a run; a refusal is raised, and everything after the training is left out."""
    def resume(config: SceneConfig, out: Path) -> None:
        def stopped(*_: object, **__: object) -> None:
            raise Reached

        monkeypatch.setattr(module, "finish_scene", stopped)
        train_scene(config, out=out)

    return resume


def text_of(page: Path) -> str:
    return Reader(page.read_text(encoding="utf-8")).text


# What a run leaves.


def test_the_folder_holds_what_a_run_is(made: Made) -> None:
    run = made.run.folder
    assert {file.name for file in run.iterdir()} == {
        ".lock", "bundle", "checkpoints", LABELS, CONFIDENCE, PARTS, files.CONFIG, files.ENVIRONMENT, files.EVALUATION,
        files.HASHES, files.LOG, files.REPORT, files.SPLIT}
    stored = load_config(SceneConfig, run / files.CONFIG)
    assert stored == with_defaults(scene_config(made.cube))
    assert (stored.split.kind, stored.border) == ("block", "reflect")
    assert set(json.loads((run / files.HASHES).read_text(encoding="utf-8"))) == {"cube", "labels", "parts"}
    split = json.loads((run / files.SPLIT).read_text(encoding="utf-8"))
    parts = np.load(run / PARTS)
    assert (parts == made.run.split.parts).all()
    assert {part: sum(counts) for part, counts in split["counts"].items()} == {
        part: int((parts == code).sum()) for code, part in enumerate(("train", "val", "test"), 1)}
    events = [json.loads(line) for line in (run / files.LOG).read_text(encoding="utf-8").splitlines()]
    assert [one["event"] for one in events if one["event"] != "note"] == ["start", "epoch", "epoch", "epoch", "done",
                                                                          "done"]
    summary = made.run.summary()
    assert summary["run"] == str(run) and summary["test_pixels"] == int((parts == 3).sum())
    assert json.loads(json.dumps(summary, allow_nan=False)) == json.loads(json.dumps(summary))
    assert f"bundle: {run / 'bundle'}" in made.run.text() and "split: 0.0% of the test pixels lie" in made.run.text()


def test_the_bundle_gives_the_map_of_the_run(made: Made) -> None:
    found = ScenePredictor(made.run.folder, threads=1)(made.run.scene.cube)
    written = read_labels(made.run.folder / LABELS).values
    assert (written == found.labels).all() and len(np.unique(written)) == 3
    np.testing.assert_array_equal(np.load(made.run.folder / CONFIDENCE), found.confidence)


def test_the_numbers_are_those_of_the_map_on_the_test_pixels(made: Made) -> None:
    places = np.load(made.run.folder / PARTS) == 3
    truth = made.run.scene.labels.values[places]
    answers = read_labels(made.run.folder / LABELS).values[places]
    metrics = json.loads((made.run.folder / files.EVALUATION).read_text(encoding="utf-8"))["metrics"]
    for name, score in (("accuracy", accuracy_score), ("balanced_accuracy", balanced_accuracy_score),
                        ("kappa", cohen_kappa_score)):
        assert metrics[name]["value"] == pytest.approx(score(truth, answers), abs=1e-9)
    assert metrics["accuracy"]["value"] > 0.5
    assert made.run.evaluation.n == len(truth)
    assert read_bundle(made.run.folder / "bundle").metrics["metrics"] == metrics
    units = made.run.split.unit[places]
    assert made.run.evaluation.n_units == len(np.unique(units)) > 1
    assert made.run.evaluation.unit_kind == "spatial block"


def test_the_temperature_is_fitted_on_the_validation_pixels(made: Made) -> None:
    told = read_bundle(made.run.folder / "bundle").provenance["temperature"]
    predictor = ScenePredictor(made.run.folder, threads=1)
    found = {}
    for code, part in enumerate(("train", "val", "test"), 1):
        places = made.run.split.parts == code
        shares = predictor(made.run.scene.cube, probabilities=True).probabilities
        assert shares is not None
        found[part] = int(places.sum()), log_loss(made.run.scene.labels.values[places], shares[places],
                                                  labels=[1, 2, 3])
    assert told["n"] == found["val"][0] not in (found["train"][0], found["test"][0])
    assert told["nll_after"] == pytest.approx(found["val"][1], rel=1e-4)
    assert told["nll_after"] < told["nll_before"]
    assert predictor.info.temperature == told["value"] != 1


def test_report_and_card_say_that_the_scene_is_simulated(made: Made, tmp_path: Path) -> None:
    page, card = text_of(made.run.report), (made.run.folder / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "SIMULATED" in page and "- simulated: True" in card
    assert "real windows" in card and "Trained from random values" in card


def test_a_scene_that_says_nothing_is_not_called_simulated_nor_real(made: Made, tmp_path: Path,
                                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    np.save(tmp_path / "cube.npy", np.asarray(made.run.scene.cube.values))
    np.save(tmp_path / "cube_gt.npy", made.run.scene.labels.values)
    seen: list[object] = []

    def stopped(*_: object, simulated: bool | None, **__: object) -> None:
        seen.append(simulated)
        raise Reached

    monkeypatch.setattr(module, "finish_scene", stopped)
    for number, (cube, given) in enumerate(((tmp_path / "cube.npy", None), (tmp_path / "cube.npy", True),
                                            (made.cube, None), (made.cube, False))):
        with pytest.raises(Reached):
            train_scene(scene_config(cube, **{"loop.epochs": 1}), out=tmp_path / str(number), simulated=given)
    assert seen == [None, True, True, False]


# Nothing of the test pixels gets into what is learnt.


def test_the_reduction_is_learnt_from_training_pixels_alone(made: Made, tmp_path: Path) -> None:
    cube, test = made.moved(tmp_path), made.run.split.parts == 3
    values = np.array(read_envi(cube).values)
    values[test] = values[test][::-1] * 3 + 1
    write_over(cube, values)
    before, after = (prepare_scene(scene_config(one)).reduction.to_json() for one in (made.cube, cube))
    assert before == after and before["fitted_on"] == "training pixels"
    assert before["pixels"] == int((made.run.split.parts == 1).sum())
    assert read_bundle(made.run.folder / "bundle").preprocess["reduction"] == json.loads(json.dumps(before))
    leaky = {"reduction.fit_on": "all pixels"}
    before, after = (prepare_scene(scene_config(one, **leaky)).reduction.to_json() for one in (made.cube, cube))
    assert before != after and before["pixels"] == values.shape[0] * values.shape[1]


def write_over(cube: Path, values: np.ndarray[Any, Any]) -> None:
    """Put other values into an ENVI file, its wavelengths kept."""
    header = read_envi(cube).header
    kept = {key: header[key] for key in ("wavelength", "wavelength units", "simulated")}
    write_envi(cube, values.astype("<f4"), kept, interleave="bip")


def test_a_random_split_is_called_leaky(made: Made, tmp_path: Path) -> None:
    told = Told()
    run = train_scene(scene_config(made.cube, **{"split.kind": "random", "split.block": None, "loop.epochs": 1}),
                      out=tmp_path / "run", progress=told)
    said = "pixels were drawn at random: windows of train and test overlap, numbers on them are too good"
    assert said in run.evaluation.notes and run.split.overlap.inside > 0.99
    page = text_of(run.report)
    assert "WARNING: 100 % of test pixels lie inside training windows: the numbers flatter." in page and said in page
    assert any(said in text for text in told.texts)
    assert run.evaluation.unit_kind == "pixel" and run.evaluation.n_units == run.evaluation.n
    assert said in (run.folder / "bundle" / "card.md").read_text(encoding="utf-8")
    honest = text_of(made.run.report)
    assert "the numbers flatter" not in honest and said not in honest


def test_windows_and_classes_of_a_part_are_those_of_its_pixels(made: Made) -> None:
    prepared = prepare_scene(scene_config(made.cube))
    sides = ((WINDOW - 1) // 2, WINDOW // 2)
    padded = np.pad(prepared.reduced, (sides, sides, (0, 0)), mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(padded, (WINDOW, WINDOW), axis=(0, 1))
    for code, part in enumerate(("train", "val", "test"), 1):
        places = made.run.split.parts == code
        assert (prepared.truth(part) == made.run.scene.labels.values[places] - 1).all()
        found = list(prepared.windows(part).batches(0))
        np.testing.assert_array_equal(np.concatenate([one.images for one in found]), view[places])
        np.testing.assert_array_equal(np.concatenate([one.labels for one in found]), prepared.truth(part))
    drawn = next(prepared.windows("train", train=True).batches(0))
    assert not np.array_equal(drawn.images, view[np.divmod(drawn.index, view.shape[1])])


def test_the_epoch_is_chosen_on_the_validation_pixels(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                      ) -> None:
    given: list[Any] = []

    def stopped(_: object, __: object, train: Any, val: Any, **___: object) -> None:
        given.extend([train, val])
        raise Reached

    monkeypatch.setattr(starting, "fit", stopped)
    with pytest.raises(Reached):
        train_scene(scene_config(made.cube), out=tmp_path / "run")
    for code, batches in enumerate(given, 1):
        places = np.concatenate([one.index for one in batches.batches(0)])
        assert sorted(places) == np.flatnonzero(made.run.split.parts == code).tolist()


def test_the_export_is_proved_on_many_windows_of_the_validation_part(made: Made) -> None:
    parity, pixels = read_bundle(made.run.folder / "bundle").parity, int((made.run.split.parts == 2).sum())
    assert parity is not None and pixels > 64 and parity["n"] == 64


def test_pixels_without_data_are_the_training_mean_and_no_label(made: Made, tmp_path: Path) -> None:
    cube = made.moved(tmp_path)
    values = np.array(read_envi(cube).values)
    values[:5, :7] = np.nan
    write_over(cube, values)
    config = scene_config(cube, **{"scene.labels": cube.with_name("cube_labels.hdr"), "scene.no_data": "nan"})
    prepared = prepare_scene(config)
    assert not prepared.reduced[:5, :7].any() and not prepared.split.parts[:5, :7].any()
    assert "hold no data" in prepared.reasons["scene"]
    leaky = prepare_scene(scene_config(cube, **{"scene.labels": cube.with_name("cube_labels.hdr"),
                                                "scene.no_data": "nan", "reduction.fit_on": "all pixels"}))
    assert leaky.reduction.pixels == values.shape[0] * values.shape[1] - 35
    with pytest.raises(DataError, match="35 of 1760 pixels hold NaN or infinity"):
        prepare_scene(scene_config(cube))


# The same run, and no other.


def test_an_interrupted_run_ends_with_the_same_bytes(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                     ) -> None:
    for look in (4, 13, 11):
        monkeypatch.setattr(starting, "StopFlag", lambda at=look: StopAt(at))
        with pytest.raises(Interrupted):
            train_scene(scene_config(made.cube), out=tmp_path / "run")
    monkeypatch.setattr(starting, "StopFlag", StopFlag)
    told = Told()
    moved = scene_config(made.moved(tmp_path))  # where the files lie does not matter
    train_scene(moved, out=tmp_path / "run", progress=told)
    assert f"resuming {tmp_path / 'run'}" in told.texts
    for name in SAME:
        assert (tmp_path / "run" / name).read_bytes() == (made.run.folder / name).read_bytes(), name


@pytest.mark.parametrize(("changes", "text"), [
    ({"optim.lr": 0.01}, r"another config: optim\.lr: 0\.001 -> 0\.01;"),
    ({"loop.epochs": 4, "seed": 1}, r"another config: loop\.epochs: 3 -> 4; seed: 42 -> 1;"),
    ({"reduction.whiten": True}, r"another config: reduction\.whiten: False -> True;"),
    ({"baselines": ["svm"]}, r"another config: baselines: \[\] -> \['svm'\];"),
])
def test_another_config_is_refused(made: Made, tmp_path: Path, resumed: Callable[..., None],
                                   changes: dict[str, object], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        resumed(scene_config(made.cube, **changes), made.copied(tmp_path))


def test_another_cube_or_other_labels_are_refused(made: Made, tmp_path: Path, resumed: Callable[..., None]) -> None:
    cube, run = made.moved(tmp_path), made.copied(tmp_path)
    with pytest.raises(Reached):
        resumed(scene_config(cube), run)
    values = np.array(read_envi(cube).values)
    values[30, 30, 3] += 1
    write_over(cube, values)
    with pytest.raises(UsageError, match="another data: cube: '[0-9a-f]{64}' -> '[0-9a-f]{64}'; undo"):
        resumed(scene_config(cube), run)
    unlabelled = tuple(np.argwhere(made.run.scene.labels.values == 0)[0])
    cube = made.moved(tmp_path / "b")
    raw = np.fromfile(cube.with_name("cube_labels.img"), np.uint8).reshape(values.shape[:2])
    raw[unlabelled] = 1
    raw.tofile(cube.with_name("cube_labels.img"))
    with pytest.raises(UsageError, match="another data: labels: '[0-9a-f]{64}' -> '[0-9a-f]{64}'"):
        resumed(scene_config(cube), run)


def test_another_environment_is_refused(made: Made, tmp_path: Path, resumed: Callable[..., None]) -> None:
    with pytest.raises(UsageError, match=r"another environment: threads: 1 -> 2;"):
        run = made.copied(tmp_path)
        text = (run / files.CONFIG).read_text(encoding="utf-8").replace("threads: 1\n", "threads: 2\n")
        (run / files.CONFIG).write_text(text, encoding="utf-8")
        resumed(scene_config(made.cube, **{"loop.threads": 2}), run)


def test_a_finished_run_is_only_reported_again(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []

    def stopped(_: object, prepared: Any, fitted: Any, **__: object) -> None:
        seen.extend([prepared.model.state_dict(), fitted])
        raise Reached

    monkeypatch.setattr(module, "finish_scene", stopped)
    with pytest.raises(Reached):
        train_scene(scene_config(made.cube), out=made.copied(tmp_path))
    assert seen[1] == made.run.fit
    trained = load_file(made.run.folder / "bundle" / "weights.safetensors")
    assert all(torch.equal(value, trained[key]) for key, value in seen[0].items())


# Several seeds, other starts, other splits.


def test_repeats_differ_by_seed_and_are_told_together(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                      ) -> None:
    kappas, seen = iter([0.5, 0.6, 0.55]), []

    def trained(config: SceneConfig, *, out: Path, **_: object) -> SceneRun:
        seen.append((config.seed, config.split.seed, config.repeats, out.name))
        metrics = made.run.evaluation.metrics | {"kappa": Interval(value=next(kappas), low=None, high=None)}
        svm = Baseline(name="SVM", predicted=np.zeros(1, np.int64), seconds=1.0, metrics=made.run.evaluation.metrics)
        return replace(made.run, evaluation=replace(made.run.evaluation, metrics=metrics), baselines={"SVM": svm})

    monkeypatch.setattr(repeats, "train_scene", trained)
    found = repeat_scene(scene_config(made.cube, **{"repeats": 3, "split.seed": 10}), out=tmp_path)
    assert seen == [(42, 10, 1, "repeat-1"), (43, 11, 1, "repeat-2"), (44, 12, 1, "repeat-3")]
    low, high = t.interval(0.95, 2, loc=np.mean([0.5, 0.6, 0.55]), scale=sem([0.5, 0.6, 0.55]))
    told = found.metrics()["kappa"]
    assert (told.value, told.low, told.high) == pytest.approx((0.55, low, high)) and high < 1
    own = made.run.evaluation.metrics["kappa"].value
    assert found.metrics("SVM")["kappa"].value == pytest.approx(own)
    stored = json.loads((tmp_path / "repeats.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(found.summary())) and set(stored["methods"]) == {"network", "SVM"}
    assert stored["methods"]["network"]["kappa"]["value"] == pytest.approx(0.55) and len(stored["runs"]) == 3
    assert "3 trainings with other seeds" in found.text() and "  SVM: accuracy " in found.text()


def test_an_interval_of_repeats_ends_at_1() -> None:
    low, high = t.interval(0.95, 2, loc=np.mean([0.9, 0.99, 1.0]), scale=sem([0.9, 0.99, 1.0]))
    found = repeats.spread([0.9, 0.99, 1.0])
    assert high > 1 and (found.low, found.high) == pytest.approx((low, 1.0))


def test_weights_that_have_learnt_from_the_same_pixels_are_warned_of(made: Made, tmp_path: Path) -> None:
    weights = find_bundle(made.run.folder)
    for given in (made.run.folder, weights, weights / "weights.safetensors"):
        prepared = prepare_scene(scene_config(made.cube, **{"model.weights": str(given), "split.seed": 77}))
        assert prepared.split.notes[0].startswith(f"the network starts from {made.run.folder.name}: LEAK: ")
    other = small_scene(tmp_path / "other", seed=5)
    prepared = prepare_scene(scene_config(other, **{"model.weights": str(made.run.folder)}))
    assert not any("LEAK" in note for note in prepared.split.notes)
    assert not any("LEAK" in note for note in made.run.split.notes)


def test_how_many_pixels_have_a_label_is_said(made: Made) -> None:
    prepared = prepare_scene(scene_config(made.cube))
    values = prepared.scene.labels.values
    assert 0 < np.count_nonzero(values) < values.size
    assert prepared.reasons["scene"].startswith(f"{np.count_nonzero(values):,} of {values.size:,} pixels have a label")


def test_another_scene_with_other_classes_goes_on_from_a_bundle(made: Made, tmp_path: Path) -> None:
    cube = small_scene(tmp_path / "other", classes=4, seed=5, bands=30)
    weights = find_bundle(made.run.folder)
    for given in (made.run.folder, weights, weights / "weights.safetensors"):
        prepared = prepare_scene(scene_config(cube, **{"model.weights": str(given), "split.block": None}))
        assert prepared.weights is not None and prepared.weights.part == "features"
        assert prepared.weights.percent == 100 and "loaded from weights.safetensors" in prepared.reasons["network"]
    trained = load_file(weights / "weights.safetensors")
    for key, value in prepared.model.state_dict().items():
        same = key in trained and trained[key].shape == value.shape and torch.equal(trained[key], value)
        assert same != key.startswith("classifier"), key


def test_given_maps_are_the_parts(made: Made, tmp_path: Path) -> None:
    labels = made.run.scene.labels.values
    columns = np.arange(labels.shape[1])
    maps = {}
    for part, inside in (("train", columns % 3 == 0), ("val", columns % 3 == 1), ("test", columns % 3 == 2)):
        maps[f"split.{part}_map"] = tmp_path / f"{part}.npy"
        np.save(tmp_path / f"{part}.npy", np.where(inside, labels, 0))
    config = scene_config(made.cube, **{"split.kind": "given", "split.block": None} | maps)
    prepared = prepare_scene(config)
    for part, remainder in (("train", 0), ("val", 1), ("test", 2)):
        assert sorted(map(tuple, prepared.split.positions(part))) == [
            (row, column) for row, column in np.argwhere(labels > 0) if column % 3 == remainder]
    assert prepared.split.kind == "given" and prepared.split.overlap.inside > 0.9


def test_given_maps_of_ones_will_do(made: Made, tmp_path: Path) -> None:
    places = np.indices(made.run.scene.labels.values.shape)[1] % 3
    maps = {f"split.{part}_map": tmp_path / f"{part}.npy" for part in ("train", "val", "test")}
    for number, file in enumerate(maps.values()):
        np.save(file, (places == number).astype(np.uint8))
    prepared = prepare_scene(scene_config(made.cube, **{"split.kind": "given", "split.block": None} | maps))
    labelled = made.run.scene.labels.values > 0
    assert (prepared.split.parts == np.where(labelled, places + 1, 0)).all()


class Own(nn.Module):
    """Looks at the pixel in the middle alone."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Linear(13, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.last(x[:, :, WINDOW // 2, WINDOW // 2])
        return found


def test_a_model_of_ones_own_is_trained_and_shipped_under_its_name(made: Made, tmp_path: Path) -> None:
    model = Own()
    run = train_scene(scene_config(made.cube, **{"optim.lr": 0.05}), model=model, out=tmp_path / "run")
    predictor = ScenePredictor(run.folder, threads=1)
    assert predictor.method == "windows" and predictor.info.model == {}
    reduced = torch.from_numpy(predictor.reduction.apply(np.asarray(run.scene.cube.values)))
    with torch.inference_mode():
        expected = model.last(reduced).argmax(2).numpy() + 1
    assert (read_labels(run.folder / LABELS).values == expected).mean() > 0.999
    assert "Own was trained on" in text_of(run.report) and predictor.info.name == "Own on cube"
    card = (run.folder / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "A network of the caller's own." in card and "random values" not in card
    assert "given by the caller" in text_of(run.report)


# What cannot be.


@pytest.mark.parametrize(("changes", "kind", "text"), [
    ({"scene.cube": None}, UsageError, "no cube is given; excite train CUBE, or scene.cube in the config"),
    ({"split.val": 0.0}, DataError, "the val part is empty .it chooses the best epoch and the temperature.; set "
                                    "split.val above 0, or give split.val_map"),
    ({"scene.classes": ["a", "b", "c"], "scene.drop_classes": ["d"]}, UsageError,
     "scene.drop_classes must be classes of the labels, got d; its classes: a, b, c"),
    ({"window": 7}, UsageError, "window must be at least 9 for hybridsn, got 7"),
    ({"reduction.components": 12}, UsageError, "in_channels must be at least 13 for hybridsn, got 12"),
    ({"model.weights": "imagenet"}, EnvironmentFault, "no weights called 'imagenet' are known for hybridsn"),
    ({"model.weights": "gone.safetensors"}, EnvironmentFault, "there is no such weights file"),
    ({"loss.name": "dice_bce"}, UsageError, "loss.name must be cross_entropy, focal or ordinal for classes"),
])
def test_what_cannot_be_trained_is_refused(made: Made, changes: dict[str, object], kind: type[Exception],
                                           text: str) -> None:
    labels = {"scene.labels": made.cube.with_name("cube_labels.hdr")} if "scene.classes" in changes else {}
    with pytest.raises(kind, match=text):
        prepare_scene(scene_config(**{"cube": made.cube, **labels, **changes} if "scene.cube" not in changes
                                   else {"cube": None}))


@pytest.mark.parametrize("key", ["loop.budget_minutes", "loop.frozen_features"])
def test_keys_for_images_are_refused(key: str) -> None:
    with pytest.raises(UsageError, match="budget_minutes and frozen_features are for tables of images: leave them out"):
        scene_config(None, **{key: True})


def test_nothing_is_left_where_nothing_began(made: Made, tmp_path: Path) -> None:
    with pytest.raises(DataError):
        train_scene(scene_config(made.cube, **{"split.val": 0.0}), out=tmp_path / "runs" / "a")
    assert not (tmp_path / "runs").exists()
