"""The number that decides: only one that the kind of work, and its pixel sizes, will have."""

import pytest

from excite.errors import UsageError
from excite.jobs.kinds import Kind
from excite.jobs.study.metric import metric_of


@pytest.mark.parametrize(("asked", "kind", "spacings"), [
    ("adf_mm", "segmentation", [True]), ("found", "segmentation", [True]), ("median_adf_mm", "heads", [True]),
    ("hd95_mm", "segmentation", [False, False]), ("surface_dice", "segmentation", [False]),
    ("adf_mm", "heads", [False]), ("hd95_px", "segmentation", [True, True]), ("df_mm", "heads", [True])])
def test_a_number_that_no_training_will_have_is_refused_before_it(asked: str, kind: Kind, spacings: list[bool]) -> None:
    with pytest.raises(UsageError, match=rf"study\.metric must be a number of this work .* got '{asked}'"):
        metric_of(asked, kind, ("object",), spacings=spacings)


@pytest.mark.parametrize(("asked", "kind", "spacings", "decides"), [
    ("adf_mm", "heads", [True], "adf_mm"), ("found", "heads", [False], "found"), (None, "heads", [True], "adf_mm"),
    (None, "heads", [False], "head_dice"), (None, "segmentation", [], "dice"),
    ("hd95_mm", "segmentation", [True, False], "hd95_mm"), ("hd95_px", "segmentation", [True, False], "hd95_px"),
    ("surface_dice_px", "segmentation", [False], "surface_dice_px"), ("accuracy", "classification", [], "accuracy")])
def test_numbers_of_the_work_decide(asked: str | None, kind: Kind, spacings: list[bool], decides: str) -> None:
    assert metric_of(asked, kind, ("a", "b"), spacings=spacings) == decides
