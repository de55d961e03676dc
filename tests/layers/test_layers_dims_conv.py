import pytest
import torch
from torch import nn

from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.dims import axes, conv, max_pool, norm
from excite.layers.initialise import kaiming_fan_out
from excite.layers.width import make_divisible


@pytest.mark.parametrize("pick", [conv, norm, max_pool, axes])
def test_other_dims_are_an_error_that_says_which_there_are(pick):
    with pytest.raises(UsageError, match=r"dims must be 2 \(images\) or 3 \(volumes\), got 4"):
        pick(4)


def test_axes_are_the_spatial_ones():
    assert axes(2) == (2, 3) and axes(3) == (2, 3, 4)


# Widths of the published MobileNetV2 checkpoints (tensorflow/models, slim/nets/mobilenet): 0.35, 0.75, 1.4.
@pytest.mark.parametrize(("channels", "rounded"), [(32 * 0.35, 16), (16 * 0.35, 8), (24 * 0.75, 24), (32 * 0.75, 24),
                                                   (96 * 0.75, 72), (24 * 1.4, 32), (320 * 1.4, 448),
                                                   (1280 * 1.4, 1792)])
def test_widths_are_rounded_as_published(channels, rounded):
    assert make_divisible(channels) == rounded


def test_rounding_never_takes_more_than_a_tenth():
    for channels in range(1, 2000):
        assert make_divisible(channels) % 8 == 0 and make_divisible(channels) >= 0.9 * channels


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 2)])
@pytest.mark.parametrize("size", [1, 7, 8])
def test_sizes_are_rounded_up(kernel, stride, size):
    y = ConvNormAct(2, 4, kernel, stride=stride)(torch.rand(2, 2, size, 9))
    assert y.shape == (2, 4, -(-size // stride), -(-9 // stride))


def test_a_brick_is_convolution_norm_and_activation_without_bias():
    brick = ConvNormAct(3, 5, 3, act=nn.ReLU6).eval()
    x = torch.randn(2, 3, 8, 8)
    expected = torch.nn.functional.conv2d(x, brick.conv.weight, padding=1) / (1 + 1e-5) ** 0.5
    torch.testing.assert_close(brick(x), expected.clamp(0, 6))
    assert set(dict(brick.named_parameters())) == {"conv.weight", "norm.weight", "norm.bias"}


@pytest.mark.parametrize("dims", [2, 3])
def test_first_weights_have_the_published_spread(dims):
    torch.manual_seed(0)
    brick = ConvNormAct(96, 128, 3, groups=8, dims=dims)
    kaiming_fan_out(brick)
    weight = brick.conv.weight.detach()
    spread = (2 / (3 ** dims * 128)) ** 0.5
    assert float(weight.std()) == pytest.approx(spread, rel=0.03)
    assert abs(float(weight.mean())) < 0.05 * spread
    untouched = ConvNormAct(96, 128, 3, groups=8, dims=dims).conv.weight.detach()
    assert float(untouched.std()) != pytest.approx(spread, rel=0.03)
