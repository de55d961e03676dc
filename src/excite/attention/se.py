"""Squeeze-and-Excitation channel attention.

Source: Hu, Shen, Sun. "Squeeze-and-Excitation Networks", CVPR 2018, arXiv:1709.01507, eq. 2-4.
"""

from typing import Any

import torch
from torch import Tensor, nn

from excite.attention.registry import ATTENTION
from excite.attention.start import Start, check_start, refuse_other_form, scale_of
from excite.errors import UsageError
from excite.layers.dims import axes, conv
from excite.layers.gate import Gate


@ATTENTION.register("se")
class SqueezeExcitation(Gate):
    """Scale each channel by a gate computed from its spatial mean.

    Args:
        channels: Channels of the input, C.
        dims: Spatial dimensions, 2 or 3.
        reduction: C is squeezed to max(1, C // reduction); 16 in the paper.
        bias: Biases in both layers, as the released networks have them.
        start: "paper" for sigmoid gates (a fresh one is about 0.5); "open" for 2 * sigmoid with the last
            layer at zero: exactly 1 at first, so a pretrained network keeps its outputs, and free to learn.

    Shape:
        (N, C, *S) -> (N, C, *S), where S has `dims` sizes.

    Raises:
        UsageError: `dims` is not 2 or 3, `reduction` is not a positive whole number, or `start` is neither form.
        ModelError: weights of the other start are loaded.
    """

    scale: Tensor

    def __init__(self, channels: int, *, dims: int = 2, reduction: int = 16, bias: bool = True,
                 start: Start = "paper") -> None:
        super().__init__()
        if not isinstance(reduction, int) or reduction < 1:
            raise UsageError(f"reduction must be a whole number of at least 1, got {reduction!r}",
                             fix="16 is the paper's")
        check_start(start)
        squeezed = max(1, channels // reduction)
        self.axes = axes(dims)
        self.squeeze = conv(dims)(channels, squeezed, kernel_size=1, bias=bias)
        self.excite = conv(dims)(squeezed, channels, kernel_size=1, bias=bias)
        # Saved with the weights: gates of one form must not load into the other without a word.
        self.register_buffer("scale", torch.tensor(scale_of(start)))
        if start == "open":
            for parameter in self.excite.parameters():
                nn.init.zeros_(parameter)

    def gate(self, x: Tensor) -> Tensor:
        """Return the gate, (N, C, 1, ...), every value in (0, scale)."""
        mean = x.mean(dim=self.axes, keepdim=True)
        gate: Tensor = self.scale * self.excite(self.squeeze(mean).relu()).sigmoid()
        return gate

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        refuse_other_form(self, state_dict, prefix)
        super()._load_from_state_dict(state_dict, prefix, *rest)
