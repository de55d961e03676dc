"""MobileNetV2. Source: Sandler et al., CVPR 2018, arXiv:1801.04381, table 2."""

from typing import NamedTuple

from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.errors import UsageError
from excite.layers.conv import ConvNormAct, make_divisible
from excite.layers.initialise import kaiming_fan_out
from excite.models.backbone import Backbone, cumulative
from excite.models.registry import BACKBONES


class Stage(NamedTuple):
    """A row of table 2."""

    expand: int    # t: channels of a block's middle, over those of its input
    channels: int  # c: output channels at width 1
    repeat: int    # n: blocks
    stride: int    # s: of the first block


#            t    c  n  s
TABLE_2 = (
    Stage(1,  16, 1, 1),
    Stage(6,  24, 2, 2),
    Stage(6,  32, 3, 2),
    Stage(6,  64, 4, 2),
    Stage(6,  96, 3, 1),
    Stage(6, 160, 3, 2),
    Stage(6, 320, 1, 1),
)


@BACKBONES.register("mobilenet_v2")
class MobileNetV2(Backbone):
    """Inverted residual blocks with linear bottlenecks.

    Args:
        width: Multiplies the channels of every layer, the last one only where above 1.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H / 32, W / 32), sizes rounded up;
        (N, in_channels, D, H, W) -> (N, out_channels, D / 16, H / 32, W / 32).

    Raises:
        UsageError: `width` is not in (0, 10], `dims` is not 2 or 3, or the plan does not fit.
    """

    dropout = 0.2

    def __init__(self, in_channels: int = 3, *, dims: int = 2, width: float = 1.0,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(TABLE_2), dims=dims, in_channels=in_channels)
        if not 0 < width <= 10:
            raise UsageError(f"width must be above 0 and at most 10, got {width!r}", fix="1 is the paper's network")
        channels = make_divisible(32 * width)
        # A volume has few slices: its stem halves the plane only (Kopuklu et al., arXiv:1904.02422).
        first = (1, 2, 2) if dims == 3 else (2, 2)
        self.stem = ConvNormAct(in_channels, channels, 3, stride=first, dims=dims, act=nn.ReLU6)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, (expand, out, repeat, stride) in enumerate(TABLE_2):
            out = make_divisible(out * width)
            blocks: list[nn.Module] = []
            for step in (stride, *[1] * (repeat - 1)):
                branch = _inverted(channels, channels * expand, out, step, dims)
                shortcut = nn.Identity() if step == 1 and channels == out else None
                blocks.append(residual(attention, index, branch, shortcut, (channels, out), dims=dims))
                channels = out
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(channels)
        self.strides = cumulative([first, *[(row.stride,) * dims for row in TABLE_2]])
        self.out_channels = make_divisible(1280 * max(1.0, width))
        self.head = ConvNormAct(channels, self.out_channels, 1, dims=dims, act=nn.ReLU6)
        kaiming_fan_out(self)


def _inverted(channels: int, hidden: int, out: int, stride: int, dims: int) -> nn.Sequential:
    """Expand (where hidden > channels), filter each channel, project without activation."""
    branch = nn.Sequential()
    if hidden > channels:
        branch.append(ConvNormAct(channels, hidden, 1, dims=dims, act=nn.ReLU6))
    branch.append(ConvNormAct(hidden, hidden, 3, stride=stride, groups=hidden, dims=dims, act=nn.ReLU6))
    branch.append(ConvNormAct(hidden, out, 1, dims=dims, act=None))
    return branch
