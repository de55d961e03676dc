"""What is peculiar to the ResNets, and the traps of putting SE into one."""

import copy

import pytest
import torch

from excite.attention.plan import AttentionPlan
from excite.attention.se import SqueezeExcitation
from excite.errors import ModelError, UsageError
from excite.models.classifier import create_model
from excite.models.cost import count
from excite.models.resnet import DEPTHS, ResNet
from excite.models.resnet_cifar import PadShortcut
from lively import assert_equal, assert_sees_its_input, lively, varied_images


def parameters(name, **arguments):
    with torch.device("meta"):
        return sum(value.numel() for value in create_model(name, **arguments).parameters())


PLAIN = 25_557_032


@pytest.mark.parametrize(("name", "arguments", "count"), [
    ("resnet18", {}, 11_689_512),
    ("resnet34", {}, 21_797_672),
    ("resnet50", {}, PLAIN),
    ("resnet101", {}, 44_549_160),
    ("resnet152", {}, 60_192_808),
    ("resnext101_32x8d", {}, 88_791_336),
    ("se_resnet101", {}, 49_326_872),
    ("se_resnet152", {}, 66_821_848),
    ("se_resnext101_32x4d", {}, 48_955_416),
    ("senet154", {}, 115_088_984),
    ("resnet20", {"num_classes": 10}, 269_722),
    ("resnet20", {"num_classes": 10, "shortcut": "conv"}, 272_474),
    ("resnet50", {"attention": AttentionPlan(position="inner")}, 25_718_228),  # the paper's SE_3x3
    ("resnext50_32x4d", {}, 25_028_904),
    ("se_resnext50_32x4d", {}, 27_559_896),
    ("se_resnext50_32x4d", {"num_classes": 6}, 25_523_190),
    ("se_resnet50", {}, 28_088_024),
    ("se_resnet50", {"num_classes": 30}, 26_100_494),
    ("resnet50", {"num_classes": 30}, 23_569_502),
    ("se_resnet50", {"reduction": 2}, 45_699_240),
    ("se_resnet50", {"reduction": 4}, 35_635_688),
    ("se_resnet50", {"reduction": 8}, 30_603_912),
    ("se_resnet50", {"reduction": 32}, 26_830_080),
    ("se_resnet50", {"reduction": (32, 16, 16, 8)}, PLAIN + 4_091_928),
    ("se_resnet50", {"attention": AttentionPlan(options={"bias": False})}, PLAIN + 2_514_944),
    ("se_resnet50", {"attention": AttentionPlan(stages=(0,))}, 25_582_424),
    ("se_resnet50", {"attention": AttentionPlan(stages=(1,))}, 25_690_280),
    ("se_resnet50", {"attention": AttentionPlan(stages=(2,))}, 26_349_992),
    ("se_resnet50", {"attention": AttentionPlan(stages=(3,))}, 27_136_424),
    ("se_resnet50", {"attention": AttentionPlan(stages=(0, 1, 2))}, PLAIN + 951_600),
    ("se_resnet50", {"attention": AttentionPlan(position="pre")}, 27_562_140),
    ("se_resnet50", {"attention": AttentionPlan(position="post")}, 28_088_024),
    ("se_resnet50", {"attention": AttentionPlan(position="identity")}, 28_088_024),
])
def test_parameters_are_as_many_as_published(name, arguments, count):
    assert parameters(name, **arguments) == count


def gmacs(name, **arguments):
    with torch.device("meta"):
        return count(create_model(name, **arguments), (3, 224, 224)).macs / 1e9


@pytest.mark.parametrize(("name", "published"), [
    ("resnet18", 1.814), ("resnet34", 3.664), ("resnet50", 4.089), ("resnet101", 7.801), ("resnet152", 11.514),
    ("resnext50_32x4d", 4.230), ("resnext101_32x8d", 16.414)])
def test_multiply_adds_are_those_of_torchvisions_cards(name, published):
    assert gmacs(name) == pytest.approx(published, abs=6e-4)


# Table 2 of arXiv:1709.01507, as recalled; it counts pools and sums too, less than 0.5 %.
@pytest.mark.parametrize(("name", "arguments", "published"), [
    ("resnet50", {"stride_in": "conv1"}, 3.86), ("se_resnet50", {}, 3.87),
    ("resnet101", {"stride_in": "conv1"}, 7.58), ("se_resnet101", {}, 7.60),
    ("resnet152", {"stride_in": "conv1"}, 11.30), ("se_resnet152", {}, 11.32),
    ("resnext50_32x4d", {}, 4.24), ("se_resnext50_32x4d", {}, 4.25), ("se_resnext101_32x4d", {}, 8.00)])
def test_multiply_adds_are_those_of_the_paper(name, arguments, published):
    assert gmacs(name, **arguments) == pytest.approx(published, rel=0.005)


def test_the_place_of_the_stride_would_be_found_out_by_its_cost():
    assert gmacs("se_resnet50", stride_in="conv2") != pytest.approx(3.87, rel=0.005)


