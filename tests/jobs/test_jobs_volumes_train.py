"""Training on a table of volumes, from end to end: the bundle predicts what was reported, with maps missing too."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from excite.data.volumes.nifti import read_nifti
from excite.deploy.volume_predictor import VolumePredictor
from excite.errors import DataError, UsageError
from excite.jobs.volumes.finish import logits_of
from excite.jobs.volumes.predict import predict_patients
from excite.jobs.volumes.prepare import prepare_volumes
from excite.jobs.volumes.train import train_volumes
from excite.metrics.calibration import fit_temperature
from excite.models.classifier import create_model
from insertion_toy import Network
from small_volumes import CLASSES, read_rows, small_table, volume_config, write_rows

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return small_table(tmp_path_factory.mktemp("volumes"), patients=18, missing=(3, 8, 13))


@pytest.fixture(scope="module")
def run(table, tmp_path_factory):
    return train_volumes(volume_config(table, **{"volumes.classes": CLASSES}),
                         out=tmp_path_factory.mktemp("runs") / "run")


def test_the_test_part_is_what_the_bundle_says_of_its_patients(run, table):
    lines = {int(row["line"]): row for row in read_rows(run.folder / "predictions-test.csv")}
    found = {int(one.file.split("line ")[1].split(",")[0]): one for one in
             predict_patients(run.folder, [str(table)], threads=1)}
    assert len(found) == 18 and len(lines) == run.evaluation.n == len(run.split.test)
    for line, row in lines.items():
        assert float(row["low"]) == pytest.approx(found[line].probabilities["low"], abs=1e-5)
        assert row["truth"] == CLASSES[line % 2] and list(found[line].probabilities) == list(CLASSES)
    assert "without adc" in found[5].notes and "without adc" not in found[4].notes


def test_the_bundle_computes_what_the_network_does(run, table):
    predictor = VolumePredictor(run.folder, threads=1)
    info, maps = predictor.info, table.parent / "maps"
    record = dict(info.model)
    model = create_model(**record.pop("options"), **record).eval()
    model.load_state_dict(load_file(predictor.folder / "weights.safetensors"))
    volumes = {"t1": read_nifti(maps / "0_t1.nii.gz"), "adc": read_nifti(maps / "0_adc.nii.gz")}
    images = predictor.preprocess.normalise(predictor.preprocess.store(volumes))
    with torch.no_grad():
        expected = (model(torch.from_numpy(images)[None]) / info.temperature).softmax(1)[0].tolist()
    for patient in (volumes, {"t1": maps / "0_t1.nii.gz", "adc": str(maps / "0_adc.nii.gz")}):
        [found] = predictor([patient])
        assert np.allclose(list(found.probabilities.values()), expected, atol=1e-5)


def test_the_temperature_is_that_of_the_validation_part(run, table):
    prepared, predictor = prepare_volumes(volume_config(table, **{"volumes.classes": CLASSES})), VolumePredictor(
        run.folder, threads=1)
    found = {part: fit_temperature(*logits_of(predictor, prepared, part)) for part in ("train", "val", "test")}
    told = predictor.info.provenance["temperature"]
    assert told["value"] == predictor.info.temperature == pytest.approx(found["val"].value, rel=1e-4)
    assert told["n"] == len(run.split.val) and told["nll_before"] == pytest.approx(found["val"].nll_before, rel=1e-5)
    assert all(abs(found[part].nll_before / told["nll_before"] - 1) > 1e-3 for part in ("train", "test"))


def test_report_card_and_files_say_what_it_is(run):
    page = (run.folder / "report.html").read_text(encoding="utf-8")
    assert "modality_fusion was trained on" in page and "adc of 15 of 18 rows" in page
    card = (run.folder / "bundle/card.md").read_text(encoding="utf-8")
    assert "from these maps: t1, adc; any that are there" in card and "4 x 16 x 16 voxels of 4 x 2 x 2 mm" in card
    assert json.loads((run.folder / "evaluation.json").read_text())["unit_kind"] == "patient"
    assert "P03" not in page and "P03" not in card


def test_levels_are_learnt_from_the_training_part_alone(table):
    prepared = prepare_volumes(volume_config(table))
    split, stored = prepared.split, prepared.store.values
    assert prepared.preprocess == prepared.preprocess.fit(np.asarray(stored[row]) for row in split.train)
    assert prepared.preprocess != prepared.preprocess.fit(np.asarray(one) for one in stored)
    parts = [{prepared.split.units[row] for row in rows} for rows in split.parts.values()]
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


def test_the_same_again_is_told_again_and_another_config_or_file_is_refused(run, table, tmp_path):
    config = volume_config(table, **{"volumes.classes": CLASSES})
    again = train_volumes(config, out=run.folder)
    assert again.evaluation.to_json() == run.evaluation.to_json()
    with pytest.raises(UsageError, match=r"optim.lr"):
        train_volumes(volume_config(table, **{"volumes.classes": CLASSES, "optim.lr": 0.5}), out=run.folder)
    rows = read_rows(table)
    rows[0]["t1"], rows[2]["t1"] = rows[2]["t1"], rows[0]["t1"]
    other = write_rows(table.with_name("other.csv"), rows)
    with pytest.raises((UsageError, DataError), match="data"):
        train_volumes(config.model_copy(update={"volumes": config.volumes.model_copy(update={"table": other})}),
                      out=run.folder)


def test_any_3d_classifier_takes_the_maps_as_channels_and_so_does_a_given_network(table, tmp_path):
    changes = {"model.name": "resnet18", "model.options": {}}
    run = train_volumes(volume_config(table, **changes), out=tmp_path / "stacked")
    assert VolumePredictor(run.folder).info.model["in_channels"] == 2
    model = Network(dims=3, channels=2)
    with pytest.raises(UsageError, match=r"the given Network must make \(2, 2\) of two images, got \(2, 5\)"):
        train_volumes(volume_config(table), model=model, out=tmp_path / "other")
    model.fc = torch.nn.Linear(24, 2)
    run = train_volumes(volume_config(table), model=model, out=tmp_path / "given")
    assert VolumePredictor(run.folder).info.model == {} and run.fit.epochs_done == 1


def test_the_same_files_in_two_parts_are_told_as_a_leak(table, tmp_path):
    rows = [row | {"split": "train" if number < 10 else "val" if number < 14 else "test"}
            for number, row in enumerate(read_rows(table))]
    rows[15] |= {"t1": rows[0]["t1"], "adc": rows[0]["adc"]}
    twins = write_rows(table.with_name("twins.csv"), rows)
    [leak] = prepare_volumes(volume_config(twins)).leaks
    assert "the files of line 17 are those of line 2, which is in train while this is in test" in leak.message


def test_the_level_of_maps_is_not_changed_at_random_that_of_volumes_is(table):
    def levels(**changes):
        found = prepare_volumes(volume_config(table, **changes)).batches("train", train=True).augment
        return found.bias, found.contrast

    assert levels() == (0, 0) and levels(**{"volumes.levels": "volume"}) == (0.1, 0.1)
    assert levels(**{"augment.bias": 0.3}) == (0.3, 0)


@pytest.mark.parametrize(("changes", "message"), [
    ({"volumes.reference": "t2"}, "volumes.reference must be one of the maps, t1, adc, got 't2'"),
    ({"volumes.classes": ("low", "middle")}, "volumes.classes must name the labels of the table, high, low, got"),
    ({"loss.name": "ordinal"}, "loss.name=ordinal needs the grades in their order .by name they are high, low"),
])
def test_settings_that_do_not_fit_are_named(table, changes, message):
    with pytest.raises(UsageError, match=message):
        prepare_volumes(volume_config(table, **changes))


def test_a_bundle_of_volumes_says_what_it_takes(run, table, tmp_path):
    with pytest.raises(UsageError, match=r"takes a table, or MAP=FILE for each map.*its maps: t1, adc"):
        list(predict_patients(run.folder, ["scan.nii.gz"]))
    [one] = predict_patients(run.folder, [f"t1={table.parent / 'maps/0_t1.nii.gz'}"])
    assert "without adc" in one.notes and one.label in CLASSES
    with pytest.raises(UsageError, match=r"the bundle has no map 't2'.*its maps: t1, adc"):
        VolumePredictor(run.folder)([{"t2": "x"}])
    (tmp_path / "cut.nii.gz").write_bytes((table.parent / "maps/0_t1.nii.gz").read_bytes()[:100])
    bad = write_rows(tmp_path / "bad.csv", [{"patient": "a", "t1": "cut.nii.gz"}])
    [failed] = predict_patients(run.folder, [str(bad)])
    assert failed.error and "cut.nii.gz" in failed.error


def test_a_line_that_is_wrong_is_told_and_the_others_are_predicted(run, table):
    rows = read_rows(table)[:5]
    rows[1] |= {"t1": "maps/gone.nii.gz"}
    rows[3] |= {"t1": "", "adc": ""}
    rows[4] |= {"grade": ""}  # a label is not asked for
    bad = write_rows(table.with_name("bad.csv"), rows)
    with bad.open("a", encoding="utf-8") as stream:
        stream.write("P99,short\n")
    found = list(predict_patients(run.folder, [str(bad)], threads=1))
    assert [one.file.split("bad.csv, ")[1] for one in found] == [
        "line 2, P00", "line 3, P01", "line 4, P02", "line 5, P03", "line 6, P04", "line 7"]
    errors = [getattr(one, "error", None) for one in found]
    assert errors[1] == "the t1 does not exist: maps/gone.nii.gz" and errors[3] == "it has none of the maps"
    assert "cell" in errors[5] and [place for place, one in enumerate(errors) if one is None] == [0, 2, 4]
    whole = {one.file.split(", ")[-1]: one for one in predict_patients(run.folder, [str(table)], threads=1)}
    assert all(found[place].probabilities == whole[f"P0{place}"].probabilities for place in (0, 2, 4))
