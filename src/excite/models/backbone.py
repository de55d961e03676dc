"""What every backbone owes its users: a stem, stages, a head, and maps at every stride."""

from collections.abc import Sequence

from torch import Tensor, nn

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.layers.residual import Residual


class Backbone(nn.Module):
    """A network without its classifier: head(stages(stem(x))).

    A subclass sets the attributes below; `attention` and the number of stages are checked here, first of all.

    Args:
        attention: The plan that its blocks will follow.
        stages: How many stages it will have.
        dims: Spatial dimensions, 2 or 3.
        in_channels: Channels of the input.

    Attributes:
        stem, stages, head: Its modules.
        channels: Of each map of `features`, the stem's first.
        strides: Of each map of `features`, relative to the input, one number an axis.
        out_channels: Of `forward`.
        dropout: The published rate before the classifier.

    Shape:
        (N, in_channels, *S) -> (N, out_channels, *T), T about S / strides[-1].

    Raises:
        UsageError: `in_channels` is not positive, or the plan does not fit the number of stages.
    """

    stem: nn.Module
    stages: nn.ModuleList
    head: nn.Module
    channels: list[int]
    strides: list[tuple[int, ...]]
    out_channels: int
    dropout: float = 0.0

    def __init__(self, *, attention: AttentionPlan | None, stages: int, dims: int, in_channels: int) -> None:
        super().__init__()
        if not isinstance(in_channels, int) or in_channels < 1:
            raise UsageError(f"in_channels must be a whole number of at least 1, got {in_channels!r}")
        if attention is not None:
            attention.check(stages)
        self.dims = dims

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the stem's output and each stage's, finest first: what a decoder's skips take."""
        maps = [self.stem(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's output."""
        y: Tensor = self.stem(x)
        for stage in self.stages:
            y = stage(y)
        return self.head(y)  # type: ignore[no-any-return]

    def attended(self) -> list[str]:
        """Return the names of the blocks that have attention."""
        return [name for name, block in self.named_modules() if isinstance(block, Residual) and block.attention]

    def refused(self) -> list[str]:
        """Return the blocks that could not have the attention where the plan wanted it, as sentences."""
        return [f"{name} has no {block.refused} position, because it has no shortcut"
                for name, block in self.named_modules() if isinstance(block, Residual) and block.refused]


def cumulative(steps: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the strides of a network's maps from those of its stem and stages."""
    found: list[tuple[int, ...]] = []
    for step in steps:
        found.append(tuple(a * b for a, b in zip(found[-1], step, strict=True)) if found else step)
    return found
