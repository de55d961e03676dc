"""The decoder around any backbone: sizes, skips, gates, volumes, and what is refused."""

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.attention.plan import AttentionPlan
from excite.attention.registry import ATTENTION
from excite.errors import ModelError, UsageError
from excite.layers.aspp import ASPP
from excite.models.classifier import create_model
from excite.models.cost import count
from excite.models.mobilenet_v2 import MobileNetV2
from excite.models.registry import BACKBONES
from excite.models.resnet import resnet18
from excite.models.unet import UNet, pad_to_multiples
from excite.weights.inflate import inflate
from lively import assert_equal, assert_sees_its_input, lively, varied_images

pytestmark = pytest.mark.filterwarnings("ignore:ASPP")
SE = AttentionPlan(kind="se", options={"reduction": 4})


def little(**options):
    """A U-Net around a narrow MobileNetV2, with everything."""
    dims = options.pop("dims", 2)
    encoder = MobileNetV2(2, dims=dims, width=0.25, head="scaled")
    bridge = ASPP(encoder.out_channels, 16, rates=(1,), dropout=0.0, dims=dims)
    given = {"bridge": bridge, "channels": (16, 12, 8, 8, 4), "initial": 4, "attention": SE, "skip_attention": SE,
             "num_classes": 3}
    return UNet(encoder, **given | options)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_is_an_encoder(name):
    with torch.device("meta"):
        encoder = create_model(name, in_channels=2).backbone
        model = UNet(encoder, attention=SE, skip_attention=SE, num_classes=2).eval()
        assert model(torch.rand(1, 2, 97, 70)).shape == (1, 2, 97, 70)
        maps = encoder.features(torch.rand(1, 2, 96, 64))
    taken = [skip for skip in model.skips_from if skip.place is not None]
    strides = {one for one in encoder.strides if one != encoder.strides[-1]}
    assert {skip.strides for skip in taken} == strides and len(taken) == len(strides)
    for skip in taken:  # the deepest map of its stride
        sizes = [n // s for n, s in zip((96, 64), skip.strides, strict=True)]
        assert maps[skip.place].shape[1:] == (skip.channels, *sizes)
        assert skip.place + 1 == len(maps) or encoder.strides[skip.place + 1] != skip.strides


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small", "resnet18", "resnet20", "shufflenet_v2",
                                  "bn_inception"])
def test_volumes_pass_through_it_and_keep_their_sizes(name):
    with torch.device("meta"):
        encoder = BACKBONES[name](1, dims=3)
        bridge = ASPP(encoder.out_channels, 16, rates=(1,), dims=3)
        model = UNet(encoder, attention=SE, skip_attention=SE, bridge=bridge)
        assert model.eval()(torch.rand(1, 1, 5, 40, 33)).shape == (1, 1, 5, 40, 33)
    first = model.ups[-1].stride
    assert first == (tuple(encoder.strides[0]) if name != "resnet20" else (2, 2, 2))


def test_a_stem_that_keeps_the_slices_has_a_last_stage_that_keeps_them():
    assert little(dims=3).ups[-1].kernel_size == (1, 2, 2) and little(dims=3).ups[0].kernel_size == (2, 2, 2)


@pytest.mark.parametrize("size", [(1, 1), (33, 1), (1, 33), (32, 32), (33, 33), (250, 33), (135, 200)])
def test_any_size_comes_back(size):
    model = little().eval()
    with torch.no_grad():
        found = model(torch.rand(2, 2, *size))
    assert found.shape == (2, 3, *size) and found.isfinite().all()


def test_a_size_that_does_not_divide_is_padded_with_its_border_and_cropped():  # B2
    images = varied_images(2, channels=2, size=(54, 80))
    model = lively(little(), images)
    edge = functional.pad(images, (0, 16, 0, 10), mode="replicate")
    with torch.no_grad():
        found = model(images)
        assert_equal(found, model(edge)[..., :54, :80])
        assert not torch.allclose(found, model(functional.pad(images, (0, 16, 0, 10)))[..., :54, :80], rtol=1e-3)
    assert torch.equal(pad_to_multiples(images, (32, 32)), edge) and pad_to_multiples(edge, (32, 32)) is edge


@pytest.mark.parametrize("side", range(1, 34))
def test_every_side_up_to_33_is_padded_to_a_multiple(side):
    x = torch.rand(1, 1, side, 34 - side)
    padded = pad_to_multiples(x, (16, 32))
    assert padded.shape[2] % 16 == padded.shape[3] % 32 == 0
    assert padded.shape[2] - side < 16 and padded.shape[3] - (34 - side) < 32
    assert torch.equal(padded[..., :side, :34 - side], x)
    assert bool((padded[..., side:, :34 - side] == x[..., -1:, :]).all())


