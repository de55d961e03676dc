"""MobileNetV1. Source: Howard et al. 2017, arXiv:1704.04861, table 1."""

from functools import partial
from typing import Literal, NamedTuple

from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.options import check_choice
from excite.layers.padding import Padding
from excite.layers.residual import Widths
from excite.layers.width import Rounding, check_width, scaling
from excite.models.backbone import Backbone, cumulative, depth_form, stem_stride
from excite.models.registry import BACKBONES

Activation = Literal["relu", "relu6"]
_ACTS: dict[Activation, type[nn.Module]] = {"relu": nn.ReLU, "relu6": nn.ReLU6}


class Stage(NamedTuple):
    """Rows of table 1 of one size: pairs of a depth-wise convolution and a 1x1."""

    channels: int  # of the output at width 1
    repeat: int    # pairs
    stride: int    # of the first depth-wise convolution


#         c    n  s
TABLE_1 = (
    Stage(64,   1, 1),
    Stage(128,  2, 2),
    Stage(256,  2, 2),
    Stage(512,  6, 2),
    Stage(1024, 2, 2),  # the table prints stride 2 for the last pair, too, at an input and output of 7 x 7: it is 1
)


@BACKBONES.register("mobilenet_v1")
class MobileNetV1(Backbone):
    """Thirteen depth-wise separable blocks, without shortcuts.

    The paper's second multiplier, rho, is that of the input's sides: give smaller images.

    Args:
        width: Multiplies the channels of every layer: alpha, 1, 0.75, 0.5 or 0.25 in the paper.
        activation: "relu", as the paper says; "relu6", as the authors' released networks have it, and timm's.
        rounding: Of channels times `width`, see MobileNetV2; the paper's widths come out alike in both ways.
        padding: "tf_same" for weights that were trained in TensorFlow.
        depth_stride: Of a volume's stem along its depth, see MobileNetV2. It has no say in 2-D.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H / 32, W / 32), sizes rounded up;
        (N, in_channels, D, H, W) -> (N, out_channels, D / 16 (D / 32), H / 32, W / 32); the 3-D form of Kopuklu et
        al., arXiv:1904.02422, has the same layers and strides a stage earlier, to D / 16 and H / 32 as well.

    Raises:
        UsageError: `width` is not in (0, 10], a name or number is wrong, or the plan does not fit.
        ModelError: weights of another padding, activation or depth stride are loaded.
    """

    dropout = 0.001  # the authors' released code; the paper has none

    def __init__(self, in_channels: int = 3, *, dims: int = 2, width: float = 1.0, activation: Activation = "relu",
                 rounding: Rounding = "divisible", padding: Padding = "symmetric", depth_stride: int = 1,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(TABLE_1), dims=dims, in_channels=in_channels)
        check_width(width)
        check_choice("activation", activation, Activation, fix="published weights have 'relu6'")
        scale = scaling(width, rounding)
        brick = partial(ConvNormAct, dims=dims, act=_ACTS[activation], padding=padding)
        self.set_form(padding=padding, activation=activation, **depth_form(dims, depth_stride))
        first = stem_stride(dims, depth_stride)
        channels = scale(32)
        self.stem = brick(in_channels, channels, 3, stride=first)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, (out, repeat, stride) in enumerate(TABLE_1):
            out = scale(out)
            blocks: list[nn.Module] = []
            for block, step in enumerate((stride, *[1] * (repeat - 1))):
                branch = separable(brick, channels, out, stride=step)
                blocks.append(residual(attention, index, block, branch, None,
                                       Widths(channels, channels, out, channels, out), dims=dims, inner=0))
                channels = out
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(channels)
        self.strides = cumulative([first, *[(row.stride,) * dims for row in TABLE_1]])
        self.finish(nn.Identity(), channels)
        kaiming_fan_out(self)


def separable(brick: Brick, channels: int, out: int, *, stride: int) -> nn.Sequential:
    """Return a filter for each channel, then a 1x1 that mixes them: 1 / out + 1 / 9 of a full 3x3's products."""
    return nn.Sequential(brick(channels, channels, 3, stride=stride, groups=channels), brick(channels, out, 1))
