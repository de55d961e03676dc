"""BN-Inception and SE-BN-Inception, the released Caffe forms.

Source: Ioffe, Szegedy, ICML 2015, arXiv:1502.03167, figure 5; Hu et al., CVPR 2018, arXiv:1709.01507, figure 2, and the
Caffe network released with it. Figure 5's columns are those below; the output sizes that it prints for 4c, 4d and 4e
are not their sums.
"""

from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from excite.attention.plan import AttentionPlan, residual
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.dims import max_pool
from excite.layers.initialise import kaiming_fan_out
from excite.layers.pool import FarPool, PlaneMean
from excite.layers.residual import Widths
from excite.models.backbone import Backbone, cumulative, depth_form, stem_stride
from excite.models.registry import BACKBONES
from excite.models.senet import Reduction, se_plan


class Module(NamedTuple):
    """A row of figure 5: channels of every layer of an inception module."""

    name: str
    one: int            # 1x1; 0 where there is none, and the module strides
    three_reduce: int   # 1x1 before the 3x3
    three: int
    double_reduce: int  # 1x1 before two 3x3
    double: int         # each of the two
    pool: str           # "avg" or "max"
    proj: int           # 1x1 after the pool; 0 where the pool's output is handed on


FIGURE_5 = (
    (Module("3a",  64,  64,  64,  64,  96, "avg",  32),
     Module("3b",  64,  64,  96,  64,  96, "avg",  64)),
    (Module("3c",   0, 128, 160,  64,  96, "max",   0),
     Module("4a", 224,  64,  96,  96, 128, "avg", 128),
     Module("4b", 192,  96, 128,  96, 128, "avg", 128),
     Module("4c", 160, 128, 160, 128, 160, "avg", 128),
     Module("4d",  96, 128, 192, 160, 192, "avg", 128)),
    (Module("4e",   0, 128, 192, 192, 256, "max",   0),
     Module("5a", 352, 192, 320, 160, 224, "avg", 128),
     Module("5b", 352, 192, 320, 192, 224, "max", 128)),
)
STEM, REDUCED, SECOND = 64, 64, 192  # channels before the modules


class Inception(nn.Module):
    """Up to four ways through one map, side by side in the output's channels.

    Args:
        channels: Of the input.
        row: Of figure 5.
        thin: A volume may be one slice thick.

    Shape:
        (N, channels, *S) -> (N, out_channels, *T), T = S, or S / 2 rounded up where the module strides.
    """

    def __init__(self, brick: Brick, channels: int, row: Module, *, dims: int, thin: bool = True) -> None:
        super().__init__()
        step = 1 if row.one else 2
        self.ways = nn.ModuleDict()
        if row.one:
            self.ways["one"] = brick(channels, row.one, 1)
        self.ways["three"] = nn.Sequential(brick(channels, row.three_reduce, 1),
                                           brick(row.three_reduce, row.three, 3, stride=step))
        self.ways["doubled"] = nn.Sequential(brick(channels, row.double_reduce, 1),
                                            brick(row.double_reduce, row.double, 3),
                                            brick(row.double, row.double, 3, stride=step))
        pool = (PlaneMean(dims=dims) if row.pool == "avg" else
                FarPool(dims=dims, up=True, thin=thin) if step == 2 else max_pool(dims)(3, stride=1, padding=1))
        self.ways["pool"] = nn.Sequential(pool, brick(channels, row.proj, 1)) if row.proj else pool
        self.out_channels = row.one + row.three + row.double + (row.proj or channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return the ways' outputs, joined."""
        return torch.cat([way(x) for way in self.ways.values()], dim=1)


class BNInception(Backbone):
    """Two convolutions, then ten inception modules; the first stage has none of them, and so no attention.

    Args:
        depth_stride: Of a volume's first convolution along its depth: 1, because a volume has few slices; 2 for
            volumes of equal sides. It has no say in 2-D.

    Shape:
        (N, in_channels, H, W) -> (N, 1024, H / 32, W / 32); odd sizes are rounded down by the two pools that are not
        in a module, as in Caffe, and up elsewhere;
        (N, in_channels, D, H, W) -> (N, 1024, D / 16 (D / 32), H / 32, W / 32).

    Raises:
        UsageError: a number is wrong, or the plan does not fit.
        ModelError: weights of another depth stride are loaded.
    """

    def __init__(self, in_channels: int = 3, *, dims: int = 2, depth_stride: int = 1,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=1 + len(FIGURE_5), dims=dims, in_channels=in_channels)
        if dims == 3:
            self.set_form(**depth_form(dims, depth_stride))
        brick: Brick = partial(ConvNormAct, dims=dims)
        first, thin = stem_stride(dims, depth_stride), depth_stride == 1
        self.stem = brick(in_channels, STEM, 7, stride=first)
        self.stages = nn.ModuleList([nn.Sequential(
            FarPool(dims=dims, thin=thin), brick(STEM, REDUCED, 1), brick(REDUCED, SECOND, 3))])
        self.channels, channels = [STEM, SECOND], SECOND
        for index, rows in enumerate(FIGURE_5, start=1):
            stage = nn.Sequential()
            if index == 1:
                stage.add_module("pool", FarPool(dims=dims, thin=thin))
            for block, row in enumerate(rows):
                module = Inception(brick, channels, row, dims=dims, thin=thin)
                out = module.out_channels
                stage.add_module(str(block), residual(attention, index, block, module, None,
                                                      Widths(channels, channels, out, channels, out), dims=dims))
                channels = out
            self.stages.append(stage)
            self.channels.append(channels)
        self.strides = cumulative([first, *[(2,) * dims] * 4])
        self.finish(nn.Identity(), channels)
        kaiming_fan_out(self)


@BACKBONES.register("bn_inception")
def bn_inception(in_channels: int = 3, *, dims: int = 2, depth_stride: int = 1,
                 attention: AttentionPlan | None = None) -> BNInception:
    """Return BN-Inception; arguments as in `BNInception`."""
    return BNInception(in_channels, dims=dims, depth_stride=depth_stride, attention=attention)


@BACKBONES.register("se_inception")
def se_inception(in_channels: int = 3, *, dims: int = 2, depth_stride: int = 1, reduction: Reduction = None,
                 attention: AttentionPlan | None = None) -> BNInception:
    """Return BN-Inception with SE on the output of every module, `reduction` 16 unless told otherwise."""
    return BNInception(in_channels, dims=dims, depth_stride=depth_stride, attention=se_plan(reduction, attention))
