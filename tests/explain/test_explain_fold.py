"""Folded networks give what the same constants in place of the gates give; where they cannot, they are left."""

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.attention.se import SqueezeExcitation
from excite.explain.fold import fold_gates
from excite.explain.gates import gate_layers, replaced
from excite.layers.gate import Gate
from excite.models.classifier import create_model
from excite.models.insertion import insert_attention
from gate_networks import Planted, SmallResNet, of_ones, planted
from lively import assert_sees_its_input, lively, varied_images


def constants(model, seed=0):
    dice = torch.Generator().manual_seed(seed)
    return {name: torch.rand(gate.excite.out_channels, generator=dice, dtype=torch.float64) + 0.1
            for name, gate in gate_layers(model).items()}


def assert_folds(model, into, *, left=(), x=None):
    """Check that all gates but `left` go, and the outputs are those with constants, to 1e-12 in float64."""
    x = varied_images(3, size=(40, 40)) if x is None else x
    model = lively(model, x)
    values, before = constants(model), {key: one.clone() for key, one in model.state_dict().items()}
    found = fold_gates(model, values, x[:2])
    assert all(torch.equal(one, before[key]) for key, one in model.state_dict().items())
    assert sorted(found.left) == sorted(left) and sorted(found.into) == sorted(set(values) - set(left))
    assert {text.split(":")[0] for text in found.into.values()} == into
    assert sum(isinstance(part, Gate) for part in found.model.modules()) == len(left)
    with torch.no_grad(), replaced(model, {name: values[name] for name in found.into}):
        expected = model(x)
    with torch.no_grad():
        given = found.model(x)
    assert_sees_its_input(expected)
    assert float((given - expected).abs().max()) <= 1e-12 * float(expected.abs().max())
    return found


@pytest.mark.parametrize(("name", "attention", "into"), [
    ("resnet20", AttentionPlan(), {"before"}),
    ("resnet20", AttentionPlan(position="pre"), {"after"}),
    ("mobilenet_v2", AttentionPlan(stages=(2, 3)), {"before"}),
    ("mobilenet_v2", AttentionPlan(position="inner", stages=(2, 3)), {"after"}),
    ("mobilenet_v2", AttentionPlan(kind="ese", position="pre", stages=(2, 3)), {"after"}),
    ("shufflenet_v2", AttentionPlan(stages=(1,)), {"before"}),
])
def test_every_layer_of_a_network_folds_exactly(name, attention, into):
    torch.manual_seed(0)
    assert_folds(create_model(name, num_classes=3, attention=attention), into)


def test_mobilenet_v3_folds_before_relu_and_into_the_next_convolution_after_h_swish():
    torch.manual_seed(0)
    found = assert_folds(create_model("mobilenet_v3_small", num_classes=3, padding="tf_same"), {"before", "after"})
    sides = {name: text.split(": ") for name, text in found.into.items()}
    assert sides["backbone.stages.0.0.attention"] == ["before", "backbone.stages.0.0.branch.0.norm"]
    assert sides["backbone.stages.2.0.attention"] == ["after", "backbone.stages.2.0.branch.2.conv"]


def test_a_fused_sum_keeps_its_shortcut():
    torch.manual_seed(0)
    found = assert_folds(create_model("se_resnet20", num_classes=3), {"before"})
    assert not any(block.fused for stage in found.model.backbone.stages for block in stage)


def test_gates_on_both_ways_of_the_next_block_are_left():
    torch.manual_seed(0)
    model = create_model("resnet20", num_classes=3, attention=AttentionPlan(position="post", stages=(0,)))
    found = assert_folds(model, set(), left=list(gate_layers(model)))
    assert set(found.left.values()) == {"no convolution or norm stands directly beside it"}


