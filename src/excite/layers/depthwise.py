"""Depth-wise convolution whose training on a CPU is not held up by slow kernels.

The input gradient falls to a reference kernel for volumes, and for images in bf16 with a stride: over a quarter of
MobileNetV2's training step at 224, batch 16, in four layers (benchmarks/networks_step.py). It is also a convolution: of
the output's gradient, zeros put between its values, with the kernel turned round; and that has a fast kernel. So has
the kernel's gradient, for images and 3 x 3; a larger one is put together from such, and that of volumes is a sum of
such over planes (benchmarks/networks_3d.py). In bf16 that of 5 x 5 was a third of MobileNetV3's training step.
"""

from itertools import product
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.grad import conv2d_weight

Steps = tuple[int, int, int]  # along depth, height, width

CHUNK = 8 * 2**20  # bytes worked on at once, so that they stay in the cache


def transformed() -> bool:
    """Return whether torch.func transforms what is computed now: it takes no autograd functions as they are here."""
    return torch._C._functorch.peek_interpreter_stack() is not None


class Depthwise(nn.Conv2d):
    """A Conv2d with as many groups as channels, an odd kernel, and padding that keeps sizes at stride 1.

    Forward it is nn.Conv2d in every respect; backward under bf16 autocast on a CPU it computes the same gradients by
    another way, and refuses gradients of them.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        if torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad) and x.device.type == "cpu" \
                and x.ndim == 4 and torch.is_autocast_enabled("cpu") \
                and torch.get_autocast_dtype("cpu") is torch.bfloat16 and not transformed():
            y: Tensor = _Gradients.apply(x.bfloat16(), self.weight.bfloat16(),  # type: ignore[no-untyped-call]
                                         self.stride, self.padding)
            return y if self.bias is None else y + self.bias.bfloat16().view(1, -1, 1, 1)
        return super().forward(x)


class _Gradients(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        context.save_for_backward(x, weight)
        context.stride, context.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, 1, weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        of_input = input_gradient(gradient, weight, x, context.stride) if context.needs_input_grad[0] else None
        of_weight = weight_gradient(gradient, x, weight, context.stride) if context.needs_input_grad[1] else None
        return of_input, of_weight, None, None


def weight_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int]) -> Tensor:
    """Return the gradient of a depth-wise convolution's kernel, with half its size as padding: 3 x 3 taps at a time.

    Args:
        gradient: Of the output, (N, C, ceil(H / stride), ceil(W / stride)).
        x: The input, (N, C, H, W).
        weight: (C, 1, K, L), K and L odd and at least 3, or any where both are at most 3.
        stride: Along both axes.
    """
    high, wide = weight.shape[2:]
    if max(high, wide) <= 3 or min(high, wide) < 3:
        return _taps(gradient, x, weight, stride, (high // 2, wide // 2))
    padded = functional.pad(x, (wide // 2, wide // 2, high // 2, high // 2))
    seen = [(size - 1) * step + 3 for size, step in zip(gradient.shape[2:], stride, strict=True)]
    found, like = torch.empty_like(weight), weight[:, :, :3, :3]
    for top, left in product(range(0, high - 2, 2), range(0, wide - 2, 2)):
        part = padded[:, :, top:top + seen[0], left:left + seen[1]]
        found[:, :, top:top + 3, left:left + 3] = _taps(gradient, part, like, stride, (0, 0))
    return found


def _taps(gradient: Tensor, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
    """Return torch's own gradient of a kernel like `weight`."""
    found: Tensor = torch.ops.aten.convolution_backward(gradient, x, weight, None, stride, padding, (1, 1), False,
                                                        (0, 0), weight.shape[0], (False, True, False))[1]
    return found


def depthwise(x: Tensor, weight: Tensor, stride: Steps, padding: Steps, dilation: Steps) -> Tensor:
    """Return the depth-wise convolution of volumes, whose gradients come from other, fast convolutions.

    Args:
        x: (N, C, D, H, W), in channels-last memory.
        weight: (C, 1, *K).
        stride: Along each axis, as padding and dilation.
        padding: Not beyond the kernel.
    """
    y: Tensor = _Depthwise.apply(x, weight, stride, padding, dilation)  # type: ignore[no-untyped-call]
    return y


class _Depthwise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, stride: Steps, padding: Steps, dilation: Steps) -> Tensor:
        context.save_for_backward(x, weight)
        context.stride, context.padding, context.dilation = stride, padding, dilation
        return functional.conv3d(x, weight, None, stride, padding, dilation, len(weight))

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        steps = context.stride, context.padding, context.dilation
        gradient = gradient.contiguous(memory_format=torch.channels_last_3d)
        of_input = volumes_gradient(gradient, weight, x, *steps) if context.needs_input_grad[0] else None
        of_weight = kernel_gradient(gradient, x, weight, *steps) if context.needs_input_grad[1] else None
        return of_input, of_weight, None, None, None


