"""How a convolution's borders are filled: alike on both sides, or as TensorFlow's "SAME" has it."""

from collections.abc import Sequence
from typing import Literal, get_args

from torch import Tensor, nn
from torch.nn import functional

from excite.errors import UsageError

Padding = Literal["symmetric", "tf_same"]


class TFSame(nn.Module):
    """Zeros around a map so that a convolution gives ceil(S / stride), the odd one on the far side.

    Networks trained in TensorFlow expect it: at stride 2 and even sizes, 3 x 3 kernels get (0, 1) and 5 x 5 get (1, 2).

    Args:
        kernel_size: Of the convolution that follows, in every dimension.
        stride: Of it, one number an axis.
        dilation: Of it.

    Shape:
        (N, C, *S) -> (N, C, *(S + padding)).
    """

    def __init__(self, kernel_size: int, stride: Sequence[int], dilation: int = 1) -> None:
        super().__init__()
        self.span, self.stride = dilation * (kernel_size - 1) + 1, tuple(stride)

    def forward(self, x: Tensor) -> Tensor:
        """Return the padded map."""
        around: list[int] = []
        for size, stride in zip(x.shape[2:], self.stride, strict=True):
            missing = max(0, self.span - 1 - (size - 1) % stride)  # (T - 1) * stride + span - size
            around = [missing // 2, missing - missing // 2, *around]  # functional.pad wants the last axis first
        return functional.pad(x, around)


def padding_for(padding: Padding, kernel_size: int, stride: Sequence[int], dilation: int) -> TFSame | None:
    """Return the padding to put before a convolution, or None where its own will do.

    Raises:
        UsageError: `padding` is neither of the two.
    """
    if padding not in get_args(Padding):
        raise UsageError(f"padding must be 'symmetric' or 'tf_same', got {padding!r}",
                         fix="'tf_same' is for weights that were trained in TensorFlow")
    strided = padding == "tf_same" and kernel_size > 1 and max(stride) > 1  # at stride 1 both are the same
    return TFSame(kernel_size, stride, dilation) if strided else None
