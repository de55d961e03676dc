"""ShuffleNetV2. Source: Ma et al., ECCV 2018, arXiv:1807.11164, table 5 and figure 3 (c, d)."""

from functools import partial
from typing import NamedTuple

from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.errors import UsageError
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.pool import MaxPool
from excite.layers.residual import Residual, Widths
from excite.layers.shuffle import ChannelShuffle
from excite.models.backbone import Backbone, cumulative, depth_form, stem_stride
from excite.models.registry import BACKBONES

STEM = 24              # channels of the first convolution, at every width
REPEATS = (4, 8, 4)    # units in stages 2, 3 and 4; the first strides


class Column(NamedTuple):
    """A column of table 5: output channels at one width."""

    stage2: int
    stage3: int
    stage4: int
    conv5: int


TABLE_5 = {
    0.5: Column(48,   96, 192, 1024),
    1.0: Column(116, 232, 464, 1024),
    1.5: Column(176, 352, 704, 1024),
    2.0: Column(244, 488, 976, 2048),
}


@BACKBONES.register("shufflenet_v2")
class ShuffleNetV2(Backbone):
    """Units that filter one half of the channels, hand the other half on, and shuffle both.

    Args:
        width: 0.5, 1, 1.5 or 2: the paper gives the channels of each, not a rule.
        depth_stride: Of a volume's stem along its depth: 1, because a volume has few slices; 2 for volumes of equal
            sides. It has no say in 2-D.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H / 32, W / 32), sizes rounded up;
        (N, in_channels, D, H, W) -> (N, out_channels, D / 16 (D / 32), H / 32, W / 32).

    Raises:
        UsageError: `width` is none of the four, a number is wrong, or the plan does not fit.
        ModelError: weights of another depth stride are loaded.
    """

    def __init__(self, in_channels: int = 3, *, dims: int = 2, width: float = 1.0, depth_stride: int = 1,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(REPEATS), dims=dims, in_channels=in_channels)
        if width not in TABLE_5:
            raise UsageError(f"width must be one of {', '.join(f'{one:g}' for one in TABLE_5)}, got {width!r}",
                             fix="the paper has no other widths")
        if dims == 3:
            self.set_form(**depth_form(dims, depth_stride))
        *outs, last = TABLE_5[width]
        brick: Brick = partial(ConvNormAct, dims=dims)
        first, channels = stem_stride(dims, depth_stride), STEM
        self.stem = brick(in_channels, channels, 3, stride=first)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, (out, repeat) in enumerate(zip(outs, REPEATS, strict=True)):
            stage = nn.Sequential()
            if index == 0:
                stage.add_module("pool", MaxPool(dims=dims))
            for block in range(repeat):
                stage.add_module(str(block), _unit(brick, attention, (index, block), channels, out, dims=dims))
                channels = out
            self.stages.append(stage)
            self.channels.append(channels)
        self.strides = cumulative([first, (4,) * dims, (2,) * dims, (2,) * dims])
        self.finish(brick(channels, last, 1), last)
        kaiming_fan_out(self)


def _unit(brick: Brick, plan: AttentionPlan | None, place: tuple[int, int], channels: int, out: int, *,
          dims: int) -> Residual:
    """Return the unit at (stage, block): figure 3 (d), whose both ways stride, as the first, (c) as the others."""
    stage, block = place
    down, half = block == 0, out // 2
    taken = channels if down else half
    branch = nn.Sequential(
        brick(taken, half, 1),
        brick(half, half, 3, stride=2 if down else 1, groups=half, act=None),
        brick(half, half, 1))
    shortcut: nn.Module = nn.Identity()
    if down:
        shortcut = nn.Sequential(brick(channels, channels, 3, stride=2, groups=channels, act=None),
                                 brick(channels, half, 1))
    return residual(plan, stage, block, branch, shortcut, Widths(taken, half, half, half, out), dims=dims,
                    act=ChannelShuffle(2), inner=1, join="concat", halves=not down)
