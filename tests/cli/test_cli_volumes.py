"""The verbs on volumes as a user types them."""

import json

import pytest
from typer.testing import CliRunner

from excite.cli.main import build
from excite.errors import DataError, UsageError
from small_volumes import read_rows, small_table, write_map, write_rows

RUNNER = CliRunner()
SMALL = ["--epochs", "1", "--batch-size", "4", "--threads", "1", "--set", "volumes.shape=[4,16,16]", "--set",
         "volumes.spacing=[4,2,2]", "--set", "model.options={trunk_options: {width: 0.25}, width: 16}", "--set",
         "loop.precision=float32"]


def excite(*arguments):
    done = RUNNER.invoke(build(), list(map(str, arguments)))
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


@pytest.fixture
def table(tmp_path):
    return small_table(tmp_path, patients=12, missing=(3,))


def test_check_tells_units_twins_broken_files_and_maps_elsewhere(table):
    rows, maps = read_rows(table), table.parent / "maps"
    write_map(maps / "0_t1.nii.gz", 1.2, seed=3)
    write_map(maps / "2_adc.nii.gz", 2000, seed=3, shift=(0, 0, 900))
    (maps / "4_t1.nii.gz").write_bytes(b"x")
    rows[7] |= {"t1": rows[5]["t1"], "adc": rows[5]["adc"]}
    write_rows(table, rows)
    done = excite("check", table, "--json")
    found = {(fault["row"], fault["kind"], fault["severity"]) for fault in json.loads(done.stdout)["faults"]}
    assert found == {(2, "level", "warning"), (4, "maps-apart", "error"), (4, "maps-apart", "warning"),
                     (6, "unusable-volume", "error"), (9, "same-files", "warning")}
    assert done.exit_code == 3 and "2 errors, " in done.stderr and "t1 12, adc 11" in done.stderr


def test_a_table_without_faults_says_what_is_next(table):
    done = excite("check", table)
    assert done.exit_code == 0 and f"next: excite train {table}" in done.stderr
    with pytest.raises(UsageError, match="--write-clean must be left out here: for images only"):
        excite("check", table, "--write-clean", "x.csv")


@pytest.mark.slow
def test_train_and_predict_from_the_command_line(table, tmp_path):
    done = excite("train", table, "--maps", "t1,adc", "--classes", "low,high", "--out", tmp_path / "run", *SMALL)
    assert done.exit_code == 0 and "balanced accuracy" in done.stdout and "next: excite predict" in done.stderr
    done = excite("predict", tmp_path / "run", table, "--out", tmp_path / "found.csv")
    lines = read_rows(tmp_path / "found.csv")
    assert len(lines) == 12 and lines[3]["file"].endswith("line 5, P03") and "without adc" in done.stderr
    one = excite("predict", tmp_path / "run", f"t1={table.parent / 'maps/0_t1.nii.gz'}", "--json")
    assert json.loads(one.stdout)["label"] in ("low", "high")
    rows = read_rows(table)
    bad = write_rows(table.with_name("bad.csv"), [rows[0], rows[1] | {"t1": "gone.nii.gz"}, rows[2]])
    with pytest.raises(DataError, match="1 of 3 patients could not be used") as fault:
        excite("predict", tmp_path / "run", bad, "--out", tmp_path / "some.csv")
    assert fault.value.exit_code == 3
    assert [bool(row["label"]) for row in read_rows(tmp_path / "some.csv")] == [True, False, True]
    with pytest.raises(UsageError, match="--masks must be left out here: for images only"):
        excite("predict", tmp_path / "run", table, "--masks", "x")


@pytest.mark.slow
def test_clinical_columns_and_a_report_without_pictures_from_the_command_line(table, tmp_path):
    write_rows(table, [row | {"age": "" if place == 4 else f"{40 + 3 * place}"}
                       for place, row in enumerate(read_rows(table))])
    excite("train", table, "--clinical", "age", "--no-images", "--out", tmp_path / "run", *SMALL)
    page = (tmp_path / "run/report.html").read_text(encoding="utf-8")
    assert "left out as asked" in page and "data:image" not in page and "age of 11 of 12 rows" in page
    one = excite("predict", tmp_path / "run", f"t1={table.parent / 'maps/0_t1.nii.gz'}", "age=54", "--json")
    found = json.loads(one.stdout)
    assert found["notes"] == ["without adc"] and found["label"] in ("low", "high")


def test_options_of_images_and_scenes_are_refused(table):
    with pytest.raises(UsageError, match="--size must be left out here"):
        excite("train", table, "--size", "64")
    with pytest.raises(UsageError, match="--window must be left out here"):
        excite("train", table, "--window", "9")
    images = write_rows(table.with_name("images.csv"), [{"image": "a.png", "label": "x"}])
    with pytest.raises(UsageError, match="--clinical must be left out here: for volumes only"):
        excite("train", images, "--clinical", "age")


def test_simulate_volumes_makes_a_table(tmp_path):
    done = excite("simulate", "volumes", "--out", tmp_path / "k", "--patients", "3", "--missing", "0", "--json")
    assert json.loads(done.stdout)["patients"] == 3 and "--classes none,mild,severe" in done.stderr
    assert len(read_rows(tmp_path / "k" / "table.csv")) == 3
