"""Training on cubes of several patients: parted by patient, each cube mapped as if alone, and all of it told."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import accuracy_score

from excite.config import load_config
from excite.data.scenes.label_files import read_labels
from excite.data.scenes.reading import open_cube
from excite.deploy.bundle import read_bundle
from excite.deploy.scene_predictor import ScenePredictor
from excite.engine.signals import StopFlag
from excite.errors import Interrupted, UsageError
from excite.jobs import run_folder as files
from excite.jobs import starting
from excite.jobs.scenes import train as module
from excite.jobs.scenes.finish import CONFIDENCE, LABELS, PARTS, PIECES
from excite.jobs.scenes.prepare import prepare_scene
from excite.jobs.scenes.sections import SceneConfig, with_defaults
from excite.jobs.scenes.train import SceneRun, train_scene
from html_reader import Reader
from small_scenes import scene_config
from small_tissue import rewritten, rows_of, small_tissue
from stand_ins import StopAt, Told

pytestmark = pytest.mark.slow
SAME = ("bundle/weights.safetensors", "bundle/model.onnx", LABELS, CONFIDENCE, PARTS, files.EVALUATION, files.SPLIT)


class Reached(Exception):
    """The training is over, and a test need not wait for what follows."""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A finished run, its table and what it said."""

    run: SceneRun
    table: Path
    told: list[str]


def config_of(table: Path, **changes: object) -> SceneConfig:
    return scene_config(None, **{"scene.table": table, "split.train": 0.5, "split.val": 0.25} | changes)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder, told = tmp_path_factory.mktemp("tissue"), Told()
    table = small_tissue(folder / "tissue")
    return Made(run=train_scene(config_of(table), out=folder / "run", progress=told), table=table, told=told.texts)


def text_of(page: Path) -> str:
    return Reader(page.read_text(encoding="utf-8")).text


# What a run leaves.


def test_parts_are_of_whole_patients_and_the_split_names_them(made: Made) -> None:
    split, parts = (json.loads((made.run.folder / files.SPLIT).read_text(encoding="utf-8")),
                    np.load(made.run.folder / PARTS))
    assert {part: len(names) for part, names in split["patients"].items()} == {"train": 2, "val": 1, "test": 1}
    for piece in made.run.scene.pieces:
        part = next(part for part, names in split["patients"].items() if piece.patient in names)
        code = ("train", "val", "test").index(part) + 1
        labelled = made.run.scene.labels.values[piece.place.inside] > 0
        assert (parts[piece.place.inside] == np.where(labelled, code, 0)).all()
    assert split["kind"] == "patient" and split["overlap"] == {"inside": 0.0, "windows": 0.0, "sharing": 0.0}
    assert made.run.evaluation.unit_kind == "patient" and made.run.evaluation.n_units == 1
    assert "the cubes were split by patient" in made.run.evaluation.notes
    stored = load_config(SceneConfig, made.run.folder / files.CONFIG)
    assert (stored.split.kind, stored.border, stored.scene.table) == ("patient", "zero", made.table)
    assert set(json.loads((made.run.folder / files.HASHES).read_text(encoding="utf-8"))) == {"cube", "labels", "parts",
                                                                                            "pieces"}


def test_each_cube_has_its_map_the_one_that_the_bundle_gives_for_it_alone(made: Made) -> None:
    predictor, whole = ScenePredictor(made.run.folder, threads=1), read_labels(made.run.folder / LABELS).values
    names = {piece.name for piece in made.run.scene.pieces}
    assert {file.stem for file in (made.run.folder / PIECES).iterdir()} == names and "P003_02" in names
    for piece in made.run.scene.pieces:
        own = read_labels(made.run.folder / PIECES / f"{piece.name}.png").values
        alone = predictor(np.asarray(open_cube(made.table.parent / piece.name / "cube.hdr").values))
        assert (own == alone.labels).all() and (own == whole[piece.place.inside]).all() and own.all()
        np.testing.assert_allclose(np.load(made.run.folder / CONFIDENCE)[piece.place.inside], alone.confidence,
                                   atol=1e-5)
    assert not whole[~made.run.scene.cube.valid].any()


def test_the_report_shows_every_patient_and_how_good_the_network_is_on_tested_ones(made: Made) -> None:
    page = text_of(made.run.report)
    names = made.run.split.members["test"]
    truth = np.concatenate([made.run.scene.labels.values[piece.place.inside].ravel()
                            for piece in made.run.scene.pieces if piece.patient == names[0]])
    found = np.concatenate([read_labels(made.run.folder / PIECES / f"{piece.name}.png").values.ravel()
                            for piece in made.run.scene.pieces if piece.patient == names[0]])
    score = accuracy_score(truth[truth > 0], found[truth > 0])
    row = f"{names[0]} {names[0]}_01, {names[0]}_02 test {np.count_nonzero(truth):,} {score:.3f}"
    assert row in " ".join(page.split())
    for word in ("pixels of 8 cubes of 4 patients to tell", "8 cubes side by side", "Each patient", "SIMULATED",
                 "whole patients were given away: 2 to train, 1 to val, 1 to test", "CUBE --out map.png",
                 "nothing of other sensors, hospitals or light"):
        assert word in page, word
    assert "No patients are known" not in page and "the numbers flatter" not in page


