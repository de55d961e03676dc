"""Networks for volumes compared, patients and label volumes: a planted better one is found, other test sets refused."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.special import softmax

from excite import compare
from excite.data.volumes.store import content_of
from excite.deploy.bundle import read_bundle, update_bundle
from excite.errors import DataError, UsageError
from excite.jobs.volume_masks.train import train_volume_masks
from excite.jobs.volumes.evaluate import evaluate_patients
from excite.jobs.volumes.tested_table import read_tested, table_of_tested
from excite.jobs.volumes.train import train_volumes
from excite.metrics.classification import measure
from excite.metrics.evaluation import evaluate
from excite.outcome.decode import decode
from small_scans import scan_config, scan_of, small_scans, write_scan
from small_volumes import read_rows, small_table, volume_config, write_map, write_rows

pytestmark = pytest.mark.slow
GRADES = ("none", "mild", "severe")
SHARES = {"split.test": 0.4, "split.val": 0.2}


def copied(run: Path, folder: Path) -> Path:
    """Return a copy of a run, which reads a copy of its table and of all that lies there."""
    shutil.copytree(run.parent, folder)
    config = folder / run.name / "config.yaml"
    config.write_text(config.read_text().replace(str(run.parent), str(folder)))
    return folder / run.name


def read(file: Path) -> dict[str, object]:
    return dict(json.loads(file.read_text(encoding="utf-8")))


def change(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(read(file) | changes), encoding="utf-8")


def rows_of(run: Path) -> list[int]:
    return list(read(run / "split.json")["test"])  # type: ignore[call-overload]


@pytest.fixture(scope="module")
def patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on three grades, its table beside it."""
    folder = tmp_path_factory.mktemp("patients")
    table = small_table(folder, patients=24, missing=(3, 8))
    write_rows(table, [row | {"grade": GRADES[place % 3]} for place, row in enumerate(read_rows(table))])
    return train_volumes(volume_config(table, **SHARES | {"volumes.classes": GRADES}), out=folder / "run").folder


@pytest.fixture
def better(patients: Path, tmp_path: Path) -> Path:
    """The run as another training would have left it that is surer of the right grade: its table and its numbers."""
    run = copied(patients, tmp_path / "better")
    found, split = read_tested(run / "predictions-test.csv", GRADES), read(run / "split.json")
    surer = np.linspace(-0.5, 3, len(found.truth))[:, None] * np.eye(3)[found.truth]
    logits = (found.logits + surer).astype(np.float32)
    shares = decode(logits[None], classes=GRADES, temperature=read_bundle(run / "bundle").temperature)
    (run / "predictions-test.csv").write_text(table_of_tested(GRADES, found.lines, found.truth, shares, logits))
    units = [dict(split)["units"][row] for row in rows_of(run)]  # type: ignore[index]
    update_bundle(run / "bundle", metrics=evaluate(found.truth, shares, GRADES, units, part="test",
                                                   unit_kind="patient", resamples=20).to_json())
    return run


def test_patients_are_compared_by_what_both_runs_left_behind(patients: Path, better: Path) -> None:
    found = compare(patients, better, metric="nll", resamples=500)
    assert (found.verdict, found.sample, found.unit_kind, found.n) == ("better", "examination", "patient", 9)
    assert found.n_units == 9 and "9 examinations" in found.text()
    for run, side in ((patients, "a"), (better, "b")):
        rows = read_rows(run / "predictions-test.csv")
        truth = np.array([GRADES.index(row["truth"]) for row in rows])
        logits = np.array([[float(row[f"logit({name})"]) for name in GRADES] for row in rows])
        numbers = measure(truth, softmax(logits / (read_bundle(run / "bundle").temperature or 1), axis=1), GRADES)
        stored = read_bundle(run / "bundle").metrics["metrics"]
        for name in ("balanced_accuracy", "nll"):
            assert getattr(found.pairs[name], side).value == pytest.approx(numbers[name], abs=1e-5), name
        for name in ("auroc_macro", "ap_macro", "brier", "kappa"):
            assert getattr(found.pairs[name], side).value == pytest.approx(stored[name]["value"], abs=1e-9), name
    assert {"kappa_quadratic", "grade_error"} <= set(found.pairs), "the classes are grades"


def test_patients_are_measured_anew_where_the_table_is_gone_or_another_table_is_named(patients: Path, better: Path
                                                                                      ) -> None:
    (better / "predictions-test.csv").unlink()
    again = compare(patients, better, metric="nll", resamples=20)
    assert again.question.difference.value == pytest.approx(0, abs=1e-5), "the bundle is the same, whatever was planted"
    table = patients.parent / "patients.csv"
    found = compare(patients / "bundle", better / "bundle", data=table, resamples=20)
    assert found.n == 24 and found.beware[0].startswith("BEWARE: A and B"), "both were trained on rows of it"
    assert found.question.a.value == pytest.approx(
        evaluate_patients(patients / "bundle", table, resamples=10).metrics["balanced_accuracy"].value)
    with pytest.raises(UsageError, match="a bundle has no data of its own"):
        compare(patients / "bundle", better)


