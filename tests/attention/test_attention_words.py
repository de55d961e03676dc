"""A plan in a line of text."""

import pytest
import torch

from excite.attention.plan import AttentionPlan
from excite.attention.words import parse
from excite.errors import UsageError
from excite.models.classifier import create_model


@pytest.mark.parametrize(("text", "plan"), [
    ("se", {"kind": "se"}),
    (" se@3 ", {"kind": "se", "stages": (3,)}),
    ("cbam@2,3:position=inner", {"kind": "cbam", "stages": (2, 3), "position": "inner"}),
    ("se@3.*,2.5,1:start=open", {"kind": "se", "blocks": ("3.*", "2.5", "1.*"), "start": "open"}),
    ("se:reduction=32,16,16,8:bias=false:gate=hard_sigmoid",
     {"kind": "se", "options": {"reduction": (32, 16, 16, 8), "bias": False, "gate": "hard_sigmoid"}}),
    ("se@layer3,layer4.0,2.5", {"kind": "se", "blocks": ("layer3", "layer4.0", "2.5")}),
    ("simam:weight=1e-4", {"kind": "simam", "options": {"weight": 1e-4}}),
])
def test_a_line_stands_for_a_plan(text, plan):
    assert parse(text) == plan


@pytest.mark.parametrize("text", ["", "@2", "se@", "se@2,,3", "se:reduction", "se:=8", "se:reduction=", "se@2@1",
                                  "se@layer3..0", "se@-1", "se:reduction=(8,8)"])
def test_an_unclear_line_is_an_error_with_an_example(text):
    with pytest.raises(UsageError, match=r"an attention must be written KIND.*, got .*for example se@2,3"):
        parse(text)


def test_a_parsed_plan_is_checked_as_any_other_and_written_down_whole():
    plan = AttentionPlan.parse("se@1:position=pre:reduction=8")
    assert plan == AttentionPlan(position="pre", stages=(1,), options={"reduction": 8})
    assert AttentionPlan(**plan.record()) == plan
    with pytest.raises(UsageError, match="did you mean 'reduction'"):
        AttentionPlan.parse("se:reductoin=8")


@pytest.mark.parametrize("text", ["se", "se@2,3", "cbam@3.*,2.5:position=inner:start=open",
                                  "se:position=tail:reduction=8", "se@1.*:stages=1,2:reduction=32,16,16,8:bias=false"])
def test_a_plan_is_written_as_it_is_read(text):
    plan = AttentionPlan.parse(text)
    assert AttentionPlan.parse(plan.text()) == plan and plan.text() == text


@pytest.mark.parametrize(("text", "message"), [
    ("se:positon=pre", "an attention has no 'positon'; did you mean 'position'"),
    ("se:position=pre:position=post", "position is said twice"), ("se:reduction=8:reduction=4", "said twice")])
def test_a_misspelt_or_doubled_setting_is_named(text, message):
    with pytest.raises(UsageError, match=message):
        AttentionPlan.parse(text)


def test_a_network_takes_the_line_too():
    with torch.device("meta"):
        model = create_model("resnet18", attention="se@2.1,3:position=pre")
    assert model.backbone.attended() == ["stages.2.1", "stages.3.0", "stages.3.1"]
