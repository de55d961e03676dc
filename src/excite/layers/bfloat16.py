"""Convolutions whose bfloat16 gradients torch gets wrong on a CPU: memory that nothing was written to, in a few shapes.

Measured with torch 2.13.0 by benchmarks/bfloat16_gradients.py: the gradient of a 3x3x3 kernel over two slices is off by
anything up to 1e37, and a 7x3x3 one over four corrupts the heap. So for volumes smaller than the kernel along any axis
(of one plane, from kernels of seven on) or smaller than the stride; and for images narrower than the stride. Some of
these are right; float32 is right in all of them.
"""

from collections.abc import Sequence

from torch import nn


def wrong_in_bfloat16(conv: nn.Module, size: Sequence[int]) -> bool:
    """Return whether the bfloat16 gradients of a convolution over maps of `size`, (*S), may be wrong on a CPU.

    Args:
        conv: Any module; others than convolutions of images and volumes are not meant.
        size: Spatial sizes of its input.
    """
    if not isinstance(conv, nn.Conv2d | nn.Conv3d) or max(conv.kernel_size) == 1:
        return False
    if isinstance(conv, nn.Conv2d):
        return size[-1] < conv.stride[-1]
    axes = zip(size, conv.kernel_size, conv.stride, conv.dilation, strict=True)
    return any(side < step or (side > 1 or kernel > 5) and side < dilation * (kernel - 1) + step
               for side, kernel, step, dilation in axes)
