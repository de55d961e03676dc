"""The demo: heads are really learned, and measured against what was simulated; both parts in one result."""

import csv
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from excite.data.layouts.hc18 import circumferences
from excite.data.phantom.heads import simulate_heads
from excite.data.phantom.planes import simulate_planes
from excite.errors import DataError, UsageError
from excite.jobs import demo as job
from excite.jobs.demo import demo

OF_BOTH = {"simulated", "data", "table", "run", "report", "text", "metrics", "predictions"}
WARNING = "All images here are SIMULATED."


def test_planes_keep_their_keys_and_heads_have_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(job, "_run", lambda part, folder, seed, progress: {"run": f"{part.prefix}run-{seed}"})
    planes, heads = {"simulated": True, "run": "run-7"}, {"simulated": True, "heads": {"run": "heads-run-7"}}
    assert demo(tmp_path, seed=7) == planes | heads
    assert demo(tmp_path, seed=7, only="planes") == planes
    assert demo(tmp_path, seed=7, only="heads") == heads


@pytest.mark.slow
def test_planes_are_simulated_learned_and_predicted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything but the recipe's size and time."""
    little = {"model.options": {"width": 0.25}, "loop.epochs": 1, "loop.threads": 1, "preprocess.size": 32,
              "split.test": 0.3, "predict.parity_images": 2}
    monkeypatch.setattr(job, "PLANES", replace(job.PLANES, recipe={**job.PLANES.recipe, **little},
                                               simulate=partial(simulate_planes, patients=14, size=(48, 64))))
    found = demo(tmp_path, only="planes")
    assert set(found) == OF_BOTH and found["simulated"] is True and "balanced_accuracy" in found["metrics"]
    assert found["data"] == str(tmp_path / "data-0") and found["run"] == str(tmp_path / "run-0")
    assert WARNING in Path(found["report"]).read_text(encoding="utf-8")
    assert len(found["predictions"]) == 3
    for one in found["predictions"]:
        assert Path(one["file"]).parent == tmp_path / "data-0/images" and one["label"] in one["probabilities"]


@pytest.mark.slow
def test_a_table_that_does_not_agree_with_its_outlines_is_not_trained_on(tmp_path: Path) -> None:
    table = simulate_heads(tmp_path / "heads-data-0", patients=2, images=1, size=(96, 144))
    lines = table.read_text(encoding="utf-8").splitlines()
    name, pixel, rest = lines[1].split(",", 2)
    table.write_text("\n".join([lines[0], f"{name},{float(pixel) * 2},{rest}", *lines[2:]]) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="the simulated table has faults .*the outline is"):
        demo(tmp_path, only="heads")


def test_a_part_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"only must be planes or heads, got 'head'; did you mean 'heads'\?"):
        demo(tmp_path, only="head")
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_heads_are_learned_and_measured_in_millimetres(tmp_path: Path) -> None:
    """The recipe that a user sees, whole: about 40 s of one quiet core."""
    found = demo(tmp_path, only="heads")["heads"]
    assert set(found) == OF_BOTH | {"overlays"}
    assert WARNING in Path(found["report"]).read_text(encoding="utf-8")
    metrics = found["metrics"]
    assert metrics["dice"]["low"] > 0.95 and metrics["found"]["value"] == 1
    assert metrics["adf_mm"]["low"] <= metrics["adf_mm"]["value"] <= metrics["adf_mm"]["high"] < 5
    assert "adf mm" in found["text"]
    truth = circumferences(Path(found["table"]))
    assert np.ptp(list(truth.values())) > 100  # one number for all would be far off
    with (Path(found["run"]) / "predictions-test.csv").open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    errors = [abs(float(row["hc_mm"]) - truth[Path(row["file"]).name]) for row in rows]
    assert np.mean(errors) == pytest.approx(metrics["adf_mm"]["value"], abs=0.05)
    for one in found["predictions"]:
        assert abs(one["hc_mm"] - truth[Path(one["file"]).name]) < 15
        low, high = one["interval_mm"]
        assert low < one["hc_mm"] < high
        with Image.open(Path(found["overlays"]) / f"{Path(one['file']).stem}_overlay.png") as picture:
            assert picture.size == (400, 270)
