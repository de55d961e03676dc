"""What every network owes its users, checked for each one that is registered."""

import copy
import inspect
import re
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn.modules.batchnorm import _BatchNorm

from excite.attention.plan import AttentionPlan
from excite.errors import DataError, UsageError
from excite.layers.residual import Residual
from excite.models.backbone import Backbone
from excite.models.classifier import create_model
from excite.models.groups import split_parameters
from excite.models.registry import BACKBONES
from lively import assert_sees_its_input, lively, varied_images

POSITIONS = ["standard", *(pytest.param(one, marks=pytest.mark.slow) for one in ("pre", "post", "identity", "inner",
                                                                              "tail"))]
LARGEST = 20_000_000  # parameters: a deeper network of the same code is checked for what depends on its depth only


def size_of(name):
    with torch.device("meta"):
        return sum(value.numel() for value in create_model(name, num_classes=3).parameters())


NAMES = list(BACKBONES)
# One network of each kind of code in full; the others by the tests that ask for `every`.
FULL = [name for name in NAMES if size_of(name) <= LARGEST or name in ("resnet50", "se_resnext50_32x4d")]


@pytest.fixture(params=FULL, ids=str)
def name(request):
    return request.param


@pytest.fixture(params=NAMES, ids=str)
def every(request):
    return request.param


def small(name, **arguments):
    return create_model(name, **{"num_classes": 3, "in_channels": 4} | arguments)


def gated(name, position="standard", start="paper"):
    """A network with attention at `position`; skips where none of its blocks has such a place."""
    plan = AttentionPlan(position=position, start=start)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            return small(name, attention=plan)
    except UsageError as fault:
        if "no block of the planned stages can have this attention" not in str(fault):
            raise
        pytest.skip(str(fault))


