"""Runs are compared where they were tested on the same; what differs is named; what is not the bundle's is measured."""

import csv
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bundles import CLASSES, linear_bundle, pictures, weights
from excite import compare
from excite.data.fingerprint import file_hash
from excite.data.split import Split
from excite.deploy.bundle import update_bundle
from excite.errors import DataError, ModelError, UsageError
from excite.jobs.evaluate import evaluate
from excite.metrics.classification import measure
from mask_bundles import mask_bundle

COUNT = 60


@dataclass
class Pair:
    a: Path
    b: Path
    files: list[Path]
    labels: list[str]


def made_run(folder: Path, files: list[Path], labels: list[str], *, seed: int, patients: int = 2,
             tested: int = 24, classes: tuple[str, ...] = CLASSES) -> Path:
    """A run folder as training leaves it: the last `tested` pictures tested, `patients` pictures a patient."""
    bundle = linear_bundle(folder / "bundle", classes, values=weights(len(classes), seed=seed), provenance={
        "parameters": 100 + seed, "macs": 1000, "train_hashes": [file_hash(file)[:16] for file in files[:20]]})
    units = [f"P{place // patients}" for place in range(len(files))]
    with (folder / "manifest.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("image", "label", "patient"), *zip(files, labels, units, strict=True)])
    split = Split(train=tuple(range(20)), val=tuple(range(20, len(files) - tested)), units=tuple(units),
                  test=tuple(range(len(files) - tested, len(files))), unit_kind="patient")
    (folder / "split.json").write_text(json.dumps(split.to_json()))
    (folder / "hashes.json").write_text(json.dumps(
        {f"{place + 2}: {file}": f"{file_hash(file)} {label} {unit} test"
         for place, (file, label, unit) in enumerate(zip(files, labels, units, strict=True))}))
    evaluation = evaluate(folder, resamples=100)
    update_bundle(bundle, metrics=evaluation.to_json())
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    files = pictures(tmp_path / "images", COUNT, seed=3)
    labels = [CLASSES[place % 3] for place in range(COUNT)]
    a, b = (made_run(tmp_path / name, files, labels, seed=seed) for seed, name in ((1, "plain"), (2, "se")))
    return Pair(a, b, files, labels)


def chances(run: Path) -> tuple[np.ndarray, np.ndarray]:
    with (run / "predictions-test.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    truth = np.array([CLASSES.index(row["truth"]) for row in rows])
    return truth, np.array([[float(row[name]) for name in CLASSES] for row in rows])


def test_two_runs_are_compared_by_what_they_left_behind(pair: Pair) -> None:
    found = compare(pair.a, pair.b, resamples=200)
    (truth, one), (_, two) = chances(pair.a), chances(pair.b)
    for name in ("balanced_accuracy", "auroc_macro", "nll", "recall/normal"):
        first, second = (measure(truth, shares, CLASSES)[name] for shares in (one, two))
        assert found.pairs[name].a.value == pytest.approx(first), name
        assert found.pairs[name].difference.value == pytest.approx(second - first), name
    assert (found.n, found.n_units, found.unit_kind, found.metric) == (24, 12, "patient", "balanced_accuracy")
    assert found.names == (str(pair.a), str(pair.b))
    assert [price.parameters for price in found.prices] == [101, 102]
    assert all(price.milliseconds > 0 for price in found.prices)
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["n_units"] == 12
    assert compare(pair.a, pair.b, resamples=200).to_json()["metrics"] == found.to_json()["metrics"]


def test_the_order_of_rows_and_of_classes_does_not_matter(pair: Pair, tmp_path: Path) -> None:
    values = weights(3, seed=2)
    turned = {name: np.ascontiguousarray(value[[2, 0, 1]]) for name, value in values.items()}
    names = tuple(CLASSES[place] for place in (2, 0, 1))
    other = tmp_path / "turned"
    shutil.copytree(pair.b, other)
    shutil.rmtree(other / "bundle")
    linear_bundle(other / "bundle", names, values=turned)
    split = json.loads((other / "split.json").read_text())
    split["test"] = split["test"][::-1]
    (other / "split.json").write_text(json.dumps(split))
    straight, found = (compare(pair.a, run, resamples=50) for run in (pair.b, other))
    for name, one in straight.pairs.items():
        assert found.pairs[name].difference.value == pytest.approx(one.difference.value, abs=1e-6), name


def test_a_table_of_another_bundle_is_not_believed(pair: Pair) -> None:
    honest = compare(pair.a, pair.b, metric="nll", resamples=20)
    shutil.copy(pair.a / "predictions-test.csv", pair.b / "predictions-test.csv")
    again = compare(pair.a, pair.b, metric="nll", resamples=20)
    assert again.question.difference.value == honest.question.difference.value != 0
    (pair.b / "predictions-test.csv").unlink()
    before = sorted(pair.b.iterdir())
    once_more = compare(pair.a, pair.b, metric="nll", resamples=20)
    assert once_more.question.b.value == pytest.approx(honest.question.b.value)
    assert sorted(pair.b.iterdir()) == before, "comparing leaves the runs as they are"


def test_one_changed_label_is_named(pair: Pair, tmp_path: Path) -> None:
    labels = [*pair.labels[:-1], "benign"]
    other = made_run(tmp_path / "relabelled", pair.files, labels, seed=2)
    with pytest.raises(DataError, match="the truth of 1 of 24 images differs") as told:
        compare(pair.a, other)
    assert "scan 59.png: normal in A's, benign in B's" in str(told.value)
    assert "--data TABLE" in str(told.value)


def test_one_replaced_image_is_named(pair: Pair, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(pair.files[0].parent, moved)
    files = [moved / file.name for file in pair.files]
    same = made_run(tmp_path / "same", files, pair.labels, seed=2)
    assert compare(pair.a, same, resamples=20).n == 24, "the same content under another path is the same image"
    Image.new("L", (40, 30), 77).save(pair.files[50])
    other = made_run(tmp_path / "replaced", pair.files, pair.labels, seed=2)
    with pytest.raises(DataError, match="the test sets differ") as told:
        compare(pair.a, other)
    assert "1 of 24 images are in A's alone" in str(told.value) and "1 of 24 images are in B's alone" in str(told.value)
    assert "1 have the same name and other content" in str(told.value) and "scan 50.png" in str(told.value)


def test_another_split_is_refused_with_the_fix_and_one_table_for_both_works(pair: Pair, tmp_path: Path) -> None:
    other = made_run(tmp_path / "other", pair.files, pair.labels, seed=2, tested=30)
    with pytest.raises(DataError, match="6 of 30 images are in B's alone") as told:
        compare(pair.a, other)
    assert "excite compare A B --data TABLE" in str(told.value) and "split.seed" in str(told.value)
    with (tmp_path / "there.csv").open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("image", "label", "patient"), *(
            (pair.files[place], pair.labels[place], f"P{place // 3}") for place in range(20, 60)),
            (tmp_path / "gone.png", "benign", "P99")])
    found = compare(pair.a / "bundle", other / "bundle", data=tmp_path / "there.csv", resamples=50)
    assert (found.n, found.unit_kind) == (40, "patient")
    assert any("gone.png" in note for note in found.notes)
    assert found.question.b.value == pytest.approx(
        evaluate(other / "bundle", tmp_path / "there.csv", resamples=10).metrics["balanced_accuracy"].value)


def test_other_classes_and_other_patients_are_named(pair: Pair, tmp_path: Path) -> None:
    renamed = ["cyst" if label == "normal" else label for label in pair.labels]
    other = made_run(tmp_path / "classes", pair.files, renamed, seed=2, classes=("benign", "malignant", "cyst"))
    with pytest.raises(DataError, match=r"the classes differ \(normal in A\'s alone; cyst in B\'s alone\)"):
        compare(pair.a, other)
    grouped = made_run(tmp_path / "patients", pair.files, pair.labels, seed=2, patients=3)
    with pytest.raises(DataError, match="what belongs together differs") as told:
        compare(pair.a, grouped)
    assert "scan 39.png (P19 in A's, P13 in B's)" in str(told.value)


def test_what_cannot_be_compared_is_refused(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="run_a and run_b must be two runs, got one twice"):
        compare(pair.a, pair.a)
    with pytest.raises(UsageError, match="a bundle has no data of its own"):
        compare(pair.a / "bundle", pair.b)
    with pytest.raises(ModelError, match="the bundle does not exist"):
        compare(pair.a, tmp_path / "nowhere")
    with pytest.raises(UsageError, match="metric must be one of"):
        compare(pair.a, pair.b, metric="dice", resamples=10)
    masks = tmp_path / "masks"
    shutil.copytree(pair.b, masks)
    shutil.rmtree(masks / "bundle")
    mask_bundle(masks / "bundle")
    with pytest.raises(DataError, match="no row can be evaluated|the table has no masks"):
        compare(pair.a, masks)


def test_a_question_that_does_not_exist_is_refused_before_anything_is_drawn(
        pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("excite.jobs.compare.compare.prices", lambda *_: pytest.fail("the cost was measured"))
    monkeypatch.setattr("excite.metrics.paired.bootstrap", lambda *_, **__: pytest.fail("resamples were drawn"))
    with pytest.raises(UsageError, match="got 'aurocmacro'") as told:
        compare(pair.a, pair.b, metric="aurocmacro")
    assert "did you mean 'auroc_macro'?" in str(told.value)


def test_networks_trained_on_other_data_are_told(pair: Pair) -> None:
    update_bundle(pair.b / "bundle", provenance={"train_hashes": [file_hash(file)[:16] for file in pair.files[5:20]]})
    found = compare(pair.a, pair.b, resamples=20)
    assert any("trained on different data: 5 of A's 20 and 0 of B's 15" in note for note in found.notes)
