from math import ceil

import pytest
import torch
from torch import nn

from excite.layers import slabs
from excite.layers.conv import ConvNormAct
from excite.layers.packed import PackedConv
from excite.layers.shuffle import ChannelShuffle
from excite.layers.slabs import in_slabs
from excite.layers.volume import VolumeConv, channels_last


def branch(*, kernel=3, stride=1, dilation=1, act=nn.ReLU6, **arguments):
    torch.manual_seed(0)
    made = nn.Sequential(ConvNormAct(4, 12, 1, dims=3, act=act), ChannelShuffle(2),
                         ConvNormAct(12, 12, kernel, dims=3, stride=stride, groups=12, dilation=dilation, **arguments),
                         ConvNormAct(12, 6, 1, dims=3, act=None)).double().eval()
    for layer in made.modules():
        if isinstance(layer, nn.BatchNorm3d):
            nn.init.normal_(layer.running_mean)
            nn.init.normal_(layer.bias)
    return made


def calls_of(layers, x):
    """Return layers(x) in slabs, and how many calls that took."""
    calls = []
    forward = layers.forward
    layers.forward = lambda part: calls.append(part.shape) or forward(part)
    with torch.no_grad():
        y = in_slabs(layers, x)
    del layers.forward
    return y, calls


@pytest.mark.parametrize("planes", [1, 2, 3])
@pytest.mark.parametrize(("kernel", "dilation"), [(3, 1), (5, 1), (3, 2)])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("depth", [1, 6, 7, 11])
def test_slabs_give_the_whole(depth, stride, kernel, dilation, planes, monkeypatch):
    monkeypatch.setattr(slabs, "SLAB", planes * 12 * 5 * 6 * 8 * stride)
    made = branch(kernel=kernel, stride=stride, dilation=dilation)
    x = channels_last(torch.randn(2, 4, depth, 5, 6).double())
    y, calls = calls_of(made, x)
    slabs_of_one = ceil(ceil(depth / stride) / planes)
    assert len(calls) == (1 if planes * stride >= 2 * depth else 2 * slabs_of_one)
    assert len(calls) == 1 or y.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(y, made(x).detach(), rtol=0, atol=1e-12)


def test_small_volumes_training_and_gradients_have_no_slabs(monkeypatch):
    made, x = branch(), channels_last(torch.randn(2, 4, 6, 5, 6).double())
    assert len(calls_of(made, x)[1]) == 1
    monkeypatch.setattr(slabs, "SLAB", 1)
    assert len(calls_of(made, x)[1]) == 12
    assert len(calls_of(made, x.contiguous())[1]) == 1  # planes are apart in memory: each slab would be copied
    assert in_slabs(made, x).requires_grad
    made.train()
    assert len(calls_of(made, x)[1]) == 1


@pytest.mark.parametrize("stride", [1, 2])
def test_packed_bricks_have_slabs_too(stride, monkeypatch):
    monkeypatch.setattr(slabs, "SLAB", 12 * 5 * 6 * 4)
    plain = nn.ModuleList([nn.Conv3d(4, 12, 1), nn.Conv3d(12, 12, 3, stride, 1, groups=12), nn.Conv3d(12, 6, 1)])
    x = channels_last(torch.randn(2, 4, 7, 5, 6))
    y, packed = x, []
    with torch.no_grad():
        for conv, act in zip(plain, (nn.ReLU6(), nn.ReLU6(), None), strict=True):
            packed.append(PackedConv(conv, act, tuple(y.shape)))
            y = conv(y) if act is None else act(conv(y))
        found, calls = calls_of(nn.Sequential(*packed), x)
    assert len(calls) == 2 * ceil(7 / stride)
    torch.testing.assert_close(found, y, rtol=1e-5, atol=1e-6)


def two_deep():
    return nn.Sequential(*branch(), ConvNormAct(6, 6, 3, dims=3)).double().eval()


def measuring():
    made = branch()
    made[3].norm = nn.GroupNorm(2, 6).double()
    return made


def attending():
    return nn.Sequential(*branch(), nn.AdaptiveAvgPool3d(2)).eval()


def hooked():
    made = branch()
    made[2].norm.register_forward_hook(lambda *_: None)
    return made


def padded_by_size():
    return branch(stride=2, padding="tf_same")


def without_statistics():
    made = branch()
    made[3].norm = nn.BatchNorm3d(6, track_running_stats=False).double().eval()
    return made


def with_a_conv(conv, *, at=2):
    def build():
        made = branch()
        made[at].conv = conv.double()
        return made
    return build


even = with_a_conv(VolumeConv(12, 12, 2, 1, 1, groups=12))
even_without_padding = with_a_conv(VolumeConv(12, 12, (2, 3, 3), 1, (0, 1, 1), groups=12))
wrapped = with_a_conv(nn.Sequential(VolumeConv(12, 12, 3, 1, 1, groups=12)))
reflecting = with_a_conv(VolumeConv(12, 12, 3, 1, 1, groups=12, padding_mode="reflect"))
same = with_a_conv(VolumeConv(12, 12, 3, padding="same", groups=12))
pointwise_with_a_stride = with_a_conv(VolumeConv(12, 6, 1, (2, 1, 1)), at=3)


@pytest.mark.parametrize("build", [two_deep, measuring, attending, hooked, padded_by_size, without_statistics, even,
                                   even_without_padding, wrapped, reflecting, same, pointwise_with_a_stride])
def test_what_slabs_would_change_has_none(build, monkeypatch):
    monkeypatch.setattr(slabs, "SLAB", 1)
    made, x = build(), channels_last(torch.randn(1, 4, 6, 5, 6).double())
    y, calls = calls_of(made, x)
    assert len(calls) == 1
    torch.testing.assert_close(y, made(x).detach(), rtol=0, atol=1e-12)
