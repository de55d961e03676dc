"""Training as a whole: each part of the split does its own work, and a run is resumed only as the run that it was."""

import csv
import errno
import json
import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from excite.config import load_config
from excite.data.preprocess import Preprocess
from excite.data.reading import read
from excite.deploy.bundle import read_bundle
from excite.deploy.runtime import Predictor
from excite.engine.loader import Batch, Loader
from excite.errors import EnvironmentFault, ExciteError, UsageError
from excite.jobs import run_folder as files
from excite.jobs import train as module
from excite.jobs.prepare import prepare
from excite.jobs.run_folder import RunFolder
from excite.jobs.sections import TrainConfig
from excite.jobs.train import Run, train
from excite.metrics.calibration import fit_temperature
from excite.tasks.classification import ClassificationTask
from runs import simulated_table, small_config
from stand_ins import Told

Rows = list[dict[str, str]]
BRIGHT = 30_000  # what test and validation images of the 16-bit table have on top


class Reached(Exception):
    """A step of the training began that a test need not wait for."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished run, its table and what it said."""

    run: Run
    table: Path
    cache: Path
    told: list[str]

    def config(self, table: Path | None = None, **changes: object) -> TrainConfig:
        own = {"cache.folder": self.cache, "loss.class_weights": "balanced", "optim.lr": 0.05}
        config: TrainConfig = small_config(table or self.table, **own | changes)
        return config

    def copied(self, folder: Path) -> Path:
        """Return a copy of the run's folder, to be changed."""
        return Path(shutil.copytree(self.run.folder, folder / "run"))

    def rows(self, part: str) -> Rows:
        """Return the table's rows of a part."""
        return [row for row in read_rows(self.table) if row["split"] == part]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A run on a table with its own split and one picture in train and, under another name, in test."""
    folder = tmp_path_factory.mktemp("planes")
    table = simulated_table(folder)
    rows = with_split(read_rows(table), {1: "train", 10: "val", 12: "test"})
    shutil.copy(folder / rows[0]["image"], folder / "images" / "again.png")
    last = next(row for row in rows if row["split"] == "test")
    rows.append(last | {"image": "images/again.png", "label": rows[0]["label"]})
    write_rows(table, rows)
    told, cache = Told(), folder / "cache"
    unrun = Made(run=None, table=table, cache=cache, told=[])  # type: ignore[arg-type]
    run = train(unrun.config(), out=str(folder / "run"), progress=told)
    return Made(run=run, table=table, cache=cache, told=told.texts)


def read_rows(table: Path) -> Rows:
    with table.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def write_rows(table: Path, rows: Rows) -> None:
    with table.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def with_split(rows: Rows, first: dict[int, str]) -> Rows:
    """Return the rows with a column split: patient n is in the part of the largest number that is not above n."""
    return [row | {"split": first[max(start for start in first if start <= int(row["patient"][1:]))]} for row in rows]


def moved(made: Made, folder: Path) -> Path:
    """Return a copy of the table and its images, to be changed."""
    shutil.copytree(made.table.parent / "images", folder / "data" / "images")
    return Path(shutil.copy(made.table, folder / "data" / made.table.name))


@pytest.fixture
def begun(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[ClassificationTask, Loader, Loader]]:
    """Start a training up to its first step, and return what it would train with."""
    def begin(config: TrainConfig, out: Path | str) -> tuple[ClassificationTask, Loader, Loader]:
        seen: list[Any] = []

        def stopped(model: object, task: object, training: object, validation: object, **_: object) -> None:
            seen.extend([task, training, validation])
            raise Reached

        monkeypatch.setattr(module, "fit", stopped)
        with pytest.raises(Reached):
            train(config, out=out)
        return seen[0], seen[1], seen[2]

    return begin


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> Callable[[TrainConfig, Path], None]:
    """Resume a run; a refusal is raised, and everything after the training is left out."""
    def resume(config: TrainConfig, out: Path) -> None:
        def stopped(*_: object, **__: object) -> None:
            raise Reached

        monkeypatch.setattr(module, "finish", stopped)
        train(config, out=out)

    return resume


def names(rows: Rows) -> list[str]:
    return sorted(row["image"] for row in rows)


def drawn(loader: Loader, epoch: int = 1) -> dict[int, np.ndarray[Any, Any]]:
    """Return each row's input of an epoch."""
    found: dict[int, np.ndarray[Any, Any]] = {}
    batch: Batch
    for batch in loader.batches(epoch):
        found |= dict(zip(batch.index.tolist(), batch.images.numpy().copy(), strict=True))
    return found


