"""ResNet-50 with CBAM in every block, after the last norm and before the sum.

Source: Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018, arXiv:1807.06521, figure 3 and table 4
(28.09 M parameters), in the authors' form (github.com/Jongchan/attention-module): a norm after the 7x7, biases in the
MLP, strides in the 3x3 convolutions as torchvision has them.
"""

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.models.registry import BACKBONES
from excite.models.resnet import DEPTHS, ResNet, StrideIn
from excite.models.senet import Reduction


@BACKBONES.register("cbam_resnet50")
def cbam_resnet50(in_channels: int = 3, *, dims: int = 2, stride_in: StrideIn = "conv2", depth_stride: int = 1,
                  reduction: Reduction = None, attention: AttentionPlan | None = None) -> ResNet:
    """Return ResNet-50 with CBAM.

    Args:
        stride_in: "conv1" is the form of He et al.
        depth_stride: Of a volume's first convolution along its depth, 1 or 2.
        reduction: Of the MLP in every stage, one number or one a stage; 16 unless told otherwise.
        attention: Another attention than this CBAM.

    Raises:
        UsageError: `reduction` and `attention` are both given.
    """
    if attention is not None and reduction is not None:
        raise UsageError("reduction and attention cannot be given together",
                         fix="say the reduction in the plan: AttentionPlan(kind='cbam', options={'reduction': ...})")
    plan = attention or AttentionPlan(kind="cbam", options={"reduction": 16 if reduction is None else reduction,
                                                            "norm": True})
    return ResNet(in_channels, depths=DEPTHS["resnet50"], stride_in=stride_in, dims=dims, depth_stride=depth_stride,
                  attention=plan)
