"""Names of the document on fetal heads: its two U-Nets and what they are made of.

Forward gives logits, which losses want. The document's first version ends in a sigmoid, its later ones do not:
`probabilities=True` is the first one. A loss that takes logits must not get them.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor, nn

from excite.attention.se import SqueezeExcitation
from excite.layers import aspp
from excite.layers.aspp import RATES
from excite.layers.conv import ConvNormAct
from excite.layers.residual import Residual
from excite.models.aspp_se_unet import ASPPSEUNet
from excite.models.mobilenet_v2_aspp_se_unet import MobileNetV2ASPPSEUNet

Weights = str | Path | Mapping[str, Tensor]


class SEBlock(SqueezeExcitation):
    """SqueezeExcitation with `reduction_ratio` by position; its layers are called squeeze and excite.

    Raises:
        UsageError: `reduction_ratio` is not a positive whole number.
    """

    def __init__(self, channels: int, reduction_ratio: int = 16) -> None:
        super().__init__(channels, reduction=reduction_ratio)


class ResidualBlockSE(Residual):
    """Two 3x3 convolutions, SE, and a shortcut, which is a 1x1 where the channels change.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W).
    """

    def __init__(self, in_channels: int, out_channels: int, reduction_ratio: int = 16) -> None:
        branch = nn.Sequential(ConvNormAct(in_channels, out_channels, 3), ConvNormAct(out_channels, out_channels, 3,
                                                                                      act=None))
        shortcut = nn.Identity() if in_channels == out_channels else ConvNormAct(in_channels, out_channels, 1, act=None)
        super().__init__(branch, shortcut, attention=SEBlock(out_channels, reduction_ratio), act=nn.ReLU(inplace=True),
                         inner=0)


class DoubleResidualBlockSE(nn.Sequential):
    """Two ResidualBlockSE in a row."""

    def __init__(self, in_channels: int, out_channels: int, reduction_ratio: int = 16) -> None:
        super().__init__(ResidualBlockSE(in_channels, out_channels, reduction_ratio),
                         ResidualBlockSE(out_channels, out_channels, reduction_ratio))


class ASPP(aspp.ASPP):
    """excite.layers.aspp.ASPP with the document's arguments."""

    def __init__(self, in_channels: int, out_channels: int, atrous_rates: Sequence[int] = RATES,
                 dropout_rate: float = 0.5, use_groupnorm: bool = True) -> None:
        super().__init__(in_channels, out_channels, rates=atrous_rates, dropout=dropout_rate, groupnorm=use_groupnorm)


class MobileNetV2ASPPResidualSEUNet(MobileNetV2ASPPSEUNet):
    """The document's network for fetal heads: 25,253,893 parameters, 23,030,597 of them trained.

    Args:
        in_channels: Channels of the input.
        out_channels: Masks.
        pretrained: Load `weights` into the encoder; they have to be at hand: nothing is fetched, and random values
            never stand in. False: random values.
        freeze_encoder: No gradients for the encoder, and its BatchNorm stays put, which requires_grad alone does not
            do; `unfreeze_encoder(batchnorm=...)` ends it.
        reduction_ratio: Of all SE.
        atrous_rates: Of the ASPP.
        aspp_dropout: Rate behind it.
        aspp_use_groupnorm: Group normalisation in the branch of its mean; all its other norms are of the batch.
        weights: A catalog tag of mobilenet_v2, a file, or a state dict.
        probabilities: Forward ends in a sigmoid.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W), any H and W.

    Raises:
        EnvironmentFault: `pretrained`, and the weights are not at hand. ModelError: they do not fit.
        UsageError: an argument is wrong.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, pretrained: bool = True,
                 freeze_encoder: bool = True, reduction_ratio: int = 16, atrous_rates: Sequence[int] = RATES,
                 aspp_dropout: float = 0.5, aspp_use_groupnorm: bool = True, *, weights: Weights = "imagenet",
                 probabilities: bool = False) -> None:
        super().__init__(in_channels, num_classes=out_channels, atrous_rates=atrous_rates, aspp_dropout=aspp_dropout,
                         aspp_use_groupnorm=aspp_use_groupnorm, reduction=reduction_ratio,
                         gives="probabilities" if probabilities else "logits", freeze_encoder=freeze_encoder)
        if pretrained:
            self.load(weights)


class ASPPResidualSEUNet(ASPPSEUNet):
    """The document's larger network, trained whole: 38,378,805 parameters.

    Args:
        in_channels: Channels of the input.
        out_channels: Masks.
        base_channels: Channels at full size.
        reduction_ratio: Of all SE.
        atrous_rates: Of the ASPP.
        aspp_dropout: Rate behind it.
        aspp_use_groupnorm: Group normalisation in the branch of its mean.
        probabilities: Forward ends in a sigmoid.

    Shape:
        (N, in_channels, H, W) -> (N, out_channels, H, W), any H and W.

    Raises:
        UsageError: an argument is wrong.
    """

    def __init__(self, in_channels: int = 1, out_channels: int = 1, base_channels: int = 64, reduction_ratio: int = 16,
                 atrous_rates: Sequence[int] = RATES, aspp_dropout: float = 0.5, aspp_use_groupnorm: bool = True, *,
                 probabilities: bool = False) -> None:
        super().__init__(in_channels, num_classes=out_channels, base=base_channels, atrous_rates=atrous_rates,
                         aspp_dropout=aspp_dropout, aspp_use_groupnorm=aspp_use_groupnorm, reduction=reduction_ratio,
                         gives="probabilities" if probabilities else "logits")
