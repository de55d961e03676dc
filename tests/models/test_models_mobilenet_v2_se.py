"""MobileNetV2-SE: its counts, its maps, where its SE sits, and equality with the table written out."""

import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.attention.se import SqueezeExcitation
from excite.errors import DataError, ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.cost import count
from lively import assert_equal, lively, varied_images

OUTPUT, EXPANSION, TAIL = {}, {"se_on": "expansion"}, {"se_in_blocks": False}
# (classes, channels): without SE, on the output, on the expansion, at the tail; all with reduction 8
COUNTS = {
    (600, 3): (3_122_648, 3_181_268, 4_258_740, 3_533_688),
    (600, 1): (3_120_920, 3_179_540, 4_257_012, 3_531_960),
    (2, 1): (2_354_882, 2_413_502, 3_490_974, 2_765_922),
    (3, 1): (2_356_163, 2_414_783, 3_492_255, 2_767_203),
    (1000, 3): (3_635_048, 3_693_668, 4_771_140, 4_046_088),
}
WIDTHS = {0.25: 1_041_448, 0.45: 1_411_754, 0.5: 1_533_189, 0.7: 2_078_455, 0.75: 2_246_460, 1.0: 3_181_268,
          1.4: 5_659_543, 2.0: 10_725_136}
CLIP = (3, 16, 112, 112)


def small(**arguments):
    return create_model("mobilenet_v2_se", **{"dims": 3, "num_classes": 5, "width": 0.25} | arguments)


def parameters(name="mobilenet_v2_se", **arguments):
    with torch.device("meta"):
        return sum(value.numel() for value in create_model(name, dims=3, **arguments).parameters())


@pytest.mark.parametrize(("classes", "channels"), COUNTS)
def test_parameters_are_as_many_as_published(classes, channels):
    shape = {"num_classes": classes, "in_channels": channels}
    found = parameters("mobilenet_v2", **shape), *(parameters(**shape, **form) for form in (OUTPUT, EXPANSION, TAIL))
    assert found == COUNTS[classes, channels]


@pytest.mark.parametrize("width", WIDTHS)
def test_widths_are_truncated_and_the_last_layer_never_shrinks(width):
    assert parameters(num_classes=600, width=width) == WIDTHS[width]
    if width == 0.45:
        assert parameters(num_classes=600, width=width, rounding="divisible") != WIDTHS[width]


@pytest.mark.parametrize(("depth", "side", "last"), [
    (16, 112, (1, 4, 4)), (1, 112, (1, 4, 4)), (4, 112, (1, 4, 4)), (8, 112, (1, 4, 4)), (16, 224, (1, 7, 7))])
def test_the_last_map_has_the_published_size(depth, side, last):
    with torch.device("meta"):
        model = create_model("mobilenet_v2_se", dims=3, num_classes=600).eval()
        x = torch.empty(2, 3, depth, side, side)
        assert model.backbone(x).shape == (2, 1280, *last) and model(x).shape == (2, 600)
    assert model.backbone.strides[-1] == (16, 32, 32)


def elementwise(width):
    """Values that norms and activations of the plain network write for one clip, and multiply-adds."""
    with torch.device("meta"):
        model = create_model("mobilenet_v2", dims=3, num_classes=600, width=width, rounding="truncate").eval()
        written = {nn.BatchNorm3d: 0, nn.ReLU6: 0}

        def tell(layer, _, output):
            written[type(layer)] += output.numel()

        hooks = [one.register_forward_hook(tell) for one in model.modules() if type(one) in written]
        model(torch.empty(1, *CLIP))
        for hook in hooks:
            hook.remove()
        return written[nn.BatchNorm3d], written[nn.ReLU6], count(model, CLIP)


@pytest.mark.parametrize(("width", "millions", "published"), [
    (0.2, 0.96, 63), (0.45, 1.40, 177), (0.7, 2.05, 325), (1.0, 3.12, 561)])
def test_costs_are_those_of_kopuklus_table_8(width, millions, published):
    # The table's MFLOPs are products of the convolutions, two operations a value of a norm, one a value of an
    # activation, and a linear layer's products and sums (the authors' counter).
    norms, acts, cost = elementwise(width)
    assert round(cost.parameters / 1e6, 2) == millions
    assert round((cost.macs + 2 * norms + acts + 600 * 1279) / 1e6) == published


