"""What is peculiar to MobileNetV3; what every network owes is in test_contract_models.py."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.attention.plan import AttentionPlan
from excite.attention.se import SqueezeExcitation
from excite.errors import ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.cost import count
from lively import assert_sees_its_input, lively, varied_images

BOTH = ["mobilenet_v3_large", "mobilenet_v3_small"]
# Rows with SE in tables 1 and 2 of arXiv:1905.02244, from 0, and a quarter of their exp size to a multiple of 8
GATED = {"mobilenet_v3_large": {3: 24, 4: 32, 5: 32, 10: 120, 11: 168, 12: 168, 13: 240, 14: 240},
         "mobilenet_v3_small": {0: 8, 3: 24, 4: 64, 5: 64, 6: 32, 7: 40, 8: 72, 9: 144, 10: 144}}
# h-swish begins at row 6 of table 1 and row 3 of table 2
SWISH = {"mobilenet_v3_large": 6, "mobilenet_v3_small": 3}


def cost(name, **arguments):
    with torch.device("meta"):
        return count(create_model(name, **arguments), (3, 224, 224))


def blocks(model):
    return [block for stage in model.backbone.stages for block in stage]


@pytest.mark.parametrize(("name", "parameters", "macs"), [  # the paper: 5.4 M, 219 M; 2.5 M, 56 M
    ("mobilenet_v3_large", 5_483_032, (216, 219)), ("mobilenet_v3_small", 2_542_856, (56, 57))])
def test_costs_are_those_of_the_paper(name, parameters, macs):
    found = cost(name)
    assert found.parameters == parameters and macs[0] <= found.macs / 1e6 <= macs[1]


@pytest.mark.parametrize(("name", "options", "parameters"), [  # torchvision 0.28
    ("mobilenet_v3_large", {"width": 0.75}, 3_377_576), ("mobilenet_v3_small", {"width": 0.75}, 1_653_920),
    ("mobilenet_v3_large", {"reduced_tail": True}, 2_569_352),
    ("mobilenet_v3_small", {"reduced_tail": True}, 1_099_672), ("mobilenet_v3_large", {"dilated": True}, 5_483_032)])
def test_options_cost_what_torchvisions_do(name, options, parameters):
    assert cost(name, **options).parameters == parameters


@pytest.mark.parametrize("name", BOTH)
def test_squeeze_and_excitation_is_where_the_tables_have_it(name):
    with torch.device("meta"):
        model = create_model(name)
    found = {index: block.attention for index, block in enumerate(blocks(model)) if block.attention is not None}
    assert {index: gate.squeeze.out_channels for index, gate in found.items()} == GATED[name]
    assert all(block.position == "inner" for block in blocks(model) if block.attention is not None)
    assert {gate.facts["gate"] for gate in found.values()} == {"hard_sigmoid"}


@pytest.mark.parametrize("name", BOTH)
def test_activations_are_those_of_the_tables(name):
    with torch.device("meta"):
        model = create_model(name)
    for index, block in enumerate(blocks(model)):
        acts = {type(layer) for layer in block.branch.modules() if isinstance(layer, nn.ReLU | nn.Hardswish)}
        assert acts == {nn.Hardswish if index >= SWISH[name] else nn.ReLU}
    assert type(model.backbone.stem.act) is type(model.backbone.head.act) is nn.Hardswish


def test_hard_swish_is_torchs_and_near_swish_not_near_relu():  # S4-08, T4-13
    x = torch.linspace(-6, 6, 241)
    found = nn.Hardswish(inplace=True)(x.clone())
    torch.testing.assert_close(found, x * functional.relu6(x + 3) / 6)
    assert float((found - functional.silu(x)).abs().max()) < 0.15 < float((found - x.relu()).abs().max())


@pytest.mark.parametrize("name", BOTH)
def test_dilated_really_dilates(name):  # T4-2
    with torch.device("meta"):
        plain, dilated = (create_model(name, dilated=one).backbone.eval() for one in (False, True))
        x = torch.empty(1, 3, 224, 224)
        assert plain(x).shape[2:] == (7, 7) and dilated(x).shape[2:] == (14, 14)
    assert plain.strides[-1] == (32, 32) and dilated.strides[-1] == (16, 16)
    layers = [one for one in dilated.stages[-1].modules() if isinstance(one, nn.Conv2d) and one.groups > 1]
    assert [(one.dilation, one.stride, one.kernel_size) for one in layers] == [((2, 2), (1, 1), (5, 5))] * 3


@pytest.mark.parametrize("name", BOTH)
def test_a_dilated_block_gives_the_plain_ones_values_at_every_second_place(name):
    plain = lively(create_model(name, num_classes=3), varied_images(2)).backbone
    wide = create_model(name, num_classes=3, dilated=True).double().eval().backbone
    wide.load_state_dict(plain.state_dict() | {"form": wide.form})
    few, many = plain.stages[-1][1], wide.stages[-1][1]
    few.attention = many.attention = None  # its mean is over other places
    x = torch.randn(2, few.branch[0].conv.in_channels, 14, 14, dtype=torch.float64)
    with torch.no_grad():
        expected = few(x[:, :, ::2, ::2])
        assert_sees_its_input(expected)
        torch.testing.assert_close(many(x)[:, :, ::2, ::2], expected, rtol=1e-9, atol=1e-12)
        assert not torch.allclose(few(x)[:, :, ::2, ::2], expected, rtol=0.01)


@pytest.mark.parametrize(("saved", "own", "message"), [
    ({"dilated": True}, {}, "a network with dilated='True', this one has dilated='False'"),
    ({}, {"padding": "tf_same"}, "a network with padding='symmetric', this one has padding='tf_same'"),
    ({}, {"norm_eps": 1e-5}, "a network with norm_eps='0.001', this one has norm_eps='1e-05'")])
def test_what_shapes_do_not_tell_is_compared(saved, own, message):
    state = create_model("mobilenet_v3_small", **saved).state_dict()
    with pytest.raises(ModelError, match=message):
        create_model("mobilenet_v3_small", **own).load_state_dict(state)


def test_the_layer_after_the_pooling_is_the_embedding():
    model = create_model("mobilenet_v3_small", num_classes=4).double().eval()
    assert (model.backbone.out_channels, model.backbone.embedding_channels, model.dropout.p) == (576, 1024, 0.2)
    x = varied_images(2, size=(48, 48))
    with torch.no_grad():
        pooled, layer = model.backbone(x).mean((2, 3)), model.backbone.embedding[0]
        expected = model.classifier(functional.hardswish(pooled @ layer.weight.T + layer.bias))
        torch.testing.assert_close(model(x), expected)


def test_first_weights_have_the_published_spread():
    model = create_model("mobilenet_v3_large")
    for key in ("stages.5.1.branch.0.conv", "stages.5.1.branch.1.conv", "stages.5.1.branch.2.conv",
                "stages.5.1.attention.squeeze", "stages.5.1.attention.excite", "head.conv"):
        layer = model.backbone.get_submodule(key)
        fan = layer.out_channels * layer.kernel_size[0] * layer.kernel_size[1]
        assert float(layer.weight.detach().std()) == pytest.approx((2 / fan) ** 0.5, rel=0.05), key
    for layer in (model.backbone.embedding[0], model.classifier):
        assert float(layer.weight.detach().std()) == pytest.approx(0.01, rel=0.01) and not layer.bias.detach().any()
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm2d)]
    assert {(one.eps, one.momentum) for one in norms} == {(1e-3, 0.01)} and len(norms) == 46


def test_another_plan_replaces_the_tables_and_keeps_its_own_first_weights():
    plan = AttentionPlan(position="standard", stages=(1,), start="open")
    model = create_model("mobilenet_v3_small", attention=plan)
    assert model.backbone.attended() == ["stages.1.0", "stages.1.1"]
    gates = [one for one in model.modules() if isinstance(one, SqueezeExcitation)]
    assert {gate.facts["gate"] for gate in gates} == {"sigmoid"} and not gates[0].excite.weight.detach().any()


@pytest.mark.parametrize("name", BOTH)
def test_a_volume_keeps_the_tables(name):
    with torch.device("meta"):
        model = create_model(name, dims=3, num_classes=2, in_channels=1).eval()
        assert model.backbone(torch.empty(1, 1, 16, 64, 64)).shape[2:] == (1, 2, 2)
    assert len(model.backbone.attended()) == len(GATED[name])


def test_a_wrong_epsilon_is_named():
    with pytest.raises(UsageError, match="norm_eps must be above 0, got 0; 0.001 is the authors'"):
        create_model("mobilenet_v3_small", norm_eps=0)
