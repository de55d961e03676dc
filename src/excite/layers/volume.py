"""Convolutions of volumes on a CPU, each by the kernel of torch that is fast for it.

torch's own choice is not. With one thread a 1x1x1 over fewer than 16 volumes goes to a reference kernel, with copies
around it in channels-last memory; so does one volume of one channel; and so do, always, the gradients of a depth-wise
convolution. The same sums as convolutions of images, over views of the same memory, have fast kernels: in
channels-last memory a line of voxels is an image of one row, and planes are a batch of images.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import is_in_torch_dispatch_mode

from excite.layers.bfloat16 import wrong_in_bfloat16
from excite.layers.depthwise import Steps, depthwise, transformed
from excite.layers.packed import lopsided

NO_LIMITS = (-torch.inf, torch.inf)
_LIMITS: dict[type[nn.Module], tuple[float, float]] = {nn.ReLU: (0.0, torch.inf), nn.ReLU6: (0.0, 6.0)}


class VolumeConv(nn.Conv3d):
    """A Conv3d that is several times as fast on a CPU where it is depth-wise, or its input's channels come last.

    Elsewhere, and where it is traced, exported or compiled, it is nn.Conv3d in every respect.
    """

    stride: Steps
    dilation: Steps

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = self.padding
        if lopsided(self) and at_work(x):
            x = x[:, 0].contiguous().unsqueeze(1)  # with strides that say the usual layout
        if _in_bfloat16(x, weight) and wrong_in_bfloat16(self, x.shape[2:]):
            with torch.autocast("cpu", enabled=False):
                return cast(Tensor, super()._conv_forward(x.float(), weight.float(),
                                                          None if bias is None else bias.float())).to(torch.bfloat16)
        if not at_work(x) or self.padding_mode != "zeros" or isinstance(padding, str) or not x.numel():
            return cast(Tensor, super()._conv_forward(x, weight, bias))
        if self.groups == self.in_channels == self.out_channels > 1:
            return self._depthwise(x.contiguous(memory_format=torch.channels_last_3d), weight, bias)
        if x.stride(1) == 1 and self.groups == 1:
            if self.kernel_size == self.stride == (1, 1, 1) and padding == (0, 0, 0):
                return by_lines(x, weight, bias)
            if self.in_channels == 1 and self.dilation[0] == 1:
                return by_planes(x, weight, bias, self.stride, padding, self.dilation)
        return cast(Tensor, super()._conv_forward(x, weight, bias))

    def _depthwise(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        padding = cast(Steps, self.padding)
        beyond = any(pad > step * (size - 1) for pad, step, size in
                     zip(padding, self.dilation, self.kernel_size, strict=True))
        if beyond or not torch.is_grad_enabled() or not (x.requires_grad or weight.requires_grad):
            return cast(Tensor, super()._conv_forward(x, weight, bias))
        if torch.is_autocast_enabled("cpu"):
            kind = torch.get_autocast_dtype("cpu")
            x, weight = x.to(kind), weight.to(kind)
        y = depthwise(x, weight, self.stride, padding, self.dilation)
        return y if bias is None else y + bias.to(y.dtype).view(-1, 1, 1, 1)


def _in_bfloat16(x: Tensor, weight: Tensor) -> bool:
    """Return whether a CPU computes gradients in bfloat16 here."""
    if type(x) is not Tensor or x.device.type != "cpu" or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return False
    kind = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else weight.dtype
    return kind == torch.bfloat16


def at_work(x: Tensor) -> bool:
    """Return whether a CPU computes with the volumes `x` now: not traced, exported, transformed or counted."""
    watched = (torch.compiler.is_compiling() or torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
               or is_in_torch_dispatch_mode() or transformed())
    return (not watched and type(x) is Tensor and x.ndim == 5 and x.device.type == "cpu"
            and torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def channels_last(x: Tensor) -> Tensor:
    """Return volumes that a CPU computes with in channels-last memory, anything else as it is.

    One channel lies in memory alike in both layouts: then the strides say it, which is what layers go by.
    """
    if not at_work(x):
        return x
    strides = torch.empty(x.shape, memory_format=torch.channels_last_3d, device="meta").stride()
    return x.contiguous(memory_format=torch.channels_last_3d).as_strided(x.shape, strides)


def by_lines(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return a 1x1x1 convolution as a 1x1 of each line along the last axis, an image of one row."""
    count, _, depth, height, _ = x.shape
    lines = x.permute(0, 2, 3, 1, 4).flatten(0, 2).unsqueeze(2)
    y = functional.conv2d(lines, weight[:, :, 0], bias).squeeze(2)
    return torch.unflatten(y, 0, (count, depth, height)).permute(0, 3, 1, 2, 4)


def by_planes(x: Tensor, weight: Tensor, bias: Tensor | None, stride: tuple[int, ...], padding: tuple[int, ...],
              dilation: tuple[int, ...]) -> Tensor:
    """Return a convolution of one channel as one of images, whose channels are the planes under the kernel."""
    deep = functional.pad(x[:, 0], (0, 0, 0, 0, padding[0], padding[0])).unfold(1, weight.shape[2], stride[0])
    images = deep.flatten(0, 1).permute(0, 3, 1, 2).contiguous(memory_format=torch.channels_last)
    y = functional.conv2d(images, weight[:, 0], bias, stride[1:], padding[1:], dilation[1:])
    return torch.unflatten(y, 0, deep.shape[:2]).transpose(1, 2)


def foldable(conv: nn.Module, norm: nn.Module, x: Tensor) -> bool:
    """Return whether `folded` gives norm(conv(x)), and sooner: no gradients, no hooks, more voxels than weights."""
    return (type(conv) is VolumeConv and type(norm) is nn.BatchNorm3d and not norm.training and norm.affine
            and norm.running_mean is not None and at_work(x) and x.stride(1) == 1 and not torch.is_grad_enabled()
            and x.dtype == conv.weight.dtype == torch.float32 and not torch.is_autocast_enabled("cpu")
            and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
            and x.numel() > conv.weight.numel() and not lopsided(conv) and not hooked(conv) and not hooked(norm))


def folded(conv: nn.Module, norm: nn.Module, x: Tensor, low: float, high: float) -> Tensor:
    """Return norm(conv(x)), clamped to [low, high]: the norm as a part of the convolution's weights.

    oneDNN would clamp in the same pass, for 4 % less time of a network, but makes 0 of NaN: here NaN stays NaN.
    """
    conv, known = cast(VolumeConv, conv), cast(Any, norm)
    scale = known.weight * torch.rsqrt(known.running_var + known.eps)
    weight, bias = conv.weight * scale.view(-1, 1, 1, 1, 1), known.bias - known.running_mean * scale
    if conv.bias is not None:
        bias += conv.bias * scale
    y: Tensor = torch.ops.mkldnn._convolution_pointwise(x, weight, bias, conv.padding, conv.stride, conv.dilation,
                                                        conv.groups, "none", [], "")
    return y if (low, high) == NO_LIMITS else y.clamp_(low, high)


def limits(act: nn.Module | None) -> tuple[float, float] | None:
    """Return what an activation clamps to; None where it does something else, or something waits for its calls."""
    if act is None:
        return NO_LIMITS
    return None if hooked(act) else _LIMITS.get(type(act))


def hooked(module: nn.Module) -> bool:
    """Return whether something waits for the calls of `module` or of its parts."""
    return any(part._forward_hooks or part._forward_pre_hooks or part._backward_hooks or part._backward_pre_hooks
               for part in module.modules())