@pytest.mark.parametrize(("plain", "gated", "added"), [
    ("resnet50", "se_resnet50", 2_530_992), ("resnext50_32x4d", "se_resnext50_32x4d", 2_530_992),
    ("resnet101", "se_resnet101", 4_777_712), ("resnet152", "se_resnet152", 6_629_040)])
def test_squeeze_and_excitation_adds_the_same_to_both(plain, gated, added):
    assert parameters(gated) - parameters(plain) == added
    assert gmacs(gated, **({"stride_in": "conv2"} if "resnet" in gated else {})) / gmacs(plain) < 1.003  # S4-19


def test_each_form_strides_where_it_says():
    with torch.device("meta"):
        for name, arguments, first, second in (("se_resnet50", {}, 2, 1), ("se_resnet50", {"stride_in": "conv2"}, 1, 2),
                                               ("resnet50", {}, 1, 2), ("se_resnext50_32x4d", {}, 1, 2)):
            block = create_model(name, **arguments).backbone.get_submodule("stages.1.0.branch")
            assert (block[0].conv.stride[0], block[1].conv.stride[0]) == (first, second)


@pytest.mark.parametrize(("name", "arguments", "ceil"), [
    ("se_resnet50", {}, True), ("se_resnet50", {"stride_in": "conv2"}, False), ("resnet50", {}, False),
    ("se_resnet50", {"stride_in": "conv2", "ceil_pool": True}, True), ("se_resnext50_32x4d", {}, True)])
def test_the_pool_goes_with_the_form(name, arguments, ceil):
    with torch.device("meta"):
        model = create_model(name, **arguments)
    assert (model.backbone.get_submodule("stages.0.pool").pad is not None) == ceil


def test_wrong_options_are_named():
    with pytest.raises(UsageError, match="stride_in must be 'conv1' or 'conv2', got 'conv3'"):
        create_model("se_resnet50", stride_in="conv3")
    with pytest.raises(UsageError, match="reduction and attention cannot be given together; say the reduction in the"):
        create_model("se_resnet50", reduction=8, attention=AttentionPlan())
    with pytest.raises(UsageError, match="has no option 'reduction'"):
        create_model("resnet50", reduction=8)


@pytest.mark.parametrize(("saved", "own"), [
    (("se_resnet50", {}), ("se_resnet50", {"stride_in": "conv2"})),
    (("resnet50", {}), ("resnet50", {"stride_in": "conv1"})),
    (("se_resnet50", {}), ("se_resnet50", {"ceil_pool": False})),
])
def test_weights_of_another_stride_or_pool_are_refused_though_all_shapes_fit(saved, own):
    state = create_model(saved[0], num_classes=2, **saved[1]).state_dict()
    model = create_model(own[0], num_classes=2, **own[1])
    shapes = [{key: value.shape for key, value in one.items() if key != "backbone.form"} for one in
              (state, model.state_dict())]
    assert shapes[0] == shapes[1]
    with pytest.raises(ModelError, match="(stride_in|ceil_pool)=.*, this one has .*the shapes are the same"):
        model.load_state_dict(state)


def test_first_weights_have_the_published_spread():
    torch.manual_seed(0)
    backbone = ResNet(depths=DEPTHS["resnet50"], groups=32, group_width=4)
    for place in ("stem", "stages.1.1.branch.0", "stages.2.1.branch.1", "stages.3.2.branch.2", "stages.1.0.shortcut"):
        convolution = backbone.get_submodule(place).conv
        fan = convolution.out_channels * convolution.kernel_size[0] * convolution.kernel_size[1]
        assert float(convolution.weight.detach().std()) == pytest.approx((2 / fan) ** 0.5, rel=0.05)


@pytest.fixture(scope="module")
def gated():
    torch.manual_seed(0)
    return create_model("se_resnet50", num_classes=4)


