"""Convolutions whose bfloat16 gradients torch gets wrong on a CPU: memory that nothing was written to, in a few shapes.

Measured with torch 2.13.0 by benchmarks/bfloat16_gradients.py: the gradient of a 3x3x3 kernel over two slices is off by
anything up to 1e37, and a 7x3x3 one over four corrupts the heap. So for volumes with fewer slices than the kernel, and
for maps narrower than the stride. float32 is right in all of them.
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
    span = conv.dilation[0] * (conv.kernel_size[0] - 1) + 1
    few = isinstance(conv, nn.Conv3d) and span > 1 and 1 < size[0] < span + conv.stride[0] - 1
    return few or size[-1] < conv.stride[-1]