def test_every_parameter_gets_a_gradient():
    model = little(separable=True, up="linear")
    model(torch.rand(2, 2, 64, 64)).square().sum().backward()
    assert [name for name, value in model.named_parameters() if value.grad is None] == []


def test_a_sample_does_not_depend_on_its_batch_and_eval_repeats_itself():
    images = varied_images(3, channels=2)
    model = lively(little(), images)
    with torch.no_grad():
        whole = model(images)
        assert_sees_its_input(whole)
        torch.testing.assert_close(model(images[1:2]), whole[1:2], rtol=1e-9, atol=1e-12)
        assert torch.equal(model(images), whole)


@pytest.mark.parametrize("kind", list(ATTENTION))
def test_any_attention_joins_skips_and_blocks(kind):
    plan = AttentionPlan(kind=kind)
    model, bare = little(attention=plan, skip_attention=plan).eval(), little(attention=None, skip_attention=None)
    extra = set(model.state_dict()) - set(bare.state_dict())
    assert {key.split(".")[0] for key in extra} <= {"skips", "blocks"}
    assert all(type(gate) is not nn.Identity for gate in model.skips)
    assert all(block.attention is not None for block in model.blocks)
    assert model(torch.rand(2, 2, 40, 33)).isfinite().all()


@pytest.mark.parametrize("position", ["pre", "post", "identity", "inner"])
def test_the_blocks_take_every_position(position):
    model = little(attention=AttentionPlan(kind="eca", position=position))
    assert all(block.position == position and block.attention is not None for block in model.blocks)
    model(torch.rand(2, 2, 32, 32)).sum().backward()


def test_open_gates_change_nothing_at_first():
    images = varied_images(2, channels=2)
    bare = lively(little(attention=None, skip_attention=None), images)
    plan = AttentionPlan(kind="se", start="open")
    opened = little(attention=plan, skip_attention=plan).double().eval()
    opened.load_state_dict(bare.state_dict(), strict=False)
    with torch.no_grad():
        assert_equal(opened(images), bare(images))


def test_chosen_stages_alone_get_the_attention():
    plan = AttentionPlan(kind="se", stages=(0, 4), options={"reduction": (2, 4, 8, 4, 1)})
    model = little(attention=plan, skip_attention=plan)
    assert [block.attention is not None for block in model.blocks] == [True, False, False, False, True]
    assert [type(gate) is nn.Identity for gate in model.skips] == [False, True, True, True, False]
    assert model.skips[4].squeeze.weight.shape[0] == 4


@pytest.mark.parametrize("dims", [2, 3])
def test_the_linear_way_up_interpolates_a_1x1(dims):
    model = little(up="linear", dims=dims).double()
    up, x = model.ups[0], torch.rand(2, 16, *(3, 4, 5)[:dims], dtype=torch.float64)
    expected = functional.interpolate(x, scale_factor=2, mode=("bilinear", "trilinear")[dims - 2], align_corners=False)
    plain = (functional.conv2d, functional.conv3d)[dims - 2](expected, up[0].weight, up[0].bias)
    assert float((up(x) - plain).detach().abs().max()) < 1e-12


def test_without_initial_convolution_the_last_stage_has_no_skip():
    model = little(initial=None, skip_attention=None)
    assert model.skips_from[-1].channels == 0 and model.blocks[-1].branch[0].conv.in_channels == 4
    assert model(torch.rand(2, 2, 40, 40)).shape == (2, 3, 40, 40)


