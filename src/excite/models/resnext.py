"""ResNeXt. Source: Xie et al., CVPR 2017, arXiv:1611.05431, table 1: ResNet with grouped 3x3 convolutions."""

from excite.attention.plan import AttentionPlan
from excite.models.registry import BACKBONES
from excite.models.resnet import DEPTHS, ResNet


@BACKBONES.register("resnext50_32x4d")
def resnext50_32x4d(in_channels: int = 3, *, dims: int = 2, depth_stride: int = 1,
                    attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNeXt-50 with 32 groups of width 4, in torchvision's form."""
    return ResNet(in_channels, depths=DEPTHS["resnet50"], groups=32, group_width=4, dims=dims,
                  depth_stride=depth_stride, attention=attention)


@BACKBONES.register("resnext101_32x8d")
def resnext101_32x8d(in_channels: int = 3, *, dims: int = 2, depth_stride: int = 1,
                     attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNeXt-101 with 32 groups of width 8, in torchvision's form."""
    return ResNet(in_channels, depths=DEPTHS["resnet101"], groups=32, group_width=8, dims=dims,
                  depth_stride=depth_stride, attention=attention)
