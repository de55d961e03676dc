"""Where torch's bfloat16 gradients of convolutions are wrong, excite's are not."""

import pytest
import torch
from torch import nn

from excite.layers.bfloat16 import wrong_in_bfloat16
from excite.layers.volume import VolumeConv


def gradients(conv, x):
    conv.zero_grad()
    x = x.clone().requires_grad_()
    y = conv(x)
    (y.float() * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
    return conv.weight.grad.clone(), x.grad


def poisoned():
    """Freed memory is full of NaN, so that a gradient that is not written shows."""
    for count in (2**16, 2**18, 2**20):
        held = [torch.full((count,), float("nan")) for _ in range(3)]
        del held


@pytest.mark.parametrize(("size", "kernel", "stride"), [((2, 7, 7), 3, 1), ((3, 6, 6), 5, 1), ((2, 4, 4), (3, 1, 1), 1),
                                                        ((4, 5, 1), 3, (1, 1, 2)), ((5, 2, 7), (3, 7, 7), 1)])
def test_a_volume_of_few_slices_has_right_gradients(size, kernel, stride):
    torch.manual_seed(0)
    padding = tuple(one // 2 for one in kernel) if isinstance(kernel, tuple) else kernel // 2
    conv, x = VolumeConv(32, 32, kernel, stride, padding), torch.randn(4, 32, *size)
    assert wrong_in_bfloat16(conv, size)
    expected = gradients(conv, x)
    for _ in range(3):
        poisoned()
        with torch.autocast("cpu", torch.bfloat16):
            found = gradients(conv, x)
        for one, other in zip(found, expected, strict=True):
            assert one.dtype == torch.float32 and float((one - other).abs().max() / other.abs().max()) < 0.02


@pytest.mark.parametrize(("conv", "size", "wrong"), [
    (nn.Conv3d(4, 4, 3, padding=1), (2, 7, 7), True),
    (nn.Conv3d(4, 4, 3, padding=1), (3, 7, 7), False),
    (nn.Conv3d(4, 4, 3, padding=1), (1, 7, 7), False),
    (nn.Conv3d(4, 4, 3, padding=2, dilation=2), (4, 7, 7), True),
    (nn.Conv3d(4, 4, (1, 3, 3), padding=(0, 1, 1)), (2, 7, 7), False),
    (nn.Conv3d(4, 4, 1), (2, 7, 7), False),
    (nn.Conv3d(4, 4, 3, (1, 2, 2), padding=1), (7, 1, 7), True),
    (nn.Conv3d(4, 4, (1, 3, 3), (1, 2, 1), padding=(0, 1, 1)), (7, 1, 7), True),
    (nn.Conv3d(4, 4, (3, 7, 7), padding=(1, 3, 3)), (5, 2, 7), True),
    (nn.Conv3d(4, 4, (3, 7, 7), padding=(1, 3, 3)), (5, 7, 7), False),
    (nn.Conv3d(4, 4, (1, 7, 1), (1, 1, 3), padding=(0, 3, 0)), (7, 1, 3), True),
    (nn.Conv3d(4, 4, (3, 3, 7), padding=(1, 1, 3)), (5, 7, 2), True),
    (nn.Conv2d(4, 4, 3, stride=2, padding=1), (5, 1), True),
    (nn.Conv2d(4, 4, 3, stride=2, padding=1), (1, 2), False),
    (nn.Conv2d(4, 4, 3, padding=1), (1, 1), False),
    (nn.Linear(4, 4), (1, 1), False)])
def test_the_shapes_are_named(conv, size, wrong):
    assert wrong_in_bfloat16(conv, size) == wrong
