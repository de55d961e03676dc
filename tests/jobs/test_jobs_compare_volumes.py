"""Networks for volumes compared, patients to a class and scans to label volumes: two trainings of one split."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from excite import compare
from excite.deploy.bundle import read_bundle
from excite.errors import DataError, UsageError
from excite.jobs.volume_masks.train import train_volume_masks
from excite.jobs.volumes.evaluate import evaluate_patients
from excite.jobs.volumes.train import train_volumes
from small_scans import scan_config, scan_of, small_scans, write_scan
from small_volumes import read_rows, small_table, volume_config, write_map, write_rows

pytestmark = pytest.mark.slow
GRADES = ("none", "mild", "severe")
SHARES = {"split.test": 0.4, "split.val": 0.2}


def graded(folder: Path) -> Path:
    table = small_table(folder, patients=24, missing=(3, 8))
    return write_rows(table, [row | {"grade": GRADES[place % 3]} for place, row in enumerate(read_rows(table))])


def patients_run(folder: Path, table: Path, **changes: object) -> Path:
    return train_volumes(volume_config(table, **SHARES | {"volumes.classes": GRADES} | changes), out=folder).folder


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    folder = tmp_path_factory.mktemp("patients")
    table = graded(folder)
    return (*(patients_run(folder / name, table, seed=seed) for name, seed in (("one", 1), ("two", 2))), table)


def test_patients_are_compared_by_the_numbers_of_both_runs(patients: tuple[Path, Path, Path]) -> None:
    one, two, _ = patients
    found = compare(one, two, resamples=200)
    assert (found.metric, found.sample, found.unit_kind) == ("balanced_accuracy", "examination", "patient")
    assert found.n == found.n_units == len(json.loads((one / "split.json").read_text())["test"])
    assert found.discordant is not None and any("A alone has" in note for note in found.notes)
    for run, side in ((one, "a"), (two, "b")):
        stored = read_bundle(run / "bundle").metrics["metrics"]
        for name in ("balanced_accuracy", "auroc_macro", "kappa_quadratic", "grade_error", "nll"):
            value = getattr(found.pairs[name], side).value
            assert value == (None if value is None else pytest.approx(stored[name]["value"], abs=1e-5)), name
        rows = read_rows(run / "predictions-test.csv")
        assert getattr(found.question, side).value == pytest.approx(balanced_accuracy_score(
            [row["truth"] for row in rows], [row["label"] for row in rows]))
    assert "ms more an examination" in found.text() or "saves" in found.text() or "takes as long" in found.text()


def test_patients_measured_anew_and_on_one_table(patients: tuple[Path, Path, Path], tmp_path: Path) -> None:
    one, two, table = patients
    honest = compare(one, two, metric="nll", resamples=20)
    copied = Path(shutil.copytree(two, tmp_path / "two"))
    shutil.copy(one / "predictions-test.csv", copied / "predictions-test.csv")
    again = compare(one, copied, metric="nll", resamples=20)
    assert again.question.b.value == pytest.approx(honest.question.b.value, abs=1e-5) != honest.question.a.value
    found = compare(one / "bundle", two / "bundle", data=table, resamples=20)
    assert found.n == 24 and any("LEAK" in note for note in found.notes), "both were trained on rows of it"
    assert found.question.a.value == pytest.approx(
        evaluate_patients(one / "bundle", table, resamples=10).metrics["balanced_accuracy"].value)
    with pytest.raises(UsageError, match="a bundle has no data of its own"):
        compare(one / "bundle", two)


def test_patients_of_another_split_label_or_map_are_refused(patients: tuple[Path, Path, Path], tmp_path: Path) -> None:
    one, _, table = patients
    with pytest.raises(DataError, match="the test sets differ") as told:
        compare(one, patients_run(tmp_path / "split", table, **{"split.seed": 5}))
    assert "examinations are in A's alone" in str(told.value) and "--data TABLE" in str(told.value)
    row = json.loads((one / "split.json").read_text())["test"][0]
    moved = tmp_path / "moved"
    shutil.copytree(table.parent / "maps", moved / "maps")
    rows = read_rows(table)
    other = GRADES[(GRADES.index(rows[row]["grade"]) + 1) % 3]
    labelled = write_rows(moved / "patients.csv", [
        one_row | ({"grade": other} if place == row else {}) for place, one_row in enumerate(rows)])
    run = patients_run(tmp_path / "labelled", labelled, seed=2)
    same_split(one, run)
    with pytest.raises(DataError, match="the truth of 1 of .* examinations differs") as told:
        compare(one, run)
    assert f"line {row + 2}: {rows[row]['grade']} in A's, {other} in B's" in str(told.value)
    write_rows(moved / "patients.csv", rows)
    write_map(moved / rows[row]["t1"], 1234, seed=77)
    run = patients_run(tmp_path / "mapped", moved / "patients.csv", seed=2)
    same_split(one, run)
    with pytest.raises(DataError, match="the test sets differ .*1 of .* examinations are in A's alone"):
        compare(one, run)


def same_split(one: Path, other: Path) -> None:
    first, second = (json.loads((run / "split.json").read_text())["test"] for run in (one, other))
    assert first == second, "the planted difference is to be the only one"


def test_a_cross_validation_is_refused(patients: tuple[Path, Path, Path], tmp_path: Path) -> None:
    one, two, _ = patients
    for place, run in enumerate((one, two), start=1):
        shutil.copytree(run, tmp_path / "folds" / f"fold-{place}")
    with pytest.raises(UsageError, match="a cross-validation has a network a fold"):
        compare(one, tmp_path / "folds")


def scans_run(folder: Path, table: Path, **changes: object) -> Path:
    config = scan_config(table, **SHARES | {"volumes.classes": ("background", "outer", "inner")} | changes)
    return train_volume_masks(config, out=folder).folder


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A run of one epoch, one of ten, and their table."""
    folder = tmp_path_factory.mktemp("scans")
    table = small_scans(folder, scans=20)
    return (*(scans_run(folder / name, table, **{"loop.epochs": epochs}) for name, epochs in
              (("short", 1), ("long", 10))), table)


