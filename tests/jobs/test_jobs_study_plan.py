"""What is settled for a study: start weights stay the same, and what a test part of a size can show is told."""

import hashlib
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from excite.config import load_config
from excite.errors import UsageError
from excite.jobs.study.arms import arms_of
from excite.jobs.study.estimate import smallest
from excite.jobs.study.plan import SETTLED, Planned, _same_weights
from excite.jobs.study.sections import StudyConfig


def planned(out: Path, *weights: Path) -> Planned:
    arms = [{"name": "none"}, *({"name": file.stem, "set": {"model.weights": str(file)}} for file in weights)]
    config = load_config(StudyConfig, values={"model.name": "resnet20", "model.weights": "none", "study.arms": arms,
                                              "data.table": Path("table.csv")})
    return Planned(config=config, out=out, arms=arms_of(config.study), seeds=(0, 1), metric="accuracy",
                   kind="classification", workers=1, costs=[], settled={})


def weights(file: Path, value: float) -> Path:
    save_file({"weight": torch.full((2,), value)}, file)
    return file


def test_start_weights_that_are_exchanged_between_calls_are_refused(tmp_path: Path) -> None:
    settled = tmp_path / SETTLED
    settled.write_text('{"weights": {}}', encoding="utf-8")
    first = weights(tmp_path / "first.safetensors", 1.0)
    before = hashlib.sha256(first.read_bytes()).hexdigest()
    _same_weights(planned(tmp_path, first))
    assert json.loads(settled.read_text(encoding="utf-8")) == {"weights": {"none": "none", "first": before}}
    _same_weights(planned(tmp_path, first, weights(tmp_path / "second.safetensors", 2.0)))  # an arm may be added
    after = hashlib.sha256(weights(first, 3.0).read_bytes()).hexdigest()
    with pytest.raises(UsageError) as fault:
        _same_weights(planned(tmp_path, first))
    assert f"first began with other start weights: sha256 {before} -> {after}" in str(fault.value)
    assert "--out ANOTHER_FOLDER" in str(fault.value)


def test_a_study_from_before_weights_were_kept_goes_on(tmp_path: Path) -> None:
    (tmp_path / SETTLED).write_text('{"loop": {}}', encoding="utf-8")
    _same_weights(planned(tmp_path, tmp_path / "gone.safetensors"))
    assert json.loads((tmp_path / SETTLED).read_text(encoding="utf-8")) == {"loop": {}}


def test_the_smallest_difference_is_that_of_two_proportions() -> None:
    # (1.960 + 0.842) * sqrt(2 * 0.75 * 0.25 / 500) is 7.67 points.
    assert smallest("accuracy", 500, 1).startswith(": roughly, differences under 8 points could not be seen, were 75 %")
    assert smallest("accuracy", 2000, 1).startswith(": roughly, differences under 4 points")
    assert "under 10 points" in smallest("dice", 500, 9)
    assert smallest("accuracy", 12, 1) == (": too few to see any but the largest differences (roughly 50 points and "
                                           "more)")
    assert smallest("adf_mm", 500, 1) == smallest("accuracy", 1, 1) == ""
