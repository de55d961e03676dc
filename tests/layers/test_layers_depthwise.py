from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional

from excite.layers import depthwise as depthwise_module
from excite.layers.conv import ConvNormAct
from excite.layers.depthwise import Depthwise, depthwise, input_gradient, kernel_gradient, weight_gradient
from excite.layers.volume import VolumeConv


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(depthwise_module, "CHUNK", 40_000)  # several chunks, the last one short


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("size", [(16, 16), (15, 18), (1, 7), (33, 32)])
def test_the_input_gradient_is_autograds(size, stride, kernel):
    x = torch.randn(7, 6, *size, dtype=torch.float64, requires_grad=True)
    plain = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=False).double()
    y = plain(x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    ours = input_gradient(gradient, plain.weight.detach(), x.detach(), stride)
    torch.testing.assert_close(ours, x.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [1, 3, 5, 7, (3, 5), (1, 5), (7, 3)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 2), (3, 2)])
@pytest.mark.parametrize("size", [(16, 16), (15, 18), (1, 7)])
def test_the_weight_gradient_is_autograds(size, stride, kernel):
    x = torch.randn(3, 6, *size, dtype=torch.float64)
    padding = tuple(one // 2 for one in kernel) if isinstance(kernel, tuple) else kernel // 2
    plain = nn.Conv2d(6, 6, kernel, stride, padding, groups=6, bias=False).double()
    y = plain(x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    ours = weight_gradient(gradient, x, plain.weight.detach(), stride)
    torch.testing.assert_close(ours, plain.weight.grad, rtol=0, atol=1e-11)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 1), (5, 2)])