def plain(made: Made, row: int) -> np.ndarray[Any, Any]:
    """Return a row's input as the bundle's preprocessing makes it from the file."""
    preprocess = Preprocess.from_json(read_bundle(made.run.folder / files.BUNDLE).preprocess)
    return preprocess(read(made.run.manifest.path(made.run.manifest.rows[row])).image)


# Each part does its own work.


def test_it_trains_on_the_training_rows_and_validates_on_the_validation_rows(
        made: Made, tmp_path: Path, begun: Callable[..., tuple[ClassificationTask, Loader, Loader]]) -> None:
    _, training, validation = begun(made.config(), tmp_path / "run")
    rows = made.run.manifest.rows
    for loader, part in ((training, "train"), (validation, "val")):
        assert sorted(rows[row].image for row in drawn(loader)) == names(made.rows(part)) != []
    assert [rows[row].image for row in sorted(made.run.split.test)] == [row["image"] for row in made.rows("test")]
    assert training.order(1).tolist() != training.order(2).tolist()


def test_training_is_augmented_and_validation_is_not(
        made: Made, tmp_path: Path, begun: Callable[..., tuple[ClassificationTask, Loader, Loader]]) -> None:
    _, training, validation = begun(made.config(), tmp_path / "run")
    for row, image in drawn(validation).items():
        np.testing.assert_array_equal(image, plain(made, row))
    first, second = drawn(training, 1), drawn(training, 2)
    changed = [row for row in first if not np.array_equal(first[row], second[row])
               and not np.array_equal(first[row], plain(made, row))]
    assert len(changed) > len(first) * .9
    _, unchanged, _ = begun(made.config(made.table, **{"augment.enabled": False}), tmp_path / "plain")
    for row, image in drawn(unchanged).items():
        np.testing.assert_array_equal(image, plain(made, row))


def test_the_value_range_is_learnt_from_the_training_images(made: Made, tmp_path: Path) -> None:
    table = moved(made, tmp_path)
    rows = with_split(read_rows(table), {1: "train", 5: "val", 7: "test"})[:-1]
    for row in rows:
        file = table.parent / row["image"]
        deep = np.asarray(Image.open(file).convert("L")).astype(np.uint16) * 100
        Image.fromarray(deep + np.uint16(0 if row["split"] == "train" else BRIGHT)).save(file)
    write_rows(table, rows)
    found = prepare(made.config(table))
    low, high = found.preprocess.low, found.preprocess.high
    assert 0 <= low < high <= 25_500  # most images are far above
    section = found.preprocess.section
    stored = [Preprocess(section).store(read(table.parent / row["image"]).image) for row in rows
              if row["split"] == "train"]
    expected = Preprocess(section).fit(stored)
    assert (low, high) == (expected.low, expected.high)


def test_class_weights_come_from_the_training_part(
        made: Made, tmp_path: Path, begun: Callable[..., tuple[ClassificationTask, Loader, Loader]]) -> None:
    def weights(rows: Rows) -> list[float]:
        counts = Counter(row["label"] for row in rows)
        return [len(rows) / (len(counts) * counts[name]) for name in sorted(counts)]

    task, _, _ = begun(made.config(), tmp_path / "run")
    assert task.class_weights.tolist() == pytest.approx(weights(made.rows("train")))
    assert weights(read_rows(made.table)) != pytest.approx(weights(made.rows("train")), abs=1e-3)