def test_each_of_the_sixteen_blocks_has_a_gate_of_its_own_that_is_used_once(gated):  # T3-1
    gates = [module for module in gated.modules() if isinstance(module, SqueezeExcitation)]
    assert len(gates) == len({id(gate) for gate in gates}) == 16
    assert len({gate.squeeze.weight.data_ptr() for gate in gates}) == 16
    calls = []
    hooks = [gate.register_forward_hook(lambda module, *_: calls.append(module)) for gate in gates]
    gated.eval()(torch.rand(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    assert calls == gates


def test_gates_are_registered_and_move_with_the_network(gated):  # T3-2
    keys = [key for key in gated.state_dict() if key.endswith("attention.squeeze.weight")]
    assert len(keys) == 16
    assert sum(".attention." in key for key, _ in gated.named_parameters()) == 16 * 4
    moved = copy.deepcopy(gated).double()
    assert moved(torch.rand(2, 3, 32, 32, dtype=torch.float64)).dtype == torch.float64
    assert {value.device.type for value in copy.deepcopy(gated).to("meta").state_dict().values()} == {"meta"}


def test_weights_with_gates_do_not_load_into_a_network_without(gated):  # T3-2: a silent loss of the gates
    with pytest.raises(RuntimeError, match="Unexpected key.*attention.squeeze"):
        create_model("resnet50", num_classes=4, stride_in="conv2").load_state_dict(
            {key: value for key, value in gated.state_dict().items() if key != "backbone.form"}, strict=True)


def test_a_copy_of_a_network_has_its_own_gates(gated):  # T3-3
    twin = copy.deepcopy(gated)
    ours, theirs = ({value.data_ptr() for value in model.parameters()} for model in (gated, twin))
    assert not ours & theirs


def test_an_open_network_carries_everything_of_the_plain_one():  # T3-4, T3-5
    images = varied_images(3)
    plain = lively(create_model("resnet50", num_classes=4), images)
    plan = AttentionPlan(start="open")
    for opened in (create_model("resnet50", num_classes=4, attention=plan),
                   create_model("se_resnet50", num_classes=4, stride_in="conv2", attention=plan)):
        missing, unexpected = opened.load_state_dict(plain.state_dict(), strict=False)
        assert not unexpected and all(".attention." in key for key in missing)
        statistics = [key for key in plain.state_dict() if "running_" in key or "num_batches" in key]
        assert len(statistics) == 53 * 3  # 48 in the blocks' branches, 4 in shortcuts, 1 in the stem
        opened.double().load_state_dict(plain.state_dict(), strict=False)
        assert all(torch.equal(opened.state_dict()[key], plain.state_dict()[key]) for key in statistics)
        with torch.no_grad():
            expected = plain(images)
            assert_sees_its_input(expected)
            assert torch.equal(opened.eval()(images), expected)


def test_gates_by_name_and_by_plan_are_one_network():  # S3-05
    images = varied_images(3)
    by_name = lively(create_model("se_resnet50", num_classes=4, stride_in="conv2"), images)
    plan = AttentionPlan(options={"reduction": 16})
    by_plan = create_model("resnet50", num_classes=4, attention=plan).double().eval()
    by_plan.load_state_dict(by_name.state_dict())
    with torch.no_grad():
        expected = by_name(images)
        assert_sees_its_input(expected)
        assert torch.equal(by_plan(images), expected)


def test_the_shortcut_without_parameters_takes_every_second_place_and_puts_the_zeros_behind():
    x = torch.randn(2, 3, 5, 4)
    y = PadShortcut(3, 7, 2, dims=2)(x)
    assert torch.equal(y[:, :3], x[:, :, ::2, ::2]) and not y[:, 3:].any() and y.shape == (2, 7, 3, 2)


@pytest.mark.parametrize(("name", "rate"), [("senet154", 0.2), ("mobilenet_v1", 0.001), ("mobilenet_v2", 0.2),
                                            ("mobilenet_v3_large", 0.2), ("resnet50", 0.0), ("shufflenet_v2", 0.0)])
def test_dropout_is_the_published_rate(name, rate):
    with torch.device("meta"):
        assert create_model(name).dropout.p == rate


class Written20(torch.nn.Module):
    """ResNet-20 of section 4.2 from torch's own layers; SE after each branch where there are gates."""

    def __init__(self, ours):
        super().__init__()
        nn = torch.nn
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16))
        self.blocks = nn.ModuleList(nn.Sequential(nn.Conv2d(c, d, 3, s, 1, bias=False), nn.BatchNorm2d(d), nn.ReLU(),
                                                  nn.Conv2d(d, d, 3, 1, 1, bias=False), nn.BatchNorm2d(d))
                                    for c, d, s in [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2
                                    + [(32, 64, 2)] + [(64, 64, 1)] * 2)
        self.last = nn.Linear(64, 10)
        self.double()
        self.gates = [block.attention for stage in ours.backbone.stages for block in stage]
        theirs = [value for part in (self.stem, self.blocks, self.last) for value in part.state_dict().values()]
        mine = [value for key, value in ours.state_dict().items()
                if ".attention." not in key and not key.endswith("form")]
        for value, known in zip(theirs, mine, strict=True):
            value.copy_(known)

    def forward(self, x):
        x = self.stem(x).relu()
        for block, gate in zip(self.blocks, self.gates, strict=True):
            y = block(x)
            if gate is not None:
                means = y.mean((2, 3))
                hidden = (means @ gate.squeeze.weight[:, :, 0, 0].T + gate.squeeze.bias).relu()
                y = y * (hidden @ gate.excite.weight[:, :, 0, 0].T + gate.excite.bias).sigmoid()[:, :, None, None]
            if y.shape != x.shape:
                x = torch.cat((x[:, :, ::2, ::2], torch.zeros_like(x[:, :, ::2, ::2])), 1)
            x = (x + y).relu()
        return self.last(x.mean((2, 3)))


@pytest.mark.parametrize("name", ["resnet20", "se_resnet20"])
def test_resnet20_is_that_of_section_4_2_written_out(name):
    images = varied_images(4, size=(32, 33))
    ours = lively(create_model(name, num_classes=10), images)
    with torch.no_grad():
        written = Written20(ours).eval()
        assert_equal(ours(images), written(images))
        written.blocks[4], written.blocks[5] = written.blocks[5], written.blocks[4]  # the planted fault
        with pytest.raises(AssertionError):
            assert_equal(ours(images), written(images))