@pytest.mark.parametrize("size", [(64, 96), (33, 50), (1, 33)])
def test_a_coarser_last_stage_is_interpolated_to_full_size(size):
    net = little(finest=2, initial=None, channels=(16, 12, 8, 8)).eval()
    held = []
    net.output.register_forward_hook(lambda module, given, found: held.append(found))
    x = torch.rand(2, 2, *size)
    found = net(x)
    padded = pad_to_multiples(x, net.strides)
    assert held[0].shape[2:] == tuple(side // 2 for side in padded.shape[2:])
    expected = functional.interpolate(held[0], size=padded.shape[2:], mode="bilinear", align_corners=False)
    torch.testing.assert_close(found, expected[..., :size[0], :size[1]])


def test_a_coarser_network_is_the_published_one_without_its_last_stage():
    with torch.device("meta"):
        whole, coarse = (create_model("mobilenet_v2_aspp_se_unet", finest=finest) for finest in (1, 2))
    last = 352 + 4_128 + 162 + 30_050  # initial convolution, way up, gate and block: table B1
    assert count(whole, (1, 64, 64)).parameters - count(coarse, (1, 64, 64)).parameters == last


def test_without_a_bridge_the_decoder_takes_the_encoders_output():
    model = UNet(resnet18(1))
    assert model.ups[0].in_channels == 512 and [up.out_channels for up in model.ups] == [256, 128, 64, 32, 32]


def test_an_encoder_with_a_tail_keeps_it():
    images = varied_images(2, channels=1)
    tailed = UNet(resnet18(1, attention=AttentionPlan(kind="se", position="tail")), channels=(8,) * 5)
    model = lively(tailed, images)
    with torch.no_grad():
        expected = model(images)
        model.encoder.attention = None  # planted
        assert not torch.allclose(model(images), expected, rtol=1e-3)


def test_a_saved_network_is_the_same_after_loading_and_a_copy_shares_nothing():
    images = varied_images(2, channels=2)
    model = lively(little(), images)
    other = little().double().eval()
    other.load_state_dict(model.state_dict())
    twin = copy.deepcopy(model)
    with torch.no_grad():
        expected = model(images)
        assert_equal(other(images), expected)
        for value in twin.parameters():
            value.add_(1)
        assert torch.equal(model(images), expected)
    with pytest.raises(ModelError, match="position='standard'"):
        little(attention=AttentionPlan(kind="se", position="post", options={"reduction": 4})).load_state_dict(
            model.state_dict())


def test_gates_inside_a_frozen_encoder_still_train():
    model = UNet(resnet18(1, attention=SE), channels=(8,) * 5)
    model.freeze_encoder()
    learning = {name for name, value in model.encoder.named_parameters() if value.requires_grad}
    assert learning and all(".attention." in name for name in learning)
    gate = model.train().encoder.stages[0][1].attention
    assert gate.training and not model.encoder.stages[0][1].branch.training


def test_gates_are_counted_as_gates():
    with torch.device("meta"):
        model = little()
    gates = sum(value.numel() for name, value in model.named_parameters()
                if name.startswith("skips.") or ".attention." in name)
    cost = count(model, (2, 64, 64))
    assert cost.by_part["attention"][0] == gates and sum(one for one, _ in cost.by_part.values()) == cost.parameters


@pytest.mark.parametrize(("arguments", "message"), [
    ({"finest": 3}, "finest must be 1, 2, 4, 8, 16, got 3"), ({"finest": True}, "finest must be"),
    ({"finest": 2, "channels": (16, 12, 8, 8)}, "initial must be None where the decoder ends before full size"),
    ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
    ({"initial": 0}, "initial must be a whole number of at least 1, got 0"),
    ({"up": "bicubic"}, "up must be 'transposed' or 'linear', got 'bicubic'"),
    ({"gives": "sigmoid"}, "gives must be 'logits' or 'probabilities', got 'sigmoid'; losses want 'logits'"),
    ({"channels": (8, 8)}, r"channels must be 5 whole numbers of at least 1, coarsest first, got \(8, 8\)"),
    ({"channels": (8, 8, 8, 8, 0)}, "channels must be 5 whole numbers"),
    ({"attention": AttentionPlan(position="tail")}, "attention cannot be at position 'tail'; a decoder has no tail"),
    ({"skip_attention": AttentionPlan(position="pre")}, "skip_attention cannot be at position 'pre'"),
    ({"attention": AttentionPlan(stages=(5,))}, "attention stages must be 0 to 4, got 5"),
    ({"bridge": nn.ReLU()}, "bridge must tell its out_channels, ReLU does not"),
])
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(UsageError, match=message):
        little(**arguments)


def test_an_encoder_with_a_map_at_full_size_needs_no_initial_convolution():
    encoder = BACKBONES["resnet20"](1)
    assert [skip.strides for skip in UNet(encoder).skips_from] == [(2, 2), (1, 1)]
    with pytest.raises(UsageError, match="initial must be None with this encoder, got 8 .it has a map at full size"):
        UNet(encoder, initial=8)


@pytest.mark.parametrize("up", ["transposed", "linear"])
@pytest.mark.parametrize("depth", [1, 5])
def test_an_inflated_network_answers_a_repeated_image_as_the_image(depth, up):
    images = varied_images(2, channels=2, size=(54, 80))
    flat = lively(little(up=up), images)
    deep = little(dims=3, up=up).double().eval()
    deep.load_state_dict(inflate(flat.state_dict(), deep))
    with torch.no_grad():
        expected = flat(images).unsqueeze(2).expand(-1, -1, depth, -1, -1)
        assert_equal(deep(images.unsqueeze(2).expand(-1, -1, depth, -1, -1)), expected)
