import pytest
import torch
from torch import nn

from excite.layers import depthwise
from excite.layers.conv import ConvNormAct
from excite.layers.depthwise import StridedDepthwise, input_gradient


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(depthwise, "CHUNK", 40_000)  # several chunks, the last one short


@pytest.mark.parametrize("kernel", [3, 5])
@pytest.mark.parametrize("stride", [(2, 2), (2, 1), (3, 2)])
@pytest.mark.parametrize("size", [(16, 16), (15, 18), (1, 7), (33, 32)])
def test_the_input_gradient_is_autograds(size, stride, kernel):
    x = torch.randn(7, 6, *size, dtype=torch.float64, requires_grad=True)
    plain = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=False).double()
    y = plain(x)
    gradient = torch.randn_like(y)
    y.backward(gradient)
    ours = input_gradient(gradient, plain.weight.detach(), x.detach(), stride)
    torch.testing.assert_close(ours, x.grad, rtol=0, atol=1e-12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_under_bf16_autocast_it_is_the_plain_convolution(memory, bias):
    torch.manual_seed(0)
    ours = StridedDepthwise(8, 8, 3, 2, 1, groups=8, bias=bias)
    plain = nn.Conv2d(8, 8, 3, 2, 1, groups=8, bias=bias)
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
    real = depthwise.input_gradient
    monkeypatch.setattr(depthwise, "input_gradient", lambda *given: calls.append(1) or real(*given))
    layer = StridedDepthwise(4, 4, 3, 2, 1, groups=4)
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


def test_a_brick_uses_it_where_it_is_depth_wise_and_strided_only():
    def kind(**arguments):
        return type(ConvNormAct(8, 8, 3, **arguments).conv)

    assert kind(groups=8, stride=2) is StridedDepthwise
    assert kind(groups=8) is kind(stride=2) is kind(groups=4, stride=2) is nn.Conv2d
    assert kind(groups=8, stride=2, dims=3) is nn.Conv3d
