import numpy as np
import pytest
import torch
from gate_toy import assert_same, awake, dense, flat, sigmoid, wide
from scipy.ndimage import correlate

from excite.attention.cbam import ConvolutionalBlockAttention
from excite.errors import DataError, UsageError
from excite.layers.norm import group_norms
from lively import assert_equal, lively, varied_images

SIZES = [(9, 11), (5, 9, 8)]


def equations(cbam, x, *, scale=1, pools=("mean", "max"), channel_first=True, order=("mean", "max")):
    """Eq. 1-3 in numpy; the last three arguments make the mistakes that are easily made (T4-7)."""
    (w1, b1), (w2, b2) = dense(cbam.squeeze), dense(cbam.excite)
    x = x.numpy()

    def channel(values):
        ways = values.reshape(*values.shape[:2], -1)
        found = sum(np.maximum(getattr(ways, pool)(-1) @ w1.T + b1, 0) @ w2.T + b2 for pool in pools)
        return values * wide(scale * sigmoid(found), x.ndim - 2)

    def space(values):
        if cbam.spatial is None:
            return values
        layer = getattr(cbam.spatial, "conv", cbam.spatial)
        kernel = layer.weight.detach().numpy()[0]
        maps = [getattr(values, which)(1) for which in order]
        found = np.stack([sum(correlate(one, k, mode="constant") for one, k in zip(sample, kernel, strict=True))
                          for sample in zip(*maps, strict=True)])
        if layer is not cbam.spatial:
            state = {key: float(value) for key, value in cbam.spatial.norm.state_dict().items()}
            mean, var, weight, bias = (state[key] for key in ("running_mean", "running_var", "weight", "bias"))
            found = (found - mean) / np.sqrt(var + 1e-5) * weight + bias
        return values * (scale * sigmoid(found))[:, None]

    return space(channel(x)) if channel_first else channel(space(x))


@pytest.mark.parametrize("options", [{}, {"norm": True}, {"bias": False}, {"spatial": False}, {"kernel_size": 3}])
@pytest.mark.parametrize("start", ["paper", "open"])
@pytest.mark.parametrize("size", SIZES)
def test_equals_the_equations_in_numpy(size, start, options):
    x = varied_images(3, channels=32, size=size)
    cbam = awake(ConvolutionalBlockAttention(32, dims=len(size), reduction=8, start=start, **options), x)
    assert_same(cbam(x), equations(cbam, x, scale=2 if start == "open" else 1))


@pytest.mark.parametrize("mistake", [{"pools": ("mean",)}, {"pools": ("max",)}, {"channel_first": False},
                                     {"order": ("max", "mean")}])
def test_the_usual_mistakes_would_be_found_out(mistake):  # T4-7
    x = varied_images(3, channels=32, size=(9, 11))
    cbam = awake(ConvolutionalBlockAttention(32, reduction=8), x)
    assert_same(cbam(x), equations(cbam, x))
    with pytest.raises(AssertionError):
        assert_same(cbam(x), equations(cbam, x, **mistake))


def test_the_spatial_half_is_a_convolution_and_no_self_attention():  # T4-7
    x = varied_images(2, channels=32, size=(21, 21))
    cbam = awake(ConvolutionalBlockAttention(32), x)
    other = x.clone()
    other[:, :, 10, 10] += 1e-3
    with torch.no_grad():
        moved = (cbam.spatial_gate(x, cbam.spatial) - cbam.spatial_gate(other, cbam.spatial))[:, 0].abs() > 0
    assert bool(moved[:, 7:14, 7:14].any()) and int(moved.sum()) == int(moved[:, 7:14, 7:14].sum())


def test_the_norm_is_the_authors():
    cbam = ConvolutionalBlockAttention(32, norm=True)
    assert cbam.spatial.norm.eps == 1e-5 and cbam.spatial.norm.momentum == 0.01
    assert cbam.spatial.conv.bias is None and float(cbam.spatial.norm.weight.detach()) == 0
    x = varied_images(2, channels=32).float()
    assert torch.equal(cbam.spatial_gate(x, cbam.spatial), torch.full((2, 1, 64, 64), 0.5))


@pytest.mark.parametrize("training", [True, False])
def test_an_open_one_with_a_norm_moves_its_norm_first(training):
    cbam = ConvolutionalBlockAttention(16, norm=True, start="open").double().train(training)
    x = varied_images(3, channels=16, size=(9, 9))
    y = cbam(x)
    assert torch.equal(y, x)
    y.square().sum().backward()
    assert float(cbam.spatial.norm.bias.grad.abs()) > 0 and float(cbam.spatial.norm.weight.grad.abs()) > 0
    kernel = cbam.spatial.conv.weight
    assert float(kernel.grad.abs().max()) == 0 < float(kernel.detach().abs().max())


@pytest.mark.parametrize(("channels", "options", "parameters"), [
    (256, {}, 2 * 256 * 16 + 16 + 256 + 98), (256, {"norm": True}, 2 * 256 * 16 + 16 + 256 + 98 + 2),
    (256, {"bias": False, "spatial": False}, 2 * 256 * 16), (256, {"dims": 3}, 2 * 256 * 16 + 16 + 256 + 2 * 7 ** 3)])
def test_counts(channels, options, parameters):
    assert sum(value.numel() for value in ConvolutionalBlockAttention(channels, **options).parameters()) == parameters


@pytest.mark.parametrize("kernel_size", [0, 4, 7.0, True])
def test_an_even_kernel_is_named(kernel_size):
    with pytest.raises(UsageError, match="kernel_size must be an odd whole number, got"):
        ConvolutionalBlockAttention(16, kernel_size=kernel_size)


def test_a_norm_that_has_one_value_to_measure_says_so():
    cbam, x = ConvolutionalBlockAttention(16, norm=True), torch.rand(1, 16, 1, 1)
    with pytest.raises(DataError, match="batch normalisation over 1 channels has one value a channel to measure"):
        cbam(x)
    group_norms(cbam)
    cbam(x).square().sum().backward()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in cbam.parameters())
    torch.nn.init.constant_(cbam.spatial.norm.bias, 0.3)
    torch.testing.assert_close(cbam.spatial_gate(x, cbam.spatial), torch.full((1, 1, 1, 1), 0.3).sigmoid())
    pair = torch.cat((x, torch.rand(1, 16, 1, 1)))
    torch.testing.assert_close(cbam(pair)[:1], cbam(x))


@pytest.mark.peers
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("kernel_size", [3, 7])
def test_equals_timms_module_given_its_weights(bias, kernel_size):
    from timm.layers.cbam import CbamModule

    x = varied_images(4, channels=64, size=(13, 9))
    theirs = lively(CbamModule(64, mlp_bias=bias, spatial_kernel_size=kernel_size), x)
    ours = ConvolutionalBlockAttention(64, bias=bias, norm=True, kernel_size=kernel_size).double().eval()
    ours.load_state_dict(renamed(theirs.state_dict()) | {"form": ours.form})
    with torch.no_grad():
        assert_equal(ours(x), theirs(x))


def renamed(state):
    names = {"channel.fc1": "squeeze", "channel.fc2": "excite", "spatial.conv.conv": "spatial.conv",
             "spatial.conv.bn": "spatial.norm"}
    return {f"{names[key.rpartition('.')[0]]}.{key.rpartition('.')[2]}": value for key, value in state.items()}


def test_flat_is_what_the_equations_pool():
    x = varied_images(2, channels=4, size=(3, 5))
    assert np.array_equal(flat(x).max(-1), x.amax((2, 3)).numpy())
