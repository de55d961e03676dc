"""Measuring a network for patients' maps after its training: the run's own numbers again, and those of other tables."""

import json
import shutil

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, cohen_kappa_score

import excite
from excite.deploy.bundle import read_bundle
from excite.deploy.volume_predictor import VolumePredictor
from excite.errors import DataError, EnvironmentFault, ModelError, UsageError
from excite.jobs.export import export_again
from excite.jobs.volumes.evaluate import evaluate_patients
from excite.jobs.volumes.predict import predict_patients
from excite.jobs.volumes.train import train_volumes
from small_volumes import read_rows, small_table, volume_config, write_map, write_rows

pytestmark = pytest.mark.slow
GRADES = ("none", "mild", "severe")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Return a run on three grades with ages, and its folder with the table in it."""
    folder = tmp_path_factory.mktemp("patients")
    table = small_table(folder, patients=24, missing=(3, 8, 13))
    rows = [row | {"grade": GRADES[place % 3], "age": "" if place % 5 == 1 else str(40 + place)}
            for place, row in enumerate(read_rows(table))]
    write_rows(table, rows)
    changes = {"volumes.classes": GRADES, "volumes.clinical": ("age",), "split.test": 0.35}
    return train_volumes(volume_config(table, **changes), out=folder / "run"), table


@pytest.fixture
def copied(made, tmp_path):
    """Return a copy of the run that reads a copy of its table."""
    run, table = made
    shutil.copytree(table.parent, tmp_path / "copy")
    config = tmp_path / "copy/run/config.yaml"
    config.write_text(config.read_text().replace(str(table), str(tmp_path / "copy" / table.name)))
    return tmp_path / "copy/run", tmp_path / "copy" / table.name


def test_a_run_gives_its_own_numbers_again(made, tmp_path):
    run, _ = made
    found = evaluate_patients(run.folder, threads=1, out=tmp_path / "again")
    for name, one in run.evaluation.metrics.items():
        again = found.metrics[name]
        assert (again.value, again.low, again.high) == pytest.approx((one.value, one.low, one.high), abs=1e-4), name
    assert found.n == run.evaluation.n == 9 and found.unit_kind == "patient" and found.part == "test"
    tested = read_rows(run.folder / "predictions-test.csv")
    places = [[GRADES.index(row[name]) for row in tested] for name in ("truth", "label")]
    assert found.metrics["kappa_quadratic"].value == pytest.approx(cohen_kappa_score(*places, weights="quadratic"))
    assert found.metrics["grade_error"].value == pytest.approx(np.abs(np.subtract(*places)).mean())
    assert "kappa quadratic" in found.text()
    written = json.loads((tmp_path / "again/evaluation.json").read_text())
    assert written["metrics"]["kappa_quadratic"]["value"] == found.metrics["kappa_quadratic"].value
    lines = {row["line"]: row for row in read_rows(tmp_path / "again/predictions-test.csv")}
    assert all(float(lines[row["line"]][name]) == pytest.approx(float(row[name]), abs=1e-5)
               for row in tested for name in GRADES)


def test_the_parts_that_made_the_network_are_told(made):
    run, _ = made
    before = (run.folder / "evaluation.json").read_bytes()
    for part, text in (("train", "the network was trained on these patients"), ("val", "this part chose the best")):
        found = excite.evaluate(run.folder, split=part, threads=1)
        assert any(note.startswith(f"WARNING: {text}") for note in found.notes)
        assert found.n == len(run.split.parts[part])
    assert (run.folder / "evaluation.json").read_bytes() == before


def test_another_table_is_measured_and_what_was_trained_on_is_a_leak(made):
    run, table = made
    rows = read_rows(table)
    other = write_rows(table.with_name("other.csv"), [rows[place] for place in run.split.test])
    found = evaluate_patients(run.folder / "bundle", other, threads=1)
    assert found.metrics["nll"].value == pytest.approx(run.evaluation.metrics["nll"].value, abs=1e-4)
    assert not [note for note in found.notes if "LEAK" in note] and found.part == "other"
    away = shutil.copytree(run.folder / "bundle", table.parent / "away")
    assert "kappa_quadratic" in found.metrics
    found = evaluate_patients(away, other, threads=1)
    assert "kappa_quadratic" not in found.metrics
    assert any("whether its classes are grades is not known" in note for note in found.notes)
    first = run.split.train[0]
    mixed = write_rows(table.with_name("mixed.csv"), [rows[place] for place in (first, *run.split.test)])
    [leak] = [note for note in evaluate_patients(run.folder, mixed, threads=1).notes if "LEAK" in note]
    assert leak.startswith("LEAK: the network was trained on maps of 1 of these 10 rows (lines 2)")
    renamed = rows[first] | {"adc": "", "patient": "X"}
    one_map = write_rows(table.with_name("one.csv"), [renamed, rows[run.split.test[0]]])
    assert any("LEAK: the network was trained on maps of 1 of these 2 rows (lines 2)" in note
               for note in evaluate_patients(run.folder, one_map, threads=1).notes)


def test_other_names_columns_and_files(made):
    """Rows without age, maps, labels or files: what can be measured is, and equals scikit-learn on predictions."""
    run, table = made
    rows = [{key: value for key, value in row.items() if key != "age"} for row in read_rows(table)]
    rows = [{"stage" if key == "grade" else key: value for key, value in row.items()} for row in rows]
    rows[0] |= {"t1": "maps/gone.nii.gz"}
    rows[1] |= {"stage": ""}
    other = write_rows(table.with_name("stages.csv"), rows)
    found = excite.evaluate(run.folder / "bundle", other, threads=1)
    assert found.n == 22 and [one["error"] for one in found.failed] == [
        "line 2: the t1 does not exist: maps/gone.nii.gz", "line 3: the label is empty"]
    assert "the table has no column age: every row is measured without" in found.notes
    predicted = [one.label for one in predict_patients(run.folder, [str(other)], threads=1) if hasattr(one, "label")]
    truth = [row["stage"] for row in rows[1:]]
    assert found.metrics["balanced_accuracy"].value == pytest.approx(
        balanced_accuracy_score(truth[1:], predicted[1:]))
    with pytest.raises(DataError, match="2 of 24 rows could not be used"):
        found.raise_failures()
    nobody = write_rows(table.with_name("nobody.csv"), [{key: row[key] for key in ("t1", "stage")} for row in rows[2:]])
    told = evaluate_patients(run.folder, nobody, threads=1)
    assert told.unit_kind == "row" and any("nobody says whose the rows are" in note for note in told.notes)


def test_labels_and_maps_of_others_are_refused(made):
    run, table = made
    rows = read_rows(table)
    bad = write_rows(table.with_name("bad.csv"), [row | {"grade": "sever"} for row in rows[:2]])
    with pytest.raises(DataError, match=r"labels that the network does not know: 'sever' \(2 rows\)"):
        evaluate_patients(run.folder, bad)
    none = write_rows(table.with_name("none.csv"), [{"x": "1", "grade": "mild"}])
    with pytest.raises(DataError, match="the table has none of the bundle's maps"):
        evaluate_patients(run.folder, none)


def test_changed_rows_are_refused(copied):
    run, table = copied
    evaluate_patients(run, threads=1, resamples=10)
    rows, test = read_rows(table), json.loads((run / "split.json").read_text())["test"]
    place = test[0] if isinstance(test[0], int) else int(test[0])
    write_rows(table, [row | ({"age": "77"} if number == place else {}) for number, row in enumerate(rows)])
    with pytest.raises(DataError, match=f"1 rows have other files, labels or numbers .* lines {place + 2}"):
        evaluate_patients(run)
    write_rows(table, rows)
    write_map(table.parent / rows[place]["t1"], 900, seed=99)
    with pytest.raises(DataError, match="1 rows have other files"):
        evaluate_patients(run)
    write_rows(table, rows[1:])
    with pytest.raises(EnvironmentFault, match="the table has 23 rows, the run's had 24"):
        evaluate_patients(run)
    table.unlink()
    with pytest.raises(DataError, match="the run's table is not where it was"):
        evaluate_patients(run)


def test_what_does_not_go_together_is_refused(made, tmp_path):
    run, table = made
    for arguments, options, text in (
            ((run.folder / "bundle",), {}, "a bundle has no patients of its own"),
            ((run.folder, None, "tset"), {}, "split must be train, val, test, got 'tset'"),
            ((run.folder, table, "test"), {}, "split is for a run's own patients"),
            ((run.folder,), {"out": run.folder}, "out must be a folder of its own")):
        with pytest.raises(UsageError, match=text):
            evaluate_patients(*arguments, **options)
    (tmp_path / "folds.json").write_text('{"folds": 5}')
    for call in (evaluate_patients, excite.evaluate):
        with pytest.raises(UsageError, match=r"measured each row by the network .* open .*folds.html"):
            call(tmp_path)
    with pytest.raises(UsageError, match=r"a cross-validation has a network for each of its 5 folds; .*/fold-1"):
        export_again(tmp_path, tmp_path / "x")


def test_load_gives_what_predicts_patients(made):
    run, table = made
    predictor = excite.load(run.folder)
    assert isinstance(predictor, VolumePredictor)
    [one] = predictor([{"t1": table.parent / "maps/0_t1.nii.gz", "age": 44}])
    assert one.label in GRADES and "without adc" in one.notes
    with pytest.raises(ModelError, match="does not exist"):
        excite.load(run.folder / "gone")


def test_the_bundle_is_exported_again_from_run_and_bundle(made, tmp_path):
    run, table = made
    patient = {"t1": table.parent / "maps/0_t1.nii.gz", "adc": table.parent / "maps/0_adc.nii.gz"}
    expected = list(VolumePredictor(run.folder, threads=1)([patient])[0].probabilities.values())
    for source, data in ((run.folder, []), (run.folder / "bundle", [table])):
        out = tmp_path / source.name
        info = export_again(source, out, data=data, images=3)
        assert info == read_bundle(out) and info.parity["n"] == 3 and "exported_again" in info.provenance
        found = list(VolumePredictor(out, threads=1)([patient])[0].probabilities.values())
        assert found == pytest.approx(expected, abs=1e-6)
    alone = shutil.copytree(run.folder / "bundle", tmp_path / "alone")
    with pytest.raises(UsageError, match="a bundle alone has no patients to prove the export on"):
        export_again(alone, tmp_path / "x")
    assert not (tmp_path / "x").exists()
