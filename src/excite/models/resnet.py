"""ResNet. Source: He et al., CVPR 2016, arXiv:1512.03385, table 1; its builders for ResNeXt and SENet are next door."""

from collections.abc import Sequence
from functools import partial
from typing import Literal, NamedTuple

from torch import nn

from excite.attention.plan import AttentionPlan, residual
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.options import check_choice
from excite.layers.pool import MaxPool
from excite.layers.residual import Widths
from excite.models.backbone import Backbone, cumulative, depth_form, stem_stride
from excite.models.registry import BACKBONES

StrideIn = Literal["conv1", "conv2"]
EXPANSION = 4  # a bottleneck's output channels, over its planes


class Stage(NamedTuple):
    """A column of table 1: blocks of one size."""

    planes: int  # channels of the 3x3
    stride: int  # of the first block


#         planes s
TABLE_1 = (
    Stage(64,  1),
    Stage(128, 2),
    Stage(256, 2),
    Stage(512, 2),
)
#                    blocks a stage
DEPTHS = {
    "resnet18":  (2, 2, 2, 2),
    "resnet34":  (3, 4, 6, 3),
    "resnet50":  (3, 4, 6, 3),
    "resnet101": (3, 4, 23, 3),
    "resnet152": (3, 8, 36, 3),
}


class Block(NamedTuple):
    """A branch, what it takes and gives, and where its convolution over space is."""

    branch: nn.Sequential
    filtered: int  # channels after the convolution over space
    out: int
    inner: int     # its index in the branch


class ResNet(Backbone):
    """Blocks of convolutions around a shortcut, after a stem that divides the size by four.

    Args:
        depths: Blocks in each of the four stages.
        basic: Blocks of two 3x3 convolutions, as ResNet-18 and 34; else bottlenecks of 1x1, 3x3 and 1x1.
        groups: Groups of the 3x3 convolutions.
        group_width: Channels of such a group at 64 planes; 64 with one group is plain ResNet.
        squeeze: A bottleneck's first 1x1 has this share of the 3x3's channels; 0.5 in SENet-154.
        stride_in: Where a bottleneck strides: "conv2", the 3x3, as torchvision; "conv1", the first 1x1, as the
            paper and the released Caffe SE-ResNets.
        ceil_pool: The first pool rounds up and does not pad, as in the released Caffe networks.
        deep_stem: Three 3x3 convolutions in the place of one 7x7, as SENet-154.
        shortcut_kernel: Of the shortcuts that stride.
        depth_stride: Of a volume's first convolution along its depth: 1, because a volume has few slices (Hara et
            al., arXiv:1711.09577, table 1); 2 for volumes of equal sides. It has no say in 2-D.

    Attributes:
        channels_last: Not of volumes, where dense convolutions train at 0.8 to 0.9 of the speed then; but with groups,
            1.3 times as fast. Images 1.2 times, at batch 16 and 224 x 224.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H / 32, W / 32), rounded up but for a `ceil_pool`'s odd sizes;
        (N, in_channels, D, H, W) -> (N, out_channels, D / 16 (D / 32), H / 32, W / 32).

    Raises:
        UsageError: `stride_in` is neither place, `dims` is not 2 or 3, or the plan does not fit.
        ModelError: weights of another stride or pool are loaded; their shapes would not tell.
    """

    def __init__(self, in_channels: int = 3, *, depths: Sequence[int], basic: bool = False, groups: int = 1,
                 group_width: int = 64, squeeze: float = 1.0, stride_in: StrideIn = "conv2", ceil_pool: bool = False,
                 deep_stem: bool = False, shortcut_kernel: int = 1, depth_stride: int = 1, dropout: float = 0.0,
                 dims: int = 2, attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(TABLE_1), dims=dims, in_channels=in_channels)
        self.channels_last = dims == 2 or groups > 1
        check_choice("stride_in", stride_in, StrideIn,
                     fix="torchvision's networks have 'conv2', the Caffe SE-ResNets 'conv1'")
        self.set_form(ceil_pool=ceil_pool, **({} if basic else {"stride_in": stride_in}),
                      **depth_form(dims, depth_stride))
        brick: Brick = partial(ConvNormAct, dims=dims)
        first = stem_stride(dims, depth_stride)
        channels = 128 if deep_stem else 64
        self.stem = (_deep_stem(brick, in_channels, first) if deep_stem else
                     brick(in_channels, channels, 7, stride=first))
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, ((planes, stride), repeat) in enumerate(zip(TABLE_1, depths, strict=True)):
            stage = nn.Sequential()
            if index == 0:
                stage.add_module("pool", MaxPool(dims=dims, ceil=ceil_pool, thin=depth_stride == 1))
            for block in range(repeat):
                step = stride if block == 0 else 1
                width = planes * group_width * groups // 64
                branch, filtered, out, inner = (
                    basic_block(brick, channels, planes, stride=step) if basic else
                    bottleneck(brick, channels, width, planes * EXPANSION, stride=step, groups=groups,
                               stride_in=stride_in, squeezed=int(width * squeeze)))
                kernel = shortcut_kernel if step > 1 else 1
                shortcut = (nn.Identity() if step == 1 and channels == out else
                            brick(channels, out, kernel, stride=step, act=None))
                stage.add_module(str(block), residual(
                    attention, index, block, branch, shortcut, Widths(channels, filtered, out, out, out), dims=dims,
                    act=nn.ReLU(inplace=True), inner=inner))
                channels = out
            self.stages.append(stage)
            self.channels.append(channels)
        self.strides = cumulative([first, (2,) * dims, *[(row.stride,) * dims for row in TABLE_1[1:]]])
        self.dropout = dropout
        self.finish(nn.Identity(), channels)
        kaiming_fan_out(self)


