"""The arms of a study: each combination once, each possible, and what may not differ."""

from pathlib import Path
from typing import Any

import pytest

from excite.config import load_config
from excite.errors import UsageError
from excite.jobs.study.arms import Arm, arm_config, arms_of
from excite.jobs.study.check import possible
from excite.jobs.study.sections import StudyConfig
from excite.models.classifier import own_attention

MODEL: dict[str, Any] = {"model.name": "resnet20", "model.weights": "none", "data.table": Path("table.csv")}


def config(**study: object) -> StudyConfig:
    return load_config(StudyConfig, values=MODEL | {f"study.{name}": value for name, value in study.items()})


def names(**study: object) -> list[str]:
    return [arm.name for arm in arms_of(config(**study).study)]


@pytest.mark.parametrize(("study", "expected"), [
    ({}, ["none", "se", "eca", "cbam"]),
    ({"attention": ["none", "se"], "positions": ["standard", "pre"]}, ["none", "se", "se:position=pre"]),
    ({"attention": ["none", "se:position=post"], "positions": ["standard", "pre"]}, ["none", "se:position=post"]),
    ({"attention": ["se", "eca@1"], "stages": ["all", "1,2"]}, ["se", "se@1,2", "eca@1"]),
    ({"attention": ["none", "se:reduction=8"], "stages": ["2"], "starts": ["open", "paper"]},
     ["none", "se@2:reduction=8:start=open", "se@2:reduction=8:start=paper"]),
    ({"attention": ["none", "se"], "positions": ["tail"], "stages": ["all", "1"]}, ["none", "se:position=tail"]),
    ({"arms": [{"name": "a", "set": {}}, {"name": "b", "set": {"model.name": "resnet32"}}]}, ["a", "b"]),
    ({"attention": ["none"], "arms": [{"name": "b", "set": {"model.name": "resnet32"}}]}, ["none", "b"]),
])
def test_every_combination_is_one_arm_and_the_first_is_the_baseline(study: dict[str, Any], expected: list[str]) -> None:
    assert names(**study) == expected


def test_a_stage_reads_as_it_is_written_in_yaml(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    file.write_text("study: {attention: [null, se], stages: [all, 2, [1, 2]], seeds: [4]}\n", encoding="utf-8")
    assert [arm.name for arm in arms_of(load_config(StudyConfig, file).study)] == ["none", "se", "se@2", "se@1,2"]


def test_a_run_is_told_what_was_given_and_nothing_else() -> None:
    study = config(attention=["none", "se@1:position=pre"])
    none, pre = (arm_config(study, arm, 7, loop={"threads": 1}) for arm in arms_of(study.study))
    assert none.seed == pre.seed == 7 and none.model.attention is None and pre.loop.threads == 1
    attention = pre.model.attention
    assert attention is not None and (attention.stages, attention.position) == ((1,), "pre")
    assert pre.model_fields_set == {"seed", "data", "model", "loop"}  # the kind of work fills in the rest
    assert none.model_copy(update={"model": pre.model}) == pre


def test_folders_are_safe_and_tell_arms_apart() -> None:
    assert Arm(name="se@1,2:position=pre", changes={}).folder == "se-1-2-position-pre"
    assert Arm(name="../..", changes={}).folder == "arm"
    with pytest.raises(UsageError, match="each arm must have a name of its own, got a b, A-b"):
        arms_of(config(arms=[{"name": "a b"}, {"name": "A-b"}]).study)


@pytest.mark.parametrize(("study", "message"), [
    ({"attention": ["none"]}, "a study compares at least two arms, got none"),
    ({"seeds": [0, 0]}, "study.seeds: must name each one once"),
    ({"seeds": []}, "study.seeds: "),
    ({"positions": ["beside"]}, "study.positions.0: Input should be 'standard'"),
    ({"starts": ["auto", "open"]}, "starts must be auto alone, or open and paper"),
    ({"workers": 0}, "study.workers: Input should be greater than or equal to 1"),
    ({"attention": ["none", "se@"]}, "an attention must be written KIND"),
    ({"arms": [{"name": "x", "set": {"split.seed": 1}}]}, "split.seed has to be the same in every arm"),
    ({"arms": [{"name": "x", "set": {"seed": 1}}]}, "seed has to be the same in every arm"),
    ({"arms": [{"name": "x", "set": {"loop.threads": 4}}]}, "loop.threads has to be the same in every arm"),
    ({"seed": [1]}, "unknown key 'study.seed'; did you mean"),
])
def test_a_study_that_cannot_be_is_refused(study: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as fault:
        arms_of(config(**study).study)
    assert message in str(fault.value)


@pytest.mark.parametrize(("values", "message"), [
    ({"seed": 3}, "seed has no place in a study: study.seeds says them, split.seed that of the split"),
    ({"loop.budget_minutes": 5}, "loop.budget_minutes has no place in a study: every arm is trained for loop.epochs"),
])
def test_one_seed_and_one_budget_are_not_of_the_config(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as fault:
        load_config(StudyConfig, values=MODEL | values)
    assert message in str(fault.value)


def checked(study: StudyConfig) -> tuple[list[Arm], list[str]]:
    arms = arms_of(study.study)
    return possible(arms, [arm_config(study, arm, 0, loop={}) for arm in arms])


def test_networks_that_cannot_be_are_all_named_before_anything_is_read() -> None:
    with pytest.raises(UsageError) as fault:
        checked(config(attention=["none", "sse2", "se"], stages=["all", "7"]))
    text = str(fault.value)
    assert text.startswith("3 of 5 arms cannot be trained: sse2: unknown attention 'sse2'; ")
    assert "se@7: attention stages must be 0 to 2, got 7" in text and "sse2@7: " in text


def test_a_network_that_is_another_arms_again_is_not_trained_twice() -> None:
    own = own_attention("se_resnet20")
    assert own is not None
    study = load_config(StudyConfig, values={**MODEL, "model.name": "se_resnet20", "study.attention": [
        "none", own.text(), "eca", "eca:position=standard"]})
    arms, notes = checked(study)
    assert [arm.name for arm in arms] == ["none", "eca"]
    assert notes == [f"{own.text()} is the same network as none and is not trained again",
                     "eca:position=standard is the same network as eca and is not trained again"]


def test_a_network_that_is_unknown_is_told_once() -> None:
    study = load_config(StudyConfig, values={**MODEL, "model.name": "resnet21"})
    with pytest.raises(UsageError, match="^unknown model 'resnet21'; did you mean 'resnet20'"):
        checked(study)
