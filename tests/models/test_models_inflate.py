"""2-D weights in 3-D networks: a volume that repeats one image is answered as the image, whatever its depth."""

import warnings

import pytest
import torch
from torch import nn

from excite.attention.plan import PLACES, AttentionPlan
from excite.errors import ModelError, UsageError
from excite.layers.form import Formed, written
from excite.layers.pool import PlaneMean
from excite.layers.residual import Residual
from excite.models.classifier import create_model
from excite.models.registry import BACKBONES
from excite.weights.inflate import inflate
from lively import assert_equal, lively, varied_images

LARGEST = 20_000_000  # parameters: a deeper network of the same code is checked for what depends on its depth only


def size_of(name):
    with torch.device("meta"):
        return sum(value.numel() for value in create_model(name, num_classes=3).parameters())


NAMES = list(BACKBONES)
FULL = [name for name in NAMES if size_of(name) <= LARGEST or name in ("resnet50", "se_resnext50_32x4d")]
EXACT = ("se", "eca", "cbam", "cse", "sse", "scse", "ese", "srm")  # their squeeze of a volume is that of its slice


def pair(name, mode="centre", **arguments):
    """A lively network for images and the same for volumes with its weights."""
    arguments = {"num_classes": 3} | arguments
    depth_stride = {"depth_stride": arguments.pop("depth_stride")} if "depth_stride" in arguments else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of blocks without the planned place
        flat = create_model(name, **arguments)
        for key, value in flat.named_parameters():
            if ".attention." in key:  # some kinds begin as the identity
                nn.init.normal_(value, 0.0, 0.3)
        flat = lively(flat, varied_images(4, size=(32, 32)))
        deep = create_model(name, dims=3, **arguments, **depth_stride).double().eval()
    deep.load_state_dict(inflate(flat.state_dict(), deep, mode=mode))
    return flat, deep


def assert_same_on_a_repeated_slice(flat, deep, depths=(1, 5, 16), size=(32, 40)):
    images = varied_images(2, size=size, seed=1)
    with torch.no_grad():
        expected = flat(images)
        for depth in depths:
            assert_equal(deep(images.unsqueeze(2).repeat_interleave(depth, dim=2)), expected)


@pytest.mark.parametrize("name", FULL)
def test_a_repeated_slice_is_answered_as_the_image(name):
    assert_same_on_a_repeated_slice(*pair(name))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", pytest.param("se_resnext50_32x4d",
                                                                          marks=pytest.mark.slow)])
def test_so_it_is_where_the_stem_strides_along_the_depth(name):
    assert_same_on_a_repeated_slice(*pair(name, depth_stride=2), depths=(4, 9, 16))


@pytest.mark.parametrize("name", ["mobilenet_v2", "mobilenet_v3_small"])
def test_so_it_is_with_tensorflows_padding(name):
    assert_same_on_a_repeated_slice(*pair(name, padding="tf_same"))


@pytest.mark.parametrize("position", PLACES)
@pytest.mark.parametrize("kind", EXACT)
def test_so_it_is_with_attention_of_every_kind_at_every_place(kind, position):
    assert_same_on_a_repeated_slice(*pair("resnet18", attention=AttentionPlan(kind=kind, position=position)),
                                    depths=(1, 5))


def test_attention_that_sums_over_space_is_another_in_a_volume():
    images = varied_images(2, size=(32, 40), seed=1)
    apart = {}
    for kind in ("gct", "simam"):
        flat, deep = pair("resnet18", attention=AttentionPlan(kind=kind))
        with torch.no_grad():
            expected, found = flat(images), deep(images.unsqueeze(2).repeat_interleave(5, dim=2))
        apart[kind] = float((found - expected).abs().max() / expected.abs().max())
    assert 1e-9 < apart["gct"] < 1e-5 < apart["simam"] < 0.1


def test_attention_that_has_more_weights_in_a_volume_is_refused():
    with pytest.raises(ModelError, match=r"16 missing: backbone\.stages\.0\.0\.attention\.excite\.2\.weight"):
        pair("resnet18", attention=AttentionPlan(kind="coordinate"))


@pytest.mark.parametrize("name", NAMES)
def test_every_network_can_be_filled_whole(name):
    with torch.device("meta"):
        flat, deep = (create_model(name, dims=dims, num_classes=3) for dims in (2, 3))
        forms = create_forms(deep)
    state = {key: forms.get(key, value) for key, value in flat.state_dict().items()}
    own = {key: forms.get(key, value) for key, value in deep.state_dict().items()}
    deep.state_dict = lambda: own  # what a form says cannot be read on the meta device
    found = inflate(state, deep)
    assert {key: value.shape for key, value in found.items()} == {key: value.shape for key, value in own.items()}


def create_forms(model):
    """The forms of a network on the meta device, written anew on the CPU."""
    with torch.device("cpu"):
        forms = {f"{name}.form": written(part.facts) for name, part in model.named_modules()
                 if isinstance(part, Formed) and "form" in dict(part.named_buffers(recurse=False))}
        return forms | {f"{name}.attention.position": written({"position": part.position})
                        for name, part in model.named_modules()
                        if isinstance(part, Residual) and part.attention is not None}


def test_a_kernel_in_another_slice_would_be_found_out():
    flat, deep = pair("resnet18")
    with torch.no_grad():
        for layer in deep.modules():
            if isinstance(layer, nn.Conv3d) and layer.kernel_size[0] == 3:
                layer.weight.copy_(layer.weight.roll(1, dims=2))
    with pytest.raises(AssertionError):
        assert_same_on_a_repeated_slice(flat, deep, depths=(5,))


