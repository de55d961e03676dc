"""Equality with public packages, which nobody here wrote; the weights cross over by the key map, which is so proved.

What had to be told them to be the same network: MONAI's ResNets their first stride, which is 1 there;
pretrainedmodels' networks a pool of any size, theirs takes images of 224 only. Ours, in 3-D beside MONAI's SE
networks: depth_stride=2.
"""

import importlib.util
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import nn

from excite.models.classifier import create_model
from excite.weights.keymap import guess_layout, to_excite
from excite.weights.load import load_weights
from lively import assert_equal, lively, varied_images

pytestmark = pytest.mark.peers

SMALL, ODD = (64, 64), (97, 65)


def of_torchvision(name, **options):
    import torchvision

    return getattr(torchvision.models, name)(**options)


def of_timm(name, **options):
    import timm

    return timm.create_model(name, **options)


def of_monai(name, **options):
    from monai.networks import nets

    first = "in_channels" if name.startswith("SE") else "n_input_channels"
    return getattr(nets, name)(**{"spatial_dims": 2, first: 3, "num_classes": 1000} | options)


def of_pretrainedmodels(name):
    package = Path(importlib.util.find_spec("pretrainedmodels").origin).parent  # not imported: it asks for more
    spec = importlib.util.spec_from_file_location("pretrained_senet", package / "models" / "senet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    network = getattr(module, name)(pretrained=None)
    network.avg_pool = nn.AdaptiveAvgPool2d(1)
    return network


BUILD = {"torchvision": of_torchvision, "timm": of_timm, "monai": of_monai, "pretrainedmodels": of_pretrainedmodels}


class Pair(NamedTuple):
    """A public network, and ours."""

    source: str
    theirs: str
    name: str
    layout: str
    options: dict = {}
    their_options: dict = {}
    sizes: tuple = (SMALL, ODD)
    images: int = 4

    def reference(self, images):
        torch.manual_seed(0)
        return lively(BUILD[self.source](self.theirs, **self.their_options), images)


CONV2 = {"stride_in": "conv2"}
LARGE = {"sizes": (SMALL,), "images": 2}
VOLUMES = {"dims": 3, "num_classes": 10}
PAIRS = [
    Pair("torchvision", "mobilenet_v2", "mobilenet_v2", "torchvision"),
    Pair("timm", "mobilenetv2_100", "mobilenet_v2", "timm"),
    Pair("torchvision", "resnet18", "resnet18", "torchvision"),
    Pair("torchvision", "resnet34", "resnet34", "torchvision"),
    Pair("torchvision", "resnet50", "resnet50", "torchvision"),
    Pair("torchvision", "resnet101", "resnet101", "torchvision", **LARGE),
    Pair("torchvision", "resnet152", "resnet152", "torchvision", **LARGE),
    Pair("torchvision", "resnext50_32x4d", "resnext50_32x4d", "torchvision"),
    Pair("torchvision", "resnext101_32x8d", "resnext101_32x8d", "torchvision", **LARGE),
    Pair("timm", "resnet18", "resnet18", "torchvision"),
    Pair("timm", "resnet34", "resnet34", "torchvision"),
    Pair("timm", "resnet50", "resnet50", "torchvision"),
    Pair("timm", "resnext50_32x4d", "resnext50_32x4d", "torchvision"),
    Pair("timm", "seresnet50", "se_resnet50", "timm", CONV2),
    Pair("timm", "seresnet101", "se_resnet101", "timm", CONV2, **LARGE),
    Pair("timm", "seresnext50_32x4d", "se_resnext50_32x4d", "timm", {"ceil_pool": False}),
    Pair("timm", "legacy_seresnet50", "se_resnet50", "cadene"),
    Pair("timm", "legacy_seresnet101", "se_resnet101", "cadene", **LARGE),
    Pair("timm", "legacy_seresnet152", "se_resnet152", "cadene", **LARGE),
    Pair("timm", "legacy_seresnext50_32x4d", "se_resnext50_32x4d", "cadene"),
    Pair("timm", "legacy_seresnext101_32x4d", "se_resnext101_32x4d", "cadene", **LARGE),
    Pair("timm", "legacy_senet154", "senet154", "cadene", **LARGE),
    Pair("pretrainedmodels", "se_resnet50", "se_resnet50", "cadene"),
    Pair("pretrainedmodels", "se_resnet101", "se_resnet101", "cadene", **LARGE),
    Pair("pretrainedmodels", "se_resnext50_32x4d", "se_resnext50_32x4d", "cadene"),
    Pair("pretrainedmodels", "senet154", "senet154", "cadene", **LARGE),
    Pair("monai", "resnet18", "resnet18", "torchvision", {}, {"conv1_t_stride": 2}),
    Pair("monai", "resnet50", "resnet50", "torchvision", {}, {"conv1_t_stride": 2}),
    Pair("monai", "SEResNet50", "se_resnet50", "monai"),
    Pair("monai", "SEResNext50", "se_resnext50_32x4d", "monai"),
    Pair("monai", "SENet154", "senet154", "monai", **LARGE),
    Pair("monai", "resnet18", "resnet18", "torchvision", VOLUMES,
         {"spatial_dims": 3, "num_classes": 10, "conv1_t_stride": (1, 2, 2)}, ((5, 64, 48), (1, 33, 65)), 2),
    Pair("monai", "resnet50", "resnet50", "torchvision", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10, "conv1_t_stride": 2}, ((17, 64, 48),), 2),
    Pair("monai", "SEResNet50", "se_resnet50", "monai", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10}, ((16, 64, 48), (19, 49, 33)), 2),
    Pair("monai", "SEResNext50", "se_resnext50_32x4d", "monai", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10}, ((16, 64, 48), (19, 49, 33)), 2),
    Pair("monai", "SENet154", "senet154", "monai", VOLUMES | {"depth_stride": 2},
         {"spatial_dims": 3, "num_classes": 10}, ((16, 32, 48),), 2),
]


def label(pair):
    return f"{pair.source}-{pair.theirs}{'-volume' if 'dims' in pair.options else ''}"


@pytest.mark.parametrize("pair", PAIRS, ids=label)
def test_equals_the_public_network_given_its_weights(pair):
    ours = create_model(pair.name, **pair.options).double().eval()
    for size in pair.sizes:
        images = varied_images(pair.images, size=size)
        reference = pair.reference(images)
        state = reference.state_dict()
        assert guess_layout(state) == pair.layout
        report = load_weights(ours, state)
        assert (report.percent, report.part, report.notes) == (100, "all", ()), report.text()
        with torch.no_grad():
            assert_equal(ours(images), reference(images))


@pytest.mark.parametrize("pair", [pair for pair in PAIRS if pair.theirs in ("mobilenetv2_100", "seresnext50_32x4d",
                                                                           "legacy_seresnext50_32x4d")], ids=label)
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
