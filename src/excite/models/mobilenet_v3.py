"""MobileNetV3. Source: Howard et al., ICCV 2019, arXiv:1905.02244, tables 1 and 2."""

from collections.abc import Sequence
from functools import partial
from itertools import groupby
from typing import Literal, NamedTuple

from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.padding import Padding
from excite.layers.residual import Widths
from excite.layers.width import check_width, scaling
from excite.models.backbone import Backbone, cumulative, depth_form, stem_stride
from excite.models.mobilenet_v2 import inverted, kaiming_gates
from excite.models.registry import BACKBONES


class Row(NamedTuple):
    """A row of tables 1 and 2; blocks of one number of channels are a stage."""

    kernel: int
    expanded: int  # exp size: channels of the block's middle
    channels: int  # of its output
    se: bool
    act: Literal["RE", "HS"]
    stride: int


#       k  exp  out  SE     NL    s
TABLE_1 = (
    Row(3, 16,  16,  False, "RE", 1),
    Row(3, 64,  24,  False, "RE", 2),
    Row(3, 72,  24,  False, "RE", 1),
    Row(5, 72,  40,  True,  "RE", 2),
    Row(5, 120, 40,  True,  "RE", 1),
    Row(5, 120, 40,  True,  "RE", 1),
    Row(3, 240, 80,  False, "HS", 2),
    Row(3, 200, 80,  False, "HS", 1),
    Row(3, 184, 80,  False, "HS", 1),
    Row(3, 184, 80,  False, "HS", 1),
    Row(3, 480, 112, True,  "HS", 1),
    Row(3, 672, 112, True,  "HS", 1),
    Row(5, 672, 160, True,  "HS", 2),
    Row(5, 960, 160, True,  "HS", 1),
    Row(5, 960, 160, True,  "HS", 1),
)
TABLE_2 = (
    Row(3, 16,  16,  True,  "RE", 2),
    Row(3, 72,  24,  False, "RE", 2),
    Row(3, 88,  24,  False, "RE", 1),
    Row(5, 96,  40,  True,  "HS", 2),
    Row(5, 240, 40,  True,  "HS", 1),
    Row(5, 240, 40,  True,  "HS", 1),
    Row(5, 120, 48,  True,  "HS", 1),
    Row(5, 144, 48,  True,  "HS", 1),
    Row(5, 288, 96,  True,  "HS", 2),
    Row(5, 576, 96,  True,  "HS", 1),
    Row(5, 576, 96,  True,  "HS", 1),
)
LAST = 6  # channels of the last 1x1 over those of the last block: 960 of 160, 576 of 96
# HS, h-swish, is a cheap stand-in for swish, x * sigmoid(x); only its cost is like ReLU6's. Section 5.2.
_ACTS: dict[str, type[nn.Module]] = {"RE": nn.ReLU, "HS": nn.Hardswish}