def test_scans_are_compared_class_by_class_and_the_longer_training_is_better(scans: tuple[Path, Path, Path]) -> None:
    short, long, _ = scans
    found = compare(short, long, resamples=500)
    assert (found.metric, found.sample, found.verdict) == ("dice", "scan", "better")
    for run, side in ((short, "a"), (long, "b")):
        metrics = read_bundle(run / "bundle").metrics
        assert getattr(found.question, side).value == pytest.approx(metrics["metrics"]["dice"]["value"], abs=1e-5)
        for name in ("outer", "inner"):
            with (run / "test-scans.csv").open(encoding="utf-8") as stream:
                mine = [float(row["dice"]) for row in csv.DictReader(stream) if row["class"] == name]
            assert getattr(found.pairs[f"dice/{name}"], side).value == pytest.approx(np.mean(mine), abs=1e-6)
    assert "a patch" in found.sentence and "points of dice" in found.sentence


def test_scans_measured_anew_and_on_one_table(scans: tuple[Path, Path, Path], tmp_path: Path) -> None:
    short, long, table = scans
    honest = compare(short, long, resamples=20)
    copied = Path(shutil.copytree(long, tmp_path / "long"))
    shutil.copy(short / "test-scans.csv", copied / "test-scans.csv")
    assert compare(short, copied, resamples=20).question.b.value == pytest.approx(honest.question.b.value, abs=1e-5)
    found = compare(short / "bundle", long / "bundle", data=table, resamples=20)
    assert found.n == 20 and found.question.difference.value > 0
    assert any("LEAK" in note for note in found.notes), "both were trained on scans of it"


def test_scans_of_another_split_or_mask_are_refused(scans: tuple[Path, Path, Path], tmp_path: Path) -> None:
    short, _, table = scans
    with pytest.raises(DataError, match="the test sets differ .* scans are in A's alone"):
        compare(short, scans_run(tmp_path / "split", table, **{"split.seed": 5}))
    row = json.loads((short / "split.json").read_text())["test"][0]
    for name in ("scans", "masks"):
        shutil.copytree(table.parent / name, tmp_path / "moved" / name)
    shutil.copy(table, tmp_path / "moved" / table.name)
    _, labels = scan_of(row)
    write_scan(tmp_path / "moved/masks" / f"s{row}.nii.gz", np.where(labels == 2, 1, labels).astype(np.uint8))
    run = scans_run(tmp_path / "masked", tmp_path / "moved" / table.name)
    same_split(short, run)
    with pytest.raises(DataError, match="the test sets differ .*1 of .* scans are in A's alone"):
        compare(short, run)
