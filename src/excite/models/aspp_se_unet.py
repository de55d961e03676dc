"""ASPP residual SE U-Net: the sibling that is trained whole, with an encoder of residual SE blocks.

The counts are those of the published listing, 38,378,805 parameters and 54.53 G multiply-adds at 1 x 256 x 256.
Source: Ronneberger et al., arXiv:1505.04597, figure 1, for the channels; Hu et al., arXiv:1709.01507; Chen et al.,
arXiv:1706.05587, section 3.3.
"""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.layers.aspp import ASPP, RATES
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.dims import max_pool
from excite.layers.initialise import kaiming_fan_out
from excite.models.backbone import Backbone, cumulative
from excite.models.registry import NETWORKS
from excite.models.senet import Reduction
from excite.models.unet import Gives, UNet, Up, block, gates


class Stage(NamedTuple):
    """A residual block of the encoder, a pool before it where it strides."""

    widths: int  # channels, over those of the stem
    stride: int


#      widths s
STAGES = (
    Stage(1,  1),
    Stage(2,  2),
    Stage(4,  2),
    Stage(8,  2),
)
BRIDGE = 16  # channels of the bridge, over those of the stem


class ResidualEncoder(Backbone):
    """Residual blocks with 2x2 maximum pools between them and after the last.

    Args:
        in_channels: Channels of the input.
        base: Channels of the stem.
        dims: Spatial dimensions, 2 or 3.
        attention: Of the blocks; the last stage is a pool alone and has none.

    Shape:
        (N, in_channels, *S) -> (N, 8 * base, *S / 16).

    Raises:
        UsageError: a number is not positive, or the plan does not fit.
    """

    def __init__(self, in_channels: int = 1, *, base: int = 64, dims: int = 2,
                 attention: AttentionPlan | None = None) -> None:
        super().__init__(attention=attention, stages=len(STAGES), dims=dims, in_channels=in_channels)
        if not isinstance(base, int) or base < 1:
            raise UsageError(f"base must be a whole number of at least 1, got {base!r}", fix="64 is the published one")
        brick: Brick = partial(ConvNormAct, dims=dims)
        self.stem = brick(in_channels, base, 3)
        self.stages, self.channels = nn.ModuleList(), [base]
        for index, (widths, stride) in enumerate(STAGES):
            stage = nn.Sequential()
            if stride > 1:
                stage.add_module("pool", max_pool(dims)(stride))
            stage.add_module("0", block(brick, attention, index, self.channels[-1], base * widths, dims=dims))
            self.stages.append(stage)
            self.channels.append(base * widths)
        self.stages.append(max_pool(dims)(2))
        self.channels.append(self.channels[-1])
        self.strides = cumulative([(1,) * dims, *[(row.stride,) * dims for row in STAGES], (2,) * dims])
        self.finish(nn.Identity(), self.channels[-1])
        kaiming_fan_out(self)


@NETWORKS.register("aspp_se_unet")
class ASPPSEUNet(UNet):
    """Residual SE encoder, ASPP, four stages up, SE on every skip and in every block.

    Args:
        in_channels: Channels of the input.
        num_classes: Masks, one logit each.
        base: Channels at full size; the bridge has 16 times as many.
        atrous_rates: Of the ASPP; at 256 x 256 the map is 16 x 16, which 18 reaches.
        aspp_dropout: Rate behind the ASPP.
        aspp_use_groupnorm: Group normalisation in the branch of the mean, see ASPP.
        reduction: Of all SE; 16 unless told otherwise.
        min_hidden: No fewer hidden channels in the SE of a skip.
        separable: Depth-wise and 1x1 convolutions for each 3x3 of ASPP and decoder.
        up: See UNet.
        gives: What forward returns, "logits" or "probabilities".
        dims: Spatial dimensions, 2 or 3.
        attention: Another attention than SE, in blocks and, at its standard position, on skips.

    Shape:
        (N, in_channels, *S) -> (N, num_classes, *S), any S.

    Raises:
        UsageError: an argument is wrong, or does not go with another.
    """

    def __init__(self, in_channels: int = 1, *, num_classes: int = 1, base: int = 64,
                 atrous_rates: Sequence[int] = RATES, aspp_dropout: float = 0.5, aspp_use_groupnorm: bool = True,
                 reduction: Reduction = None, min_hidden: int | None = None, separable: bool = False,
                 up: Up = "transposed", gives: Gives = "logits", dims: int = 2,
                 attention: AttentionPlan | None = None) -> None:
        of_blocks, of_skips = gates(attention, reduction, min_hidden)
        encoder = ResidualEncoder(in_channels, base=base, dims=dims, attention=of_blocks)
        bridge = ASPP(encoder.out_channels, BRIDGE * base, rates=atrous_rates, dropout=aspp_dropout,
                      groupnorm=aspp_use_groupnorm, separable=separable, dims=dims)
        super().__init__(encoder, num_classes=num_classes, bridge=bridge,
                         channels=[base * row.widths for row in reversed(STAGES)], attention=of_blocks,
                         skip_attention=of_skips, up=up, separable=separable, gives=gives, name="aspp_se_unet")
