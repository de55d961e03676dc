"""What is peculiar to MobileNetV2; what every network owes is in test_contract_models.py."""

from contextlib import nullcontext

import pytest
import torch

from excite.attention.plan import AttentionPlan
from excite.errors import ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.cost import count as cost


def parameters(**arguments):
    with torch.device("meta"):
        return sum(value.numel() for value in create_model("mobilenet_v2", **arguments).parameters())


def test_parameters_are_as_many_as_published():
    assert parameters() == 3_504_872
    assert parameters(num_classes=6) == 3_504_872 - 1281 * 994


@pytest.mark.parametrize(("width", "count"), [  # torchvision 0.28, mobilenet_v2(width_mult=width)
    (1.4, 6_108_776), (0.75, 2_636_424), (0.5, 1_968_680), (0.35, 1_677_128)])
def test_the_width_multiplies_every_layer_but_never_shrinks_the_last(width, count):
    assert parameters(width=width) == count


@pytest.mark.parametrize(("width", "count"), [  # S4-05: listings scale the last layer down, too
    (0.75, 2_238_984), (0.5, 1_225_000), (0.35, 750_280), (0.25, 480_392), (1.4, 6_108_776)])
def test_a_scaled_head_costs_what_the_listings_have(width, count):
    assert parameters(width=width, head="scaled") == count


@pytest.mark.parametrize(("width", "millions"), [(1.0, 300), (1.4, 582)])  # slim's checkpoints; the paper prints 585
def test_products_are_those_of_the_paper(width, millions):
    with torch.device("meta"):
        macs = cost(create_model("mobilenet_v2", width=width), (3, 224, 224)).macs
    assert abs(macs / 1e6 - millions) < 1


def test_it_has_no_attention_of_its_own():  # T4-1
    with torch.device("meta"):
        assert create_model("mobilenet_v2").backbone.attended() == []


def test_a_wrong_head_or_depth_stride_is_named():
    with pytest.raises(UsageError, match="head must be 'paper' or 'scaled', got 'full'"):
        create_model("mobilenet_v2", head="full")
    with pytest.raises(UsageError, match="depth_stride must be 1 or 2, got 4; 1 keeps the slices of a thin volume"):
        create_model("mobilenet_v2", dims=3, depth_stride=4)


def test_weights_of_another_padding_or_depth_stride_are_refused():
    state = create_model("mobilenet_v2", dims=3, width=0.25, num_classes=2).state_dict()
    for option, words in (({"padding": "tf_same"}, "padding='symmetric'"), ({"depth_stride": 2}, "depth_stride='1'")):
        with pytest.raises(ModelError, match=f"a network with {words}"):
            create_model("mobilenet_v2", dims=3, width=0.25, num_classes=2, **option).load_state_dict(state)


def test_a_volume_costs_what_the_source_has():
    assert parameters(dims=3, num_classes=600) == 3_122_648
    assert parameters(dims=3, in_channels=1, num_classes=2) == 2_354_882


def test_squeeze_and_excitation_on_the_blocks_outputs_costs_what_the_source_has():
    plan = AttentionPlan(kind="se", options={"reduction": 8})
    assert parameters(dims=3, num_classes=600, attention=plan) == 3_181_268


@pytest.mark.parametrize("width", [0, -1, 11, float("nan")])
def test_a_wrong_width_is_named(width):
    with pytest.raises(UsageError, match="width must be above 0 and at most 10, got"):
        create_model("mobilenet_v2", width=width)


@pytest.mark.parametrize("position", ["standard", "pre", "post", "identity"])
def test_attention_joins_the_chosen_stage_only(position):
    with torch.device("meta"), pytest.warns(UserWarning) if position == "identity" else nullcontext():
        model = create_model("mobilenet_v2", attention=AttentionPlan(position=position, stages=(5,)))
        extra = model.state_dict().keys() - create_model("mobilenet_v2").state_dict().keys()
    assert extra and all(name.startswith("backbone.stages.5.") for name in extra)


def test_blocks_without_a_shortcut_are_reported_for_the_identity_position():
    plan = AttentionPlan(position="identity")
    with pytest.warns(UserWarning, match="in 10 of 17 blocks, 7 do not get it: stages.0.0 has no identity position"):
        model = create_model("mobilenet_v2", attention=plan)
    assert len(model.backbone.refused()) == 7 and len(model.backbone.attended()) == 10
    with pytest.raises(UsageError, match="no block of the planned stages can have this attention .stages.0.0 has no"):
        create_model("mobilenet_v2", attention=AttentionPlan(position="identity", stages=(0, 6)))


def test_first_weights_have_the_published_spread():
    torch.manual_seed(0)
    model = create_model("mobilenet_v2")
    for block, layer in (("stages.6.0", 0), ("stages.5.1", 1), ("stages.6.0", 2)):  # expand, depth-wise, project
        convolution = model.backbone.get_submodule(f"{block}.branch.{layer}.conv")
        fan = convolution.out_channels * convolution.kernel_size[0] * convolution.kernel_size[1]
        assert float(convolution.weight.detach().std()) == pytest.approx((2 / fan) ** 0.5, rel=0.05)
    assert float(model.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert float(model.classifier.bias.detach().abs().max()) == 0
    norms = [one for one in model.modules() if isinstance(one, torch.nn.BatchNorm2d)]
    assert len(norms) == 52 and all(bool((one.weight == 1).all() and (one.bias == 0).all()) for one in norms)
    assert model.dropout.p == 0.2
