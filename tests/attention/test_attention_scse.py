import numpy as np
import pytest
import torch
from gate_toy import assert_same, awake, dense, flat, sigmoid, wide

from excite.attention.scse import ChannelSE, SpatialChannelSE, SpatialSE
from excite.attention.se import SqueezeExcitation
from excite.errors import ModelError, UsageError
from lively import varied_images

SIZES = [(5, 7), (3, 5, 4)]
STARTS = ["paper", "open"]


def channel_factors(module, x):
    (w1, b1), (w2, b2) = dense(module.squeeze), dense(module.excite)
    return wide(sigmoid(np.maximum(flat(x).mean(-1) @ w1.T + b1, 0) @ w2.T + b2), x.ndim - 2)


def place_factors(module, x):
    weight, bias = dense(module.spatial)
    return sigmoid(np.einsum("nc...,c->n...", x.numpy(), weight[0]) + bias)[:, None]


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("size", SIZES)
def test_cse_is_se_with_half_the_channels(size, start):
    x = varied_images(3, channels=12, size=size)
    cse = awake(ChannelSE(12, dims=len(size), start=start), x)
    assert cse.squeeze.out_channels == 6
    assert_same(cse(x), x.numpy() * channel_factors(cse, x) * (2 if start == "open" else 1))
    se = SqueezeExcitation(12, dims=len(size), reduction=2, start=start).double()
    se.load_state_dict(cse.state_dict())
    with torch.no_grad():
        assert torch.equal(se(x), cse(x))


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("size", SIZES)
def test_sse_equals_the_equation_in_numpy(size, start):
    x = varied_images(3, channels=12, size=size)
    sse = awake(SpatialSE(12, dims=len(size), start=start), x)
    assert sum(value.numel() for value in sse.parameters()) == 13
    assert_same(sse(x), x.numpy() * place_factors(sse, x) * (2 if start == "open" else 1))


@pytest.mark.parametrize("combine", ["sum", "max"])
@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("reduction", [2, 16])
def test_scse_joins_the_recalibrated_maps(size, start, combine, reduction):
    x = varied_images(3, channels=12, size=size) - 1
    scse = awake(SpatialChannelSE(12, dims=len(size), combine=combine, reduction=reduction, start=start), x)
    maps = x.numpy() * channel_factors(scse, x), x.numpy() * place_factors(scse, x)
    expected = maps[0] + maps[1] if combine == "sum" else np.maximum(*maps) * (2 if start == "open" else 1)
    assert_same(scse(x), expected)
    torch.testing.assert_close(x * scse.gate(x), scse(x), rtol=1e-12, atol=1e-12)


def test_the_larger_gate_is_not_the_larger_map_where_the_input_is_negative():
    x = varied_images(3, channels=12) - 1
    assert bool((x < 0).any()) and bool((x > 0).any())
    scse = awake(SpatialChannelSE(12, combine="max"), x)
    larger = x.numpy() * np.maximum(channel_factors(scse, x), place_factors(scse, x))
    with pytest.raises(AssertionError):
        assert_same(scse(x), larger)
    assert_same(scse(x.abs()), x.abs().numpy() * np.maximum(channel_factors(scse, x.abs()),
                                                              place_factors(scse, x.abs())))


@pytest.mark.parametrize("combine", ["sum", "max"])
def test_an_open_one_teaches_both_halves(combine):
    x = varied_images(3, channels=12)
    scse = SpatialChannelSE(12, combine=combine, start="open").double()
    assert scse.scale == (1.0 if combine == "sum" else 2.0)
    scse(x).square().sum().backward()
    assert float(scse.excite.bias.grad.abs().max()) > 0 and float(scse.spatial.bias.grad.abs().max()) > 0


@pytest.mark.parametrize(("saved", "own"), [("sum", "max"), ("max", "sum")])
def test_a_sum_never_loads_into_a_maximum(saved, own):
    state = SpatialChannelSE(8, combine=saved).state_dict()
    with pytest.raises(ModelError, match=f"a network with combine='{saved}', this one has combine='{own}'"):
        SpatialChannelSE(8, combine=own).load_state_dict(state)


def test_wrong_arguments_are_named():
    with pytest.raises(UsageError, match="combine must be 'sum' or 'max', got 'mul'"):
        SpatialChannelSE(8, combine="mul")
    for kind in (ChannelSE, SpatialChannelSE):
        with pytest.raises(UsageError, match="reduction must be a whole number of at least 1, got 0"):
            kind(8, reduction=0)