def basic_block(brick: Brick, channels: int, out: int, *, stride: int = 1) -> Block:
    """Return two 3x3 convolutions, the second without activation."""
    branch = nn.Sequential(brick(channels, out, 3, stride=stride), brick(out, out, 3, act=None))
    return Block(branch, out, out, 0)


def bottleneck(brick: Brick, channels: int, width: int, out: int, *, stride: int = 1, groups: int = 1,
               stride_in: StrideIn = "conv2", squeezed: int | None = None) -> Block:
    """Return a squeeze to `squeezed` (`width`) channels, a 3x3 to `width`, a widening to `out` without activation."""
    first, second = (stride, 1) if stride_in == "conv1" else (1, stride)
    squeezed = squeezed or width
    branch = nn.Sequential(
        brick(channels, squeezed, 1, stride=first),
        brick(squeezed, width, 3, stride=second, groups=groups),
        brick(width, out, 1, act=None))
    return Block(branch, width, out, 1)


def _deep_stem(brick: Brick, in_channels: int, stride: Sequence[int]) -> nn.Sequential:
    return nn.Sequential(brick(in_channels, 64, 3, stride=stride), brick(64, 64, 3), brick(64, 128, 3))


@BACKBONES.register("resnet18")
def resnet18(in_channels: int = 3, *, dims: int = 2, depth_stride: int = 1,
             attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNet-18."""
    return ResNet(in_channels, depths=DEPTHS["resnet18"], basic=True, dims=dims, depth_stride=depth_stride,
                  attention=attention)


@BACKBONES.register("resnet34")
def resnet34(in_channels: int = 3, *, dims: int = 2, depth_stride: int = 1,
             attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNet-34."""
    return ResNet(in_channels, depths=DEPTHS["resnet34"], basic=True, dims=dims, depth_stride=depth_stride,
                  attention=attention)


@BACKBONES.register("resnet50")
def resnet50(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv2", depth_stride: int = 1,
             attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNet-50 in torchvision's form; `stride_in="conv1"` is the paper's."""
    return ResNet(in_channels, depths=DEPTHS["resnet50"], dims=dims, stride_in=stride_in, depth_stride=depth_stride,
                  attention=attention)


@BACKBONES.register("resnet101")
def resnet101(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv2", depth_stride: int = 1,
              attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNet-101; arguments as in `resnet50`."""
    return ResNet(in_channels, depths=DEPTHS["resnet101"], dims=dims, stride_in=stride_in, depth_stride=depth_stride,
                  attention=attention)


@BACKBONES.register("resnet152")
def resnet152(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv2", depth_stride: int = 1,
              attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNet-152; arguments as in `resnet50`."""
    return ResNet(in_channels, depths=DEPTHS["resnet152"], dims=dims, stride_in=stride_in, depth_stride=depth_stride,
                  attention=attention)