def test_under_bf16_autocast_it_is_the_plain_convolution(memory, bias, kernel, stride):
    torch.manual_seed(0)
    ours = Depthwise(8, 8, kernel, stride, kernel // 2, groups=8, bias=bias)
    plain = nn.Conv2d(8, 8, kernel, stride, kernel // 2, groups=8, bias=bias)
    plain.load_state_dict(ours.state_dict())
    found = []
    for layer in (ours, plain):
        x = torch.randn(5, 8, 17, 20, generator=torch.Generator().manual_seed(1)).to(memory_format=memory)
        x.requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(x)
        y.float().square().sum().backward()
        found.append([y.detach().float(), x.grad, *(value.grad for value in layer.parameters())])
    assert ours.weight.grad.dtype == torch.float32 and y.dtype == torch.bfloat16
    for mine, theirs in zip(*found, strict=True):
        assert float((mine - theirs).norm()) < 0.01 * float(theirs.norm())


def test_the_other_way_is_taken_under_bf16_autocast_with_gradients_only(monkeypatch):
    calls = []
    real = depthwise_module.input_gradient
    monkeypatch.setattr(depthwise_module, "input_gradient", lambda *given: calls.append(1) or real(*given))
    layer = Depthwise(4, 4, 3, 2, 1, groups=4)
    x = torch.randn(2, 4, 8, 8, requires_grad=True)
    layer(x).sum().backward()
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        layer(x)
    assert calls == []
    with torch.autocast("cpu", torch.bfloat16):
        layer(x).float().sum().backward()
    assert calls == [1]


def test_a_wrong_turn_of_the_kernel_would_be_found_out():
    weight, gradient = torch.randn(2, 1, 3, 3, dtype=torch.float64), torch.randn(1, 2, 4, 4, dtype=torch.float64)
    right = input_gradient(gradient, weight, torch.zeros(1, 2, 8, 8, dtype=torch.float64), (2, 2))
    wrong = input_gradient(gradient, weight.flip(2, 3), torch.zeros(1, 2, 8, 8, dtype=torch.float64), (2, 2))
    assert not torch.allclose(right, wrong)


def test_a_brick_uses_it_where_it_is_depth_wise_and_slow_only():
    def kind(*, size=3, **arguments):
        return type(ConvNormAct(8, 8, size, **arguments).conv)

    assert kind(groups=8, stride=2) is kind(groups=8, size=5) is kind(groups=8, size=5, stride=2) is Depthwise
    assert kind(groups=2, size=5) is nn.Conv2d
    assert kind(groups=8) is kind(stride=2) is kind(groups=4, stride=2) is nn.Conv2d
    assert kind(groups=8, stride=2, dims=3) is kind(dims=3) is VolumeConv


LAST = torch.channels_last_3d


def plain(x, weight, *steps):
    return functional.conv3d(x, weight, None, *steps, len(weight))


def with_gradients(convolve, x, weight, steps, seed=1):
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    y = convolve(x, weight, *steps)
    gradient = torch.randn(y.shape, generator=torch.Generator().manual_seed(seed), dtype=y.dtype)
    return y, *torch.autograd.grad(y, (x, weight), gradient)


@pytest.mark.parametrize("kernel", [(1, 1, 1), (3, 3, 3), (5, 5, 5), (2, 3, 1), (1, 3, 3)])
@pytest.mark.parametrize("stride", [(1, 1, 1), (2, 2, 2), (1, 2, 2), (3, 1, 2)])
def test_gradients_of_volumes_are_autograds(kernel, stride, monkeypatch):
    monkeypatch.setattr(depthwise_module, "CHUNK", 3_000)  # slabs of one plane, and of several
    torch.manual_seed(0)
    seen = 0
    for pad, dilation, size, count in product((0, 1, 2), (1, 2), ((6, 7, 5), (9, 5, 6), (7, 1, 8)), (1, 3)):
        padding = tuple(min(pad, dilation * (side - 1)) for side in kernel)
        if any(side + 2 * around <= dilation * (k - 1) for side, around, k in zip(size, padding, kernel, strict=True)):
            continue  # the kernel is larger than the map
        x, weight = torch.randn(count, 4, *size).double(), torch.randn(4, 1, *kernel).double()
        steps, seen = (stride, padding, (dilation,) * 3), seen + 1
        found = with_gradients(depthwise, x.contiguous(memory_format=LAST), weight, steps)
        for mine, theirs in zip(found, with_gradients(plain, x, weight, steps), strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-12)
    assert seen >= 10


def test_gradients_of_gradients_are_torchs():
    torch.manual_seed(0)
    x = torch.randn(1, 2, 3, 2, 4, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 1, 3, 3, 3, dtype=torch.float64, requires_grad=True)
    for stride in ((1, 1, 1), (2, 1, 2)):
        def convolve(x, w, stride=stride):
            return depthwise(x.contiguous(memory_format=LAST), w, stride, (1, 1, 1), (1, 1, 1))

        assert torch.autograd.gradcheck(convolve, (x, weight))
        assert torch.autograd.gradgradcheck(convolve, (x, weight))


def test_a_kernels_gradient_is_summed_up_in_float32_of_bf16_maps_too():
    torch.manual_seed(0)
    x, gradient = (torch.rand(2, 3, 9, 20, 20).bfloat16() for _ in range(2))
    weight = torch.zeros(3, 1, 3, 3, 3).bfloat16()
    steps = (1, 1, 1)
    found = kernel_gradient(gradient, x, weight, steps, steps, steps)
    right = kernel_gradient(gradient.double(), x.double(), weight.double(), steps, steps, steps)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.double(), right, rtol=2**-8, atol=0)  # one rounding, at the end


def test_a_shift_by_one_plane_would_be_found_out():
    torch.manual_seed(0)
    x, gradient, weight = torch.randn(1, 2, 6, 5, 5), torch.randn(1, 2, 6, 5, 5), torch.zeros(2, 1, 3, 3, 3)
    right = kernel_gradient(gradient, x, weight, (1, 1, 1), (1, 1, 1), (1, 1, 1))
    wrong = kernel_gradient(gradient, x.roll(1, 2), weight, (1, 1, 1), (1, 1, 1), (1, 1, 1))
    assert not torch.allclose(right, wrong, atol=0.1)
