"""Depth-wise convolution with a stride whose bf16 training is not held up by one slow kernel.

On a CPU the input gradient of such a convolution falls to a reference kernel: over a quarter of MobileNetV2's training
step at 224, batch 16, in four layers (benchmarks/networks_step.py). It is also a convolution: of the output's gradient,
zeros put between its values, with the kernel turned round; and that has a fast kernel.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

CHUNK = 8 * 2**20  # bytes worked on at once, so that they stay in the cache


class StridedDepthwise(nn.Conv2d):
    """A Conv2d with as many groups as channels, an odd kernel, and padding that keeps sizes at stride 1.

    Forward it is nn.Conv2d in every respect; backward under bf16 autocast on a CPU it computes the same input gradient
    by another way.
    """

    def forward(self, x: Tensor) -> Tensor:
        """Return the convolution."""
        if torch.is_grad_enabled() and x.requires_grad and x.device.type == "cpu" and x.ndim == 4 \
                and torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16:
            y: Tensor = _Strided.apply(x.bfloat16(), self.weight.bfloat16(), self.stride,  # type: ignore[no-untyped-call]
                                       self.padding)
            return y if self.bias is None else y + self.bias.bfloat16().view(1, -1, 1, 1)
        return super().forward(x)


class _Strided(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, stride: tuple[int, int], padding: tuple[int, int]) -> Tensor:
        context.save_for_backward(x, weight)
        context.stride, context.padding = stride, padding
        return functional.conv2d(x, weight, None, stride, padding, 1, weight.shape[0])

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = context.saved_tensors
        _, of_weight, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, context.stride, context.padding, (1, 1), False, (0, 0), weight.shape[0],
            (False, context.needs_input_grad[1], False))
        of_input = input_gradient(gradient, weight, x, context.stride) if context.needs_input_grad[0] else None
        return of_input, of_weight, None, None


def input_gradient(gradient: Tensor, weight: Tensor, like: Tensor, stride: tuple[int, int]) -> Tensor:
    """Return the gradient of a depth-wise convolution's input, with half the kernel's size as padding.

    Args:
        gradient: Of the output, (N, C, ceil(H / stride), ceil(W / stride)).
        weight: (C, 1, K, K), K odd.
        like: The input, (N, C, H, W), for its size and memory layout.
        stride: Along both axes.
    """
    found, turned = torch.empty_like(like), weight.flip(2, 3)
    step = max(1, min(len(like), CHUNK // max(1, like[:1].numel() * like.element_size())))
    spread = torch.zeros_like(like[:step])
    padding = (weight.shape[2] // 2, weight.shape[3] // 2)
    for start in range(0, len(like), step):
        part = spread[:len(like) - start]
        part[:, :, ::stride[0], ::stride[1]] = gradient[start:start + step]
        found[start:start + step] = functional.conv2d(part, turned, None, 1, padding, 1, len(turned))
    return found
