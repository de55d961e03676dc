"""MobileNetV2. Source: Sandler et al., CVPR 2018, arXiv:1801.04381, table 2."""

from functools import partial
from typing import Literal, NamedTuple

from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.attention.se import SqueezeExcitation
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.options import check_choice
from excite.layers.padding import Padding
from excite.layers.residual import Widths
from excite.layers.width import Rounding, check_width, scaling
from excite.models.backbone import Backbone, cumulative, depth_form, stem_stride
from excite.models.registry import BACKBONES

HeadRule = Literal["paper", "scaled"]
OutputStride = Literal[32, 16]


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
LAST_STRIDE = 5  # the last row that strides


@BACKBONES.register("mobilenet_v2")
class MobileNetV2(Backbone):
    """Inverted residual blocks with linear bottlenecks.

    Args:
        width: Multiplies the channels of every layer.
        head: "paper": the last layer has 1280 channels, more where `width` is above 1; "scaled": it follows `width`
            below 1, too, as many listings have it.
        rounding: Of channels times `width`: "divisible", to multiples of `round_nearest` (the authors' code);
            "truncate", as the published 3-D networks have it, which gives odd numbers and slow kernels.
        round_nearest: What channels are multiples of.
        padding: "tf_same" for weights that were trained in TensorFlow.
        depth_stride: Of a volume's stem along its depth: 1, because a volume has few slices (Kopuklu et al.,
            arXiv:1904.02422); 2 for volumes of equal sides. It has no say in 2-D.
        output_stride: 32; or 16, where the last stage that strides does not, and what follows it filters with holes
            of one place (Chen et al., arXiv:1706.05587, section 3.1): every second place of its map is the map at 32.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H / 32, W / 32), sizes rounded up;
        (N, in_channels, D, H, W) -> (N, out_channels, D / 16 (D / 32), H / 32, W / 32).

    Raises:
        UsageError: `width` is not in (0, 10], a name or number is wrong, or the plan does not fit.
        ModelError: weights of another padding, depth stride or output stride are loaded.
    """

    dropout = 0.2

    def __init__(self, in_channels: int = 3, *, dims: int = 2, width: float = 1.0, head: HeadRule = "paper",
                 rounding: Rounding = "divisible", round_nearest: int = 8, padding: Padding = "symmetric",
                 depth_stride: int = 1, output_stride: OutputStride = 32,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(TABLE_2), dims=dims, in_channels=in_channels)
        check_width(width)
        check_choice("head", head, HeadRule)
        check_choice("output_stride", output_stride, OutputStride)
        scale = scaling(width, rounding, round_nearest)
        brick = partial(ConvNormAct, dims=dims, act=nn.ReLU6, padding=padding)
        self.set_form(padding=padding, output_stride=output_stride, **depth_form(dims, depth_stride))
        first = stem_stride(dims, depth_stride)
        channels = scale(32)
        self.stem = brick(in_channels, channels, 3, stride=first)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        strides, dilation = [row.stride for row in TABLE_2], 1
        if output_stride == 16:
            strides[LAST_STRIDE] = 1
        for index, (expand, out, repeat, stride) in enumerate(TABLE_2):
            out = scale(out)
            blocks: list[nn.Module] = []
            for block, step in enumerate((strides[index], *[1] * (repeat - 1))):
                hidden = channels * expand
                branch = inverted(brick, channels, hidden, out, stride=step, dilation=dilation)
                if block == 0 and stride != strides[index]:
                    dilation = 2  # the layer that no longer strides sees what it saw; those after it, through holes
                shortcut = nn.Identity() if step == 1 and channels == out else None
                blocks.append(residual(attention, index, block, branch, shortcut,
                                       Widths(channels, hidden, out, channels, out), dims=dims, inner=len(branch) - 2))
                channels = out
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(channels)
        self.strides = cumulative([first, *[(stride,) * dims for stride in strides]])
        last = scale(1280) if head == "scaled" or width > 1 else 1280
        self.finish(brick(channels, last, 1), last)
        kaiming_fan_out(self)


def inverted(brick: Brick, channels: int, hidden: int, out: int, *, stride: int, kernel: int = 3,
             dilation: int = 1) -> nn.Sequential:
    """Return the branch that expands (where hidden > channels), filters each channel, projects without activation."""
    branch = nn.Sequential()
    if hidden != channels:
        branch.append(brick(channels, hidden, 1))
    branch.append(brick(hidden, hidden, kernel, stride=stride, groups=hidden, dilation=dilation))
    branch.append(brick(hidden, out, 1, act=None))
    return branch


def kaiming_gates(network: nn.Module) -> None:
    """Give the two layers of every SE the first weights of the other convolutions, and biases of zero.

    The published networks that come with SE have them so; SE that is added to another keeps its own.
    """
    for gate in network.modules():
        if isinstance(gate, SqueezeExcitation):
            for layer in (gate.squeeze, gate.excite):
                nn.init.kaiming_normal_(layer.get_parameter("weight"), mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(layer.get_parameter("bias"))
