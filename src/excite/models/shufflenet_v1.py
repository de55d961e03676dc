"""ShuffleNetV1. Source: Zhang et al., CVPR 2018, arXiv:1707.01083, table 1 and figure 2 (b, c)."""

from functools import partial
from typing import Literal

from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.errors import UsageError
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.options import check_choice
from excite.layers.pool import MaxPool, PlaneMean
from excite.layers.residual import Residual, Widths
from excite.layers.shuffle import ChannelShuffle
from excite.layers.width import check_width
from excite.models.backbone import Backbone, cumulative, depth_form, stem_stride
from excite.models.registry import BACKBONES

Shuffle = Literal["paper", "released"]

STEM = 24            # channels of the first convolution at width 1
REPEATS = (4, 8, 4)  # units in stages 2, 3 and 4; the first strides
SQUEEZE = 4          # a unit's output channels, over those inside

# Output channels of stages 2, 3 and 4 at width 1, by the number of groups.
TABLE_1 = {
    1: (144, 288, 576),
    2: (200, 400, 800),
    3: (240, 480, 960),
    4: (272, 544, 1088),
    8: (384, 768, 1536),
}


@BACKBONES.register("shufflenet_v1")
class ShuffleNetV1(Backbone):
    """Bottlenecks whose 1x1 convolutions have groups, and a shuffle between them.

    Args:
        groups: Of the 1x1 convolutions: 1, 2, 3, 4 or 8, each with channels of its own.
        width: Multiplies all channels. Those inside a unit are rounded up to a multiple of `groups`: the paper's
            networks of half width with 2 and 4 groups cannot be built without.
            The first convolution's are 24 times `width`, and of a width above 1 times its whole part: so the released
            networks have it (12, 16 with 8 groups; 24; 24; 48 at widths 0.5, 1, 1.5 and 2), and the paper's 292 M of
            width 1.5 tells the same.
        shuffle: "paper": by `groups`, before the 3x3; "released": the inverse of it, after the 3x3, as in the authors'
            released networks.
        depth_stride: Of a volume's stem along its depth: 1, because a volume has few slices; 2 for volumes of equal
            sides. It has no say in 2-D.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H / 32, W / 32), sizes rounded up;
        (N, in_channels, D, H, W) -> (N, out_channels, D / 16 (D / 32), H / 32, W / 32).

    Raises:
        UsageError: `groups` is none of the five, or does not divide the channels that `width` leaves; a number or name
            is wrong, or the plan does not fit.
        ModelError: weights of another shuffle or depth stride are loaded.
    """

    def __init__(self, in_channels: int = 3, *, dims: int = 2, groups: int = 3, width: float = 1.0,
                 shuffle: Shuffle = "paper", depth_stride: int = 1, attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(REPEATS), dims=dims, in_channels=in_channels)
        check_choice("shuffle", shuffle, Shuffle, fix="'paper' is figure 2's")
        outs, channels = _widths(groups, width)
        self.set_form(shuffle=shuffle, **depth_form(dims, depth_stride))
        brick: Brick = partial(ConvNormAct, dims=dims)
        first = stem_stride(dims, depth_stride)
        self.stem = brick(in_channels, channels, 3, stride=first)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, (out, repeat) in enumerate(zip(outs, REPEATS, strict=True)):
            stage = nn.Sequential()
            if index == 0:
                stage.add_module("pool", MaxPool(dims=dims))
            for block in range(repeat):
                stage.add_module(str(block), _unit(brick, attention, (index, block), channels, out, groups=groups,
                                                   shuffle=shuffle, dims=dims))
                channels = out
            self.stages.append(stage)
            self.channels.append(channels)
        self.strides = cumulative([first, (4,) * dims, (2,) * dims, (2,) * dims])
        self.finish(nn.Identity(), channels)
        kaiming_fan_out(self)


def _widths(groups: int, width: float) -> tuple[list[int], int]:
    """Return the output channels of the stages, and those of the stem."""
    if groups not in TABLE_1:
        raise UsageError(f"groups must be one of {', '.join(map(str, TABLE_1))}, got {groups!r}",
                         fix="3 and 8 are the released ones")
    check_width(width)
    outs = [round(channels * width, 6) for channels in TABLE_1[groups]]  # 0.07 * 200 is not quite 14
    if any(out % groups for out in outs):
        raise UsageError(f"width must leave channels that {groups} groups divide, got {width!r}",
                         why=f"it leaves {', '.join(f'{out:g}' for out in outs)}", fix="0.5, 1, 1.5 and 2 do")
    return [int(out) for out in outs], _multiple(STEM * (width if width < 1 else int(width)), groups)


def _multiple(channels: float, groups: int) -> int:
    """Return the next multiple of `groups` that is not below `channels`."""
    return int(-(-channels // groups)) * groups


def _unit(brick: Brick, plan: AttentionPlan | None, place: tuple[int, int], channels: int, out: int, *, groups: int,
          shuffle: Shuffle, dims: int) -> Residual:
    """Return the unit at (stage, block): figure 2 (c), whose shortcut is an average pool, as the first, else (b)."""
    stage, block = place
    down, inside = block == 0, _multiple(out // SQUEEZE, groups)
    made = out - channels if down else out
    squeeze = brick(channels, inside, 1, groups=1 if place == (0, 0) else groups)
    space = brick(inside, inside, 3, stride=2 if down else 1, groups=inside, act=None)
    widen = brick(inside, made, 1, groups=groups, act=None)
    branch = (nn.Sequential(squeeze, ChannelShuffle(groups), space, widen) if shuffle == "paper" else
              nn.Sequential(squeeze, space, ChannelShuffle(inside // groups), widen))
    shortcut = PlaneMean(dims=dims, stride=2) if down else nn.Identity()
    return residual(plan, stage, block, branch, shortcut, Widths(channels, inside, made, channels, out), dims=dims,
                    act=nn.ReLU(inplace=True), inner=2 if shuffle == "paper" else 1, join="concat" if down else "sum")
