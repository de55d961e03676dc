"""What `excite demo` prints: data on stdout, marked as simulated, and what to do next on stderr."""

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from excite.cli.main import build
from excite.jobs import demo as job

RUNNER = CliRunner()
PLANES: dict[str, Any] = {
    "run": "demo/run-0", "data": "demo/data-0", "text": "accuracy 0.9 [0.8, 1.0]",
    "predictions": [{"file": "a.png", "label": "femur", "probabilities": {"femur": 0.75, "head": 0.25}}]}
HEADS: dict[str, Any] = {
    "run": "demo/heads-run-0", "data": "demo/heads-data-0", "text": "adf mm 1.6 [1.1, 2.2]",
    "overlays": "demo/heads-overlays-0",
    "predictions": [{"file": "h.png", "ellipse": {"x": 1.0}, "hc_mm": 201.04, "interval_mm": [195.0, 207.0]}]}


@pytest.fixture(autouse=True)
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put known results in the place of training."""
    def run(part: job.Part, folder: Path, seed: int, progress: object) -> dict[str, Any]:
        return HEADS if part.prefix else PLANES

    monkeypatch.setattr(job, "_run", run)


def test_each_part_is_told_with_its_numbers_as_simulated() -> None:
    done = RUNNER.invoke(build(), ["demo"])
    assert done.exit_code == 0 and done.stdout == (
        "on SIMULATED test images, planes:\naccuracy 0.9 [0.8, 1.0]\n"
        "predicted  0.750  femur             a.png\n"
        "on SIMULATED test images, heads:\nadf mm 1.6 [1.1, 2.2]\n"
        "predicted  HC 201.0 mm [195.0, 207.0]        h.png\n")
    assert "SIMULATED data" in done.stderr and "demo/heads-overlays-0" in done.stderr
    assert "excite predict demo/run-0/bundle demo/data-0" in done.stderr


@pytest.mark.parametrize(("only", "there", "gone"), [("planes", "accuracy", "adf mm"), ("heads", "adf mm", "accuracy")])
def test_one_part_alone(only: str, there: str, gone: str) -> None:
    done = RUNNER.invoke(build(), ["demo", "--only", only])
    assert done.exit_code == 0 and there in done.stdout and gone not in done.stdout
    assert f"excite predict demo/{'heads-' if only == 'heads' else ''}run-0/bundle" in done.stderr


def test_json_is_one_object() -> None:
    done = RUNNER.invoke(build(), ["demo", "--json"])
    assert json.loads(done.stdout) == {"simulated": True, **PLANES, "heads": HEADS}
