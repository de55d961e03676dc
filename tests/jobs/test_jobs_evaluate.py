"""A run's own part and another table are measured by the bundle, and what is odd about them is said."""

import csv
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, roc_auc_score

from bundles import CLASSES, linear_bundle, pictures
from excite.data.fingerprint import file_hash
from excite.data.sections import DataSection
from excite.data.split import Split
from excite.deploy.bundle import update_bundle
from excite.deploy.runtime import load
from excite.errors import DataError, EnvironmentFault, ModelError, UsageError
from excite.jobs.evaluate import evaluate, read_predictions

COUNT = 30


@dataclass
class MadeRun:
    folder: Path
    files: list[Path]
    labels: list[str]
    split: Split


def table(file: Path, rows: list[tuple[object, ...]], columns: str = "image,label") -> Path:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(columns.split(","))
        writer.writerows(rows)
    return file


@pytest.fixture
def run(tmp_path: Path) -> MadeRun:
    """A run folder as training leaves it: 30 pictures, 2 a patient, 12 of them tested."""
    folder = tmp_path / "run"
    files = pictures(tmp_path / "images", COUNT, seed=3)
    labels = [CLASSES[place % 3] for place in range(COUNT)]
    linear_bundle(folder / "bundle", temperature=1.3,
                  provenance={"train_hashes": sorted(file_hash(file)[:16] for file in files[:12])})
    patients = [f"P{place // 2}" for place in range(COUNT)]
    table(folder / "manifest.csv", list(zip(files, labels, patients, strict=True)), "image,label,patient")
    split = Split(train=tuple(range(12)), val=tuple(range(12, 18)), test=tuple(range(18, 30)), units=tuple(patients),
                  unit_kind="patient", notes=("by hand",))
    (folder / "split.json").write_text(json.dumps(split.to_json()))
    hashes = {f"{place + 2}: {file}": f"{file_hash(file)} {label} {patient}"
              for place, (file, label, patient) in enumerate(zip(files, labels, patients, strict=True))}
    (folder / "hashes.json").write_text(json.dumps(hashes))
    return MadeRun(folder, files, labels, split)


def test_the_test_part_of_a_run_is_measured_as_the_bundle_predicts(run: MadeRun) -> None:
    found = evaluate(run.folder)
    rows = list(run.split.test)
    predicted = load(run.folder)([run.files[row] for row in rows])
    chances = np.array([[one.probabilities[name] for name in CLASSES] for one in predicted])
    truth = np.array([CLASSES.index(run.labels[row]) for row in rows])
    assert (found.n, found.n_units, found.unit_kind, found.part) == (12, 6, "patient", "test")
    assert found.metrics["auroc_macro"].value == pytest.approx(roc_auc_score(truth, chances, multi_class="ovr"))
    assert found.metrics["balanced_accuracy"].value == pytest.approx(balanced_accuracy_score(truth, chances.argmax(1)))
    assert "by hand" in found.notes and any("temperature 1.3" in note for note in found.notes)
    assert found.failed == ()
    stored = json.loads((run.folder / "evaluation.json").read_text(encoding="utf-8"))
    assert stored == json.loads(json.dumps(found.to_json()))
    kept = read_predictions(run.folder / "predictions-test.csv", CLASSES)
    np.testing.assert_allclose(kept.probabilities, chances, atol=1e-8)
    assert kept.truth.tolist() == truth.tolist() and kept.lines == tuple(row + 2 for row in rows)
    assert kept.units == tuple(run.split.units[row] for row in rows)
    assert [Path(file).name for file in kept.files] == [run.files[row].name for row in rows]


def test_another_part_is_measured_beside_the_test_part_with_a_warning(run: MadeRun) -> None:
    evaluate(run.folder)
    before = (run.folder / "evaluation.json").read_bytes()
    found = evaluate(run.folder, split="val")
    assert found.n == 6 and any("WARNING: this part chose the best epoch" in note for note in found.notes)
    assert any("WARNING: the network was trained on" in note for note in evaluate(run.folder, split="train").notes)
    assert (run.folder / "evaluation.json").read_bytes() == before
    assert (run.folder / "evaluation-val.json").is_file() and (run.folder / "predictions-val.csv").is_file()


def test_leaks_that_training_saw_are_repeated(run: MadeRun) -> None:
    lines = [{"event": "note", "topic": "leak", "text": f"pair {place}"} for place in range(7)]
    (run.folder / "log.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n")
    notes = evaluate(run.folder).notes
    assert "LEAK: pair 0" in notes and any("and 2 more" in note for note in notes)


