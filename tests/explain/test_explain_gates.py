"""Recording changes no bit, gives what the gates give, and other factors stand in their place."""

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.attention.registry import ATTENTION
from excite.errors import ModelError, UsageError
from excite.explain.gates import factors_of, gate_layers, kind_of_attention, largest, recorded, replaced
from excite.layers.gate import Gate
from excite.models.classifier import create_model
from excite.models.insertion import insert_attention
from gate_networks import Planted, SmallResNet, planted

KINDS = {"se": "channel", "ese": "channel", "eca": "channel", "gct": "channel", "srm": "channel", "cse": "channel",
         "sse": "place", "scse": "both", "cbam": "both", "coordinate": "both", "simam": "both"}
GATES = sorted(name for name in ATTENTION if issubclass(ATTENTION[name], Gate))


def network(kind, **changes):
    torch.manual_seed(0)
    plan = AttentionPlan(kind=kind, **changes)
    return create_model("resnet20", num_classes=3, attention=plan).eval()


def images(count=3, size=16):
    return torch.randn(count, 3, size, size, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("kind", GATES)
@pytest.mark.parametrize("position", ["standard", "pre"])
def test_recording_changes_no_bit_and_gives_what_the_gate_gave(kind, position):
    model, x = network(kind, position=position), images()
    with torch.no_grad():
        expected = model(x)
        with recorded(model) as taken:
            found = model(x)
        assert torch.equal(found, expected) and torch.equal(model(x), expected)
    assert list(taken) == list(gate_layers(model)) and len(taken) == 9
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    first = next(iter(taken.values()))
    assert first.kind == KINDS[kind] and first.values.shape == (3, 1 if kind == "sse" else 16)
    assert first.values.dtype == torch.float64 and (first.unevenness > 0) == (KINDS[kind] != "channel")


@pytest.mark.parametrize("kind", GATES)
def test_what_is_recorded_is_output_over_input(kind):
    torch.manual_seed(0)
    gate = ATTENTION[kind](8, dims=2).double().eval()
    for parameter in gate.parameters():
        nn.init.normal_(parameter)
    x = torch.rand(2, 8, 5, 5, dtype=torch.float64) + 0.1
    with torch.no_grad():
        ratio = (gate(x) / x).flatten(2)
        found = factors_of(gate, x)
    expected = ratio.mean(2) if kind != "sse" else ratio[:, :1].mean(2)
    torch.testing.assert_close(found.values, expected)
    torch.testing.assert_close(found.values.mean(), ratio.mean())
    assert ratio.max() <= largest(gate) + 1e-12


@pytest.mark.parametrize("kind", GATES)
def test_no_gate_gives_more_than_its_largest(kind):
    for start in ("paper", "open") if kind != "simam" else ("paper",):
        gate = ATTENTION[kind](4, dims=2, start=start).double().eval()
        for parameter in gate.parameters():
            nn.init.constant_(parameter, 40.0)
        x = torch.rand(1, 4, 6, 6, dtype=torch.float64) + torch.arange(4.0).view(1, 4, 1, 1)
        with torch.no_grad():
            most = float(gate.gate(x).max())
        assert most <= largest(gate) + 1e-12
        assert kind in ("gct", "srm", "simam") or most > 0.99 * largest(gate)


def test_factors_of_ones_switch_a_gate_off():
    model, x = network("se"), images()
    plain = create_model("resnet20", num_classes=3).eval()
    plain.load_state_dict({key: value for key, value in model.state_dict().items() if ".attention." not in key})
    with torch.no_grad():
        with replaced(model, {name: torch.ones(1) for name in gate_layers(model)}):
            torch.testing.assert_close(model(x), plain(x))
        assert not torch.allclose(model(x), plain(x))


def test_each_input_s_own_factors_give_its_own_output():
    model, x = network("se"), images(1)
    with torch.no_grad():
        expected = model(x)
        with recorded(model) as taken:
            model(x)
        with replaced(model, {name: one.values[0] for name, one in taken.items()}):
            torch.testing.assert_close(model(x), expected)


def test_names_are_those_of_a_plan():
    assert kind_of_attention(next(iter(gate_layers(network("eca")).values()))) == "eca"


def test_inserted_attention_has_gates_too():
    model, x = SmallResNet().eval(), images()
    insert_attention(model, "se", input_size=(3, 16, 16))
    with torch.no_grad(), recorded(model) as taken:
        model(x)
    assert list(taken) == ["blocks.0.attention", "blocks.1.attention"]
    assert all((one.values == 1).all() for one in taken.values())  # the open start


def test_a_network_without_gates_is_refused():
    with pytest.raises(UsageError, match=r"no gates \(no module of it is an excite.layers.gate.Gate\); build it with"):
        gate_layers(nn.Conv2d(1, 1, 1))


def test_a_gate_called_twice_in_a_pass_is_refused():
    model = Planted(planted([0.0] * 4)).eval()
    with pytest.raises(ModelError, match="gate: a gate is called twice in one pass"), recorded(model):
        model(torch.rand(2, 1, 4, 4))
        model(torch.rand(2, 1, 4, 4))