def volumes_gradient(gradient: Tensor, weight: Tensor, x: Tensor, stride: Steps, padding: Steps,
                     dilation: Steps) -> Tensor:
    """Return the gradient of a depth-wise convolution's input: a convolution with the kernel turned round.

    Args:
        gradient: Of the output; where there is a stride, zeros are put between its values, slab by slab.
        weight: (C, 1, *K).
        x: The input, for its size.
        stride: Along each axis, as padding and dilation.
    """
    spans = [step * (size - 1) for step, size in zip(dilation, weight.shape[2:], strict=True)]
    around, turned = [span - pad for span, pad in zip(spans, padding, strict=True)], weight.flip(2, 3, 4)
    if max(stride) == 1:
        return functional.conv3d(gradient, turned, None, 1, around, dilation, len(weight))
    _, high, wide = (size + 2 * pad - span for size, pad, span in zip(x.shape[2:], padding, spans, strict=True))
    found = torch.empty_like(x)
    step = max(1, CHUNK // x[0, :, 0].nbytes)
    for sample, start in product(range(len(x)), range(0, x.shape[2], step)):
        end, low = min(start + step, x.shape[2]), start - around[0]  # planes of the gradient with zeros, from low on
        slab = torch.empty((1, len(weight), end - start + spans[0], high, wide), dtype=x.dtype,
                           memory_format=torch.channels_last_3d).zero_()
        first, last = max(0, -(-low // stride[0])), min(gradient.shape[2] - 1, (end - 1 + padding[0]) // stride[0])
        if first <= last:
            slab[0, :, first * stride[0] - low:last * stride[0] - low + 1:stride[0], ::stride[1], ::stride[2]] = \
                gradient[sample, :, first:last + 1]
        found[sample, :, start:end] = functional.conv3d(slab, turned, None, 1, (0, *around[1:]), dilation,
                                                        len(weight))[0]
    return found


def kernel_gradient(gradient: Tensor, x: Tensor, weight: Tensor, stride: Steps, padding: Steps,
                    dilation: Steps) -> Tensor:
    """Return the gradient of a depth-wise convolution's kernel: plane by plane, each one that of images.

    Plane i of the kernel takes input plane t * stride + i * dilation - padding to output plane t. Sums are in float32,
    or in float64, whatever the maps have. Arguments as in `volumes_gradient`.
    """
    found = torch.zeros_like(weight, dtype=torch.promote_types(weight.dtype, torch.float32))
    plane = max(1, x[0, :, 0].numel() * found.element_size() * stride[0])  # bytes of input for one of output
    count, planes = max(1, CHUNK // (plane * gradient.shape[2])), max(1, CHUNK // plane)
    for maps, of_maps in zip(torch.split(x, count), torch.split(gradient, count), strict=True):
        for start, i in product(range(0, of_maps.shape[2], planes), range(weight.shape[2])):
            shift = i * dilation[0] - padding[0]
            first = max(start, -(shift // stride[0]))
            end = min(start + planes, of_maps.shape[2], (x.shape[2] - 1 - shift) // stride[0] + 1)
            if first < end:
                seen = maps[:, :, first * stride[0] + shift:(end - 1) * stride[0] + shift + 1:stride[0]]
                found[:, :, i] += conv2d_weight(  # type: ignore[no-untyped-call]
                    _images(seen, found), weight[:, :, 0].shape, _images(of_maps[:, :, first:end], found), stride[1:],
                    padding[1:], dilation[1:], len(weight))
    return found.to(weight.dtype)


def _images(volumes: Tensor, like: Tensor) -> Tensor:
    """Return the planes of volumes as a batch of images, (N * D, C, H, W), of the type of `like`."""
    return volumes.transpose(1, 2).flatten(0, 1).to(like.dtype)


def input_gradient(gradient: Tensor, weight: Tensor, like: Tensor, stride: tuple[int, int]) -> Tensor:
    """Return the gradient of a depth-wise convolution's input, with half the kernel's size as padding.

    Args:
        gradient: Of the output, (N, C, ceil(H / stride), ceil(W / stride)).
        weight: (C, 1, K, K), K odd.
        like: The input, (N, C, H, W), for its size and memory layout.
        stride: Along both axes.
    """
    turned, padding = weight.flip(2, 3), (weight.shape[2] // 2, weight.shape[3] // 2)
    if max(stride) == 1:
        return functional.conv2d(gradient, turned, None, 1, padding, 1, len(turned))
    found = torch.empty_like(like)
    step = max(1, min(len(like), CHUNK // max(1, like[:1].numel() * like.element_size())))
    spread = torch.zeros_like(like[:step])
    for start in range(0, len(like), step):
        part = spread[:len(like) - start]
        part[:, :, ::stride[0], ::stride[1]] = gradient[start:start + step]
        found[start:start + step] = functional.conv2d(part, turned, None, 1, padding, 1, len(turned))
    return found
