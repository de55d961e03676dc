"""Heads that an arm misses: compared on those that all trainings found, told, and never to the gain of who misses."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from excite.config import load_config
from excite.data.phantom.heads import simulate_heads
from excite.errors import UsageError
from excite.jobs.compare.tested import Tested
from excite.jobs.study.defined import on_common_images
from excite.jobs.study.sections import StudyConfig
from excite.jobs.study.study import study

INFO: Any = SimpleNamespace(classes=("head",))


def training(*errors: float | None) -> Tested:
    """Return a training with these errors of heads in mm; None: not found."""
    count = len(errors)
    names = tuple(str(place) for place in range(count))
    rows = tuple({"adf_mm": error, "dice": 0.9 if error else 0.0} for error in errors)
    return Tested(name="run", folder=Path("run"), info=INFO, sample="image", files=names, contents=names,
                  truth=("",) * count, units=names, unit_kind="patient", answers=rows)


def mean_of(one: Tested, metric: str = "adf_mm") -> float:
    count = len(one.files)
    return float(one.side(range(count), ("head",)).measure()(np.ones((1, count)))[metric][0])


def test_an_arm_that_misses_the_hard_heads_gains_nothing_by_it() -> None:
    careful, bold = training(1.0, 1.0, 1.0, 9.0), training(1.5, 1.5, 1.5, None)
    assert mean_of(careful) > mean_of(bold)  # as they are, the one that misses the hard head looks better
    ((first,), (second,)), said = on_common_images([[careful], [bold]], ["careful", "bold"], "adf_mm")
    assert (mean_of(first), mean_of(second)) == (1.0, 1.5)
    assert mean_of(second, "dice") == pytest.approx(0.675)  # other numbers count all images
    assert said == ["adf is compared on the 3 images on which every training has it, of 4 on which any has, so that no "
                    "arm gains by what it misses. Missed, seed by seed: careful 0, bold 1. An arm that misses more is "
                    "worse than this number says."]


def test_where_all_is_found_nothing_changes() -> None:
    runs = [[training(1.0, 2.0), training(2.0, 2.0)], [training(1.0, 1.0), training(3.0, 1.0)]]
    assert on_common_images(runs, ["none", "se"], "adf_mm") == (runs, [])


def test_too_few_in_common_are_refused_with_who_lacks_them() -> None:
    with pytest.raises(UsageError) as fault:
        on_common_images([[training(1.0, 2.0, 1.0)], [training(None, None, 1.0)]], ["none", "se"], "adf_mm")
    assert "every training has adf on 1 of 3 test images only, too few to compare" in str(fault.value)
    assert "seed by seed: none 0, se 2" in str(fault.value) and "--metric dice" in str(fault.value)


@pytest.mark.slow
def test_a_study_of_heads_ends_in_mm_or_says_that_too_few_were_found(tmp_path: Path) -> None:
    table = simulate_heads(tmp_path / "heads", patients=14, images=1, size=(108, 160), seed=1)
    values = {
        "data.table": table, "task": "heads", "study.seeds": [0], "study.workers": 1,
        "cache.folder": tmp_path / "cache",
        "study.arms": [{"name": "none"}, {"name": "skips", "set": {"model.attention": "se",
                                                                   "model.options.attend": ["skips"]}}],
        "model.name": "unet", "model.weights": "none", "model.options": {"encoder": "mobilenet_v2", "finest": 4},
        "preprocess.size": [64, 96], "loop.epochs": 2, "loop.batch_size": 2, "loop.threads": 1,
        "loop.precision": "float32", "optim.lr": 3e-3, "predict.parity_images": 2}
    try:
        found = study(load_config(StudyConfig, values=values), out=tmp_path / "study")
    except UsageError as fault:  # so short a training may miss heads; the trainings are there, and dice counts them
        assert "too few to compare" in str(fault) or "adf mm is not defined" in str(fault)
        found = study(load_config(StudyConfig, values={**values, "study.metric": "dice"}), out=tmp_path / "study")
    assert [arm.name for arm in found.results.arms] == ["none", "skips"]
    assert all("found" in arm.beside for arm in found.results.arms)
    assert found.data["metric"] in ("adf_mm", "dice") and (tmp_path / "study" / "study.html").is_file()
