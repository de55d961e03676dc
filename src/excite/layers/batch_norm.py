"""Batch normalisation of large volumes in channels-last memory, in training, with the activation in the same passes.

In that layout torch adds up a channel's voxels in one float32, one after another: of 200,000 the mean is off by 1e-5,
and the gradients of norm and ReLU6 by 2e-3, where they are by 1e-7 in the usual layout. Sums over chunks are as exact;
and the map between norm and activation is not kept, a third of what a brick keeps for its gradients.
"""

from typing import Any, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

from excite.layers.volume import NO_LIMITS, at_work, hooked

CHUNK = 2**20  # bytes worked on at once, so that they stay in the cache; of smaller maps torch's sums are exact enough


def normalises(norm: nn.Module, x: Tensor) -> TypeGuard[nn.BatchNorm3d]:
    """Return whether `normalised` is for this: a training step on large volumes whose channels come last in memory."""
    return (type(norm) is nn.BatchNorm3d and norm.training and norm.affine and at_work(x) and x.stride(1) == 1
            and x.nbytes > CHUNK and x.dtype == norm.weight.dtype and x.dtype in (torch.float32, torch.float64)
            and torch.is_grad_enabled() and not hooked(norm))


def normalised(norm: nn.BatchNorm3d, x: Tensor, low: float, high: float) -> Tensor:
    """Return norm(x), clamped to [low, high]; the norm's running statistics move as they do in its own forward."""
    y: Tensor
    y, mean, variance = _Normalise.apply(x, norm.weight, norm.bias, norm.eps, low, high)  # type: ignore[no-untyped-call]
    if norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None:
        norm.num_batches_tracked.add_(1)
        momentum = 1 / int(norm.num_batches_tracked) if norm.momentum is None else norm.momentum
        count = x.numel() // x.shape[1]
        norm.running_mean.lerp_(mean, momentum)
        norm.running_var.lerp_(variance * (count / (count - 1)), momentum)
    return y


class _Normalise(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float, low: float,
                high: float) -> tuple[Tensor, Tensor, Tensor]:
        mean, variance = _moments(_chunks(x))
        inverse, y = torch.rsqrt(variance + eps), torch.empty_like(x)
        scale = weight * inverse
        for part, made in zip(_chunks(x), _chunks(y), strict=True):
            torch.addcmul(bias, torch.sub(part, mean, out=made), scale, out=made).clamp_(low, high)
        context.save_for_backward(x, None if (low, high) == NO_LIMITS else y, weight, mean, inverse)
        context.limits, context.eps = (low, high), eps
        context.mark_non_differentiable(mean, variance)
        return y, mean, variance

    @staticmethod
    def backward(context: Any, gradient: Tensor, *others: Tensor) -> tuple[Tensor | None, ...]:
        x, y, weight, mean, inverse = context.saved_tensors
        if torch.is_grad_enabled():
            return _differentiable(context, gradient, x, y, weight)
        gradient, found = gradient.contiguous(memory_format=torch.channels_last_3d), torch.empty_like(x)
        of_bias, of_scale, scale = torch.zeros_like(mean), torch.zeros_like(mean), weight * inverse
        for part, made, given, of_part in zip(*map(_chunks, (x, x if y is None else y, gradient, found)), strict=True):
            torch.ops.aten.hardtanh_backward.grad_input(given, made, *context.limits, grad_input=of_part)
            of_bias += of_part.sum(0)
            of_scale += (of_part * (part - mean)).sum(0)
        count = x.numel() // len(mean)
        slope, level = -scale * of_scale * inverse.square() / count, -scale * of_bias / count
        for part, of_part in zip(_chunks(x), _chunks(found), strict=True):
            torch.addcmul(torch.addcmul(level, part - mean, slope), of_part, scale, out=of_part)
        return found, of_scale * inverse, of_bias, None, None, None


def _differentiable(context: Any, gradient: Tensor, x: Tensor, y: Tensor | None,
                    weight: Tensor) -> tuple[Tensor | None, ...]:
    """Return the gradients as torch's own operations, for gradients of gradients."""
    given: Tensor = gradient if y is None else torch.ops.aten.hardtanh_backward(gradient, y.detach(), *context.limits)
    asked = [one if needed else None for one, needed in zip((x, weight), context.needs_input_grad, strict=False)]
    plain = functional.batch_norm(x, None, None, weight, None, True, 0.0, context.eps)
    found = iter(torch.autograd.grad(plain, [one for one in asked if one is not None], given, create_graph=True))
    return *(None if one is None else next(found) for one in asked), given.sum((0, 2, 3, 4)), None, None, None


def _moments(parts: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each channel, from sums around the first part's mean."""
    around = parts[0].mean(0)
    first, second = torch.zeros_like(around), torch.zeros_like(around)
    for part in parts:
        apart = part - around
        first += apart.sum(0)
        second += apart.square_().sum(0)
    count = sum(map(len, parts))
    return around + first / count, second / count - (first / count).square()


def _chunks(x: Tensor) -> tuple[Tensor, ...]:
    """Return the voxels of volumes as views of (voxels, C)."""
    voxels = x.permute(0, 2, 3, 4, 1).flatten(0, 3)
    return torch.split(voxels, max(1, CHUNK // voxels[0].nbytes))
