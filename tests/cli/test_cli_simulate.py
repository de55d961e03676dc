"""What `excite simulate planes` writes and prints."""

import json
from pathlib import Path

from typer.testing import CliRunner

from excite.cli.simulate import app


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
