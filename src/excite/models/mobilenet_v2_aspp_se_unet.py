"""MobileNetV2-ASPP-Residual-SE-U-Net, for fetal heads: 25,253,893 parameters, 2,223,296 of them the encoder's.

part                                                                    parameters
encoder      MobileNetV2's features                                      2,223,296
initial      3x3 to 32, at full size                                           352
bridge       ASPP, 1280 to 512                                          20,322,304
ups          2x2 transposed: 512, 256, 128, 64, 32, 32                     700,928
skips        SE on 96, 32, 24, 16, 32 channels                               1,700
blocks       352, 160, 88, 48, 64 to 256, 128, 64, 32, 32, with SE       2,005,280
output       1x1                                                                33

The counts are those of the published listing. 5.34 G multiply-adds at 1 x 256 x 256, 3.47 G of them in the decoder's
blocks and 0.38 G in the encoder; four fifths of the parameters are the ASPP's.
Source: Sandler et al., arXiv:1801.04381; Chen et al., arXiv:1706.05587, section 3.3; Hu et al., arXiv:1709.01507;
Ronneberger et al., arXiv:1505.04597.
"""

from collections.abc import Sequence

from excite.attention.plan import AttentionPlan
from excite.layers.aspp import ASPP, RATES
from excite.models.encoder_weights import EncoderWeights, GreyStem, Normalisation
from excite.models.mobilenet_v2 import MobileNetV2, OutputStride
from excite.models.registry import NETWORKS
from excite.models.senet import Reduction
from excite.models.unet import Gives, UNet, Up, gates

BRIDGE = 512   # channels of the ASPP
INITIAL = 32   # channels at full size


@NETWORKS.register("mobilenet_v2_aspp_se_unet")
class MobileNetV2ASPPSEUNet(UNet):
    """MobileNetV2, ASPP, and five stages up with SE on every skip and in every block.

    Args:
        in_channels: Channels of the input.
        num_classes: Masks, one logit each.
        atrous_rates: Of the ASPP; at 256 x 256 the published ones leave 45.5 % of what can be trained unused.
        aspp_dropout: Rate behind the ASPP.
        aspp_use_groupnorm: Group normalisation in the branch of the mean, see ASPP.
        output_stride: 32; 16 gives the ASPP a map of twice the side, and the decoder one stage less.
        reduction: Of all SE; 16 unless told otherwise.
        min_hidden: No fewer hidden channels in the SE of a skip: 24 and 16 channels have a single one otherwise,
            which decides all their gates.
        separable: Depth-wise and 1x1 convolutions for each 3x3 of ASPP and decoder.
        up: See UNet.
        finest: Stride of the decoder's last stage, 1, 2 or 4, see UNet; above 1 without the convolution at full size.
        gives: What forward returns, "logits" or "probabilities".
        freeze_encoder: Without gradients and with fixed statistics, until `unfreeze_encoder`.
        grey_stem: How colour weights become grey ones: "mean", as published, answers with a third of what the running
            statistics were measured on; "sum" answers as the colours did.
        normalisation: "folded" puts ImageNet's mean and std into the stem when weights are loaded: images in [0, 1].
        dims: Spatial dimensions, 2 or 3; a volume keeps its depth in the stem.
        attention: Another attention than SE, in the decoder's blocks and, at its standard position, on skips.

    Shape:
        (N, in_channels, *S) -> (N, num_classes, *S), any S.

    Raises:
        UsageError: an argument is wrong, or does not go with another.
    """

    def __init__(self, in_channels: int = 1, *, num_classes: int = 1, atrous_rates: Sequence[int] = RATES,
                 aspp_dropout: float = 0.5, aspp_use_groupnorm: bool = True, output_stride: OutputStride = 32,
                 reduction: Reduction = None, min_hidden: int | None = None, separable: bool = False,
                 up: Up = "transposed", finest: int = 1, gives: Gives = "logits", freeze_encoder: bool = False,
                 grey_stem: GreyStem = "mean", normalisation: Normalisation = "outside", dims: int = 2,
                 attention: AttentionPlan | None = None) -> None:
        of_blocks, of_skips = gates(attention, reduction, min_hidden)
        encoder = MobileNetV2(in_channels, dims=dims, output_stride=output_stride)
        bridge = ASPP(encoder.out_channels, BRIDGE, rates=atrous_rates, dropout=aspp_dropout,
                      groupnorm=aspp_use_groupnorm, separable=separable, dims=dims)
        super().__init__(encoder, num_classes=num_classes, bridge=bridge, initial=INITIAL if finest == 1 else None,
                         attention=of_blocks, skip_attention=of_skips, up=up, separable=separable, finest=finest,
                         gives=gives,
                         weights=EncoderWeights(name="mobilenet_v2", grey=grey_stem, normalisation=normalisation),
                         name="mobilenet_v2_aspp_se_unet")
        if freeze_encoder:
            self.freeze_encoder()
