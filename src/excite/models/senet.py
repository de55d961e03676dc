"""SE-ResNet, SE-ResNeXt and SENet-154.

Source: Hu et al., CVPR 2018, arXiv:1709.01507, table 1 and section 6.1, and the Caffe networks released with it: the
SE-ResNets stride in the first 1x1 convolution, the SE-ResNeXts and SENet-154 in the 3x3; all pool without padding.
"""

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.models.registry import BACKBONES
from excite.models.resnet import DEPTHS, ResNet, StrideIn

Reduction = int | tuple[int, ...] | None


@BACKBONES.register("se_resnet50")
def se_resnet50(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv1", ceil_pool: bool | None = None,
                depth_stride: int = 1, reduction: Reduction = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return SE-ResNet-50, the released Caffe form.

    Args:
        stride_in: "conv2" is torchvision's ResNet-50 with SE.
        ceil_pool: None: as `stride_in` has it, in the Caffe form only.
        depth_stride: Of a volume's first convolution along its depth, 1 or 2.
        reduction: Of the SE in every stage, one number or one a stage; 16 unless told otherwise.
        attention: Another attention than this SE.
    """
    return _se_resnet("resnet50", in_channels, dims, stride_in, ceil_pool, depth_stride, reduction, attention)


@BACKBONES.register("se_resnet101")
def se_resnet101(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv1", ceil_pool: bool | None = None,
                 depth_stride: int = 1, reduction: Reduction = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return SE-ResNet-101; arguments as in `se_resnet50`."""
    return _se_resnet("resnet101", in_channels, dims, stride_in, ceil_pool, depth_stride, reduction, attention)


@BACKBONES.register("se_resnet152")
def se_resnet152(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv1", ceil_pool: bool | None = None,
                 depth_stride: int = 1, reduction: Reduction = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return SE-ResNet-152; arguments as in `se_resnet50`."""
    return _se_resnet("resnet152", in_channels, dims, stride_in, ceil_pool, depth_stride, reduction, attention)


@BACKBONES.register("se_resnext50_32x4d")
def se_resnext50_32x4d(in_channels: int = 3, *, dims: int = 2, ceil_pool: bool = True, depth_stride: int = 1,
                       reduction: Reduction = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return SE-ResNeXt-50 with 32 groups of width 4, the released Caffe form; arguments as in `se_resnet50`."""
    return ResNet(in_channels, depths=DEPTHS["resnet50"], groups=32, group_width=4, ceil_pool=ceil_pool, dims=dims,
                  depth_stride=depth_stride, attention=se_plan(reduction, attention))


@BACKBONES.register("se_resnext101_32x4d")
def se_resnext101_32x4d(in_channels: int = 3, *, dims: int = 2, ceil_pool: bool = True, depth_stride: int = 1,
                        reduction: Reduction = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return SE-ResNeXt-101 with 32 groups of width 4, the released Caffe form; arguments as in `se_resnet50`."""
    return ResNet(in_channels, depths=DEPTHS["resnet101"], groups=32, group_width=4, ceil_pool=ceil_pool, dims=dims,
                  depth_stride=depth_stride, attention=se_plan(reduction, attention))


@BACKBONES.register("senet154")
def senet154(in_channels: int = 3, *, dims: int = 2, ceil_pool: bool = True, depth_stride: int = 1,
             reduction: Reduction = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return SENet-154: 64 groups, halved first convolutions, a deep stem, 3x3 shortcuts; as in `se_resnet50`."""
    return ResNet(in_channels, depths=DEPTHS["resnet152"], groups=64, group_width=4, squeeze=0.5, ceil_pool=ceil_pool,
                  deep_stem=True, shortcut_kernel=3, dropout=0.2, dims=dims, depth_stride=depth_stride,
                  attention=se_plan(reduction, attention))


def se_plan(reduction: Reduction, attention: AttentionPlan | None, default: int = 16) -> AttentionPlan:
    """Return `attention`, or SE of `reduction`.

    Raises:
        UsageError: both are given.
    """
    if attention is not None and reduction is not None:
        raise UsageError("reduction and attention cannot be given together",
                         fix="say the reduction in the plan: AttentionPlan(options={'reduction': ...})")
    return attention or AttentionPlan(kind="se", options={"reduction": default if reduction is None else reduction})


def _se_resnet(plain: str, in_channels: int, dims: int, stride_in: StrideIn, ceil_pool: bool | None, depth_stride: int,
               reduction: Reduction, attention: AttentionPlan | None) -> ResNet:
    return ResNet(in_channels, depths=DEPTHS[plain], stride_in=stride_in,
                  ceil_pool=stride_in == "conv1" if ceil_pool is None else ceil_pool, dims=dims,
                  depth_stride=depth_stride, attention=se_plan(reduction, attention))