def test_the_card_counts_patients_and_the_bundle_names_none(made: Made) -> None:
    card = (made.run.folder / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "Made with 8 cubes of 4 patients, split by patient: 2 to train, 1 to val, 1 to test." in card
    assert "- Numbers of a few patients say little about others" in card and "- simulated: True" in card
    assert read_bundle(made.run.folder / "bundle").provenance["data"]["cubes"] == 8
    for file in ("card.md", "bundle.json"):
        text = (made.run.folder / "bundle" / file).read_text(encoding="utf-8")
        assert not any(f"P00{number}" in text for number in range(1, 5))


# The same run, and no other.


def test_an_interrupted_run_ends_with_the_same_bytes_wherever_the_table_lies(
        made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(starting, "StopFlag", lambda: StopAt(9))
    with pytest.raises(Interrupted):
        train_scene(config_of(made.table), out=tmp_path / "run")
    monkeypatch.setattr(starting, "StopFlag", StopFlag)
    moved = Path(shutil.copytree(made.table.parent, tmp_path / "tissue")) / "table.csv"
    train_scene(config_of(moved), out=tmp_path / "run")
    for name in (*SAME, f"{PIECES}/P002_01.png"):
        assert (tmp_path / "run" / name).read_bytes() == (made.run.folder / name).read_bytes(), name


def test_other_patients_or_cubes_are_another_run(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise Reached

    monkeypatch.setattr(module, "finish_scene", stopped)
    run = Path(shutil.copytree(made.run.folder, tmp_path / "run"))
    with pytest.raises(Reached):
        train_scene(config_of(made.table), out=run)
    rows = rows_of(made.table)
    renamed = [row | {"patient": row["patient"].replace("P004", "X")} for row in rows]
    for changed, text in ((renamed, "another data: pieces: "), (rows[:-1], "another data: cube: "),
                          (rows[::-1], "another data: cube: ")):
        with pytest.raises(UsageError, match=text):
            train_scene(config_of(rewritten(made.table, changed)), out=run)


# Other splits, other tables.


def test_other_splits_are_possible_and_warned_about(made: Made, tmp_path: Path) -> None:
    told = Told()
    run = train_scene(config_of(made.table, **{"split.kind": "random", "loop.epochs": 1}), out=tmp_path / "run",
                      progress=told)
    said = "4 of 4 patients are in training and in test: numbers say nothing about a new patient"
    assert run.split.notes[0] == said and any(said in text for text in told.texts)
    page = text_of(run.report)
    assert "4 of 4 patients are in training and in test: the numbers flatter, and say nothing about a new" in page
    assert "test, val, train" in " ".join(page.split())
    card = (run.folder / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "Made with 8 cubes of 4 patients, split by random." in card and said in card
    block = prepare_scene(config_of(made.table, **{"split.kind": "block", "split.block": None})).split
    assert block.kind == "block" and "patients are in training and in test" in block.notes[0]
    assert (block.overlap.inside, block.members) == (0.0, {})


def test_a_table_without_patients_is_split_by_cube_and_says_so(made: Made, tmp_path: Path) -> None:
    rows = [{key: row[key] for key in ("cube", "labels")} for row in rows_of(made.table)]
    run = train_scene(config_of(rewritten(made.table, rows), **{"loop.epochs": 1}), out=tmp_path / "run")
    assert run.split.kind == "cube" and run.evaluation.unit_kind == "cube" and run.evaluation.n_units == 2
    page = text_of(run.report)
    assert "No patients are known: each cube counts as one." in page and "Each cube" in page
    assert "Made with 8 cubes, of patients that nobody named, split by cube: 4 to train, 2 to val, 2 to test." in (
        run.folder / "bundle" / "card.md").read_text(encoding="utf-8")


def test_what_a_table_says_of_simulation_is_what_the_run_says(made: Made, tmp_path: Path,
                                                             monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[object] = []

    def stopped(*_: object, simulated: bool | None, **__: object) -> None:
        seen.append(simulated)
        raise Reached

    monkeypatch.setattr(module, "finish_scene", stopped)
    with pytest.raises(Reached):
        train_scene(config_of(made.table, **{"loop.epochs": 1}), out=tmp_path / "a")
    assert seen == [True]


@pytest.mark.parametrize(("changes", "text"), [
    ({"border": "reflect"}, r"border must be zero for a table of cubes, got reflect \(the cubes lie side by side, and "
                            r"between them nothing can be mirrored\); leave border out"),
    ({"split.kind": "given", "split.train_map": "a", "split.test_map": "b"},
     "split.kind must be patient, block or random for a table of cubes, got given; leave it out"),
    ({"scene.table": None, "scene.cube": "c.npy", "split.kind": "patient"},
     "split.kind must be block, random or given for one cube, got patient; name a table of the patients' cubes"),
])
def test_what_cannot_be_asked_for(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        with_defaults(config_of(Path("table.csv"), **changes))


def test_what_is_left_out_is_filled_in_and_what_is_said_stays() -> None:
    table, cube = config_of(Path("a/table.csv")), scene_config(Path("a/cube.npy"))
    assert (table.name, cube.name, scene_config(None).name) == ("table", "cube", "scene")
    found = [(one.border, one.split.kind) for one in map(with_defaults, (table, cube))]
    assert found == [("zero", "patient"), ("reflect", "block")]
    told = with_defaults(scene_config(Path("c.npy"), **{"border": "zero", "split.kind": "random"}))
    assert (told.border, told.split.kind) == ("zero", "random") and with_defaults(told) == told


def test_a_class_that_no_cube_has_is_left_out(made: Made) -> None:
    prepared = prepare_scene(config_of(made.table, **{"scene.classes": ["a", "b", "c", "fourth"]}))
    assert prepared.classes == ("a", "b", "c") and "left out: fourth (0 pixels)" in prepared.reasons["scene"]
