"""Where attention goes in a network: which kind, at which position, in which stages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import get_args

from torch import nn

import excite.attention.se  # noqa: F401
from excite.attention.registry import ATTENTION
from excite.attention.start import Start, check_start
from excite.errors import UsageError
from excite.layers.options import check_options
from excite.layers.residual import Position, Residual


@dataclass(frozen=True, kw_only=True)
class AttentionPlan:
    """One attention for a whole network.

    Args:
        kind: A name of the attention registry.
        position: Where in a block: "standard", "pre", "post" or "identity"; see Residual.
        stages: Indices of the stages that get it, counted from 0; None is every stage.
        start: "paper", the published form; "open": exactly 1 at first, for pretrained networks.
        options: Arguments of the attention; a tuple is one value a stage.

    Raises:
        UsageError: a kind, position, start or option is unknown; the nearest right one is named.
    """

    kind: str = "se"
    position: Position = "standard"
    stages: tuple[int, ...] | None = None
    start: Start = "paper"
    options: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_options(f"attention {self.kind!r}", ATTENTION[self.kind], self.options,
                      fixed=("channels", "dims", "start"))
        if self.position not in get_args(Position):
            raise UsageError(f"attention position must be one of {', '.join(get_args(Position))}, "
                             f"got {self.position!r}")
        check_start(self.start)
        if self.stages is not None and not self.stages:
            raise UsageError("attention stages must name at least one stage, got none",
                             fix="stages=None is every stage; attention=None is no attention")

    def check(self, stages: int) -> None:
        """Raise a UsageError where the plan does not fit a network of so many stages."""
        wrong = [stage for stage in self.stages or () if stage not in range(stages)]
        if wrong:
            raise UsageError(f"attention stages must be 0 to {stages - 1}, got {', '.join(map(str, wrong))}",
                             fix="stages are counted from 0")
        for name, value in self.options.items():
            if isinstance(value, tuple) and len(value) != stages:
                raise UsageError(f"attention option {name!r} has {len(value)} values, the network has {stages} stages",
                                 fix="give one value a stage, or one for all")

    def build(self, channels: int, stage: int, *, dims: int) -> nn.Module:
        """Return the attention for a map of `channels` in `stage`."""
        options = {name: value[stage] if isinstance(value, tuple) else value for name, value in self.options.items()}
        return ATTENTION[self.kind](channels, dims=dims, start=self.start, **options)


def residual(plan: AttentionPlan | None, stage: int, branch: nn.Module, shortcut: nn.Module | None,
             channels: tuple[int, int], *, dims: int, act: nn.Module | None = None) -> Residual:
    """Join `branch` and `shortcut` as `plan` says for `stage`; `channels` are (in, out)."""
    if plan is None or (plan.stages is not None and stage not in plan.stages):
        return Residual(branch, shortcut, act=act)
    attention = plan.build(channels[0] if plan.position == "pre" else channels[1], stage, dims=dims)
    return Residual(branch, shortcut, attention=attention, position=plan.position, act=act)
