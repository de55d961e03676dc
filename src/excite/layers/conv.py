"""Convolution, normalisation, activation: the brick that every network here is made of."""

from collections.abc import Callable, Sequence

from torch import Tensor, nn

from excite.layers.depthwise import StridedDepthwise
from excite.layers.dims import conv, norm
from excite.layers.norm import refuse_single
from excite.layers.padding import Padding, padding_for

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
        strided = (dims == 2 and groups == in_channels == out_channels and max(strides) > 1 and kernel_size % 2 == 1
                   and same is None and dilation == 1)
        kind = StridedDepthwise if strided else conv(dims)
        self.conv = kind(in_channels, out_channels, kernel_size, strides,
                         (kernel_size - 1) // 2 * dilation if same is None else 0,
                         groups=groups, dilation=dilation, bias=False)
        self.norm = norm(dims)(out_channels, eps=eps, momentum=momentum)
        if act is not None:
            self.act = act(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layers' output."""
        for layer in self:
            if layer is self.norm:
                refuse_single(x, layer, self.place)
            x = layer(x)
        return x