def test_a_balanced_sampler_takes_the_place_of_class_weights(
        made: Made, tmp_path: Path, begun: Callable[..., tuple[ClassificationTask, Loader, Loader]]) -> None:
    task, training, validation = begun(made.config(made.table, **{"loop.sampler": "balanced"}), tmp_path / "run")
    assert len(set(task.class_weights.tolist())) == 1
    assert (training.sampler, validation.sampler) == ("balanced", "order")
    assert "imbalance" in (tmp_path / "run" / files.LOG).read_text(encoding="utf-8")


def test_the_temperature_is_fitted_on_the_validation_part(made: Made) -> None:
    bundle = made.run.folder / files.BUNDLE
    info, predictor, found = read_bundle(bundle), Predictor(bundle, threads=1), {}
    for part in ("train", "val", "test"):
        rows = made.rows(part)
        inputs = np.stack([predictor.prepare(made.table.parent / row["image"])[0] for row in rows])
        truth = np.array([info.classes.index(row["label"]) for row in rows])
        found[part] = fit_temperature(predictor.views(inputs), truth)
    told = info.provenance["temperature"]
    assert told["n"] == len(made.rows("val")) != len(made.rows("test"))
    assert info.temperature == told["value"] == pytest.approx(found["val"].value, rel=1e-3)
    assert told["nll_before"] == pytest.approx(found["val"].nll_before, rel=1e-5)
    assert all(found[part].nll_before != pytest.approx(told["nll_before"], rel=1e-3) for part in ("train", "test"))


def test_a_picture_in_two_parts_is_told(made: Made) -> None:
    wanted = ("images/again.png is the same picture as images/p0001_1.png (row 2), which is in train while this is "
              "in test")
    with RunFolder(made.run.folder) as run:
        notes = [event["text"] for event in run.events() if event.get("topic") == "leak"]
    assert len(notes) == 1 and wanted in notes[0]
    assert any(text.startswith("LEAK: ") and wanted in text for text in made.told)
    assert '<th scope="row">same-pixels-in-two-splits</th><td>' + wanted in made.run.report.read_text(encoding="utf-8")


def test_out_may_be_text(made: Made, tmp_path: Path, begun: Callable[..., object]) -> None:
    assert isinstance(made.run.folder, Path) and made.run.folder == made.table.parent / "run"
    begun(made.config(), str(tmp_path / "text"))
    assert (tmp_path / "text" / files.CONFIG).is_file()


# A run is resumed only as the run that it was.


def test_the_same_run_goes_on_with_its_table_elsewhere(made: Made, tmp_path: Path,
                                                       resumed: Callable[[TrainConfig, Path], None]) -> None:
    with pytest.raises(Reached):
        resumed(made.config(moved(made, tmp_path)), made.copied(tmp_path))


@pytest.mark.parametrize(("keys", "value", "text"), [
    (("versions", "torch"), "1.0", r"another environment: versions\.torch: '1\.0' -> "),
    (("threads",), 7, r"another environment: threads: 7 -> 1;"),
    (("cpu", "name"), "an abacus", r"another environment: cpu\.name: 'an abacus' -> "),
])
def test_another_environment_is_refused(made: Made, tmp_path: Path, resumed: Callable[[TrainConfig, Path], None],
                                        keys: tuple[str, ...], value: object, text: str) -> None:
    folder = made.copied(tmp_path)
    facts = json.loads((folder / files.ENVIRONMENT).read_text(encoding="utf-8"))
    place = facts
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    (folder / files.ENVIRONMENT).write_text(json.dumps(facts), encoding="utf-8")
    with pytest.raises(UsageError, match=text):
        resumed(made.config(), folder)


