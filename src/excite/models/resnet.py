"""ResNet-50, ResNeXt-50 and their Squeeze-and-Excitation forms.

Sources: He et al., CVPR 2016, arXiv:1512.03385, table 1; Xie et al., CVPR 2017, arXiv:1611.05431, table 1; Hu et al.,
CVPR 2018, arXiv:1709.01507, table 1, and the Caffe networks released with it.
"""

from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn

from excite.attention.plan import AttentionPlan, residual
from excite.errors import ModelError, UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.initialise import kaiming_fan_out
from excite.layers.pool import MaxPool
from excite.models.backbone import Backbone, cumulative
from excite.models.registry import BACKBONES

EXPANSION = 4  # a bottleneck's output channels, over its planes
StrideIn = Literal["conv1", "conv2"]


class Stage(NamedTuple):
    """A row of table 1: bottlenecks of one size."""

    planes: int  # channels of the 3x3 in plain ResNet
    repeat: int
    stride: int  # of the first block


#         planes n  s
TABLE_1 = (
    Stage(64,  3, 1),
    Stage(128, 4, 2),
    Stage(256, 6, 2),
    Stage(512, 3, 2),
)


class ResNet(Backbone):
    """Bottlenecks of 1x1, 3x3 and 1x1 convolutions around a shortcut.

    Args:
        groups: Groups of the 3x3 convolutions.
        group_width: Channels of such a group at 64 planes; 64 with one group is plain ResNet.
        stride_in: Where a bottleneck strides: "conv2", the 3x3, as torchvision; "conv1", the first 1x1, as the
            released Caffe SE-ResNets.
        ceil_pool: The first pool rounds up and does not pad, as in the released Caffe networks.

    Shape:
        (N, in_channels, H, W) -> (N, 2048, H / 32, W / 32), rounded up but for a `ceil_pool`'s odd sizes;
        (N, in_channels, D, H, W) -> (N, 2048, D / 16, H / 32, W / 32).

    Raises:
        UsageError: `stride_in` is neither place, `dims` is not 2 or 3, or the plan does not fit.
        ModelError: weights of the other stride or pool are loaded; their shapes would not tell.
    """

    form: Tensor

    def __init__(self, in_channels: int = 3, *, dims: int = 2, groups: int = 1, group_width: int = 64,
                 stride_in: StrideIn = "conv2", ceil_pool: bool = False,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(TABLE_1), dims=dims, in_channels=in_channels)
        if stride_in not in get_args(StrideIn):
            raise UsageError(f"stride_in must be 'conv1' or 'conv2', got {stride_in!r}",
                             fix="torchvision's networks have 'conv2', the Caffe SE-ResNets 'conv1'")
        # Saved with the weights, whose shapes are the same in all four forms.
        self.register_buffer("form", torch.tensor([int(stride_in == "conv1"), int(ceil_pool)]))
        channels = 64
        # A volume has few slices: its first convolution halves the plane only (Hara et al., arXiv:1711.09577, table 1).
        first = (1, 2, 2) if dims == 3 else (2, 2)
        self.stem = ConvNormAct(in_channels, channels, 7, stride=first, dims=dims)
        self.stages = nn.ModuleList()
        self.channels = [channels]
        for index, (planes, repeat, stride) in enumerate(TABLE_1):
            stage = nn.Sequential()
            if index == 0:
                stage.add_module("pool", MaxPool(dims=dims, ceil=ceil_pool))
            out = planes * EXPANSION
            for block in range(repeat):
                step = stride if block == 0 else 1
                branch = bottleneck(channels, planes * group_width * groups // 64, out, stride=step, groups=groups,
                                    stride_in=stride_in, dims=dims)
                shortcut = (nn.Identity() if step == 1 and channels == out else
                            ConvNormAct(channels, out, 1, stride=step, dims=dims, act=None))
                stage.add_module(str(block), residual(attention, index, branch, shortcut, (channels, out), dims=dims,
                                                      act=nn.ReLU(inplace=True)))
                channels = out
            self.stages.append(stage)
            self.channels.append(channels)
        self.strides = cumulative([first, (2,) * dims, *[(row.stride,) * dims for row in TABLE_1[1:]]])
        self.head = nn.Identity()
        self.out_channels = channels
        kaiming_fan_out(self)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        saved = state_dict.get(f"{prefix}form")
        if saved is not None and saved.tolist() != self.form.tolist():
            raise ModelError(f"the weights are those of a network with {_told(saved.tolist())}, this one has "
                             f"{_told(self.form.tolist())}", where=prefix.rstrip(".") or "ResNet",
                             why="the shapes are the same, the outputs are not",
                             fix="build the network with the options of the weights")
        super()._load_from_state_dict(state_dict, prefix, *rest)


