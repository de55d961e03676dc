import numpy as np
import pytest
import torch
from gate_toy import assert_same, awake, flat, wide

from excite.attention.gct import GatedChannelTransformation
from lively import varied_images

SIZES = [(5, 7), (3, 5, 4)]


def equations(gct, x, eps=1e-5, power=2):
    alpha, gamma, beta = (value.detach().numpy() for value in (gct.alpha, gct.gamma, gct.beta))
    s = alpha * ((np.abs(flat(x)) ** power).sum(-1) + eps) ** (1 / power)
    normal = s / np.sqrt((s ** 2).mean(1, keepdims=True) + eps)
    return x.numpy() * wide(1 + np.tanh(gamma * normal + beta), x.ndim - 2)


@pytest.mark.parametrize("size", SIZES)
def test_equals_the_equations_in_numpy(size):
    x = varied_images(3, channels=12, size=size)
    gct = awake(GatedChannelTransformation(12, dims=len(size)), x)
    assert sum(value.numel() for value in gct.parameters()) == 36
    assert_same(gct(x), equations(gct, x))


@pytest.mark.parametrize("mistake", [{"eps": 1e-4}, {"power": 1}])
def test_another_norm_or_eps_would_be_found_out(mistake):
    x = varied_images(3, channels=12, size=(5, 7)) * 0.01
    gct = awake(GatedChannelTransformation(12), x)
    assert_same(gct(x), equations(gct, x))
    with pytest.raises(AssertionError):
        assert_same(gct(x), equations(gct, x, **mistake))


@pytest.mark.parametrize("start", ["paper", "open"])
def test_begins_at_exactly_one_and_learns_gamma_and_beta(start):
    gct, x = GatedChannelTransformation(12, start=start), varied_images(3, channels=12).float()
    y = gct(x)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert bool((gct.gamma.grad != 0).all()) and bool((gct.beta.grad != 0).all())


def test_squares_do_not_overflow_in_half_precision():
    x = torch.full((1, 4, 64, 64), 200.0, dtype=torch.float16)
    assert not x.square().sum((2, 3)).isfinite().any()
    gct = awake(GatedChannelTransformation(4), x.double()).half()
    expected = gct.double()(x.double())
    torch.testing.assert_close(gct.half()(x).double(), expected, rtol=5e-3, atol=0)


def test_channels_compete_where_gamma_is_negative():
    gct = GatedChannelTransformation(3).double()
    torch.nn.init.constant_(gct.gamma, -1.0)
    x = torch.ones(1, 3, 4, 4, dtype=torch.float64) * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)
    gates = gct.gate(x).flatten().tolist()
    assert gates[0] > gates[1] > gates[2]
