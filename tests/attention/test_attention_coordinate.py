import numpy as np
import pytest
import torch
from gate_toy import assert_same, awake, dense, sigmoid

from excite.attention.coordinate import CoordinateAttention
from lively import assert_equal, lively, varied_images

SIZES = [(9, 6), (4, 9, 6)]


def equations(module, x, *, scale=1, swapped=False):
    """Eq. 4-9 in numpy, one axis after the other: each axis' norm has the statistics that all have together."""
    (w1, b1), norm, x = dense(module.squeeze), module.norm, x.numpy()
    mean, var, weight, bias = (value.detach().numpy() for value in (norm.running_mean, norm.running_var, norm.weight,
                                                                     norm.bias))
    y = x
    layers = list(module.excite)[::-1] if swapped else module.excite
    for axis, layer in enumerate(layers, start=2):
        along = x.mean(tuple(other for other in range(2, x.ndim) if other != axis)).transpose(0, 2, 1)
        f = (along @ w1.T + b1 - mean) / np.sqrt(var + 1e-5) * weight + bias
        f = f * np.clip(f + 3, 0, 6) / 6
        w2, b2 = dense(layer)
        gate = scale * sigmoid(f @ w2.T + b2).transpose(0, 2, 1)
        y = y * gate.reshape(*gate.shape[:2], *[-1 if other == axis else 1 for other in range(2, x.ndim)])
    return y


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("start", ["paper", "open"])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_equations_in_numpy(size, start, bias):
    x = varied_images(3, channels=32, size=size)
    module = awake(CoordinateAttention(32, dims=len(size), bias=bias, start=start), x)
    assert module.squeeze.out_channels == 8 and len(module.excite) == len(size)
    assert_same(module(x), equations(module, x, scale=2 if start == "open" else 1))


def test_gates_of_the_wrong_axis_would_be_found_out():
    x = varied_images(3, channels=32, size=(6, 6))
    module = awake(CoordinateAttention(32), x)
    with pytest.raises(AssertionError):
        assert_same(module(x), equations(module, x, swapped=True))


def test_a_gate_follows_its_own_axis_only():
    x = varied_images(2, channels=16, size=(4, 5, 6))
    gates = awake(CoordinateAttention(16, dims=3), x).axis_gates(x)
    assert [tuple(gate.shape) for gate in gates] == [(2, 16, 4, 1, 1), (2, 16, 1, 5, 1), (2, 16, 1, 1, 6)]


@pytest.mark.parametrize(("channels", "options", "squeezed"), [(16, {}, 8), (512, {}, 16), (512, {"reduction": 16}, 32),
                                                               (64, {"min_channels": 1}, 2)])
def test_no_fewer_channels_than_asked_for(channels, options, squeezed):
    assert CoordinateAttention(channels, **options).squeeze.out_channels == squeezed


def test_one_place_in_training_still_has_two_means_to_normalise():
    assert CoordinateAttention(16)(torch.rand(1, 16, 1, 1)).isfinite().all()


@pytest.mark.peers
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("size", [(9, 6), (5, 5)])
def test_equals_timms_module_given_its_weights(bias, size):
    from timm.layers.coord_attn import CoordAttn

    x = varied_images(4, channels=64, size=size)
    theirs = lively(CoordAttn(64, rd_channels=8, bias=bias), x)
    ours = CoordinateAttention(64, bias=bias).double().eval()
    names = {"conv1": "squeeze", "bn1": "norm", "conv_h": "excite.0", "conv_w": "excite.1"}
    state = {f"{names[key.split('.')[0]]}.{key.split('.')[1]}": value for key, value in theirs.state_dict().items()}
    ours.load_state_dict(state | {"form": ours.form})
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))
