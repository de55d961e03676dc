"""Training with clinical columns, from the table to predictions with some of them missing."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from excite.data.volumes.nifti import read_nifti
from excite.deploy.bundle import read_bundle, update_bundle
from excite.deploy.volume_predictor import VolumePredictor
from excite.errors import DataError, ModelError, UsageError
from excite.jobs.volumes.finish import proved
from excite.jobs.volumes.predict import predict_patients
from excite.jobs.volumes.prepare import prepare_volumes
from excite.jobs.volumes.train import train_volumes
from excite.models.classifier import create_model
from html_reader import Reader
from insertion_toy import Network
from small_volumes import CLASSES, read_rows, small_table, volume_config, write_rows

CLINICAL = {"volumes.classes": CLASSES, "volumes.clinical": ("age", "egfr")}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    made = small_table(tmp_path_factory.mktemp("volumes"), patients=18, missing=(3, 8, 13))
    random = np.random.default_rng(0)
    rows = [row | {"age": f"{random.integers(30, 80)}", "egfr": "" if place % 5 == 2 else f"{random.normal(60, 9):.1f}",
                   "copy": str(CLASSES.index(row["grade"]))} for place, row in enumerate(read_rows(made))]
    return write_rows(made, rows)


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return train_volumes(volume_config(table, **CLINICAL), out=tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.slow
def test_the_test_part_is_what_the_bundle_says_of_its_patients(run, table):
    lines = {int(row["line"]): row for row in read_rows(run.folder / "predictions-test.csv")}
    found = {int(one.file.split("line ")[1].split(",")[0]): one for one in
             predict_patients(run.folder, [str(table)], threads=1)}
    for line, row in lines.items():
        assert float(row["low"]) == pytest.approx(found[line].probabilities["low"], abs=1e-5)
    assert "without egfr" in found[4].notes and "without egfr" not in found[5].notes


@pytest.mark.slow
def test_the_bundle_computes_what_the_network_does_with_and_without_a_value(run, table):
    predictor = VolumePredictor(run.folder, threads=1)
    record = dict(predictor.info.model)
    assert record["options"]["clinical"] == 2
    model = create_model(**record.pop("options"), **record).eval()
    model.load_state_dict(load_file(predictor.folder / "weights.safetensors"))
    file = table.parent / "maps/0_t1.nii.gz"
    images = predictor.preprocess.normalise(predictor.preprocess.store({"t1": read_nifti(file)}))
    for age, egfr in ((54, 60.5), (54, None), (None, None)):
        values = predictor.preprocess.scale(np.array([[np.nan if one is None else one for one in (age, egfr)]],
                                                     np.float32))
        with torch.no_grad():
            logits = model(torch.from_numpy(images)[None], torch.from_numpy(values)) / predictor.info.temperature
        given = {"t1": file, "age": age, "egfr": egfr}
        [found] = predictor([given])
        assert np.allclose(list(found.probabilities.values()), logits.softmax(1)[0].tolist(), atol=1e-5)
        [same] = predictor([{name: value for name, value in given.items() if value is not None}])
        assert same.probabilities == found.probabilities
        assert ("without egfr" in found.notes, "without age" in found.notes) == (egfr is None, age is None)


@pytest.mark.slow
def test_values_from_the_command_line_and_what_is_wrong_with_them(run, table, tmp_path):
    file = f"t1={table.parent / 'maps/0_t1.nii.gz'}"
    [one] = predict_patients(run.folder, [file, "age=54"])
    [empty] = predict_patients(run.folder, [file, "age=54", "egfr="])
    assert one.probabilities == empty.probabilities and "without egfr" in one.notes
    [far] = predict_patients(run.folder, [file, "age=640"])
    assert any(note.startswith("age: 640 lies outside what the training patients have") for note in far.notes)
    [wrong] = predict_patients(run.folder, [file, "age=old"])
    assert wrong.error.startswith("age must be a number with a decimal point, or empty, got 'old'")
    with pytest.raises(UsageError, match=r"takes a table, or MAP=FILE for each map and NAME=NUMBER for each clinical "
                                         r"column, got .* its maps: t1, adc; its clinical columns: age, egfr"):
        list(predict_patients(run.folder, [file, "weight=80"]))
    with pytest.raises(UsageError, match=r"the bundle has no map 'aeg'; did you mean 'age'"):
        VolumePredictor(run.folder)([{"t1": file, "aeg": 5}])
    bare = write_rows(tmp_path / "bare.csv", [{"patient": "a", "t1": str(table.parent / "maps/0_t1.nii.gz"),
                                               "age": "54"}])
    [told] = predict_patients(run.folder, [str(bare)])
    assert told.probabilities == one.probabilities and "without egfr" in told.notes


@pytest.mark.slow
def test_report_card_and_files_tell_of_the_columns_and_of_patients(run):
    text = (run.folder / "report.html").read_text(encoding="utf-8")
    page = Reader(text).text
    for words in ("with the maps t1, adc and age, egfr", "age of 18 of 18 rows", "egfr of 14 of 18 rows",
                  "Patients of the test part", "What the maps are worth", "clinical column", "arXiv:1902.10186",
                  "Doubts", "Multiply-adds a patient", "share of patients that are right"):
        assert words in page, words
    assert "data:image/png" in text and "P03" not in text and "images" not in page.split("Training")[0].lower()
    card = (run.folder / "bundle/card.md").read_text(encoding="utf-8")
    assert "Beside them it takes age, egfr" in card and "- age: " in card
    made = json.loads((run.folder / "maps-test.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in made["left_out"]] == ["t1", "adc", "age", "egfr"]
    assert made["attention"]["groups"] == ["t1", "adc", "clinical"]
    bundle = json.loads((run.folder / "bundle/bundle.json").read_text(encoding="utf-8"))
    assert bundle["preprocess"]["clinical"][0]["name"] == "age" and bundle["parity"]["n"] == len(run.split.val)
    assert "All numbers of this page but those of the attention were measured on the exported network" in page


def test_the_export_is_proved_with_each_value_missing_and_all(table):
    prepared = prepare_volumes(volume_config(table, **CLINICAL))
    some = [0, 1, 3, 4]  # none of these lacks a value
    rows, values, names = proved(prepared, some)
    assert rows == [*some, *some] and not np.isnan(values[:4]).any()
    assert np.isnan(values[4:]).tolist() == [[True, False], [False, True], [True, True], [True, False]]
    assert names[3:] == ["line 6", "line 2 without age", "line 3 without egfr", "line 5 without clinical values",
                         "line 6 without age"]
    assert proved(prepare_volumes(volume_config(table)), some) == (some, None, [f"line {row + 2}" for row in some])


@pytest.mark.slow
def test_a_bundle_whose_graph_takes_no_columns_is_refused(run, table, tmp_path):
    plain = train_volumes(volume_config(table, **{"volumes.classes": CLASSES}), out=tmp_path / "plain", images=False)
    assert "data:image/png" not in (plain.folder / "report.html").read_text(encoding="utf-8")
    update_bundle(plain.folder / "bundle", preprocess=read_bundle(run.folder / "bundle").preprocess)
    with pytest.raises(ModelError, match="takes other inputs than its preprocessing makes"):
        VolumePredictor(plain.folder)


@pytest.mark.slow
def test_other_numbers_are_another_run(run, table):
    rows = read_rows(table)
    rows[4]["age"] = "41.5"
    other = write_rows(table.with_name("other.csv"), rows)
    with pytest.raises((UsageError, DataError), match="data"):
        train_volumes(volume_config(other, **CLINICAL), out=run.folder)


def test_the_scale_is_learnt_from_the_training_part_alone(table):
    prepared = prepare_volumes(volume_config(table, **CLINICAL))
    rows, ages = list(prepared.split.train), prepared.table.clinical[:, 0]
    [age, _] = prepared.preprocess.clinical
    assert age.mean == pytest.approx(ages[rows].mean()) and age.mean != pytest.approx(ages.mean())
    assert prepared.sample == "patient" and not prepared.leaks


def test_a_column_that_is_the_label_is_told(table):
    [leak] = prepare_volumes(volume_config(table, **CLINICAL | {"volumes.clinical": ("age", "copy")})).leaks
    assert leak.kind == "clinical-tells-label" and leak.message.startswith("copy alone tells")


@pytest.mark.parametrize(("changes", "message"), [
    ({"model.name": "resnet18", "model.options": {}}, "volumes.clinical needs the network modality_fusion, got resnet"),
    ({"model.options": {"clinical": 2}}, "model.options.clinical must be left out here"),
    ({"model.options": {"form": "published"}}, "clinical and form='published' cannot be given together"),
])
def test_networks_that_take_no_columns_are_refused(table, changes, message):
    with pytest.raises(UsageError, match=message):
        prepare_volumes(volume_config(table, **CLINICAL | changes))
    with pytest.raises(UsageError, match="volumes.clinical needs the network modality_fusion, got Network"):
        prepare_volumes(volume_config(table, **CLINICAL), model=Network(dims=3, channels=2))


def test_a_row_is_an_examination_where_patients_have_several(table, tmp_path):
    rows = [row | {"patient": f"P{place // 2}", "t1": str(table.parent / row["t1"]),
                   "adc": str(table.parent / row["adc"]) if row["adc"] else ""}
            for place, row in enumerate(read_rows(table))]
    assert prepare_volumes(volume_config(write_rows(tmp_path / "twice.csv", rows))).sample == "examination"
