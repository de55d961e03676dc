import copy

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.models.cost import count
from excite.models.groups import split_parameters
from excite.models.insertion import insert_attention, inserted_plan
from insertion_toy import Network, Scaled


@pytest.mark.parametrize("dims", [2, 3])
def test_costs_are_those_of_the_network_before_and_after(dims):
    model = Network(dims=dims)
    size = (3, *[24] * dims)
    before = count(model, size)
    report = insert_attention(model, "se:position=inner:reduction=2", input_size=size)
    after = count(model, size)
    assert report.macs == (before.macs, after.macs) and report.parameters == (before.parameters, after.parameters)
    assert after.macs - before.macs == sum(  # two matrices a gate, each used once
        one.numel() for name, one in model.named_parameters() if "attention" in name and one.ndim > 1)
    assert report.input_size == size and report.milliseconds is None
    assert f"multiply-adds of {' x '.join(map(str, size))}: {before.macs:,} -> {after.macs:,} (+" in report.text()


def test_the_gates_are_told_apart_from_the_trunk():
    model = Network(Scaled)
    report = insert_attention(model, "eca@1")
    assert split_parameters(model)["gates"] == [f"{place.gate}.excite.weight" for place in report.places]


def test_time_is_measured_on_copies():
    model = Network().train()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    report = insert_attention(model, measure=True, input_size=(3, 32, 32))
    assert report.milliseconds is not None and all(0 < one < 1e4 for one in report.milliseconds)
    assert model.training and all(torch.equal(value, model.state_dict()[key]) for key, value in state.items())
    assert "milliseconds of 3 x 32 x 32: " in report.text() and report.to_json()["milliseconds"]


def test_a_network_that_cannot_be_counted_is_not():
    class Uncounted(nn.Conv2d):
        def forward(self, x):
            if x.device.type == "meta" and type(x) is torch.Tensor:
                raise NotImplementedError("no shapes alone")
            return super().forward(x)

    model = Network()
    model.stem[0] = Uncounted(3, 8, 3, padding=1)
    report = insert_attention(model)
    assert report.macs is None and "multiply-adds are not counted: Network cannot be counted" in report.text()


def test_attention_without_a_weight_costs_none():
    report = insert_attention(Network(), "simam:start=paper")
    assert report.macs is not None and report.macs[0] == report.macs[1] and report.parameters_added == 0


def test_what_is_inserted_is_known():
    model = Network()
    assert inserted_plan(model) is None
    insert_attention(model, AttentionPlan(kind="cbam", position="post", start="open"))
    assert inserted_plan(copy.deepcopy(model)) == AttentionPlan(kind="cbam", position="post", start="open")


def test_a_warning_points_at_the_caller():
    with pytest.warns(UserWarning, match="start is 'paper'") as seen:
        insert_attention(Network(), AttentionPlan())
    assert seen[0].filename == __file__