def test_another_picture_under_the_same_name_is_refused(made: Made, tmp_path: Path,
                                                        resumed: Callable[[TrainConfig, Path], None]) -> None:
    table = moved(made, tmp_path)
    row = made.rows("train")[1]
    file = table.parent / row["image"]
    image = np.array(Image.open(file))
    image[0, 0] = 255 - image[0, 0]
    Image.fromarray(image).save(file)
    with pytest.raises(UsageError, match=rf"another data: 3: {row['image']}: '") as fault:
        resumed(made.config(table), made.copied(tmp_path))
    assert fault.value.message().count(" -> ") == 1


def test_two_parts_that_changed_places_are_refused(made: Made, tmp_path: Path,
                                                   resumed: Callable[[TrainConfig, Path], None]) -> None:
    table = moved(made, tmp_path)
    swapped = {"train": "train", "val": "test", "test": "val"}
    write_rows(table, [row | {"split": swapped[row["split"]]} for row in read_rows(table)])
    with pytest.raises(UsageError, match=r"another data: .* val' -> '.* test'"):
        resumed(made.config(table), made.copied(tmp_path))


@pytest.mark.parametrize(("name", "text"), [
    (files.CONFIG, "loop: [unclosed"), (files.CONFIG, ""), (files.CONFIG, "- a list"), (files.CONFIG, "\x00\x01"),
    (files.ENVIRONMENT, "{}"), (files.ENVIRONMENT, "[]"), (files.ENVIRONMENT, '{"versions": '),
    (files.HASHES, ""), (files.HASHES, "[]"),
])
def test_a_damaged_file_of_the_run_is_named(made: Made, tmp_path: Path, resumed: Callable[[TrainConfig, Path], None],
                                            name: str, text: str) -> None:
    folder = made.copied(tmp_path)
    (folder / name).write_text(text, encoding="utf-8")
    with pytest.raises(ExciteError) as fault:
        resumed(made.config(), folder)
    assert str(folder / name) in fault.value.message() and "\n" not in fault.value.message()


# The run folder.


def test_a_kill_before_the_config_leaves_a_new_run(made: Made, tmp_path: Path, begun: Callable[..., object]) -> None:
    for name in (files.ENVIRONMENT, files.MANIFEST):
        (tmp_path / name).write_text("cut", encoding="utf-8")
    begun(made.config(), tmp_path)
    found = load_config(TrainConfig, tmp_path / files.CONFIG)
    assert found == made.config(task="classification")  # what it turned out to be
    assert json.loads((tmp_path / files.ENVIRONMENT).read_text(encoding="utf-8"))["threads"] == 1


def test_a_foreign_file_beside_them_is_refused(made: Made, tmp_path: Path) -> None:
    for name in (files.ENVIRONMENT, files.MANIFEST, "thesis.tex"):
        (tmp_path / name).write_text("years of work", encoding="utf-8")
    with pytest.raises(UsageError, match="holds other files and no run"):
        train(made.config(), out=tmp_path)
    assert {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()} == dict.fromkeys(
        (files.ENVIRONMENT, files.MANIFEST, "thesis.tex"), "years of work")


@pytest.mark.parametrize(("number", "text"), [(errno.ENOSPC, "disk full"), (errno.EIO, "cannot be written")])
def test_a_file_that_cannot_be_written_is_named_and_the_old_one_stays(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, text: str) -> None:
    def failing(_: int) -> None:
        raise OSError(number, os.strerror(number))

    with RunFolder(tmp_path) as run:
        run.write(files.SPLIT, "old")
        monkeypatch.setattr(os, "fsync", failing)
        with pytest.raises(EnvironmentFault, match=text) as fault:
            run.write(files.SPLIT, "new")
        assert fault.value.where == str(tmp_path / files.SPLIT)
        assert (tmp_path / files.SPLIT).read_text(encoding="utf-8") == "old"
