import re
from pathlib import Path

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.attention.registry import ATTENTION
from excite.attention.se import SqueezeExcitation
from excite.errors import UsageError
from excite.layers.residual import Widths
from excite.models.classifier import create_model

ALIKE, WIDER = Widths(16, 16, 16, 16, 16), Widths(16, 24, 64, 64, 64)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"kind": "cbma"}, "unknown attention 'cbma'; did you mean 'cbam'"),
    ({"position": "before"}, "position must be one of standard, pre, post, identity, inner, tail, got 'before'"),
    ({"start": "half"}, "start must be 'paper' or 'open', got 'half'"),
    ({"options": {"reductoin": 8}}, "attention 'se' has no option 'reductoin'; did you mean 'reduction'"),
    ({"options": {"channels": 8}}, "attention 'se' has no option 'channels'"),
    ({"stages": ()}, "attention stages must name at least one, in a tuple of int, got 'none'"),
    ({"blocks": "3.*"}, "attention blocks must name at least one, in a tuple of str, got '3.*'"),
    ({"stages": 2}, "attention stages must name at least one, in a tuple of int, got 2"),
    ({"stages": (2.0,)}, r"in a tuple of int, got \(2.0,\)"),
    ({"kind": None}, "attention kind must be a name, got None; one of cbam, "),
    ({"kind": "SE"}, "unknown attention 'SE'; did you mean 'se'"),
    ({"position": "tail", "stages": (1,)}, "attention at the tail has no stages"),
])
def test_what_is_wrong_in_a_plan_is_named_when_it_is_made(arguments, message):
    with pytest.raises(UsageError, match=message):
        AttentionPlan(**arguments)


@pytest.mark.parametrize(("arguments", "message"), [
    ({"stages": (1, 4, -1)}, "attention stages must be 0 to 3, got 4, -1; stages are counted from 0"),
    ({"options": {"reduction": (16, 8)}}, "option 'reduction' has 2 values, the network has 4 stages"),
])
def test_a_plan_that_does_not_fit_the_network_is_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        AttentionPlan(**arguments).check(4)


def test_a_tuple_is_one_value_a_stage():
    plan = AttentionPlan(options={"reduction": (32, 16, 8, 4), "bias": False})
    plan.check(4)
    gate = plan.build(64, 2, dims=3)
    assert isinstance(gate, SqueezeExcitation) and gate.squeeze.out_channels == 8 and gate.squeeze.bias is None
    assert isinstance(gate.squeeze, nn.Conv3d)


def test_stages_that_are_not_planned_get_none():
    plan = AttentionPlan(stages=(1,))
    made = [residual(plan, stage, 0, nn.Identity(), nn.Identity(), ALIKE, dims=2) for stage in range(3)]
    assert [block.attention is not None for block in made] == [False, True, False]


def test_before_the_branch_the_gate_has_the_blocks_input_channels():
    made = residual(AttentionPlan(position="pre"), 0, 0, nn.Identity(), nn.Identity(), WIDER, dims=2)
    assert made.attention.excite.out_channels == 16
    made = residual(AttentionPlan(position="post"), 0, 0, nn.Identity(), nn.Identity(), WIDER, dims=2)
    assert made.attention.excite.out_channels == 64


def test_every_registered_attention_takes_the_common_arguments():
    for kind in ATTENTION:
        start = "paper" if kind == "simam" else "open"
        for dims in (2, 3):
            assert isinstance(AttentionPlan(kind=kind, start=start).build(16, 0, dims=dims), nn.Module)


def test_lists_are_tuples_and_a_pattern_that_matches_no_block_is_named():
    plan = AttentionPlan(stages=[2, 3], blocks=["2.*", "2.9"], options={"reduction": [8, 8, 4, 4]})
    assert plan.stages == (2, 3) and plan.build(16, 2, dims=2).squeeze.out_channels == 4
    with pytest.raises(UsageError, match="no block of the network is called 2.9; its blocks, stage.block: 0.0, 0.1, "):
        create_model("resnet18", attention=plan)


def test_an_attention_of_ones_own_takes_what_every_attention_takes(monkeypatch):
    class Bare(nn.Module):
        def __init__(self, channels, *, dims=2):
            super().__init__()

    monkeypatch.setitem(ATTENTION._entries, "bare", Bare)
    with pytest.raises(UsageError, match=r"attention 'bare' takes no start; its constructor must be \(channels, "):
        AttentionPlan(kind="bare")


def test_the_attention_of_ones_own_in_the_docs_works():
    page = (Path(__file__).parents[2] / "docs" / "papers.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    try:
        exec(code, {})
        model = create_model("resnet18", num_classes=2, attention="spread@3:position=post").eval()
        assert model.backbone.attended() == ["stages.3.0", "stages.3.1"]
        assert model(torch.rand(1, 3, 32, 32)).isfinite().all()
    finally:
        ATTENTION._entries.pop("spread", None)
