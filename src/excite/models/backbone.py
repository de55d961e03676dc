"""What every backbone owes its users: a stem, stages, a head, and maps at every stride."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from excite.attention.plan import AttentionPlan
from excite.errors import DataError, UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.form import Formed, written
from excite.layers.residual import Residual
from excite.layers.volume import channels_last


class Backbone(Formed):
    """A network without its classifier: head(stages(stem(x))), and what follows the mean over space.

    A subclass sets the attributes below and calls `finish` last; `attention` and the number of stages are checked
    here, first of all.

    Args:
        attention: The plan that its blocks will follow.
        stages: How many stages it will have.
        dims: Spatial dimensions, 2 or 3.
        in_channels: Channels of the input.

    Attributes:
        stem, stages, head: Its modules.
        attention: On the head's output, where the plan says "tail".
        embedding: From the mean of the head's output over space, (N, out_channels), to (N, embedding_channels).
        channels: Of each map of `features`, the stem's first.
        strides: Of each map of `features`, relative to the input, one number an axis.
        out_channels: Of `forward`.
        embedding_channels: Of `embedding`.
        dropout: The published rate before the classifier.
        channels_last: Whether channels come last in memory where it trains, which is 1.2 to 1.7 times as fast for
            images at batch 16 and 224 x 224; on a CPU it puts volumes into that layout itself (layers/volume.py).

    Shape:
        (N, in_channels, *S) -> (N, out_channels, *T), T about S / strides[-1].

    Raises:
        UsageError: `in_channels` is not positive, or the plan does not fit the number of stages.
    """

    stem: nn.Module
    stages: nn.ModuleList
    head: nn.Module
    attention: nn.Module | None
    embedding: nn.Module
    channels: list[int]
    strides: list[tuple[int, ...]]
    out_channels: int
    embedding_channels: int
    dropout: float = 0.0
    channels_last: bool = True

    def __init__(self, *, attention: AttentionPlan | None, stages: int, dims: int, in_channels: int) -> None:
        super().__init__()
        if type(in_channels) is not int or in_channels < 1:
            raise UsageError(f"in_channels must be a whole number of at least 1, got {in_channels!r}")
        if attention is not None:
            attention.check(stages)
        self.dims, self.in_channels, self.plan = dims, in_channels, attention
        self.attention = None

    def finish(self, head: nn.Module, out_channels: int, *, embedding: nn.Module | None = None,
               embedding_channels: int | None = None) -> None:
        """Add what follows the stages: the head, attention at the tail, the embedding."""
        self.head, self.out_channels = head, out_channels
        self.embedding = embedding or nn.Identity()
        self.embedding_channels = embedding_channels or out_channels
        if self.plan is not None and self.plan.position == "tail":
            self.attention = self.plan.build(out_channels, dims=self.dims)
            self.attention.register_buffer("position", written({"position": "tail"}))
        if self.plan is not None:
            self.plan.check_blocks([".".join(name.split(".")[-2:]) for name, part in self.stages.named_modules()
                                    if isinstance(part, Residual)])
        for name, layer in self.named_modules():
            if isinstance(layer, ConvNormAct):
                layer.place = name

    def features(self, x: Tensor) -> list[Tensor]:
        """Return the stem's output and each stage's, finest first: what a decoder's skips take."""
        maps = [self._begin(x)]
        for stage in self.stages:
            maps.append(stage(maps[-1]))
        return maps

    def forward(self, x: Tensor) -> Tensor:
        """Return the head's output."""
        y: Tensor = self._begin(x)
        for stage in self.stages:
            y = stage(y)
        y = self.head(y)
        return y if self.attention is None else self.attention(y)

    def _begin(self, x: Tensor) -> Tensor:
        self.refuse_other(x)
        y: Tensor = self.stem(channels_last(x) if self.channels_last else x)
        return y

    def refuse_other(self, x: Tensor) -> None:
        """Raise a DataError where `x` has not as many axes and channels as the network was built for."""
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if x.ndim != self.dims + 2 or (not tracing and x.shape[1] != self.in_channels):
            sizes = "D, H, W" if self.dims == 3 else "H, W"
            raise DataError(f"the network takes (N, {self.in_channels}, {sizes}), got {tuple(x.shape)}",
                            fix="give it such a batch, or build it with other dims or in_channels")

    def attended(self) -> list[str]:
        """Return the names of the blocks that have attention; "" is the tail of the whole."""
        return [name for name, part in self.named_modules()
                if isinstance(part, Residual | Backbone) and part.attention is not None]

    def refused(self) -> list[str]:
        """Return the blocks that could not have the attention where the plan wanted it, as sentences."""
        return [f"{name} has {block.refused}" for name, block in self.named_modules()
                if isinstance(block, Residual) and block.refused]


def cumulative(steps: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """Return the strides of a network's maps from those of its stem and stages."""
    found: list[tuple[int, ...]] = []
    for step in steps:
        found.append(tuple(a * b for a, b in zip(found[-1], step, strict=True)) if found else step)
    return found


def stem_stride(dims: int, depth_stride: int) -> tuple[int, ...]:
    """Return the stride of a stem that halves the plane, and a volume's depth where `depth_stride` is 2.

    Raises:
        UsageError: `depth_stride` is not 1 or 2.
    """
    if depth_stride not in (1, 2):
        raise UsageError(f"depth_stride must be 1 or 2, got {depth_stride!r}",
                         fix="1 keeps the slices of a thin volume")
    return (depth_stride, 2, 2) if dims == 3 else (2,) * dims


def depth_form(dims: int, depth_stride: int) -> dict[str, object]:
    """Return the fact of the form that a volume's stem adds: its shapes do not show it."""
    return {"depth_stride": depth_stride} if dims == 3 else {}
