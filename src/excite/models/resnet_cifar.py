"""ResNet-20 for images of 32 x 32, plain and with SE.

Source: He et al., CVPR 2016, arXiv:1512.03385, section 4.2; Hu et al., CVPR 2018, arXiv:1709.01507.
"""

from functools import partial
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from excite.attention.plan import AttentionPlan, residual
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.options import check_choice
from excite.layers.residual import Widths
from excite.models.backbone import Backbone, cumulative
from excite.models.registry import BACKBONES
from excite.models.resnet import basic_block
from excite.models.senet import Reduction, se_plan

Shortcut = Literal["pad", "conv"]


class Stage(NamedTuple):
    """A column of the table in section 4.2; 2n layers are n basic blocks, and n is 3."""

    channels: int
    repeat: int
    stride: int


#         c  n  s
SECTION_4_2 = (
    Stage(16, 3, 1),
    Stage(32, 3, 2),
    Stage(64, 3, 2),
)


class PadShortcut(nn.Module):
    """Every `stride`-th place, and zeros for the new channels: the paper's shortcut of option A, without parameters.

    Shape:
        (N, channels, *S) -> (N, out, *T), T = S / stride, rounded up.
    """

    def __init__(self, channels: int, out: int, stride: int, *, dims: int) -> None:
        super().__init__()
        self.new, self.steps = out - channels, (slice(None), slice(None), *[slice(None, None, stride)] * dims)

    def forward(self, x: Tensor) -> Tensor:
        """Return the smaller, wider map."""
        x = x[self.steps]
        return torch.cat((x, x.new_zeros(x.shape[0], self.new, *x.shape[2:])), dim=1)


class CifarResNet(Backbone):
    """Basic blocks at the input's own size, a half and a quarter of it.

    Args:
        shortcut: Where the size changes: "pad", the paper's (269,722 parameters at 10 classes), or "conv", a 1x1
            convolution and a norm (272,474), as many listings have it.

    Shape:
        (N, in_channels, *S) -> (N, 64, *T), T = S / 4, rounded up.

    Raises:
        UsageError: `shortcut` is neither, `dims` is not 2 or 3, or the plan does not fit.
    """

    def __init__(self, in_channels: int = 3, *, shortcut: Shortcut = "pad", dims: int = 2,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(SECTION_4_2), dims=dims, in_channels=in_channels)
        check_choice("shortcut", shortcut, Shortcut, fix="'pad' is the paper's")
        brick: Brick = partial(ConvNormAct, dims=dims)
        channels = SECTION_4_2[0].channels
        self.stem = brick(in_channels, channels, 3)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, (out, repeat, stride) in enumerate(SECTION_4_2):
            stage = nn.Sequential()
            for block in range(repeat):
                step = stride if block == 0 else 1
                way: nn.Module = nn.Identity()
                if step > 1 or channels != out:
                    way = (PadShortcut(channels, out, step, dims=dims) if shortcut == "pad" else
                           brick(channels, out, 1, stride=step, act=None))
                made = basic_block(brick, channels, out, stride=step)
                stage.append(residual(attention, index, block, made.branch, way, Widths(channels, out, out, out, out),
                                      dims=dims, act=nn.ReLU(inplace=True), inner=made.inner))
                channels = out
            self.stages.append(stage)
            self.channels.append(channels)
        self.strides = cumulative([(1,) * dims, *[(row.stride,) * dims for row in SECTION_4_2]])
        self.finish(nn.Identity(), channels)
        kaiming_fan_out(self)


@BACKBONES.register("resnet20")
def resnet20(in_channels: int = 3, *, dims: int = 2, shortcut: Shortcut = "pad",
             attention: AttentionPlan | None = None) -> CifarResNet:
    """Return ResNet-20 for images of 32 x 32."""
    return CifarResNet(in_channels, shortcut=shortcut, dims=dims, attention=attention)


@BACKBONES.register("se_resnet20")
def se_resnet20(in_channels: int = 3, *, dims: int = 2, shortcut: Shortcut = "pad", reduction: Reduction = None,
                attention: AttentionPlan | None = None) -> CifarResNet:
    """Return ResNet-20 with SE in every block, `reduction` 16 unless told otherwise."""
    return CifarResNet(in_channels, shortcut=shortcut, dims=dims, attention=se_plan(reduction, attention))
