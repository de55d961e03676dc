"""A block with a shortcut, and attention in one of four places.

Source: Hu et al. 2018, arXiv:1709.01507, figure 5 and the section on integration strategy.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from excite.errors import ModelError, UsageError
from excite.layers.gate import Gate

Position = Literal["standard", "pre", "post", "identity"]


class Residual(nn.Module):
    """act(branch(x) + shortcut(x)), with attention at `position`.

    Args:
        branch: The convolutions, (N, C, *S) -> (N, D, *T).
        shortcut: (N, C, *S) -> (N, D, *T); None where the block has no sum.
        attention: Takes C channels at "pre", D elsewhere; None for no attention.
        position: "standard" after the branch, "pre" before it, "post" after the activation, "identity" on the
            shortcut. A block without a shortcut cannot have the last: `refused` is then the position.
        act: Activation after the sum.

    Raises:
        UsageError: `position` is none of the four.
        ModelError: weights of attention at another position are loaded; their shapes would not tell.
    """

    def __init__(self, branch: nn.Module, shortcut: nn.Module | None = None, *,
                 attention: nn.Module | None = None, position: Position = "standard",
                 act: nn.Module | None = None) -> None:
        super().__init__()
        if position not in get_args(Position):
            raise UsageError(f"position must be one of {', '.join(get_args(Position))}, got {position!r}")
        impossible = attention is not None and position == "identity" and shortcut is None
        self.refused: Position | None = position if impossible else None
        self.branch = branch
        self.shortcut = shortcut
        self.attention = None if impossible else attention
        self.position = position
        self.act = act or nn.Identity()
        if self.attention is not None:
            self.attention.register_buffer("position", torch.tensor(get_args(Position).index(position)))
        # y * gate + shortcut in one pass over memory: 1.6 times as fast as in two.
        self.fused = isinstance(self.attention, Gate) and position == "standard" and shortcut is not None

    def forward(self, x: Tensor) -> Tensor:
        """Return the block's output."""
        y = self.branch(self._attend("pre", x))
        if self.fused and self.attention is not None and self.shortcut is not None:
            y = self.attention(y, self.shortcut(x))
        else:
            y = self._attend("standard", y)
            if self.shortcut is not None:
                y = y + self._attend("identity", self.shortcut(x))
        return self._attend("post", self.act(y))

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        saved = state_dict.get(f"{prefix}attention.position")
        if self.attention is not None and saved is not None and int(saved) != get_args(Position).index(self.position):
            there = dict(enumerate(get_args(Position))).get(int(saved), "unknown")
            raise ModelError(f"the weights have their attention at position {there!r}, this network at "
                             f"{self.position!r}", where=prefix.rstrip(".") or None,
                             why="the shapes are the same, the outputs are not",
                             fix=f"build the network with position={there!r}")
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def _attend(self, position: Position, x: Tensor) -> Tensor:
        if self.attention is None or self.position != position:
            return x
        y: Tensor = self.attention(x)
        return y
