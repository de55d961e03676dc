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