def test_a_pool_that_counts_the_zeros_beyond_the_volume_would_be_found_out():
    flat, deep = pair("shufflenet_v1", width=0.5)
    assert_same_on_a_repeated_slice(flat, deep, depths=(5,), size=(64, 64))
    pools = [(name, layer.pool.stride) for name, layer in deep.named_modules() if isinstance(layer, PlaneMean)]
    assert pools
    for name, stride in pools:
        parent, _, own = name.rpartition(".")
        setattr(deep.get_submodule(parent), own, nn.Sequential(nn.ConstantPad3d(1, 0.0), nn.AvgPool3d(3, stride)))
    with pytest.raises(AssertionError):
        assert_same_on_a_repeated_slice(flat, deep, depths=(5,), size=(64, 64))


@pytest.mark.parametrize("mode", ["centre", "mean"])
@pytest.mark.parametrize("kernel", [1, 3, 7])
@pytest.mark.parametrize("groups", [1, 4])
def test_one_convolution_in_both_modes(mode, kernel, groups):
    flat = nn.Sequential(nn.Conv2d(4, 8, kernel, padding=kernel // 2, groups=groups)).double()
    images = varied_images(2, channels=4, size=(12, 9))
    expected = flat(images).detach().unsqueeze(2)
    for around in ("zeros", "replicate"):
        deep = nn.Sequential(nn.Conv3d(4, 8, kernel, padding=kernel // 2, groups=groups)).double()
        deep.load_state_dict(inflate(flat.state_dict(), deep, mode=mode))
        volume = images.unsqueeze(2).repeat_interleave(9, dim=2)
        if around == "replicate":  # along the depth only: the image's own border stays zero
            volume = torch.cat([volume[:, :, :1]] * (kernel // 2) + [volume] + [volume[:, :, -1:]] * (kernel // 2), 2)
            deep[0].padding = (0, kernel // 2, kernel // 2)
        found = deep(volume).detach()
        if around == "zeros" and mode == "mean":
            found = found[:, :, kernel // 2:9 - kernel // 2]  # the interior
            if kernel > 1:  # and the planted failure: at the border it is another
                with pytest.raises(AssertionError):
                    assert_equal(deep(volume).detach()[:, :, 0], expected[:, :, 0])
        assert found.shape[2] > 0
        for slice_ in found.unbind(2):
            assert_equal(slice_, expected[:, :, 0])


@pytest.mark.parametrize("mode", ["centre", "mean"])
def test_a_transposed_convolution_that_doubles_the_size(mode):
    flat = nn.Sequential(nn.ConvTranspose2d(4, 3, 2, stride=2)).double()
    deep = nn.Sequential(nn.ConvTranspose3d(4, 3, 2, stride=2)).double()
    deep.load_state_dict(inflate(flat.state_dict(), deep, mode=mode))
    images = varied_images(2, channels=4, size=(6, 7))
    expected = flat(images).detach()
    for slice_ in deep(images.unsqueeze(2).repeat_interleave(3, dim=2)).detach().unbind(2):
        assert_equal(slice_, expected)


def test_attention_that_the_source_lacks_stays_fresh_and_open_changes_nothing():
    flat = lively(create_model("resnet18", num_classes=3), varied_images(4, size=(32, 32)))
    deep = create_model("resnet18", num_classes=3, dims=3, attention=AttentionPlan(start="open")).double().eval()
    before = {key: value.clone() for key, value in deep.state_dict().items()}
    found = inflate(flat.state_dict(), deep)
    assert all(torch.equal(found[key], before[key]) for key in found if ".attention." in key)
    deep.load_state_dict(found)
    assert_same_on_a_repeated_slice(flat, deep, depths=(5,))


def small(dims=3, **arguments):
    return create_model("mobilenet_v2", **{"width": 0.25, "num_classes": 3, "dims": dims} | arguments)


@pytest.mark.parametrize(("arguments", "change", "message"), [
    ({}, lambda state: state.pop("backbone.head.conv.weight"), r"1 missing: backbone\.head\.conv\.weight .64\.2 % "),
    ({}, lambda state: state.update(more=torch.ones(1)), "1 unknown: more"),
    ({"num_classes": 4}, None, r"classifier\.bias: \(3,\) inflated, \(4,\) in the network"),
    ({"in_channels": 1}, None, r"stem\.conv\.weight: \(8, 3, 3, 3, 3\) inflated, \(8, 1, 3, 3, 3\) in the network"),
    ({"padding": "tf_same"}, None, "padding='symmetric' in the source, 'tf_same' in the network"),
])
def test_what_would_not_be_filled_whole_is_named(arguments, change, message):
    state = small(dims=2).state_dict()
    if change:
        change(state)
    with pytest.raises(ModelError, match=f"do not fit the network for volumes: .*{message}"):
        inflate(state, small(**arguments))


def test_gates_without_their_form_are_refused():
    plan = AttentionPlan()
    state = {key: value for key, value in small(dims=2, attention=plan).state_dict().items()
             if not key.endswith("attention.form")}
    with pytest.raises(ModelError, match=r"17 missing: backbone\.stages\.0\.0\.attention\.form"):
        inflate(state, small(attention=plan))


def test_wrong_arguments_are_named():
    state = small(dims=2).state_dict()
    with pytest.raises(UsageError, match="like must be a network for volumes, got Classifier without a 3-D convol"):
        inflate(state, small(dims=2))
    with pytest.raises(UsageError, match="mode must be 'centre' or 'mean', got 'middle'"):
        inflate(state, small(), mode="middle")
    with pytest.raises(UsageError, match="no kernel of a network for images"):
        inflate(small().state_dict(), small())
    with pytest.raises(ModelError, match="a kernel of depth 2 has no middle slice"):
        inflate(nn.Sequential(nn.Conv2d(1, 1, 2)).state_dict(), nn.Sequential(nn.Conv3d(1, 1, 2)))