def test_patients_of_another_split_grade_or_map_are_refused(patients: Path, better: Path) -> None:
    rows, first = read_rows(better.parent / "patients.csv"), rows_of(better)[0]
    (better / "predictions-test.csv").unlink()
    change(better / "split.json", test=rows_of(better)[1:])
    with pytest.raises(DataError, match=f"the test sets differ .*1 of 9 examinations are in A's alone .line {first + 2}"
                                        ) as told:
        compare(patients, better)
    assert "--data TABLE" in str(told.value)
    change(better / "split.json", test=rows_of(patients))
    other = GRADES[(GRADES.index(rows[first]["grade"]) + 1) % 3]
    write_rows(better.parent / "patients.csv", [row | ({"grade": other} if place == first else {})
                                                for place, row in enumerate(rows)])
    labels = list(read(better / "hashes.json")["labels"])  # type: ignore[call-overload]
    labels[first] = GRADES.index(other)
    change(better / "hashes.json", labels=labels)
    with pytest.raises(DataError, match="the truth of 1 of 9 examinations differs") as told:
        compare(patients, better)
    assert f"line {first + 2}: {rows[first]['grade']} in A's, {other} in B's" in str(told.value)
    write_map(better.parent / rows[first]["t1"], 1234, seed=77)
    known = list(read(better / "hashes.json")["patients"])  # type: ignore[call-overload]
    maps = [better.parent / rows[first][name] if rows[first][name] else None for name in ("t1", "adc")]
    known[first] = content_of(tuple(maps))
    change(better / "hashes.json", patients=known)
    with pytest.raises(DataError, match="the test sets differ .*1 of 9 examinations are in A's alone"):
        compare(patients, better)


def test_a_cross_validation_is_refused(patients: Path, tmp_path: Path) -> None:
    (tmp_path / "folds.json").write_text('{"folds": 2}')
    with pytest.raises(UsageError, match="a cross-validation has a network a fold"):
        compare(patients, tmp_path)


@pytest.fixture(scope="module")
def scans(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on scans with two structures, its table beside it."""
    folder = tmp_path_factory.mktemp("scans")
    names = {"volumes.classes": ("background", "outer", "inner")}
    config = scan_config(small_scans(folder, scans=20), **SHARES | names)
    return train_volume_masks(config, out=folder / "run").folder


@pytest.fixture
def closer(scans: Path, tmp_path: Path) -> Path:
    """The run as another training would have left it, whose Dice is nearer to 1: its table and its numbers."""
    run = copied(scans, tmp_path / "closer")
    rows = read_rows(run / "test-scans.csv")
    rows = [row | {"dice": f"{1 - (0.5 + 0.05 * (place // 2)) * (1 - float(row['dice'] or 0)):.6f}"}
            for place, row in enumerate(rows)]
    write_rows(run / "test-scans.csv", rows)
    metrics = read_bundle(run / "bundle").metrics
    metrics["metrics"]["dice"]["value"] = float(np.mean([float(row["dice"]) for row in rows]))
    update_bundle(run / "bundle", metrics=metrics)
    return run


def dices(run: Path, name: str) -> list[float]:
    with (run / "test-scans.csv").open(encoding="utf-8") as stream:
        return [float(row["dice"]) for row in csv.DictReader(stream) if row["class"] == name]


def test_scans_are_compared_class_by_class_and_the_planted_better_one_is_found(scans: Path, closer: Path) -> None:
    found = compare(scans, closer, resamples=500)
    assert (found.metric, found.sample, found.unit_kind, found.n) == ("dice", "scan", "patient", 8)
    assert found.verdict == "better" and "points of dice" in found.sentence and "a patch" in found.sentence
    for run, side in ((scans, "a"), (closer, "b")):
        for name in ("outer", "inner"):
            assert getattr(found.pairs[f"dice/{name}"], side).value == pytest.approx(np.mean(dices(run, name)))
        both = np.mean([dices(run, "outer"), dices(run, "inner")])
        assert getattr(found.question, side).value == pytest.approx(both)


def test_scans_are_measured_anew_where_the_table_is_gone_or_another_table_is_named(scans: Path, closer: Path) -> None:
    (closer / "test-scans.csv").unlink()
    again = compare(scans, closer, resamples=20)
    assert again.question.difference.value == pytest.approx(0, abs=1e-5), "the bundle is the same, whatever was planted"
    found = compare(scans / "bundle", closer / "bundle", data=scans.parent / "scans.csv", resamples=20)
    assert found.n == 20 and found.beware[0].startswith("BEWARE: A and B"), "both were trained on scans of it"


def test_scans_of_another_split_or_mask_are_refused(scans: Path, closer: Path) -> None:
    first = rows_of(closer)[0]
    (closer / "test-scans.csv").unlink()
    change(closer / "split.json", test=rows_of(closer)[1:])
    with pytest.raises(DataError, match="the test sets differ .*1 of 8 scans are in A's alone"):
        compare(scans, closer)
    change(closer / "split.json", test=rows_of(scans))
    mask = closer.parent / f"masks/s{first}.nii.gz"
    labels = scan_of(first)[1]
    write_scan(mask, np.where(labels == 2, 1, labels).astype(np.uint8))
    known = list(read(closer / "hashes.json")["scans"])  # type: ignore[call-overload]
    known[first] = content_of((closer.parent / f"scans/s{first}.nii.gz", mask))
    change(closer / "hashes.json", scans=known)
    with pytest.raises(DataError, match="the test sets differ .*1 of 8 scans are in A's alone"):
        compare(scans, closer)
