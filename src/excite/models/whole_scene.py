"""HybridSN on every window of a scene at once: each layer computed once for the whole map.

None of its convolutions pads, so the map of a window is a piece of the map of the scene, and the windows of neighbours
share all but an edge of it. The same numbers come out, in another order of addition; where a layer looks at its window
as a whole there is no such map, and that is refused.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from excite.attention.scse import SpatialSE
from excite.errors import UsageError
from excite.layers.options import check_choice
from excite.layers.residual import Residual
from excite.models.hybridsn import TABLE_I, HybridSN, ValidConv
from excite.models.scene_dense import SceneDense, Take, patch_size

Precision = Literal["float32", "bfloat16"]
_LAST = torch.channels_last
# These see each place alone, or what their own parts see.
_LOCAL = (nn.Sequential, nn.Linear, nn.ReLU, nn.Dropout, nn.Identity, ValidConv, Residual, SpatialSE)
_FIX = "method='windows' computes it window by window"
TOGETHER = 32  # kernels that one 2-D convolution has: fewer leave the processor's lanes empty


class WholeScene:
    """The logits of a network for all places of a block of a scene.

    Weights are taken as they are now: a network that is trained further needs another WholeScene.

    Args:
        network: HybridSN; it is used in eval mode, whatever mode it is in.
        places: About how many results a side a block will have; it chooses the size of patches.
        precision: Of the convolutions. "bfloat16" rounds their inputs to three digits, about twice as fast.

    Shape:
        (H + window - 1, W + window - 1, bands) -> (H, W, num_classes)

    Raises:
        UsageError: it is another network, or a layer makes a scene differ from its windows.
    """

    def __init__(self, network: nn.Module, *, places: int = 160, precision: Precision = "float32") -> None:
        check_choice("precision", precision, Precision)
        if not isinstance(network, HybridSN):
            raise UsageError(f"method='whole' knows hybridsn only, got {type(network).__name__}", fix=_FIX)
        if network.dense.weight.dtype not in (torch.float32, torch.float64):
            raise UsageError(f"method='whole' takes weights of float32 or float64, got {network.dense.weight.dtype}",
                             fix="network.float(), and precision='bfloat16' for speed")
        refuse_inexact(network)
        self.network, self.kept = network, Kept(network.dense.weight.device)
        self.dtype = torch.bfloat16 if precision == "bfloat16" else network.dense.weight.dtype
        parts = [*network.spectral.children(), network.spatial]
        names = ["conv"] * (len(parts) - 1) + ["branch.conv"]
        with torch.inference_mode():
            self.layers = [BandedConv(*_kernel(part, name), dtype=self.dtype, take=self.kept.take)
                           for part, name in zip(parts, names, strict=True)]
            self.dense = SceneDense(network.dense, side=network.side, size=patch_size(network.side, places),
                                    take=self.kept.take)
        self.rests = [deepcopy(part, {id(part.get_submodule(name)): nn.Identity()}).eval()
                      for part, name in zip(parts, names, strict=True)]

    @torch.inference_mode()
    def __call__(self, block: Tensor) -> Tensor:
        """Return the logits."""
        height, width = (length - self.network.window + 1 for length in block.shape[:2])
        vectors = self.dense(self.maps(block).to(self.network.dense.weight.dtype))
        with in_eval_mode(self.network):
            logits: Tensor = self.network.classifier(self.network.after_dense(vectors))
        return logits.permute(2, 0, 3, 1, 4).flatten(2, 3).flatten(0, 1)[:height, :width]

    def maps(self, block: Tensor) -> Tensor:
        """Return the maps before the dense layers, (H + side - 1, W + side - 1, 64)."""
        x = block.to(self.dtype).permute(2, 0, 1).unsqueeze(0).contiguous(memory_format=_LAST)
        half = torch.autocast(x.device.type, torch.bfloat16, enabled=self.dtype == torch.bfloat16)
        for number, (layer, rest) in enumerate(zip(self.layers, self.rests, strict=True)):
            y = layer(x, name=f"maps {number % 2}")
            with half:  # what follows a convolution sees bands where it saw them
                x = rest(y if layer is self.layers[-1] else
                         y.view(1, -1, layer.kernels, *y.shape[2:]).transpose(1, 2))
            x = (x if x.ndim == 4 else x.transpose(1, 2).flatten(1, 2)).contiguous(memory_format=_LAST)
        return x[0].permute(1, 2, 0)


class BandedConv:
    """A 3-D convolution without padding as 2-D ones, each for a few bands of its output.

    Neighbouring bands lie beside each other in memory (channels last), so that the bands that a kernel spans are one
    slice of the channels; kernels for several bands at a time have zeros where they do not reach. On one thread
    PyTorch's own 3-D convolution of one image takes ten times as long with few channels.

    Args:
        weight: (kernels, channels, bands, side, side).
        bias: (kernels,), or None.
        dtype: To compute in.
        take: Gives memory.

    Shape:
        (1, bands * channels, H, W) -> (1, (bands - kernel + 1) * kernels, H - side + 1, W - side + 1), band by band
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, *, dtype: torch.dtype, take: Take) -> None:
        self.kernels, self.channels, self.bands, self.side = weight.shape[:4]
        self.together, self.take = max(1, TOGETHER // self.kernels), take
        wide = weight.new_zeros(self.together, self.kernels, self.bands + self.together - 1, self.channels,
                                *weight.shape[3:])
        for place in range(self.together):
            wide[place, :, place:place + self.bands] = weight.transpose(1, 2)
        self.weight = wide.flatten(2, 3).flatten(0, 1).to(dtype).contiguous(memory_format=_LAST)
        self.bias = None if bias is None else bias.repeat(self.together).to(dtype)

    def __call__(self, x: Tensor, *, name: str) -> Tensor:
        """Return the convolution of `x`, in memory called `name`."""
        bands = x.shape[1] // self.channels - self.bands + 1
        sizes = (length - self.side + 1 for length in x.shape[2:])
        y = self.take(name, 1, *sizes, bands * self.kernels, dtype=x.dtype).permute(0, 3, 1, 2)
        for first in range(0, bands, self.together):
            last = min(first + self.together, bands)
            count = (last - first) * self.kernels
            seen = x[:, first * self.channels:(last + self.bands - 1) * self.channels]
            y[:, first * self.kernels:last * self.kernels] = functional.conv2d(
                seen, self.weight[:count, :seen.shape[1]], None if self.bias is None else self.bias[:count])
        return y


class Kept:
    """Memory by name, used again: fresh pages cost as much time as some of the layers."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._flat: dict[str, Tensor] = {}

    def take(self, name: str, *shape: int, dtype: torch.dtype) -> Tensor:
        """Return a tensor with whatever values; the one that had this name before is overwritten."""
        size = math.prod(shape)
        flat = self._flat.get(name)
        if flat is None or flat.numel() < size or flat.dtype != dtype:
            flat = self._flat[name] = torch.empty(size, dtype=dtype, device=self.device)
        return flat[:size].view(shape)


def refuse_inexact(network: nn.Module) -> None:
    """Raise a UsageError where a layer makes a whole scene differ from its windows, with all such layers."""
    found = [f"{name} ({type(part).__name__}) {why}" for name, part in network.named_modules()
             if (why := _inexact(part, top=not name))]
    if found:
        raise UsageError(f"method='whole' would not be exact: {'; '.join(found)}", fix=_FIX)


def _inexact(part: nn.Module, *, top: bool) -> str:
    """Return what makes a module depend on more than the places that a window has of it; nothing where none does."""
    if part._forward_hooks or part._forward_pre_hooks:
        return "has a hook, which would not run"
    if isinstance(part, nn.Conv2d | nn.Conv3d):
        plain = part.padding in ((0, 0), (0, 0, 0)) and {*part.stride, *part.dilation, part.groups} == {1}
        return "" if plain else "pads, strides, dilates or has groups"
    if type(part) in (nn.BatchNorm2d, nn.BatchNorm3d):
        return "" if part.running_mean is not None else "measures each batch"
    if isinstance(part, nn.GroupNorm):
        return "measures each window"
    if isinstance(part, Residual) and part.attention is not None and part.position == "pre":
        return "has attention before its convolution"
    return "" if top or type(part) in _LOCAL else "may look at its window as a whole"


@contextmanager
def in_eval_mode(network: nn.Module) -> Iterator[None]:
    """Put a network into eval mode for a while, and each of its modules back into the mode that it was in."""
    modes = [(part, part.training) for part in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def _kernel(part: nn.Module, name: str) -> tuple[Tensor, Tensor | None]:
    """Return kernel and bias of a convolution in a part; a 2-D one over folded bands as a 3-D one that spans them."""
    weight: Tensor = part.get_parameter(f"{name}.weight")
    bias = getattr(part.get_submodule(name), "bias", None)
    if weight.ndim == 4:
        weight = weight.view(len(weight), TABLE_I[-1].kernels, -1, *weight.shape[2:])
    return weight, bias
