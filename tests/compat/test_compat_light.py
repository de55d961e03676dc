"""Names of the document on light networks, and that its listings' faults did not come along (T4-2, T4-3)."""

import pytest
import torch
from torch.nn import functional

from excite.compat import (
    ConvBNReLU,
    InvertedResidual,
    MobileNetV2,
    channel_shuffle,
    hsigmoid,
    hswish,
    mobilenet_v3_large,
    mobilenet_v3_small,
)
from excite.errors import EnvironmentFault, UsageError
from excite.models.classifier import create_model


def parameters(build, *arguments, **options):
    with torch.device("meta"):
        return sum(value.numel() for value in build(*arguments, **options).parameters())


@pytest.mark.parametrize(("alpha", "count"), [(1.0, 3_504_872), (0.75, 2_238_984), (0.5, 1_225_000), (0.35, 750_280),
                                              (0.25, 480_392), (1.4, 6_108_776)])
def test_the_listing_scales_the_last_layer_too(alpha, count):  # S4-05; the paper's rule is test_models_mobilenet_v2's
    assert parameters(MobileNetV2, 1000, alpha) == count


def test_round_nearest_is_what_channels_are_multiples_of():
    with torch.device("meta"):
        assert {channels % 16 for channels in MobileNetV2(alpha=0.7, round_nearest=16).backbone.channels} == {0}
    assert parameters(MobileNetV2, 1000, 0.7, 16) != parameters(MobileNetV2, 1000, 0.7, 8)


def test_the_block_is_that_of_the_network():
    torch.manual_seed(0)
    network = create_model("mobilenet_v2").backbone.eval()
    place = network.get_submodule("stages.3.1")
    block = InvertedResidual(64, 64, 1, 6).eval()
    block.load_state_dict(place.state_dict())
    x = torch.randn(2, 64, 7, 7)
    assert torch.equal(block(x), place(x)) and not torch.equal(block(x), block.branch(x))
    assert InvertedResidual(64, 96, 1, 6).shortcut is None and InvertedResidual(64, 64, 2, 6).shortcut is None
    assert len(InvertedResidual(32, 16, 1, 1).branch) == 2
    with pytest.raises(UsageError, match="stride must be 1 or 2, got 3"):
        InvertedResidual(8, 8, 3, 6)


def test_the_brick_ends_at_six():
    brick = ConvBNReLU(3, 8, stride=2).eval()
    torch.nn.init.constant_(brick.conv.weight, 9.0)
    assert float(brick(torch.ones(1, 3, 8, 8)).detach().max()) == 6


def test_the_hard_activations_are_torchs_and_leave_their_input():  # S4-08, T4-3
    x = torch.linspace(-5, 5, 101)
    kept = x.clone()
    assert torch.equal(hswish()(x), functional.hardswish(x)) and torch.equal(hsigmoid()(x), functional.hardsigmoid(x))
    assert torch.equal(x, kept)
    for kind in (hswish, hsigmoid):
        with pytest.raises(UsageError, match=rf"{kind.__name__} is a module, not a function; {kind.__name__}\(\)\(x\)"):
            kind(x)


def test_h_swish_stands_for_swish_and_not_for_relu():  # T4-13
    x = torch.linspace(-5, 5, 101)
    swish = x * torch.sigmoid(x)
    assert float((hswish()(x) - swish).abs().max()) < 0.15 < float((x.relu() - swish).abs().max())


def test_the_shuffle_is_the_documents():
    x = torch.arange(12.0).view(1, 12, 1, 1)
    assert channel_shuffle(x, 3).flatten().tolist() == [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11]


@pytest.mark.parametrize(("build", "count"), [(mobilenet_v3_large, 5_483_032), (mobilenet_v3_small, 2_542_856)])
def test_version_three_counts_and_dilates(build, count):  # T4-2
    assert parameters(build) == count
    with torch.device("meta"):
        x = torch.rand(1, 3, 224, 224)
        assert build(dilated=True).eval().backbone(x).shape[2:] == (14, 14)
        assert build().eval().backbone(x).shape[2:] == (7, 7)


@pytest.mark.parametrize("build", [mobilenet_v3_large, mobilenet_v3_small])
def test_weights_are_loaded_or_refused_and_never_ignored(build):  # T4-2
    with pytest.raises((EnvironmentFault, UsageError)):
        build(weights="imagenet")
    state = {key: value + 1 if value.is_floating_point() else value
             for key, value in build(num_classes=3).state_dict().items()}
    assert torch.equal(build(num_classes=3, weights=state).classifier.weight, state["classifier.weight"])
