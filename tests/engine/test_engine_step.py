"""Images reach the network in the memory layout that the loop asks for, whatever layout they came in."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
import torch
from torch import nn

from excite.engine.sections import LoopSection
from excite.engine.state import arrange, prefers_last
from excite.engine.step import place
from excite.models.classifier import create_model


def placed(images: torch.Tensor, *, channels_last: bool) -> torch.Tensor:
    return place(cast(Any, SimpleNamespace(device="cpu", loop=SimpleNamespace(channels_last=channels_last))), images)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("volume", [False, True])
@pytest.mark.parametrize("came_last", [False, True])
def test_the_strides_are_those_of_the_layout(channels: int, volume: bool, came_last: bool) -> None:
    """One channel counts as contiguous in both layouts, so asking for the other one changes nothing."""
    size = (2, 3, 5, 7) if volume else (2, 5, 7)
    last = torch.channels_last_3d if volume else torch.channels_last
    images = torch.rand(size[0], channels, *size[1:])
    came = images.movedim(1, -1).contiguous().movedim(-1, 1) if came_last else images
    for wanted in (True, False):
        found = placed(came, channels_last=wanted)
        layout = last if wanted else torch.contiguous_format
        assert found.stride() == torch.empty(images.shape, memory_format=layout).stride()
        assert torch.equal(found, images)
        assert (found.data_ptr() == came.data_ptr()) == (channels == 1 or wanted == came_last)  # one channel: no copy


def test_the_maps_of_a_network_of_grey_images_have_the_layout() -> None:
    """A convolution of one channel cannot tell the layout by its weights, so its maps follow the images' strides."""
    layer, images = arrange(nn.Conv2d(1, 8, 3), channels_last=True), torch.rand(2, 1, 9, 9)
    as_they_came = layer(images.contiguous(memory_format=torch.channels_last))
    assert not as_they_came.is_contiguous(memory_format=torch.channels_last)  # the trap
    found = layer(placed(images, channels_last=True))
    assert found.is_contiguous(memory_format=torch.channels_last) and torch.allclose(found, as_they_came, atol=1e-6)


def test_features_without_an_image_layout_stay_as_they_are() -> None:
    vectors = torch.rand(4, 9)
    assert torch.equal(placed(vectors, channels_last=True), vectors)


def test_the_layout_is_the_configs_or_else_the_networks_own() -> None:
    network = create_model("hybridsn", in_channels=15, window=11, num_classes=3)
    plain = nn.Conv2d(3, 4, 3)
    assert not prefers_last(network, LoopSection()) and prefers_last(network, LoopSection(channels_last=True))
    assert prefers_last(plain, LoopSection()) and not prefers_last(plain, LoopSection(channels_last=False))