def test_attention_costs_little_in_blocks_and_seven_times_as_much_at_the_tail():  # S0-16
    with torch.device("meta"):
        costs = [count(create_model("mobilenet_v2_se", dims=3, num_classes=600, **form), CLIP) for form in
                 (OUTPUT, EXPANSION, TAIL)]
    extra = [(cost.parameters - 3_122_648, cost.macs - 519_047_808) for cost in costs]
    assert extra == [(58_620, 56_928), (1_136_092, 1_128_064), (411_040, 409_600)]


# Rows of (t, c, n, s), Sandler et al., table 2; the stem and the strides along the depth as Kopuklu et al. have them.
ROWS = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class SE(nn.Module):
    def __init__(self, channels):
        super().__init__()
        less = max(1, channels // 8)
        self.layers = nn.Sequential(nn.AdaptiveAvgPool3d(1), nn.Conv3d(channels, less, 1), nn.ReLU(),
                                    nn.Conv3d(less, channels, 1), nn.Sigmoid())

    def forward(self, x):
        return x * self.layers(x)


def layer(channels, out, kernel, stride=1, groups=1, act=True):
    return [nn.Conv3d(channels, out, kernel, stride, kernel // 2, groups=groups, bias=False), nn.BatchNorm3d(out),
            *([nn.ReLU6()] if act else [])]


class Block(nn.Module):
    def __init__(self, channels, hidden, out, stride, place):
        super().__init__()
        self.summed = stride == 1 and channels == out
        self.layers = nn.Sequential(
            *(layer(channels, hidden, 1) if hidden != channels else []), *layer(hidden, hidden, 3, stride, hidden),
            *([SE(hidden)] if place == "expansion" else []), *layer(hidden, out, 1, act=False),
            *([SE(out)] if place == "output" else []))

    def forward(self, x):
        return x + self.layers(x) if self.summed else self.layers(x)


def written_out(width, place, classes=5):
    """The network from torch's own layers, in the order in which a signal passes."""
    channels = int(32 * width)
    layers = layer(3, channels, 3, (1, 2, 2))
    for expand, out, repeat, stride in ROWS:
        for block in range(repeat):
            layers.append(Block(channels, channels * expand, int(out * width), stride if block == 0 else 1, place))
            channels = int(out * width)
    last = int(1280 * width) if width > 1 else 1280
    layers += [*layer(channels, last, 1), *([SE(last)] if place == "tail" else [])]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(last, classes))


def in_order(model):
    """Names of a network's tensors in the order in which a signal passes."""
    names = [name for name in model.state_dict() if not name.endswith((".form", ".position"))]
    blocks = {name.split(".attention.")[0] for name in names if ".attention." in name and ".stages." in name}
    for block in blocks:
        inside = [name for name in names if name.startswith(f"{block}.")]
        gate = [name for name in inside if ".attention." in name]
        plain = [name for name in inside if name not in gate]
        if model.backbone.get_submodule(block.removeprefix("backbone.")).position == "inner":
            cut = next(i for i, name in enumerate(plain) if name.startswith(f"{block}.branch.{last_of(plain)}."))
            plain[cut:cut] = gate
        else:
            plain += gate
        start = names.index(inside[0])
        names[start:start + len(inside)] = plain
    return [name for name in names if not name.startswith(("backbone.attention.", "classifier."))] \
        + [name for name in names if name.startswith("backbone.attention.")] \
        + [name for name in names if name.startswith("classifier.")]


def last_of(names):
    return max(int(name.split(".branch.")[1].split(".")[0]) for name in names)


@pytest.mark.parametrize("width", [0.45, 1.0])
@pytest.mark.parametrize(("place", "form"), [("output", OUTPUT), ("expansion", EXPANSION), ("tail", TAIL)])
def test_equals_the_table_written_out(place, form, width):
    images = varied_images(3, size=(5, 40, 64))
    theirs = lively(written_out(width, place), images)
    ours = create_model("mobilenet_v2_se", dims=3, num_classes=5, width=width, **form).double().eval()
    taken = dict(zip(in_order(ours), theirs.state_dict().values(), strict=True))
    ours.load_state_dict(ours.state_dict() | taken)
    with torch.no_grad():
        assert_equal(ours(images), theirs(images))


def test_gates_of_a_place_load_into_no_other():
    # Their shapes are the same: without the place's mark they would load.
    state = small().state_dict()
    with pytest.raises(ModelError, match="a network with position='standard', this one has position='post'"):
        small(attention=AttentionPlan(position="post", options={"reduction": 8})).load_state_dict(state)


def test_se_comes_before_the_sum():
    # In a block with a shortcut a gate of zero leaves the shortcut.
    model = small().double().eval()
    block = model.backbone.stages[1][1]
    nn.init.zeros_(block.attention.excite.weight)
    nn.init.constant_(block.attention.excite.bias, -1e4)
    x = torch.randn(2, 6, 2, 4, 4, dtype=torch.float64)
    assert torch.equal(block(x), x)


def test_first_weights_have_the_published_spread():  # S0-06
    model = create_model("mobilenet_v2_se", dims=3)
    layers = {name: one for name, one in model.named_modules() if isinstance(one, nn.Conv3d)}
    large = {name: one for name, one in layers.items() if one.weight.numel() > 5000}
    assert len(large) > 30 and any(".attention." in name for name in large)
    for name, one in large.items():
        spread = (2 / (one.kernel_size[0] ** 3 * one.out_channels)) ** 0.5
        assert float(one.weight.detach().std()) == pytest.approx(spread, rel=0.06), name
        assert abs(float(one.weight.detach().mean())) < 0.06 * spread, name
    assert all(not one.bias.detach().any() for one in layers.values() if one.bias is not None)
    assert float(model.classifier.weight.detach().std()) == pytest.approx(0.01, rel=0.01)
    assert not model.classifier.bias.detach().any() and model.dropout.p == 0.2
    norms = [one for one in model.modules() if isinstance(one, nn.BatchNorm3d)]
    assert len(norms) == 52 and all(bool((one.weight == 1).all() and (one.bias == 0).all()) for one in norms)


def test_a_batch_of_one_names_the_norm_and_group_norms_train():  # T0-7
    x = torch.randn(1, 3, 4, 32, 32)
    with pytest.raises(DataError, match=r"stages\.5\.0\.branch\.1: batch normalisation") as fault:
        small()(x)
    assert "norm='group'" in str(fault.value) and "one value a channel" in str(fault.value)
    torch.manual_seed(0)
    model = small(norm="group", dropout=0.0).train()
    assert not any(isinstance(one, nn.BatchNorm3d) for one in model.modules())
    optimiser, losses = torch.optim.SGD(model.parameters(), lr=0.05), []
    for _ in range(8):
        loss = nn.functional.cross_entropy(model(x), torch.tensor([3]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.5 * losses[0]


def test_images_have_it_too_and_one_value_a_stage_may_be_given():
    with torch.device("meta"):
        flat = create_model("mobilenet_v2_se", se_reduction=(4, 4, 4, 8, 8, 16, 16))
    gates = [one for one in flat.modules() if isinstance(one, SqueezeExcitation)]
    assert len(gates) == 17 and isinstance(gates[0].squeeze, nn.Conv2d)
    assert [gates[0].squeeze.out_channels, gates[-1].squeeze.out_channels] == [4, 20]


def test_another_plan_takes_the_place_of_this_se():
    model = small(attention=AttentionPlan(position="pre", stages=(2,), options={"reduction": 2}, start="open"))
    assert model.backbone.attended() == ["stages.2.0", "stages.2.1", "stages.2.2"]
    gates = [one for one in model.modules() if isinstance(one, SqueezeExcitation)]
    assert len(gates) == 3 and not gates[0].excite.weight.detach().any()  # an open gate stays open


@pytest.mark.parametrize(("options", "message"), [
    ({"se_reduction": 4, "attention": AttentionPlan()}, "reduction and attention cannot be given together"),
    ({"se_in_blocks": False, "attention": AttentionPlan()}, "se_in_blocks or se_on and attention cannot be given tog"),
    ({"se_on": "expansion", "attention": AttentionPlan()}, "se_in_blocks or se_on and attention cannot be given tog"),
    ({"se_on": "expansion", "se_in_blocks": False}, "se_on='expansion' and se_in_blocks=False cannot be given"),
    ({"se_on": "hidden"}, "se_on must be 'output' or 'expansion', got 'hidden'"),
    ({"se_reduction": 0}, "reduction must be a whole number of at least 1, got 0"),
    ({"se_reduction": (8, 8)}, "attention option 'reduction' has 2 values, the network has 7 stages")])
def test_a_wrong_argument_is_named(options, message):
    with torch.device("meta"), pytest.raises(UsageError, match=message):
        small(**options)