def bottleneck(channels: int, width: int, out: int, *, stride: int = 1, groups: int = 1, stride_in: StrideIn = "conv2",
               dims: int = 2) -> nn.Sequential:
    """Return the branch of a bottleneck: squeeze to `width`, filter, widen to `out` without activation."""
    first, second = (stride, 1) if stride_in == "conv1" else (1, stride)
    return nn.Sequential(
        ConvNormAct(channels, width, 1, stride=first, dims=dims),
        ConvNormAct(width, width, 3, stride=second, groups=groups, dims=dims),
        ConvNormAct(width, out, 1, dims=dims, act=None))


@BACKBONES.register("resnet50")
def resnet50(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv2",
             attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNet-50 in torchvision's form; `stride_in="conv1"` is the paper's."""
    return ResNet(in_channels, dims=dims, stride_in=stride_in, attention=attention)


@BACKBONES.register("resnext50_32x4d")
def resnext50_32x4d(in_channels: int = 3, *, dims: int = 2, attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNeXt-50 with 32 groups of width 4, in torchvision's form."""
    return ResNet(in_channels, dims=dims, groups=32, group_width=4, attention=attention)


@BACKBONES.register("se_resnet50")
def se_resnet50(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv1", ceil_pool: bool | None = None,
                reduction: int | tuple[int, ...] | None = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return SE-ResNet-50, the released Caffe form.

    Args:
        stride_in: "conv2" is torchvision's ResNet-50 with SE.
        ceil_pool: None: as `stride_in` has it, in the Caffe form only.
        reduction: Of the SE in every stage, one number or one a stage; 16 unless told otherwise.
        attention: Another attention than this SE.
    """
    return ResNet(in_channels, dims=dims, stride_in=stride_in,
                  ceil_pool=stride_in == "conv1" if ceil_pool is None else ceil_pool,
                  attention=_se(reduction, attention))


@BACKBONES.register("se_resnext50_32x4d")
def se_resnext50_32x4d(in_channels: int = 3, *, dims: int = 2, ceil_pool: bool = True,
                       reduction: int | tuple[int, ...] | None = None,
                       attention: AttentionPlan | None = None) -> ResNet:
    """Return SE-ResNeXt-50 with 32 groups of width 4, the released Caffe form; arguments as in `se_resnet50`."""
    return ResNet(in_channels, dims=dims, groups=32, group_width=4, ceil_pool=ceil_pool,
                  attention=_se(reduction, attention))


def _se(reduction: int | tuple[int, ...] | None, attention: AttentionPlan | None) -> AttentionPlan:
    if attention is not None and reduction is not None:
        raise UsageError("reduction and attention cannot be given together",
                         fix="say the reduction in the plan: AttentionPlan(options={'reduction': ...})")
    return attention or AttentionPlan(kind="se", options={"reduction": 16 if reduction is None else reduction})


def _told(form: list[int]) -> str:
    return f"stride_in={'conv1' if form[0] else 'conv2'!r} and ceil_pool={bool(form[1])}"
