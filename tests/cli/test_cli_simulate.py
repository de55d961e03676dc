"""What `excite simulate` writes and prints."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from excite.cli.simulate import app
from excite.data.phantom.hyperspectral import simulate_scene
from excite.data.scenes.scene import find_scene


def test_it_writes_a_table_and_says_what_to_type_next(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["planes", "--out", str(tmp_path / "s"), "--patients", "2", "--height", "60",
                                      "--width", "80", "--json"])
    assert result.exit_code == 0, result.output
    tree = json.loads(result.stdout)
    table = Path(tree["table"])
    assert tree["simulated"] is True and tree["patients"] == 2
    assert len(table.read_text(encoding="utf-8").splitlines()) == tree["images"] + 1
    assert f"next: excite check {table}" in result.stderr and "simulated pictures" in result.stderr


def test_help_has_examples() -> None:
    text = CliRunner().invoke(app, ["planes", "--help"]).output
    assert text.count("excite simulate planes --out") >= 2


def test_a_scene_is_written_and_can_be_trained_on_as_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "scene"
    result = CliRunner().invoke(app, ["scene", "--out", str(folder), "--height", "30", "--width", "36", "--bands", "14",
                                      "--classes", "3", "--seed", "2", "--json"])
    assert result.exit_code == 0, result.output
    tree = json.loads(result.stdout)
    assert tree == {"cube": str(folder / "cube.hdr"), "labels": str(folder / "cube_labels.hdr"), "pixels": 1080,
                    "truth": str(folder / "abundances.npy"), "simulated": True}
    assert f"next: excite train {folder}" in result.stderr
    assert "a simulated scene of 30 x 36 pixels, 14 bands, 3 materials" in result.stderr
    found = find_scene(folder)
    assert found.cube.values.shape == (30, 36, 14) and len(found.labels.classes) == 3
    again = simulate_scene(tmp_path / "again", height=30, width=36, bands=14, classes=3, seed=2)
    assert again.with_suffix(".img").read_bytes() == (folder / "cube.img").read_bytes()


def test_tissue_is_written_with_its_table(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["tissue", "--out", str(tmp_path), "--patients", "2", "--cubes", "1", "--height",
                                      "20", "--width", "24", "--bands", "10", "--classes", "3", "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == {"table": str(tmp_path / "table.csv"), "cubes": 2, "patients": 2,
                                         "simulated": True}
    assert f"next: excite train {tmp_path / 'table.csv'}" in result.stderr
    assert find_scene(tmp_path / "P002_01").cube.values.shape == (20, 24, 10)


@pytest.mark.parametrize("verb", ["heads", "scene", "tissue"])
def test_help_of_the_others_has_examples_too(verb: str) -> None:
    text = CliRunner().invoke(app, [verb, "--help"]).output
    assert text.count(f"excite simulate {verb} --out") >= 3
