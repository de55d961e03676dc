"""Convolution and activation in one pass, the kernels in the order in which oneDNN reads them: for prediction."""

from typing import Any

import torch
from torch import Tensor, nn

_ACTS: dict[type[nn.Module] | None, tuple[str, list[float]]] = {
    None: ("none", []), nn.ReLU: ("relu", []), nn.ReLU6: ("hardtanh", [0.0, 6.0]), nn.Hardswish: ("hardswish", []),
    nn.Hardsigmoid: ("hardsigmoid", []), nn.Sigmoid: ("sigmoid", []), nn.Tanh: ("tanh", [])}


class PackedConv(nn.Module):
    """What a convolution and the activation after it compute, for prediction.

    PyTorch's compiler makes the same calls of oneDNN; made directly they need no compiler. ReLU, ReLU6 and Hardsigmoid
    are oneDNN's: NaN leaves them as 0 or 1, so whoever uses this looks for NaN himself.

    Args:
        conv: With zeros for padding.
        act: An activation that `packs` knows, or None.
        size: Of a typical input, (N, C, *S), for the order of the kernels; other sizes are computed as well.

    Shape:
        As the convolution's.
    """

    def __init__(self, conv: nn.Module, act: nn.Module | None, size: tuple[int, ...]) -> None:
        super().__init__()
        assert isinstance(conv, nn.Conv2d | nn.Conv3d)  # `packs` says so
        self.name, self.numbers = _ACTS[None if act is None else type(act)]
        self.in_channels, self.out_channels, self.kernel_size = conv.in_channels, conv.out_channels, conv.kernel_size
        self.stride, self.padding, self.dilation = conv.stride, conv.padding, conv.dilation
        self.bias = conv.bias
        self.how: Any = (conv.padding, conv.stride, conv.dilation, conv.groups)
        self.weight = torch.ops.mkldnn._reorder_convolution_weight(conv.weight.detach(), *self.how, list(size))

    def forward(self, x: Tensor) -> Tensor:
        """Return act(conv(x))."""
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(x, self.weight, self.bias, *self.how, self.name,
                                                                self.numbers, "")
        return found


def packs(conv: nn.Module, act: nn.Module | None) -> bool:
    """Return whether `PackedConv` can stand for a convolution and its activation here."""
    if not (isinstance(conv, nn.Conv2d | nn.Conv3d)
            and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
            and hasattr(torch.ops.mkldnn, "_convolution_pointwise")):
        return False
    return (conv.weight.device.type == "cpu" and conv.weight.dtype in (torch.float32, torch.bfloat16)
            and conv.padding_mode == "zeros" and not isinstance(conv.padding, str)
            and (None if act is None else type(act)) in _ACTS and not lopsided(conv))


def lopsided(conv: nn.Conv2d | nn.Conv3d) -> bool:
    """Return whether oneDNN leaves memory unwritten, or writes beyond it, where strides say that channels come last."""
    return conv.in_channels == 1 and len(set(conv.dilation)) > 1
