"""Convolution, normalisation, activation: the brick that every network here is made of."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from excite.layers.batch_norm import normalised, normalises
from excite.layers.depthwise import Depthwise
from excite.layers.dims import conv, norm
from excite.layers.norm import refuse_single
from excite.layers.padding import Padding, padding_for
from excite.layers.volume import NO_LIMITS, VolumeConv, at_work, foldable, folded, limits

Brick = Callable[..., "ConvNormAct"]  # a ConvNormAct with the arguments that a network gives all of them


class ConvNormAct(nn.Sequential):
    """Convolution without bias, batch normalisation, activation.

    Args:
        stride: One number, or one for each spatial dimension.
        dilation: Of the kernel, in every dimension.
        act: Class of the activation; None for a linear layer.
        padding: "symmetric", or "tf_same": as TensorFlow pads, more on the far side.
        eps: Of the norm.
        momentum: Of the norm.

    Shape:
        (N, in_channels, *S) -> (N, out_channels, *T), T = ceil(S / stride).

    Raises:
        UsageError: `dims` is not 2 or 3, or `padding` is neither.
        DataError: in training, the norm would have one value a channel to measure.
    """

    place: str | None = None  # its name in the network, for messages
    conv: nn.Module
    norm: nn.Module

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 3, *, dims: int = 2,
                 stride: int | Sequence[int] = 1, groups: int = 1, dilation: int = 1,
                 act: type[nn.Module] | None = nn.ReLU, padding: Padding = "symmetric", eps: float = 1e-5,
                 momentum: float = 0.1) -> None:
        super().__init__()
        strides = (stride,) * dims if isinstance(stride, int) else tuple(stride)
        same = padding_for(padding, kernel_size, strides, dilation)
        if same is not None:
            self.pad = same
        slow = (dims == 2 and groups == in_channels == out_channels and (max(strides) > 1 or kernel_size > 3)
                and kernel_size % 2 == 1 and same is None and dilation == 1)
        kind = Depthwise if slow else VolumeConv if dims == 3 else conv(dims)
        self.conv = kind(in_channels, out_channels, kernel_size, strides,
                         (kernel_size - 1) // 2 * dilation if same is None else 0,
                         groups=groups, dilation=dilation, bias=False)
        self.norm = norm(dims)(out_channels, eps=eps, momentum=momentum)
        if act is not None:
            self.act = act(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layers' output."""
        act: nn.Module | None = getattr(self, "act", None)
        if hasattr(self, "pad"):
            x = self.pad(x)
        clamp = limits(act) if at_work(x) else None
        if foldable(self.conv, self.norm, x):
            x = folded(self.conv, self.norm, x, *(clamp or NO_LIMITS))
            return x if act is None or clamp is not None else act(x)
        x = self.conv(x)
        if clamp is not None and normalises(self.norm, x):
            return normalised(self.norm, x, *clamp)
        refuse_single(x, self.norm, self.place)
        x = self.norm(x)
        return x if act is None else act(x)