class MobileNetV3(Backbone):
    """Inverted residual blocks with SE on the expansion in some, h-swish, and a last layer after the pooling.

    Args:
        table: Its blocks.
        embedding_channels: Of the layer after the pooling, at width 1.
        width: Multiplies the channels of every layer, rounded to multiples of 8.
        reduced_tail: The last stage and what follows have half the channels, for dense prediction (the authors'
            segmentation and detection networks, section 6.3).
        dilated: The last stage keeps the size and dilates its kernels by 2 instead, that of its first block, too, as
            torchvision does: the last map has stride 16.
        padding: "tf_same" for weights that were trained in TensorFlow.
        norm_eps: Of the norms: 0.001 in the authors' and torchvision's networks; timm trained some with 1e-5.
        depth_stride: Of a volume's stem along its depth, see MobileNetV2. It has no say in 2-D.
        attention: Instead of the tables' SE.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H / 32, W / 32), sizes rounded up, H / 16 where `dilated`;
        (N, in_channels, D, H, W) -> (N, out_channels, D / 16 (D / 32), H / 32, W / 32).

    Raises:
        UsageError: `width` is not in (0, 10], a name or number is wrong, or the plan does not fit.
        ModelError: weights of another padding, dilation, epsilon or depth stride are loaded.
    """

    dropout = 0.2

    def __init__(self, in_channels: int = 3, *, table: Sequence[Row], embedding_channels: int, dims: int = 2,
                 width: float = 1.0, reduced_tail: bool = False, dilated: bool = False,
                 padding: Padding = "symmetric", norm_eps: float = 1e-3, depth_stride: int = 1,
                 attention: AttentionPlan | None = None) -> None:
        stages = in_stages(table)
        plan = attention or se_of(stages)
        super().__init__(attention=plan, stages=len(stages), dims=dims, in_channels=in_channels)
        check_width(width)
        if not norm_eps > 0:
            raise UsageError(f"norm_eps must be above 0, got {norm_eps!r}", fix="0.001 is the authors'")
        if reduced_tail:
            stages[-1] = reduced(stages[-1])
        scale = scaling(width)
        brick = partial(ConvNormAct, dims=dims, padding=padding, eps=norm_eps, momentum=0.01)
        self.set_form(padding=padding, dilated=bool(dilated), norm_eps=norm_eps, **depth_form(dims, depth_stride))
        steps = [stem_stride(dims, depth_stride)]
        channels = scale(16)
        self.stem = brick(in_channels, channels, 3, stride=steps[0], act=nn.Hardswish)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, rows in enumerate(stages):
            dilation = 2 if dilated and index == len(stages) - 1 else 1
            blocks: list[nn.Module] = []
            for block, row in enumerate(rows):
                hidden, out, step = scale(row.expanded), scale(row.channels), row.stride if dilation == 1 else 1
                branch = inverted(partial(brick, act=_ACTS[row.act]), channels, hidden, out, stride=step,
                                  kernel=row.kernel, dilation=dilation)
                shortcut = nn.Identity() if row.stride == 1 and channels == out else None
                blocks.append(residual(plan, index, block, branch, shortcut,
                                       Widths(channels, hidden, out, channels, out), dims=dims, inner=len(branch) - 2))
                channels = out
            self.stages.append(nn.Sequential(*blocks))
            self.channels.append(channels)
            steps.append((rows[0].stride if dilation == 1 else 1,) * dims)
        self.strides = cumulative(steps)
        last, wide = LAST * channels, scale(embedding_channels // 2 if reduced_tail else embedding_channels)
        self.finish(brick(channels, last, 1, act=nn.Hardswish), last, embedding=_embedding(last, wide),
                    embedding_channels=wide)
        kaiming_fan_out(self)
        if attention is None:
            kaiming_gates(self)


def in_stages(table: Sequence[Row]) -> list[list[Row]]:
    """Return the rows of a table in runs of one number of channels."""
    return [list(rows) for _, rows in groupby(table, key=lambda row: row.channels)]


def se_of(stages: Sequence[Sequence[Row]]) -> AttentionPlan:
    """Return the tables' attention: hard SE on the expansion, squeezed to a quarter, a multiple of 8."""
    blocks = tuple(f"{index}.{block}" for index, rows in enumerate(stages) for block, row in enumerate(rows) if row.se)
    return AttentionPlan(kind="se", position="inner", blocks=blocks,
                         options={"reduction": 4, "divisor": 8, "gate": "hard_sigmoid"})


def reduced(rows: Sequence[Row]) -> list[Row]:
    """Return the last stage with half the channels; its first block expands a wide map and keeps its middle."""
    return [row._replace(channels=row.channels // 2, expanded=row.expanded // (2 if index else 1))
            for index, row in enumerate(rows)]


def _embedding(channels: int, out: int) -> nn.Sequential:
    layer = nn.Linear(channels, out)
    nn.init.normal_(layer.weight, 0.0, 0.01)
    nn.init.zeros_(layer.bias)
    return nn.Sequential(layer, nn.Hardswish(inplace=True))


@BACKBONES.register("mobilenet_v3_large")
def mobilenet_v3_large(in_channels: int = 3, *, dims: int = 2, width: float = 1.0, reduced_tail: bool = False,
                       dilated: bool = False, padding: Padding = "symmetric", norm_eps: float = 1e-3,
                       depth_stride: int = 1, attention: AttentionPlan | None = None) -> MobileNetV3:
    """Return MobileNetV3-Large; arguments as in MobileNetV3."""
    return MobileNetV3(in_channels, table=TABLE_1, embedding_channels=1280, dims=dims, width=width,
                       reduced_tail=reduced_tail, dilated=dilated, padding=padding, norm_eps=norm_eps,
                       depth_stride=depth_stride, attention=attention)


@BACKBONES.register("mobilenet_v3_small")
def mobilenet_v3_small(in_channels: int = 3, *, dims: int = 2, width: float = 1.0, reduced_tail: bool = False,
                       dilated: bool = False, padding: Padding = "symmetric", norm_eps: float = 1e-3,
                       depth_stride: int = 1, attention: AttentionPlan | None = None) -> MobileNetV3:
    """Return MobileNetV3-Small; arguments as in MobileNetV3."""
    return MobileNetV3(in_channels, table=TABLE_2, embedding_channels=1024, dims=dims, width=width,
                       reduced_tail=reduced_tail, dilated=dilated, padding=padding, norm_eps=norm_eps,
                       depth_stride=depth_stride, attention=attention)
