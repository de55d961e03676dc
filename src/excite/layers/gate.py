"""What attentions that scale their input share."""

import torch
from torch import Tensor, nn


class Gate(nn.Module):
    """A factor for each channel, place or both, computed from the map that it scales.

    A subclass defines `gate(x)`, of a shape that broadcasts to x.
    """

    def gate(self, x: Tensor) -> Tensor:
        """Return the factors for `x`."""
        raise NotImplementedError(f"{type(self).__name__} has to define gate(x)")

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """Return x * gate(x), plus `add` in the same pass over memory where there is one."""
        factors = self.gate(x)
        return x * factors if add is None else torch.addcmul(add, x, factors)