def test_a_file_that_cannot_be_read_is_listed_and_the_rest_is_done(run: MadeRun) -> None:
    run.files[20].write_bytes(b"not a picture")
    run.files[21].unlink()
    found = evaluate(run.folder)
    assert found.n == 10 and sorted(Path(one["file"]).name for one in found.failed) == ["scan 20.png", "scan 21.png"]
    with pytest.raises(DataError, match="2 of 12 rows could not be used"):
        found.raise_failures()
    kept = read_predictions(run.folder / "predictions-test.csv", CLASSES)
    assert kept.lines == (20, 21, *range(24, 32))
    assert kept.units == tuple(run.split.units[line - 2] for line in kept.lines)
    assert kept.truth.tolist() == [CLASSES.index(run.labels[line - 2]) for line in kept.lines]


def test_a_picture_that_is_not_the_one_of_the_run_is_left_out_and_told(run: MadeRun) -> None:
    run.files[20].write_bytes(run.files[0].read_bytes())  # a training picture in the place of a test picture
    found = evaluate(run.folder)
    assert found.n == 11 and [Path(one["file"]).name for one in found.failed] == ["scan 20.png"]
    assert "not the picture that the run split" in found.failed[0]["error"]
    for file in run.files[18:30]:
        file.write_bytes(run.files[0].read_bytes())
    with pytest.raises(DataError, match="no image can be evaluated .*not the picture that the run split"):
        evaluate(run.folder)


def test_another_table_has_its_own_units_and_writes_only_where_told(run: MadeRun, tmp_path: Path) -> None:
    new = pictures(tmp_path / "new", 9, seed=8)
    other = table(tmp_path / "clinic.csv", [(file, CLASSES[place % 3], f"00{place // 3}") for place, file in
                                            enumerate(new)], "image,label,patient")
    found = evaluate(run.folder / "bundle", other)
    assert (found.part, found.n, found.n_units, found.unit_kind) == ("clinic", 9, 3, "patient")
    assert not any("LEAK" in note for note in found.notes)
    assert {file.name for file in (run.folder / "bundle").iterdir()} == {
        "bundle.json", "bundle.sha256", "card.md", "model.onnx", "weights.safetensors"}
    evaluate(run.folder / "bundle", other, out=tmp_path / "out")
    assert {file.name for file in (tmp_path / "out").iterdir()} == {"evaluation.json", "predictions-clinic.csv"}
    evaluate(run.folder, other)
    assert (run.folder / "evaluation-clinic.json").is_file() and not (run.folder / "evaluation.json").exists()


def test_without_patients_the_units_are_images_and_it_is_said(run: MadeRun, tmp_path: Path) -> None:
    new = pictures(tmp_path / "new", 6, seed=8)
    other = table(tmp_path / "test.csv", [(file, CLASSES[place % 3]) for place, file in enumerate(new)])
    found = evaluate(run.folder, other)
    assert found.unit_kind == "image" and any("neither patient nor group is known" in note for note in found.notes)
    assert not any("leaky" in note for note in found.notes)
    assert found.part == "test table" and not (run.folder / "predictions-test.csv").exists()


@pytest.mark.parametrize("source", ["run", "run/bundle"])
def test_training_images_in_another_table_are_a_leak(run: MadeRun, tmp_path: Path, source: str) -> None:
    new = pictures(tmp_path / "new", 5, seed=8)
    copy = tmp_path / "new" / "innocent name.png"
    copy.write_bytes(run.files[4].read_bytes())
    other = table(tmp_path / "clinic.csv", [(file, CLASSES[place % 3]) for place, file in enumerate([*new, copy])])
    notes = evaluate(tmp_path / source, other).notes
    leak = [note for note in notes if note.startswith("LEAK")]
    assert len(leak) == 1 and "1 of these 6 images" in leak[0] and "innocent name.png" in leak[0]


def test_validation_images_in_another_table_are_named_where_the_run_is_known(run: MadeRun, tmp_path: Path) -> None:
    chosen = [12, 13, 20, 21]
    other = table(tmp_path / "clinic.csv", [(run.files[row], run.labels[row]) for row in chosen])
    notes = evaluate(run.folder, other).notes
    assert any("LEAK: 2 of these 4 images" in note and "validation part" in note for note in notes)
    update_bundle(run.folder / "bundle", provenance={})
    notes = evaluate(run.folder / "bundle", other).notes
    assert any("does not say what it was trained on" in note for note in notes)


def test_what_a_table_warns_of_is_in_the_notes(run: MadeRun, tmp_path: Path) -> None:
    new = pictures(tmp_path / "new", 6, seed=8)
    rows = [(file, CLASSES[place % 3], f"P{place}" if place else "") for place, file in enumerate(new)]
    notes = evaluate(run.folder, table(tmp_path / "clinic.csv", rows, "image,label,patient")).notes
    assert any("1 of 6 rows have no patient" in note for note in notes)


