"""Equality with public packages, which nobody here wrote; the weights cross over by the key map, which is so proved."""

import pytest
import torch

from excite.models.classifier import create_model
from excite.weights.keymap import guess_layout, to_excite
from lively import assert_equal, lively, varied_images

pytestmark = pytest.mark.peers


def theirs(source, name):
    if source == "torchvision":
        import torchvision

        return getattr(torchvision.models, name)()
    import timm

    return timm.create_model(name)


PAIRS = [
    ("torchvision", "mobilenet_v2", "mobilenet_v2", {}, "torchvision"),
    ("torchvision", "resnet50", "resnet50", {"stride_in": "conv2"}, "torchvision"),
    ("torchvision", "resnext50_32x4d", "resnext50_32x4d", {}, "torchvision"),
    ("timm", "legacy_seresnext50_32x4d", "se_resnext50_32x4d", {}, "cadene"),
    ("timm", "legacy_seresnet50", "se_resnet50", {}, "cadene"),
    ("timm", "seresnet50", "se_resnet50", {"stride_in": "conv2"}, "timm"),
    ("timm", "mobilenetv2_100", "mobilenet_v2", {}, "timm"),
]


@pytest.mark.parametrize(("source", "their_name", "name", "options", "layout"), PAIRS)
@pytest.mark.parametrize("size", [(64, 64), (97, 65)])
def test_equals_the_public_network_given_its_weights(source, their_name, name, options, layout, size):
    torch.manual_seed(0)
    images = varied_images(4, size=size)
    reference = lively(theirs(source, their_name), images)
    state = reference.state_dict()
    assert guess_layout(state) == layout
    ours = create_model(name, **options).double().eval()
    ours.load_state_dict(to_excite(state, model_name=name, layout=layout))
    with torch.no_grad():
        assert_equal(ours(images), reference(images))


@pytest.mark.parametrize("width", [0.35, 0.75, 1.4])
def test_other_widths_equal_torchvisions(width):
    import torchvision

    images = varied_images(3)
    reference = lively(torchvision.models.mobilenet_v2(width_mult=width, num_classes=10), images)
    ours = create_model("mobilenet_v2", width=width, num_classes=10).double().eval()
    ours.load_state_dict(to_excite(reference.state_dict(), model_name="mobilenet_v2", layout="torchvision"))
    with torch.no_grad():
        assert_equal(ours(images), reference(images))


@pytest.mark.parametrize(("name", "option"), [("se_resnet50", {"stride_in": "conv2", "ceil_pool": True}),
                                              ("se_resnet50", {"ceil_pool": False})])
def test_a_network_of_the_wrong_form_would_be_found_out(name, option):
    # The planted failure: with the form's mark taken away the weights load, and the outputs are not equal.
    images = varied_images(4)
    reference = lively(theirs("timm", "legacy_seresnet50"), images)
    wrong = create_model(name, **option).double().eval()
    state = to_excite(reference.state_dict(), model_name=name, layout="cadene")
    wrong.load_state_dict({**state, "backbone.form": wrong.backbone.form})
    with torch.no_grad(), pytest.raises(AssertionError):
        assert_equal(wrong(images), reference(images))


def test_first_weights_spread_as_torchvisions():
    ours = create_model("mobilenet_v2")
    reference = theirs("torchvision", "mobilenet_v2")
    mapped = to_excite(reference.state_dict(), model_name="mobilenet_v2", layout="torchvision")
    for key, value in ours.named_parameters():
        if value.numel() > 20_000 and value.ndim > 1:
            assert float(value.detach().std()) == pytest.approx(float(mapped[key].std()), rel=0.05), key
