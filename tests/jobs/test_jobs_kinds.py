"""A table says what it is for; a loss, a network or a number of another kind of work is refused."""

from pathlib import Path

import pytest

from excite.data.manifest import Manifest, Row
from excite.data.targets import Outline, Region, Target
from excite.ellipse import Ellipse
from excite.errors import DataError, UsageError
from excite.jobs.kinds import OF_UNET, heads_or_regions, kind_of, with_defaults
from excite.jobs.network import check_network
from excite.jobs.sections import TrainConfig

LABELLED, MASKED, BOTH = {"label": "a"}, {"mask": "m.png"}, {"label": "a", "mask": "m.png"}


def config(**sections: object) -> TrainConfig:
    return TrainConfig.model_validate(sections)


def table(*rows: dict[str, str]) -> Manifest:
    return Manifest(rows=tuple(Row(image=f"{place}.png", line=place + 2, **one) for place, one in enumerate(rows)),
                    root=Path(), source=Path("table.csv"), layout="table")


@pytest.mark.parametrize(("task", "rows", "kind"), [
    ("auto", (LABELLED, LABELLED), "classification"), ("auto", (BOTH, BOTH), "classification"),
    ("auto", (MASKED, MASKED), "segmentation"), ("segmentation", (BOTH, BOTH), "segmentation"),
    ("heads", (MASKED,), "heads"), ("classification", (BOTH,), "classification")])
def test_the_table_says_what_it_is_for(task: str, rows: tuple[dict[str, str], ...], kind: str) -> None:
    assert kind_of(config(task=task), table(*rows))[0] == kind


def test_what_the_work_needs_must_be_there() -> None:
    with pytest.raises(DataError, match=r"1 of 2 rows have no mask.*line 3, 1.png"):
        kind_of(config(task="segmentation"), table(BOTH, LABELLED))
    with pytest.raises(DataError, match="masks and no labels"):
        kind_of(config(task="classification"), table(MASKED))


def test_outlines_make_heads_unless_regions_are_asked_for() -> None:
    outline, region, empty = Outline(Ellipse(5, 5, 3, 2, 0)), Region(b"x"), Region(b"", kind="empty")
    outlines: list[Target] = [outline, outline]
    assert heads_or_regions("auto", "segmentation", outlines)[0] == "heads"
    assert heads_or_regions("segmentation", "segmentation", outlines)[0] == "segmentation"
    assert heads_or_regions("auto", "segmentation", [outline, region])[0] == "segmentation"
    with pytest.raises(DataError, match="1 of 2 masks are empty"):
        heads_or_regions("heads", "heads", [outline, empty])


def test_what_the_user_said_stays() -> None:
    found = with_defaults(config(preprocess={"size": 96}, loss={"dice_weight": 1.0}, loop={"epochs": 3}), "heads")
    assert (found.task, found.preprocess.size, found.loop.epochs) == ("heads", 96, 3)
    assert (found.loss.name, found.loss.dice_weight, found.loss.bce_weight) == ("dice_bce", 1.0, 0.5)
    assert found.model.options == OF_UNET and found.preprocess.channels == 1
    other = with_defaults(config(model={"attention": "cbam"}), "heads")
    assert "min_hidden" not in other.model.options
    assert check_network(other, "heads") == "mobilenet_v2"
    own = with_defaults(config(model={"name": "aspp_se_unet"}), "segmentation")
    assert (own.model.options, own.model.weights) == ({}, None)
    classes = with_defaults(config(), "classification")
    assert classes == config(task="classification")


@pytest.mark.parametrize(("sections", "kind", "told"), [
    ({"loss": {"name": "focal"}}, "heads", "loss.name must be dice_bce or focal_tversky"),
    ({"loss": {"name": "dice_bce"}}, "classification", "loss.name must be cross_entropy, focal or ordinal"),
    ({"loss": {"name": "ordinal"}}, "classification", "loss.name=ordinal needs data.classes"),
    ({"loop": {"monitor": "dice"}}, "classification", "loop.monitor must be loss, balanced_accuracy"),
    ({"loop": {"monitor": "macro_auroc"}}, "heads", "loop.monitor must be loss, dice, iou"),
    ({"loop": {"sampler": "balanced"}}, "segmentation", "loop.sampler must be shuffle"),
    ({"data": {"classes": ["a", "b"]}}, "segmentation", "data.classes must be one name")])
def test_what_is_for_another_kind_of_work_is_refused(sections: dict[str, object], kind: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        with_defaults(config(**sections), kind)  # type: ignore[arg-type]


def test_a_network_of_another_kind_is_refused() -> None:
    with pytest.raises(UsageError, match="mobilenet_v2 tells classes, the work is heads"):
        check_network(with_defaults(config(model={"name": "mobilenet_v2"}), "heads"), "heads")
    with pytest.raises(UsageError, match="draws masks, the work is classification"):
        check_network(config(model={"name": "aspp_se_unet"}), "classification")
    assert check_network(with_defaults(config(), "heads"), "heads") == "mobilenet_v2"  # whose weights it starts from
