"""TensorFlow's "SAME" against zeros put by hand: (0, 1) for 3 x 3 and (1, 2) for 5 x 5 at stride 2 and even sizes."""

from functools import partial

import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.padding import TFSame, padding_for

# (kernel, stride, size): zeros before and after. From TensorFlow's rule, out = ceil(size / stride), by hand.
BY_HAND = {
    (3, 2, 8): (0, 1), (3, 2, 7): (1, 1), (3, 2, 2): (0, 1), (3, 2, 1): (1, 1), (5, 2, 8): (1, 2), (5, 2, 9): (2, 2),
    (5, 2, 3): (2, 2), (3, 1, 8): (1, 1), (3, 1, 7): (1, 1), (5, 1, 8): (2, 2), (5, 1, 9): (2, 2), (3, 1, 1): (1, 1),
    (5, 1, 3): (2, 2), (3, 1, 2): (1, 1), (5, 2, 2): (1, 2), (5, 1, 2): (2, 2), (5, 1, 1): (2, 2), (5, 2, 1): (2, 2),
    (5, 1, 7): (2, 2), (5, 2, 7): (2, 2), (3, 1, 3): (1, 1), (3, 2, 3): (1, 1), (3, 1, 9): (1, 1), (3, 2, 9): (1, 1),
}


def by_hand(x, brick, kernel, strides):
    """The convolution with explicit zeros before it; the last axis comes first in functional.pad."""
    zeros = [one for size, stride in zip(reversed(x.shape[2:]), reversed(strides), strict=True)
             for one in BY_HAND[kernel, stride, size]]
    convolve = functional.conv2d if x.ndim == 4 else functional.conv3d
    return convolve(functional.pad(x, zeros), brick.conv.weight, stride=strides, groups=brick.conv.groups)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize(("strides", "size"), [
    ((1, 1), (8, 7)), ((2, 2), (8, 8)), ((2, 2), (7, 9)), ((2, 2), (8, 7)), ((2, 1), (8, 9)), ((2, 2), (1, 2)),
    ((1, 2, 2), (3, 8, 7)), ((2, 2, 2), (1, 7, 8)), ((2, 2, 2), (2, 8, 8)), ((1, 1, 1), (1, 2, 3))])
def test_equals_zeros_by_hand_and_a_convolution(strides, size, kernel, groups):
    brick = ConvNormAct(4, 4, kernel, dims=len(size), stride=strides, groups=groups, act=None, padding="tf_same",
                        eps=0.0).double().eval()
    x = torch.randn(2, 4, *size, dtype=torch.float64)
    found, expected = brick(x), by_hand(x, brick, kernel, strides)
    assert found.shape[2:] == tuple(-(-n // s) for n, s in zip(size, strides, strict=True))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_the_published_networks_pads_are_those_of_their_page():
    x = torch.randn(1, 3, 10, 12)
    for kernel, zeros in ((3, (0, 1, 0, 1)), (5, (1, 2, 1, 2))):
        assert torch.equal(TFSame(kernel, (2, 2))(x), nn.ZeroPad2d(zeros)(x))


def test_symmetric_padding_differs_at_even_sizes_and_not_at_odd_ones():
    same, plain = (ConvNormAct(3, 5, stride=2, padding=padding).double().eval() for padding in ("tf_same", "symmetric"))
    plain.load_state_dict(same.state_dict())
    odd, even = (torch.randn(1, 3, side, side, dtype=torch.float64) for side in (9, 10))
    torch.testing.assert_close(same(odd), plain(odd), rtol=0, atol=1e-12)
    assert not torch.allclose(same(even), plain(even), rtol=0.1)


def test_a_dilated_kernel_is_padded_by_its_span():
    x = torch.randn(1, 1, 9, 9)
    assert TFSame(3, (2, 2), dilation=2)(x).shape == (1, 1, 13, 13)  # 5 places out, (5 - 1) * 2 + 5


@pytest.mark.parametrize(("kernel", "stride"), [(3, (1, 1)), (1, (2, 2)), (5, (1, 1, 1))])
def test_where_both_are_the_same_nothing_is_put_before(kernel, stride):
    assert padding_for("tf_same", kernel, stride, 1) is None and padding_for("symmetric", kernel, stride, 1) is None


def test_a_wrong_name_is_an_error():
    with pytest.raises(UsageError, match="padding must be 'symmetric' or 'tf_same', got 'same'; 'tf_same' is for"):
        ConvNormAct(3, 5, padding="same")


@pytest.mark.parametrize("size", [(16, 18), (9, 12), (5, 16, 9)])
def test_exports_for_any_batch(size):
    brick = partial(ConvNormAct, dims=len(size), stride=2, padding="tf_same")
    layers = nn.Sequential(brick(3, 6), brick(6, 6, 5, groups=6)).double().eval()
    x = torch.randn(3, 3, *size, dtype=torch.float64)
    axes = {0: torch.export.Dim("batch", min=1)}
    program = torch.export.export(layers, (x[:2],), dynamic_shapes=(axes,))
    torch.testing.assert_close(program.module()(x), layers(x), rtol=0, atol=1e-12)