def test_a_map_that_others_see_too_is_found_by_the_proof():
    class Twice(Planted):
        def forward(self, x):
            y = self.gate(self.first(x))
            return self.last(y).mean((2, 3)) + (y + self.first.norm(x.expand(-1, 4, -1, -1))).mean((2, 3))[:, :3]

    model = lively(Twice(planted([0.0, 1.0, -1.0, 0.5])), varied_images(3, channels=1))
    found = fold_gates(model, {"gate": torch.rand(4) + 0.1}, varied_images(2, channels=1))
    assert found.left == {"gate": "other layers see the map too (folded into first.norm or last the outputs change)"}
    assert isinstance(found.model.gate, Gate)


@pytest.mark.parametrize("act", [None, nn.ReLU, nn.Hardswish])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_activations_decide_the_side(act, sign):
    model = lively(Planted(planted([0.0, 1.0, -1.0, 0.5]), act=act), x := varied_images(3, channels=1))
    found = fold_gates(model, {"gate": sign * torch.tensor([0.2, 0.4, 0.6, 0.8])}, x)
    before = act is None or (act is nn.ReLU and sign > 0)
    assert found.into == {"gate": "before: first.norm" if before else "after: last"}


def test_the_really_constant_gate_gives_the_network_itself():
    model = of_ones(Planted(planted([-0.5, 0.0, 0.3, 1.0]))).double()
    x = varied_images(3, channels=1)
    found = fold_gates(model, {"gate": torch.sigmoid(model.gate.excite.bias.detach())}, x)
    with torch.no_grad():
        torch.testing.assert_close(found.model(x), model(x), rtol=1e-12, atol=1e-12)
    assert not any(key.startswith("gate.") for key in found.model.state_dict())


def test_grouped_convolutions_take_the_factors_of_their_own_channels():
    model = Planted(planted([0.0] * 4), act=nn.Hardswish)
    model.last = nn.Conv2d(4, 6, 3, padding=1, groups=2)
    model = lively(model, x := varied_images(3, channels=1))
    found = fold_gates(model, {"gate": torch.tensor([0.1, 0.3, 0.5, 0.9])}, x)
    assert found.into == {"gate": "after: last"}


def test_attention_in_a_network_of_others_folds_too():
    torch.manual_seed(0)
    model = SmallResNet()
    insert_attention(model, "se:start=paper:reduction=2", input_size=(3, 16, 16))
    found = assert_folds(model, {"before"}, x=varied_images(3, size=(16, 16)))
    assert found.into["blocks.0.attention"] == "before: blocks.0.bn2"


def test_volumes_fold():
    torch.manual_seed(0)
    model = create_model("mobilenet_v3_small", num_classes=2, dims=3, in_channels=1)
    assert_folds(model, {"before", "after"}, x=varied_images(2, channels=1, size=(16, 32, 32)))


def test_float32_is_folded_too_and_rounds_once():
    model = of_ones(Planted(SqueezeExcitation(4, reduction=2)))
    x = torch.rand(2, 1, 8, 8)
    found = fold_gates(model, {"gate": torch.tensor([0.1, 0.2, 0.3, 0.4])}, x)
    with torch.no_grad(), replaced(model, {"gate": torch.tensor([0.1, 0.2, 0.3, 0.4])}):
        torch.testing.assert_close(found.model(x), model(x), rtol=1e-6, atol=1e-6)
    assert next(found.model.parameters()).dtype == torch.float32


class Quiet(nn.Module):
    """A network in which another path sees the map, and dim images reach no output."""

    def __init__(self, least):
        super().__init__()
        self.conv, self.gate = nn.Conv2d(3, 16, 1, bias=False), SqueezeExcitation(16)
        self.head, self.least = nn.Linear(16, 2, bias=False), least

    def forward(self, x):
        y = self.conv(x)
        return self.head(torch.relu(self.gate(y) + y - self.least).mean((2, 3)))


def test_images_that_show_nothing_prove_nothing():
    torch.manual_seed(0)
    dim = 0.01 * torch.randn(2, 3, 8, 8)
    for least, why in ((3.0, "they cannot prove it"), (0.0, "other layers see the map too")):
        found = fold_gates(Quiet(least).eval(), {"gate": torch.rand(16)}, dim)
        assert not found.into and why in found.left["gate"]
