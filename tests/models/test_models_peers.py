"""Equality with public packages, which nobody here wrote; the weights cross over by the key map, which is so proved."""

import pytest
import torch

from excite.models.classifier import create_model
from excite.weights.keymap import guess_layout, to_excite
from excite.weights.load import load_weights
from lively import assert_equal, lively, varied_images
from references import PAIRS, VOLUMES, of_monai, of_timm, of_torchvision

pytestmark = pytest.mark.peers


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.label)
def test_equals_the_public_network_given_its_weights(pair):
    ours = create_model(pair.name, **pair.options).double().eval()
    for size in pair.sizes:
        images = varied_images(pair.images, size=size)
        reference = pair.reference(images)
        state = reference.state_dict()
        assert guess_layout(state) == pair.layout
        report = load_weights(ours, state)
        of_monai = ("a MONAI ResNet strides first",) if pair.source == "monai" and "SE" not in pair.theirs else ()
        assert (report.percent, report.part) == (100, "all"), report.text()
        assert tuple(note[:28] for note in report.notes) == of_monai
        with torch.no_grad():
            assert_equal(ours(images), reference(images))


AS_VOLUMES = ("mobilenetv2_100", "seresnext50_32x4d", "legacy_seresnext50_32x4d")


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.theirs in AS_VOLUMES], ids=lambda pair: pair.label)
def test_a_volume_that_repeats_an_image_is_answered_as_the_public_network_answers_the_image(pair):
    images = varied_images(4)
    reference = pair.reference(images)
    ours = create_model(pair.name, dims=3, **pair.options).double().eval()
    report = load_weights(ours, reference.state_dict())
    assert (report.percent, report.notes) == (100, ("inflated from 2-D (centre)",)), report.text()
    with torch.no_grad():
        assert_equal(ours(images.unsqueeze(2).repeat_interleave(4, dim=2)), reference(images))


@pytest.mark.parametrize("width", [0.35, 0.75, 1.4])
def test_other_widths_equal_torchvisions(width):
    images = varied_images(3)
    reference = lively(of_torchvision("mobilenet_v2", width_mult=width, num_classes=10), images)
    ours = create_model("mobilenet_v2", width=width, num_classes=10).double().eval()
    load_weights(ours, reference.state_dict())
    with torch.no_grad():
        assert_equal(ours(images), reference(images))


def without_its_mark(ours, state):
    """The weights with the form of `ours` in the place of their own."""
    return {**state, "backbone.form": ours.backbone.form}


@pytest.mark.parametrize(("name", "option"), [("se_resnet50", {"stride_in": "conv2", "ceil_pool": True}),
                                              ("se_resnet50", {"ceil_pool": False})])
def test_a_network_of_the_wrong_form_would_be_found_out(name, option):
    # The planted failure: with the form's mark taken away the weights load, and the outputs are not equal.
    images = varied_images(4)
    reference = lively(of_timm("legacy_seresnet50"), images)
    wrong = create_model(name, **option).double().eval()
    state = to_excite(reference.state_dict(), model_name=name, layout="cadene")
    wrong.load_state_dict(without_its_mark(wrong, state))
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(wrong(images), reference(images))


def test_a_volume_of_the_wrong_depth_stride_would_be_found_out():
    images = varied_images(2, size=(16, 64, 48))
    reference = lively(of_monai("SEResNet50", spatial_dims=3, num_classes=10), images)
    wrong = create_model("se_resnet50", **VOLUMES).double().eval()
    with pytest.raises(ValueError, match="depth_stride='2' in the source, '1' in the network"):
        load_weights(wrong, reference.state_dict())
    state = to_excite(reference.state_dict(), model_name="se_resnet50", layout="monai")
    wrong.load_state_dict(without_its_mark(wrong, state))
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(wrong(images), reference(images))


def test_a_bias_before_a_norm_that_is_dropped_would_be_found_out():
    images = varied_images(4)
    reference = lively(of_monai("resnet18", conv1_t_stride=2), images)
    state = reference.state_dict()
    ours = create_model("resnet18").double().eval()
    load_weights(ours, {key: value for key, value in state.items() if not key.endswith("downsample.0.bias")})
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(ours(images), reference(images))


@pytest.mark.parametrize("name", ["mobilenet_v2", "resnet18", "resnet50", "resnext50_32x4d"])
def test_first_weights_spread_as_torchvisions(name):
    ours = create_model(name)
    mapped = to_excite(of_torchvision(name).state_dict(), model_name=name, layout="torchvision")
    # torchvision leaves the classifier of a ResNet at PyTorch's own first weights, ours have a std of 0.01.
    for key, value in ours.backbone.named_parameters(prefix="backbone"):
        if value.numel() > 20_000 and value.ndim > 1:
            assert float(value.detach().std()) == pytest.approx(float(mapped[key].std()), rel=0.05), key
