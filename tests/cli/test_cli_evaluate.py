"""`excite evaluate`: numbers on stdout, talk on stderr, exit code 3 where files could not be used."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from bundles import CLASSES, linear_bundle, pictures
from excite.cli.main import main
from excite.metrics.evaluation import evaluate


@pytest.fixture
def case(tmp_path: Path) -> tuple[Path, Path]:
    """A bundle, and a table with one patient a picture."""
    files = pictures(tmp_path / "images", 12, seed=1)
    with (tmp_path / "clinic.csv").open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream).writerows([("image", "label", "who"), *(
            (file, CLASSES[place % 2], f"P{place}") for place, file in enumerate(files))])
    return linear_bundle(tmp_path / "bundle"), tmp_path / "clinic.csv"


def ran(*arguments: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["evaluate", *map(str, arguments)])
    return int(str(caught.value.code))


def test_the_table_shows_every_class_and_what_is_not_defined(case: tuple[Path, Path],
                                                             capsys: pytest.CaptureFixture[str]) -> None:
    bundle, data = case
    assert ran(bundle, "--data", data, "--patient-col", "who") == 0
    shown = capsys.readouterr()
    assert "clinic: 12 images, 12 units (patient)" in shown.out
    assert "balanced accuracy" in shown.out and all(name in shown.out for name in CLASSES)
    row = next(line for line in shown.out.splitlines() if line.split()[:2] == ["normal", "0"])
    assert row.count("not defined") >= 2 and "no image of class normal" in shown.out
    assert "next: excite predict" in shown.err and " nan" not in shown.out.casefold()


def test_json_is_the_evaluation_and_nothing_else(case: tuple[Path, Path], capsys: pytest.CaptureFixture[str],
                                                 tmp_path: Path) -> None:
    bundle, data = case
    assert ran(bundle, "--data", data, "--patient-col", "who", "--json", "--out", tmp_path / "out") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n"] == 12 and found["metrics"]["accuracy"]["low"] is not None
    assert found == json.loads((tmp_path / "out" / "evaluation.json").read_text(encoding="utf-8"))


def test_a_file_that_cannot_be_used_ends_with_3_after_the_rest_is_done(case: tuple[Path, Path],
                                                                       capsys: pytest.CaptureFixture[str]) -> None:
    bundle, data = case
    (data.parent / "images" / "scan 3.png").write_bytes(b"cut")
    assert ran(bundle, "--data", data, "--json") == 3
    shown = capsys.readouterr()
    assert json.loads(shown.out)["n"] == 11 and "scan 3.png" in shown.err and "Traceback" not in shown.err


def test_errors_have_their_exit_codes(case: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    bundle, data = case
    assert ran(bundle) == 2
    assert ran(bundle, "--data", data, "--label-col", "who") == 3
    assert ran(data.parent / "nothing", "--data", data) == 4
    assert "error:" in capsys.readouterr().err


def test_the_report_of_the_training_is_not_said_to_be_new(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    found = evaluate(np.array([0, 1] * 6), np.tile([[0.8, 0.2], [0.1, 0.9]], (6, 1)), CLASSES[:2],
                     [str(place) for place in range(12)], part="test", unit_kind="image", resamples=20)
    monkeypatch.setattr("excite.jobs.evaluate.evaluate", lambda *_, **__: found)
    (tmp_path / "report.html").touch()
    assert ran(tmp_path) == 0
    assert "report.html  (the training's report: this evaluation did not change it)" in capsys.readouterr().err