def test_maps_have_the_promised_channels_and_strides(every):
    with torch.device("meta"):
        backbone = small(every).backbone.eval()
        maps = backbone.features(torch.rand(1, 4, 96, 64))
        last = (-(-96 // backbone.strides[-1][0]), -(-64 // backbone.strides[-1][1]))
        assert backbone(torch.rand(1, 4, 96, 64)).shape == (1, backbone.out_channels, *last)
    assert len(maps) == len(backbone.stages) + 1 == len(backbone.channels) == len(backbone.strides)
    for each, channels, strides in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert each.shape == (1, channels, *(-(-n // s) for n, s in zip((96, 64), strides, strict=True)))


def test_a_volume_has_the_promised_channels_and_strides(every):
    with torch.device("meta"):
        backbone = small(every, dims=3).backbone.eval()
        maps = backbone.features(torch.rand(1, 4, 16, 64, 32))
    for each, channels, strides in zip(maps, backbone.channels, backbone.strides, strict=True):
        assert each.shape == (1, channels, *(-(-n // s) for n, s in zip((16, 64, 32), strides, strict=True)))
    depth, *plane = backbone.strides[-1]
    assert plane == ([32, 32] if depth == 16 else [4, 4])  # a stem keeps the slices; networks for 32 x 32 have no stem


@pytest.mark.parametrize("position", POSITIONS)
def test_every_parameter_gets_a_gradient(name, position):
    model = gated(name, position)
    model(torch.rand(2, 4, 64, 64)).square().sum().backward()
    assert [key for key, value in model.named_parameters() if value.grad is None] == []


def test_a_sample_does_not_depend_on_its_batch(name):
    images = varied_images(3, channels=4)
    model = lively(small(name), images)
    with torch.no_grad():
        whole = model(images)
        assert_sees_its_input(whole)
        torch.testing.assert_close(model(images[1:2]), whole[1:2], rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [(3, 3), (33, 47), (65, 31)])
def test_odd_tiny_and_oblong_images_pass(name, size):
    model = small(name)
    assert model(torch.rand(2, 4, *size)).isfinite().all()
    assert model.eval()(torch.rand(1, 4, *size)).shape == (1, 3)


@pytest.mark.parametrize("size", [(1, 1), (2, 2), (1, 40), (5, 1), (1, 1, 1), (1, 2, 2), (2, 1, 40), (7, 5, 3)])
def test_the_smallest_inputs_pass_or_are_refused_in_words(every, size):
    with torch.device("meta"):
        model = small(every, dims=len(size)).eval()
        try:
            assert model(torch.rand(1, 4, *size)).shape == (1, 3)
        except DataError as fault:
            assert "needs maps of at least" in str(fault) and "give images of at least" in str(fault)


@pytest.mark.parametrize("size", [(1, 33, 40), (5, 32, 32)])
def test_thin_volumes_pass(name, size):
    assert small(name, dims=3)(torch.rand(2, 4, *size)).shape == (2, 3)


def test_a_batch_of_other_axes_or_channels_is_refused_in_words(every):
    with torch.device("meta"):
        flat, deep = small(every), small(every, dims=3)
        for model, x in ((flat, (1, 3, 8, 8)), (flat, (1, 4, 8, 8, 8)), (flat, (4, 8, 8)), (deep, (1, 4, 8, 8))):
            with pytest.raises(DataError, match=r"the network takes \(N, 4, .*H, W\), got \("):
                model(torch.empty(x))
            with pytest.raises(DataError, match="the network takes"):
                model.backbone.features(torch.empty(x))


@pytest.mark.parametrize("dims", [2, 3])
def test_a_batch_of_one_trains_or_names_the_norm_that_cannot(every, dims):
    size = (4, 16, 16) if dims == 3 else (16, 16)
    with torch.device("meta"):
        model = small(every, dims=dims)
        try:
            model(torch.rand(1, 4, *size))
        except DataError as fault:
            assert re.search(r"(stem|stages|head)[\w.]*: batch normalisation over \d+ channels has one value a channel "
                             r"to measure .*create_model\(..., norm='group'\)", str(fault))
        small(every, dims=dims, norm="group")(torch.rand(1, 4, *size))


def test_group_norm_takes_the_place_of_every_batch_norm_and_trains_with_one_image(name):
    model = small(name, norm="group")
    assert not any(isinstance(layer, _BatchNorm) for layer in model.modules())
    assert {key for key, _ in model.named_parameters()} == {key for key, _ in small(name).named_parameters()}
    model(torch.rand(1, 4, 33, 40)).square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


def test_eval_mode_repeats_itself_bit_for_bit(name):
    model, x = small(name).eval(), torch.rand(2, 4, 64, 64)
    with torch.no_grad():
        assert torch.equal(model(x), model(x))


def test_a_copy_shares_nothing(name):
    model = gated(name)
    twin = copy.deepcopy(model)
    x = torch.rand(2, 4, 64, 64)
    before = model.eval()(x)
    with torch.no_grad():
        for value in twin.parameters():
            value.add_(1.0)
    assert torch.equal(model(x), before)


def test_a_saved_network_is_the_same_after_loading(name, tmp_path):
    images = varied_images(2, channels=4).float()
    model = lively(gated(name, start="open"), images.double()).float()
    save_file(model.state_dict(), tmp_path / "weights.safetensors")
    other = gated(name, start="open").eval()
    other.load_state_dict(load_file(tmp_path / "weights.safetensors"))
    with torch.no_grad():
        expected = model(images)
        assert_sees_its_input(expected)
        assert torch.equal(other(images), expected)


def without_gates(model):
    """The same network, its gates taken out."""
    plain = copy.deepcopy(model)
    for part in plain.modules():
        if isinstance(part, Residual):
            part.attach(None)
        elif isinstance(part, Backbone):
            part.attention = None
    return plain


@pytest.mark.parametrize("position", POSITIONS)
def test_open_gates_change_nothing_at_first_and_can_learn(name, position):
    images = varied_images(3, channels=4)
    opened = gated(name, position, "open").double().eval()
    plain = lively(without_gates(opened), images)
    missing, unexpected = opened.load_state_dict(plain.state_dict(), strict=False)
    assert missing and not unexpected and all(".attention." in key for key in missing)
    with torch.no_grad():
        expected = plain(images)
        assert_sees_its_input(expected)
        assert torch.equal(opened(images), expected)
    opened(images).square().sum().backward()
    gates = [value.grad for key, value in opened.named_parameters() if key.endswith("attention.excite.bias")]
    assert len(gates) == len(opened.backbone.attended()) and all(float(grad.abs().max()) > 0 for grad in gates)


def test_published_gates_do_change_the_network_at_first(name):  # T3-5
    images = varied_images(3, channels=4)
    model = lively(gated(name, start="paper"), images)
    with torch.no_grad():
        assert not torch.allclose(model(images), without_gates(model)(images), rtol=0.01)


def test_groups_cover_every_parameter_once(name):
    model = gated(name)
    groups = split_parameters(model)
    assert sorted(sum(groups.values(), [])) == sorted(key for key, _ in model.named_parameters())
    assert groups["head"] == ["classifier.weight", "classifier.bias"]
    assert groups["gates"] == [key for key, _ in model.named_parameters() if ".attention." in key] != []


def test_a_misspelt_option_is_an_error_that_names_the_nearest(every):
    with pytest.raises(UsageError, match=f"network '{every}' has no option 'dropuot'; did you mean 'dropout'"):
        create_model(every, dropuot=0.5)
    for option in inspect.signature(BACKBONES[every]).parameters:
        assert option not in ("args", "kwargs", "options")


@pytest.mark.parametrize(("arguments", "message"), [
    ({"in_channels": 0}, "in_channels must be a whole number of at least 1, got 0"),
    ({"num_classes": 0}, "num_classes must be a whole number of at least 1, got 0"),
    ({"dims": 4}, "dims must be 2"),
    ({"dropout": 1.0}, "dropout must be at least 0 and below 1, got 1.0"),
    ({"attention": AttentionPlan(stages=(9,))}, "attention stages must be 0 to"),
])
def test_a_wrong_argument_is_named(every, arguments, message):
    with torch.device("meta"), pytest.raises(UsageError, match=message):
        create_model(every, **arguments)


def test_bf16_autocast_follows_fp32_and_trains(name):
    # Rounding grows from layer to layer of a random network: as much as the input's own rounding would.
    images = varied_images(4, channels=4).float()
    model = lively(gated(name), images.double()).float()
    with torch.no_grad():
        with torch.autocast("cpu", torch.bfloat16):
            halves = model.backbone.features(images.contiguous(memory_format=torch.channels_last))[:3]
        moved = model.backbone.features(images * (1 + 2**-9 * torch.randn_like(images)))
        for half, full, near in zip(halves, model.backbone.features(images), moved, strict=False):
            assert half.dtype == torch.bfloat16
            assert 0 < float((half.float() - full).norm()) < 4 * float((near - full).norm())
    with torch.autocast("cpu", torch.bfloat16):
        loss = model.train()(images).float().square().mean()
    loss.backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
def test_export_computes_the_same_for_any_batch(name, dims):
    size = (40, 48) if dims == 2 else (4, 40, 48)
    images = varied_images(3, channels=4, size=size)
    model = lively(create_model(name, dims=dims, in_channels=4, num_classes=3, attention=AttentionPlan()), images)
    program = torch.export.export(model, (images[:2],), dynamic_shapes=({0: torch.export.Dim("batch", min=1)},))
    with torch.no_grad():
        expected = model(images)
        assert_sees_its_input(expected)
        torch.testing.assert_close(program.module()(images), expected, rtol=1e-9, atol=1e-12)
