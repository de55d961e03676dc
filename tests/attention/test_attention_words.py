"""A plan in a line of text."""

import pytest

from excite.attention.plan import AttentionPlan
from excite.attention.words import parse
from excite.errors import UsageError


@pytest.mark.parametrize(("text", "plan"), [
    ("se", {"kind": "se"}),
    (" se@3 ", {"kind": "se", "stages": (3,)}),
    ("cbam@2,3:position=inner", {"kind": "cbam", "stages": (2, 3), "position": "inner"}),
    ("se@3.*,2.5,1:start=open", {"kind": "se", "blocks": ("3.*", "2.5", "1.*"), "start": "open"}),
    ("se:reduction=32,16,16,8:bias=false:gate=hard_sigmoid",
     {"kind": "se", "options": {"reduction": (32, 16, 16, 8), "bias": False, "gate": "hard_sigmoid"}}),
    ("simam:weight=1e-4", {"kind": "simam", "options": {"weight": 1e-4}}),
])
def test_a_line_stands_for_a_plan(text, plan):
    assert parse(text) == plan


@pytest.mark.parametrize("text", ["", "@2", "se@", "se@2,,3", "se:reduction", "se:=8", "se:reduction="])
def test_an_unclear_line_is_an_error_with_an_example(text):
    with pytest.raises(UsageError, match=r"an attention must be written KIND.*, got .*for example se@2,3"):
        parse(text)


def test_a_parsed_plan_is_checked_as_any_other_and_written_down_whole():
    plan = AttentionPlan.parse("se@1:position=pre:reduction=8")
    assert plan == AttentionPlan(position="pre", stages=(1,), options={"reduction": 8})
    assert AttentionPlan(**plan.record()) == plan
    with pytest.raises(UsageError, match="did you mean 'reduction'"):
        AttentionPlan.parse("se:reductoin=8")
