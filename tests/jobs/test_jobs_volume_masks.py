"""Training on scans with masks from end to end: run folder, bundle, numbers, report, labels on scans' own grids."""

import csv
import json
import subprocess
import sys

import nibabel
import numpy as np
import pytest

from excite.data.volumes.mask_sections import MaskedVolumesSection
from excite.data.volumes.mask_table import read_mask_table
from excite.deploy.bundle import read_bundle
from excite.deploy.volume_mask_predictor import VolumeMaskPredictor
from excite.errors import DataError, ModelError, UsageError
from excite.jobs.volume_masks.evaluate import evaluate_scans
from excite.jobs.volume_masks.predict import label_files, predict_scans, scans_of
from excite.jobs.volume_masks.prepare import prepare_masks
from excite.jobs.volume_masks.train import train_volume_masks
from html_reader import Reader
from small_scans import AFFINE, scan_config, scan_of, small_scans, write_scan, write_table

CLASSES = ("background", "outer", "inner")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("masks")
    config = scan_config(small_scans(folder, scans=20), **{"volumes.classes": CLASSES, "loop.epochs": 10})
    return train_volume_masks(config, out=folder / "run"), folder, config


@pytest.mark.slow
def test_it_learns_and_everything_is_left_in_one_folder(trained):
    run, _, _ = trained
    assert run.evaluation.metrics["dice"].value > 0.6 and run.evaluation.n == 4
    assert run.split.unit_kind == "patient" and run.evaluation.unit_kind == "patient"
    info = read_bundle(run.folder / "bundle")
    assert info.task == "volume_masks" and info.classes == CLASSES and info.parity["max_rel"] < 1e-4
    assert info.metrics["per_class"]["inner"]["dice"]["value"] == run.evaluation.per_class["inner"]["dice"].value
    card = (run.folder / "bundle" / "card.md").read_text(encoding="utf-8")
    assert "dice of inner" in card and "hd95 mm of mean of classes" in card and "- 2: inner" in card
    with (run.folder / "test-scans.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8 and {row["class"] for row in rows} == {"outer", "inner"}
    mean = np.mean([float(row["dice"]) for row in rows if row["class"] == "inner"])
    assert mean == pytest.approx(run.evaluation.per_class["inner"]["dice"].value, abs=1e-5)


@pytest.mark.slow
def test_the_numbers_are_those_of_the_written_labels(trained):
    """The bundle predicts the test scans to NIfTI files; numpy counts their Dice against the masks' own files."""
    run, folder, config = trained
    table = read_mask_table(config.volumes)
    files = [str(table.files[row][0]) for row in run.split.test]
    written = list(label_files(predict_scans(run.folder, files, threads=1), folder / "out"))
    dices = []
    for row, one in zip(run.split.test, written, strict=True):
        found, scan = nibabel.load(one.file), nibabel.load(table.files[row][0])
        truth = np.asarray(nibabel.load(table.masks[row]).dataobj)
        np.testing.assert_array_equal(found.affine, scan.affine)
        inner = np.asarray(found.dataobj) == 2
        dices.append(2 * (inner & (truth == 2)).sum() / (inner.sum() + (truth == 2).sum()))
    assert np.mean(dices) == pytest.approx(run.evaluation.per_class["inner"]["dice"].value, abs=1e-6)
    with (folder / "out" / "sizes.csv").open(encoding="utf-8") as stream:
        sizes = list(csv.DictReader(stream))
    assert [row["labels"] for row in sizes] == [one.file.name for one in written]
    assert float(sizes[0]["inner ml"]) == pytest.approx(int(sizes[0]["inner voxels"]) * 1.5 / 1000, rel=1e-4)


@pytest.mark.slow
def test_a_scan_with_other_axes_gets_the_same_labels(trained):
    run, folder, _ = trained
    image, _ = scan_of(3)
    write_scan(folder / "turned.nii.gz", image.transpose(2, 0, 1)[:, ::-1].copy(),
               AFFINE @ [[0, -1, 0, 17], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    predictor = VolumeMaskPredictor(run.folder, threads=1)
    one, other = (predictor({"scan": file}) for file in (folder / "scans/s3.nii.gz", folder / "turned.nii.gz"))
    np.testing.assert_array_equal(one.labels, other.labels)
    np.testing.assert_allclose(one.volume.affine, other.volume.affine)


@pytest.mark.slow
def test_a_scan_of_another_spacing_and_size_is_labelled_where_it_is(trained):
    """A scan of twice the voxels along each axis gets the labels of the coarse one, but at their edges."""
    run, folder, _ = trained
    image, labels = scan_of(5)
    fine = np.kron(image, np.ones((2, 2, 2), np.float32))
    affine = AFFINE @ np.diag([0.5, 0.5, 0.5, 1])
    affine[:3, 3] = (AFFINE @ [-0.25, -0.25, -0.25, 1])[:3]
    write_scan(folder / "fine.nii.gz", fine, affine)
    found = VolumeMaskPredictor(run.folder, threads=1)({"scan": folder / "fine.nii.gz"})
    truth = np.kron(labels, np.ones((2, 2, 2)))[::-1].T
    both = (found.labels > 0) & (truth > 0)
    assert found.labels.shape == truth.shape and 2 * both.sum() / ((found.labels > 0).sum() + (truth > 0).sum()) > 0.6


@pytest.mark.slow
def test_the_report_tells_each_class_and_shows_pictures(trained):
    run, _, _ = trained
    text = run.report.read_text(encoding="utf-8")
    page = Reader(text)  # a tag closed out of order is a fault
    for said in ("Class by class", "outer", "HD95, mm", "The smallest Dice", "Test scans as they come", "sagittal",
                 "Dice of each scan", "predicted volume, ml", "no scan with the same voxels lies in two parts"):
        assert said in text, said
    assert text.count("<image id=") == 3 * 8 and "P0" not in page.text


@pytest.mark.slow
def test_the_same_call_resumes_and_ends_with_the_same_numbers(trained):
    run, folder, config = trained
    again = train_volume_masks(config, out=folder / "run")
    assert again.evaluation.to_json() == run.evaluation.to_json()
    with pytest.raises(UsageError, match="volumes.overlap"):
        train_volume_masks(config.model_copy(update={"volumes": config.volumes.model_copy(update={"overlap": 0.3})}),
                           out=folder / "run")


@pytest.mark.slow
def test_prediction_needs_no_torch(trained):
    run, folder, _ = trained
    code = ("import sys\nfor name in ('torch', 'onnx', 'sklearn'): sys.modules[name] = None\n"
            "from pathlib import Path\nfrom excite.jobs.volume_masks.predict import predict_scans\n"
            f"print(next(predict_scans(Path({str(run.folder)!r}), [{str(folder / 'scans/s1.nii.gz')!r}])).to_json())")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'inner': {'voxels'" in done.stdout


@pytest.mark.slow
def test_a_bundle_for_something_else_and_a_broken_scan_are_told(trained, tmp_path):
    run, folder, _ = trained
    (tmp_path / "x.nii.gz").write_bytes(b"x")
    one, other = predict_scans(run.folder, [str(tmp_path / "x.nii.gz"), str(folder / "scans/s1.nii.gz")])
    assert "no NIfTI file" in one.error and other.sizes["inner"]["voxels"] > 0
    info = json.loads((run.folder / "bundle" / "bundle.json").read_text(encoding="utf-8"))
    assert info["task"] == "volume_masks"
    from excite.deploy.volume_predictor import VolumePredictor

    with pytest.raises(ModelError, match="the bundle is for volume_masks, not for volumes"):
        VolumePredictor(run.folder)


@pytest.mark.slow
def test_an_evaluation_gives_the_runs_numbers_again_and_tells_known_scans(trained, tmp_path):
    run, folder, config = trained
    own = evaluate_scans(run.folder, out=tmp_path / "e", threads=1)
    assert own.metrics == run.evaluation.metrics and own.per_class == run.evaluation.per_class
    assert json.loads((tmp_path / "e" / "evaluation.json").read_text(encoding="utf-8"))["n"] == 4
    table = tmp_path / "other.csv"
    lines = config.volumes.table.read_text(encoding="utf-8").splitlines()[1:]
    rows = [dict(zip(("patient", "image", "mask"), line.split(","), strict=True)) for line in lines]
    write_table(table, [{name: str(folder / cell) if "/" in cell else cell for name, cell in row.items()}
                        for row in rows])
    other = evaluate_scans(run.folder / "bundle", table, threads=1)  # another name of the column, other paths
    assert other.n == 20 and f"LEAK: the network was trained on {len(run.split.train)} of these 20 scans" in other.notes
    assert "too good" in " ".join(evaluate_scans(run.folder, split="val", threads=1).notes)
    with pytest.raises(UsageError, match="a bundle has no scans of its own"):
        evaluate_scans(run.folder / "bundle")
    with pytest.raises(UsageError, match="split must be train, val, test, got 'x'"):
        evaluate_scans(run.folder, split="x")


def test_inputs_are_files_folders_tables_or_maps(tmp_path):
    table = small_scans(tmp_path, scans=2)
    assert [list(scan.values()) for _, scan in scans_of([str(tmp_path / "scans")], ("scan",))] == [
        [tmp_path / "scans/s0.nii.gz"], [tmp_path / "scans/s1.nii.gz"]]
    assert [name for name, _ in scans_of([str(table)], ("scan",))] == [f"{table}, line 2", f"{table}, line 3"]
    assert scans_of(["t1=a.nii", "t2=b.nii"], ("t1", "t2"))[0][1].keys() == {"t1", "t2"}
    with pytest.raises(UsageError, match="a scan of this bundle has several maps"):
        scans_of(["a.nii"], ("t1", "t2"))
    with pytest.raises(DataError, match="the table has no column t1"):
        scans_of([str(table)], ("t1",))


def test_labels_are_named_by_what_is_known_and_doubts_are_told(tmp_path):
    table = small_scans(tmp_path, patients=False)
    _, labels = scan_of(1)
    write_scan(tmp_path / "masks/s1.nii.gz", labels * 0)
    write_scan(tmp_path / "masks/s2.nii.gz", np.where(labels == 1, 1, 0).astype(np.uint8))
    found = prepare_masks(scan_config(table))
    assert found.classes.names == ("background", "label 1", "label 2") and found.split.unit_kind == "file"
    assert found.reasons["masks"] == "1 of 10 are empty: lines 3; 2 of 10 lack label 2: lines 3, 4"
    assert "each file is a unit of its own" in found.reasons["split"]
    assert sum(found.counts(part)["with label 1"] for part in ("train", "val", "test")) == 9


def test_label_values_need_not_follow_each_other(tmp_path):
    table = small_scans(tmp_path)
    for number in range(10):
        labels = scan_of(number)[1]
        write_scan(tmp_path / f"masks/s{number}.nii.gz", np.choose(labels, [0, 4, 205]).astype(np.int16))
    found = prepare_masks(scan_config(table))
    assert found.classes.values == (0, 4, 205) and found.classes.names[1:] == ("label 4", "label 205")
    batch = next(iter(found.batches("train").batches(0)))
    assert set(batch.labels.unique().tolist()) <= {0, 1, 2}
    with pytest.raises(DataError, match="10 masks have labels that no class has: line 2: 4, 205.*"):
        prepare_masks(scan_config(table, **{"volumes.classes": CLASSES}))


def test_what_cannot_be_learnt_is_an_error(tmp_path):
    table = small_scans(tmp_path)
    with pytest.raises(DataError, match="nothing to train on for tumour: no training mask has the label 3"):
        prepare_masks(scan_config(table, **{"volumes.classes": (*CLASSES, "tumour")}))
    with pytest.raises(UsageError, match="resnet20 tells classes, the work is label volumes"):
        prepare_masks(scan_config(table, **{"model.name": "resnet20", "model.options": {}}))
    with pytest.raises(UsageError, match="volumes.patch must be multiples of the network's strides, 4 x 4 x 4"):
        prepare_masks(scan_config(table, **{"volumes.patch": (8, 16, 15)}))
    for number in range(10):
        write_scan(tmp_path / f"masks/s{number}.nii.gz", np.zeros((18, 16, 9), np.uint8))
    with pytest.raises(DataError, match="the masks have the label 0 alone"):
        prepare_masks(scan_config(table))


def test_the_same_scan_in_two_parts_is_a_leak(tmp_path):
    table = small_scans(tmp_path)
    image, _ = scan_of(0)
    write_scan(tmp_path / "scans/s9.nii", image)
    rows = [{"patient": f"P{n}", "scan": f"scans/s{n}.nii" + (".gz" if n < 9 else ""), "mask": f"masks/s{n % 9}.nii.gz",
             "split": "test" if n > 7 else "val" if n > 5 else "train"} for n in range(10)]
    found = prepare_masks(scan_config(write_table(table, rows)))
    assert [fault.kind for fault in found.leaks] == ["same-scan-in-two-splits"]
    assert "the scan of line 11 has the voxels of line 2, which is in train while this is in test" in \
        found.leaks[0].message


def test_attention_none_takes_the_se_out(tmp_path):
    table = small_scans(tmp_path)
    with_se, without = (sum(one.numel() for one in prepare_masks(scan_config(table, **more)).model.parameters())
                        for more in ({}, {"model.attention": "none"}))
    assert with_se > without
    assert MaskedVolumesSection().levels == "volume"
