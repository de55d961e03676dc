"""`excite predict` as a user types it: stdout is data, stderr is talk, the exit code tells."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from bundles import CLASSES, linear_bundle, pictures
from excite.cli import predict as verb
from excite.errors import DataError, ModelError


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return linear_bundle(tmp_path_factory.mktemp("linear") / "run" / "bundle")


@pytest.fixture
def images(tmp_path: Path) -> list[Path]:
    return pictures(tmp_path / "images", 4)


def run(*arguments: object) -> Result:
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(verb.predict)
    return CliRunner().invoke(app, [str(one) for one in arguments])


def test_json_lines_are_data_and_nothing_else_is_on_stdout(bundle: Path, images: list[Path]) -> None:
    done = run(bundle.parent, images[0].parent, "--json")
    assert done.exit_code == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [line["file"] for line in lines] == [str(file) for file in images]
    assert all(set(line) == {"file", "label", "probabilities"} for line in lines)
    assert all(line["label"] in CLASSES and sum(line["probabilities"].values()) == pytest.approx(1) for line in lines)
    assert "4 predicted" in done.stderr and "next: excite evaluate" in done.stderr


def test_a_person_reads_one_line_an_image(bundle: Path, images: list[Path]) -> None:
    done = run(bundle, *images)
    assert [line.split(maxsplit=2)[2] for line in done.stdout.splitlines()] == [str(file) for file in images]


def test_a_table_is_written(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    done = run(bundle, *images, "--out", tmp_path / "p.csv", "--features", tmp_path / "f.npz", "--views", "flip",
               "--batch-size", 2, "--threads", 1)
    assert done.exit_code == 0 and done.stdout == ""
    assert len((tmp_path / "p.csv").read_text().splitlines()) == 5 and (tmp_path / "f.npz").is_file()
    assert f"written: {tmp_path / 'p.csv'}" in done.stderr


def test_a_bad_file_is_reported_the_rest_done_and_the_exit_code_3(bundle: Path, images: list[Path]) -> None:
    images[2].write_bytes(b"garbage")
    done = run(bundle, *images, "--json")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [set(line) for line in lines].count({"file", "error"}) == 1 and len(lines) == 4
    assert isinstance(done.exception, DataError) and done.exception.exit_code == 3
    assert "3 predicted" in done.stderr and "1 failed" in done.stderr


def test_a_column_can_be_named(bundle: Path, images: list[Path], tmp_path: Path) -> None:
    table = tmp_path / "table.csv"
    table.write_text("scan,age\nscan 0.png,3\nscan 1.png,4\n")
    done = run(bundle, table, "--image-col", "scan", "--root", images[0].parent, "--json")
    assert done.exit_code == 0, done.exception
    assert len(done.stdout.splitlines()) == 2


def test_a_pickle_is_no_bundle(images: list[Path], tmp_path: Path) -> None:
    (tmp_path / "best.pt").write_bytes(b"cos\nsystem\n.")
    done = run(tmp_path / "best.pt", *images)
    assert isinstance(done.exception, ModelError) and done.exception.exit_code == 4


def test_help_has_three_examples() -> None:
    assert run("--help").stdout.count("excite predict ") >= 3


def test_where_nothing_could_be_used_the_error_says_so_and_nothing_comes_next(bundle: Path, tmp_path: Path) -> None:
    missing = [tmp_path / f"none{place}.png" for place in range(5)]
    done = run(bundle, *missing)
    told = f"{done.stderr}\n{done.exception}"
    assert isinstance(done.exception, DataError) and "no file could be used" in str(done.exception)
    assert [told.count(str(file)) for file in missing] == [1] * 5
    assert "next:" not in told and "predicted:" not in told and done.stdout == ""


def test_each_failure_is_told_once(bundle: Path, images: list[Path]) -> None:
    images[0].write_bytes(b"garbage")
    images[2].write_bytes(b"garbage")
    done = run(bundle, *images)
    told = f"{done.stderr}\n{done.exception}"
    assert [told.count(str(images[place])) for place in (0, 2)] == [1, 1] and len(done.stdout.splitlines()) == 2
    assert "2 of 4 files could not be used" in str(done.exception) and "next: excite evaluate" in told


def test_a_run_that_has_not_ended_says_so_on_stderr(images: list[Path], tmp_path: Path) -> None:
    bundle = linear_bundle(tmp_path / "run" / "bundle")
    told = "WARNING: this run has not ended (it has no report)"
    assert told not in run(bundle, images[0], "--json").stderr  # nothing beside it says that it is of a run
    (bundle.parent / "config.yaml").write_text("seed: 1\n")
    for place in (bundle, bundle.parent):
        done = run(place, images[0], "--json")
        assert done.exit_code == 0 and told in done.stderr and "resume it" in done.stderr
        assert len(done.stdout.splitlines()) == 1
    (bundle.parent / "report.html").write_text("<p>")
    assert told not in run(bundle.parent, images[0], "--json").stderr
