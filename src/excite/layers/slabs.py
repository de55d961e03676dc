"""Layers over a volume, slab by slab along its depth, so that the wide maps inside them are never there as a whole.

The middle of an inverted residual block has six times its input's channels: 85 MB of a volume of 96 x 96 x 96, written
once and read once. Fresh memory for such maps took a third of the network's time (benchmarks/networks_3d.py).
"""

from itertools import product
from typing import cast

import torch
from torch import Tensor, nn

from excite.layers.conv import ConvNormAct
from excite.layers.packed import PackedConv
from excite.layers.shuffle import ChannelShuffle
from excite.layers.volume import VolumeConv, at_work, hooked

SLAB = 8 * 2**20  # bytes of the widest map of a slab


def in_slabs(layers: nn.Module, x: Tensor) -> Tensor:
    """Return layers(x); of a large volume slab by slab, where no gradient is asked for and slabs give the same.

    They do where one convolution alone looks along the depth, as far up as down, and nothing measures over space or
    waits for calls.
    """
    convs = _convs(layers) if at_work(x) and x.stride(1) == 1 and not torch.is_grad_enabled() else []
    deep = [conv for conv in convs if _deep(conv)]
    if len(deep) == 1 and 2 * int(deep[0].padding[0]) == deep[0].dilation[0] * (deep[0].kernel_size[0] - 1):
        stride, pad = deep[0].stride[0], int(deep[0].padding[0])
        wide = max(max(conv.in_channels, conv.out_channels) for conv in convs)
        step = max(1, SLAB // max(1, wide * x[:1, 0, :1].nbytes * stride))
        if step * stride < x.shape[2] * len(x):
            return _slab_by_slab(layers, x, step, stride, pad)
    y: Tensor = layers(x)
    return y


def _slab_by_slab(layers: nn.Module, x: Tensor, step: int, stride: int, pad: int) -> Tensor:
    """Return layers(x) from slabs of `step` planes of the output."""
    depth, before = (x.shape[2] - 1) // stride + 1, -(-pad // stride)
    found: Tensor | None = None
    for sample, start in product(range(len(x)), range(0, depth, step)):
        first, end = max(0, start - before), min(depth, start + step)
        part = x[sample:sample + 1, :, first * stride:(end - 1) * stride + pad + 1]
        y = layers(part)[0, :, start - first:end - first]  # what is cut off saw zeros in place of the next slab
        if found is None:
            found = torch.empty((len(x), len(y), depth, *y.shape[2:]), dtype=y.dtype,
                                memory_format=torch.channels_last_3d)
        found[sample, :, start:end] = y
    return cast(Tensor, found)


def _deep(conv: VolumeConv | PackedConv) -> bool:
    """Return whether a plane of the output is made of other planes than the same of the input."""
    return conv.kernel_size[0] > 1 or conv.stride[0] > 1 or conv.padding[0] != 0


def _convs(layers: nn.Module) -> list[VolumeConv | PackedConv]:
    """Return the convolutions of `layers`; none where slabs would change what is computed, or what hooks see."""
    if type(layers) is not nn.Sequential or hooked(layers):
        return []
    found: list[VolumeConv | PackedConv] = []
    for layer in layers:
        if isinstance(layer, PackedConv):
            found.append(layer)
        elif isinstance(layer, ConvNormAct) and not hasattr(layer, "pad") and _alike(layer.conv, layer.norm):
            found.append(cast(VolumeConv, layer.conv))
        elif not isinstance(layer, ChannelShuffle):
            return []
    return found


def _alike(conv: nn.Module, norm: nn.Module) -> bool:
    """Return whether both do the same wherever a slab ends: they pad by zeros, and measure nothing."""
    return (type(conv) is VolumeConv and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
            and type(norm) is nn.BatchNorm3d and not norm.training and norm.running_mean is not None)
