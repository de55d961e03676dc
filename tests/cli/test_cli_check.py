"""What `excite check` prints, where, and its exit code."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from excite.cli.check import check
from excite.config import load_config
from excite.data.phantom.heads import simulate_heads
from excite.errors import DataError
from excite.jobs.prepare import prepare
from excite.jobs.sections import TrainConfig


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Return a table of 12 pictures with one label missing and one picture with two labels."""
    rows = []
    for k in range(12):
        image = np.random.default_rng(0 if k == 11 else k).integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(image).save(tmp_path / f"{k}.png")
        rows.append([f"{k}.png", "" if k == 5 else "ab"[k % 2], f"P{k // 2}"])
    with (tmp_path / "table.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["Image_path", "Plane", "who"], *rows])
    return tmp_path / "table.csv"


def run(*arguments: object) -> tuple[int, str, str]:
    app = typer.Typer(rich_markup_mode=None)
    app.command()(check)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.stdout, result.stderr


def test_faults_exit_with_3_and_name_the_remedy(table: Path) -> None:
    code, stdout, stderr = run(table, "--patient-col", "who")
    assert code == 3 and stdout == ""
    assert "error empty-label: 1" in stderr and "error same-picture-two-labels: 1" in stderr
    assert "2 errors" in stderr and stderr.strip().splitlines()[-1].startswith(f"next: excite check {table}")


def test_json_is_alone_on_stdout(table: Path) -> None:
    code, stdout, _ = run(table, "--patient-col", "who", "--json")
    tree = json.loads(stdout)
    assert code == 3 and {fault["kind"] for fault in tree["faults"]} == {"empty-label", "same-picture-two-labels"}
    assert all(set(fault) == {"kind", "row", "file", "message", "severity"} for fault in tree["faults"])
    assert tree["counts"]["rows"] == 12 and tree["counts"]["patients"]["P0"] == 2


def test_write_clean_lists_what_goes_and_the_new_table_passes(table: Path) -> None:
    clean = table.with_name("clean.csv")
    code, _, stderr = run(table, "--patient-col", "who", "--write-clean", clean)
    assert code == 0 and "3 rows dropped:" in stderr and "nobody knows which is right" in stderr
    assert stderr.strip().splitlines()[-1] == f"next: excite train {clean}"
    code, _, stderr = run(clean)
    assert code == 0 and "0 errors, 0 warnings" in stderr and "next: excite train" in stderr


def test_a_table_that_dropping_rows_does_not_mend_is_not_written(tmp_path: Path) -> None:
    for k in range(3):
        Image.fromarray(np.random.default_rng(k).integers(0, 255, (40, 40), dtype=np.uint8)).save(tmp_path / f"{k}.png")
    (tmp_path / "t.csv").write_text("image,label\n0.png,a\n1.png,a\n2.png,a\n")
    code, _, stderr = run(tmp_path / "t.csv", "--write-clean", tmp_path / "clean.csv")
    assert code == 3 and "is not written" in stderr and not (tmp_path / "clean.csv").exists()


def last(stderr: str) -> str:
    return stderr[stderr.rindex("next: "):].strip()


def test_the_next_step_repeats_the_options_as_they_were_typed(table: Path) -> None:
    _, _, stderr = run(table, "--label-col", "Plane", "--patient-from", r"(\d)\d*\.png", "--root", table.parent)
    assert last(stderr).startswith(f"next: excite check {table} --root {table.parent} --label-col Plane --patient-from "
                                   r"'(\d)\d*\.png' --write-clean clean.csv")
    clean = table.with_name("clean one.csv")
    _, _, stderr = run(table, "--write-clean", clean)
    assert last(stderr) == f"next: excite train '{clean}'"
    _, _, stderr = run(clean, "--label-col", "label", "--existing-only")
    assert last(stderr) == f"next: excite train '{clean}' --label-col label --existing-only"


@pytest.mark.parametrize(("content", "step"), [
    ("image,label\n0.png,Zyste\n1.png,Größe\n", "next: iconv -f CP1252 -t UTF-8 {t} > {u}"),
    ("image,finding\n0.png,a\n1.png,b\n", "next: excite check {t} --root . --label-col NAME"),
    ("0.png,a\n1.png,b\n", "next: mend the table as said above (missing-column; dropping rows does not), then excite "
                           "check {t} --root ."),
    ("image,label\n0.png,a\n1.png,a\n", "next: mend the table as said above (one-class;"),
])
def test_what_dropping_rows_does_not_mend_gets_another_step_and_no_empty_summary(table: Path, content: str,
                                                                                 step: str) -> None:
    odd = table.with_name("odd.csv")
    odd.write_bytes(content.encode("cp1252"))
    code, _, stderr = run(odd, "--root", ".") if step.endswith(".") or "NAME" in step else run(odd)
    assert code == 3 and last(stderr).startswith(step.format(t=odd, u=odd.with_name("odd-utf8.csv")))
    assert "--write-clean" not in stderr and "0 rows" not in stderr


def test_a_slip_in_a_label_is_to_be_corrected_before_rows_are_dropped(table: Path) -> None:
    odd = table.with_name("odd.csv")
    labels = ["benign", "malign"] * 4 + ["bening"]
    odd.write_text("image,label\n" + "".join(f"{k}.png,{label}\n" for k, label in enumerate(labels)))
    _, _, stderr = run(odd)
    assert "did you mean 'benign' (4 images)?" in stderr
    assert last(stderr).startswith("next: correct what is asked about above")


def test_a_table_of_masks_is_sent_to_its_training(tmp_path: Path) -> None:
    simulate_heads(tmp_path, patients=3, size=(135, 200))
    code, _, stderr = run(tmp_path)
    assert code == 0 and "next: excite train" in stderr
    with pytest.raises(DataError, match="the table has masks and no labels"):
        prepare(load_config(TrainConfig, values={"data.table": tmp_path, "task": "classification"}))