def test_labels_that_the_network_does_not_know_are_named(run: MadeRun, tmp_path: Path) -> None:
    new = pictures(tmp_path / "new", 3, seed=8)
    other = table(tmp_path / "clinic.csv", list(zip(new, ["benign", "Malignant", "cyst"], strict=True)))
    with pytest.raises(DataError, match=r"not know: 'Malignant' \(1 rows\), 'cyst' \(1 rows\).*mean 'malignant'"):
        evaluate(run.folder, other)


def test_rows_of_another_table_that_cannot_be_used_are_listed(run: MadeRun, tmp_path: Path) -> None:
    *new, unlabelled = pictures(tmp_path / "new", 7, seed=8)
    rows: list[tuple[object, ...]] = [(file, CLASSES[place % 3], "") for place, file in enumerate(new)]
    rows += [(new[0], "malignant", ""), (tmp_path / "gone.png", "benign", ""), (unlabelled, "", ""), ("", "benign", "")]
    found = evaluate(run.folder, table(tmp_path / "clinic.csv", rows, "image,label,note"))
    told = " | ".join(one["error"] for one in found.failed)
    assert "gone.png" in told and "has the labels" in told and "names no image" in told and "no label" in told
    assert found.n == 5 and len(found.failed) == 5  # whose label is right cannot be known: both of the first go


def test_a_part_of_another_tables_split_column(run: MadeRun, tmp_path: Path) -> None:
    new = pictures(tmp_path / "new", 6, seed=8)
    other = table(tmp_path / "clinic.csv", [(file, CLASSES[place % 3], "train" if place < 3 else "test")
                                            for place, file in enumerate(new)], "image,label,split")
    assert evaluate(run.folder, other).n == 6
    found = evaluate(run.folder, other, "test")
    assert found.n == 3 and found.part == "clinic test"
    with pytest.raises(DataError, match="no row of split 'val'"):
        evaluate(run.folder, other, "val")


def test_columns_are_mapped(run: MadeRun, tmp_path: Path) -> None:
    new = pictures(tmp_path / "new", 3, seed=8)
    other = table(tmp_path / "c.csv", list(zip([file.name for file in new], CLASSES, strict=True)), "scan,finding")
    section = DataSection(image_col="scan", label_col="finding", root=tmp_path / "new")
    assert evaluate(run.folder, other, columns=section).n == 3
    with pytest.raises(DataError, match="no column is the image"):
        evaluate(run.folder, other)


def test_what_cannot_be_evaluated_is_refused(run: MadeRun, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="a bundle has no data of its own.*--data"):
        evaluate(run.folder / "bundle")
    with pytest.raises(UsageError, match="split must be train, val, test, got 'tset'; did you mean 'test'"):
        evaluate(run.folder, split="tset")
    with pytest.raises(ModelError, match="does not exist"):
        evaluate(tmp_path / "nowhere")
    for row in run.split.test:
        run.files[row].write_bytes(b"")
    with pytest.raises(DataError, match="no image can be evaluated"):
        evaluate(run.folder)
    (run.folder / "split.json").write_text("{")
    with pytest.raises(EnvironmentFault, match="missing or damaged"):
        evaluate(run.folder)


def test_a_run_whose_files_do_not_agree_is_refused(run: MadeRun) -> None:
    lines = (run.folder / "manifest.csv").read_text(encoding="utf-8").splitlines()
    (run.folder / "manifest.csv").write_text("\n".join(lines[:-1]) + "\n", encoding="utf-8")
    with pytest.raises(EnvironmentFault, match="manifest.csv has 29 rows, split.json 30"):
        evaluate(run.folder)


def test_predictions_of_other_classes_are_refused_and_odd_names_survive(run: MadeRun, tmp_path: Path) -> None:
    evaluate(run.folder)
    with pytest.raises(EnvironmentFault, match="its columns are"):
        read_predictions(run.folder / "predictions-test.csv", ("a", "b", "c"))
    odd = ("unit", "=cmd", "a,b")
    linear_bundle(tmp_path / "odd", odd)
    new = pictures(tmp_path / "new", 3, seed=8)
    other = table(tmp_path / "clinic.csv", list(zip(new, odd, strict=True)))
    evaluate(tmp_path / "odd", other, out=tmp_path / "out")
    kept = read_predictions(tmp_path / "out" / "predictions-clinic.csv", odd)
    assert kept.truth.tolist() == [0, 1, 2] and kept.probabilities.shape == (3, 3)
    assert "\n=" not in (text := (tmp_path / "out" / "predictions-clinic.csv").read_text()) and ",=" not in text


@pytest.mark.slow
def test_evaluation_runs_where_torch_cannot_be_imported(run: MadeRun) -> None:
    code = ("import sys\nfor name in ('torch', 'sklearn', 'onnx', 'onnxscript'): sys.modules[name] = None\n"
            f"from excite import evaluate\nprint(evaluate({str(run.folder)!r}).n)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.strip() == "12", done.stderr
