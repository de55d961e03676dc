import math

import numpy as np
import pytest
import torch
from gate_toy import assert_same, awake, flat, sigmoid, wide

from excite.attention.eca import EfficientChannelAttention, neighbours
from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.models.classifier import create_model
from lively import assert_equal, varied_images

RESNET50 = 25_557_032


@pytest.mark.parametrize("kernel_size", [None, 1, 5])
@pytest.mark.parametrize("size", [(5, 7), (3, 5, 4)])
@pytest.mark.parametrize("start", ["paper", "open"])
def test_equals_the_equation_in_numpy(size, kernel_size, start):
    x = varied_images(3, channels=12, size=size)
    eca = awake(EfficientChannelAttention(12, dims=len(size), kernel_size=kernel_size, start=start), x)
    kernel = eca.excite.weight.detach().numpy().ravel()
    assert len(kernel) == (kernel_size or 3) and sum(value.numel() for value in eca.parameters()) == len(kernel)
    reach = len(kernel) // 2
    means = np.pad(flat(x).mean(-1), ((0, 0), (reach, reach)))
    found = np.stack([means[:, i:i + len(kernel)] @ kernel for i in range(12)], axis=1)
    assert_same(eca(x), x.numpy() * wide(sigmoid(found) * (2 if start == "open" else 1), len(size)))


def nearest_odd(value):
    return min(range(1, 99, 2), key=lambda odd: (abs(odd - value), -odd))


def test_the_kernel_is_the_nearest_odd_number_of_equation_12():
    for channels in range(1, 4097):
        assert neighbours(channels) == nearest_odd((math.log2(channels) + 1) / 2), channels
    found = {channels: neighbours(channels) for channels in (1, 7, 8, 64, 127, 128, 512, 2047, 2048)}
    assert found == {1: 1, 7: 1, 8: 3, 64: 3, 127: 3, 128: 5, 512: 5, 2047: 5, 2048: 7}
    assert round((math.log2(64) + 1) / 2) != neighbours(64)  # the planted failure: 3.5 rounded is even


@pytest.mark.parametrize("kernel_size", [0, 2, 4, -1, 3.0, True, "3"])
def test_an_even_kernel_is_named(kernel_size):
    with pytest.raises(UsageError, match="kernel_size must be an odd whole number, got"):
        EfficientChannelAttention(16, kernel_size=kernel_size)


@pytest.mark.parametrize(("options", "added"), [({"kernel_size": (3, 5, 5, 7)}, 80), ({}, 86)])
def test_the_80_parameters_of_the_abstract_are_not_those_of_equation_12(options, added):
    with torch.device("meta"):
        model = create_model("resnet50", attention=AttentionPlan(kind="eca", options=options))
    assert sum(value.numel() for value in model.parameters()) == RESNET50 + added


def test_weights_for_images_are_weights_for_volumes():
    x = varied_images(3, channels=12)
    flat_one = awake(EfficientChannelAttention(12), x)
    deep = EfficientChannelAttention(12, dims=3).double()
    deep.load_state_dict(flat_one.state_dict())
    with torch.no_grad():
        torch.testing.assert_close(deep(x.unsqueeze(2)), flat_one(x).unsqueeze(2), rtol=1e-12, atol=1e-12)


@pytest.mark.peers
@pytest.mark.parametrize("channels", [8, 12, 64, 128, 2048])
def test_equals_timms_module_given_its_weights(channels):
    from timm.layers.eca import EcaModule

    theirs, x = EcaModule(channels).double(), varied_images(4, channels=channels, size=(5, 3))
    ours = EfficientChannelAttention(channels).double()
    ours.load_state_dict({"excite.weight": theirs.conv.weight, "form": ours.form})
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))


@pytest.mark.peers
def test_timm_never_goes_below_three():
    from timm.layers.eca import EcaModule

    theirs, x = EcaModule(4).double(), varied_images(4, channels=4, size=(5, 3))
    assert EfficientChannelAttention(4).excite.weight.numel() == 1
    ours = EfficientChannelAttention(4, kernel_size=3).double()
    ours.load_state_dict({"excite.weight": theirs.conv.weight, "form": ours.form})
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))
