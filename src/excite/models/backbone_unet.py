"""U-Net around a backbone of any name, in 2-D and 3-D: small volumes want a shallow encoder, large images a deep one.

encoder                                        strides of its maps    parameters, dims=3, 3 masks, SE in every block
resnet20 (the default)                         1, 2, 4                915,371
resnet18, depth_stride=2, stages=2             2, 4, 8                2,745,476

Source: Ronneberger et al., arXiv:1505.04597; in 3-D Cicek et al., arXiv:1606.06650; SE in its blocks: Rundo et al.,
arXiv:1904.08254.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, get_args

from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.layers.options import check_options
from excite.models.backbone import Backbone
from excite.models.encoder_weights import EncoderWeights
from excite.models.registry import BACKBONES, NETWORKS
from excite.models.unet import Gives, UNet, Up

Place = Literal["encoder", "decoder", "skips"]
WIDTHS = (256, 128, 64, 32, 16)  # of the decoder's stages at most; none is wider than the map below it


@NETWORKS.register("unet")
def unet(in_channels: int = 1, *, num_classes: int = 1, encoder: str = "resnet20",
         encoder_options: Mapping[str, Any] | None = None, stages: int | None = None,
         channels: Sequence[int] | None = None, initial: int | None = None, up: Up = "linear",
         separable: bool = False, finest: int = 1, gives: Gives = "logits", dims: int = 2,
         attention: AttentionPlan | None = None, attend: Sequence[Place] | None = None) -> UNet:
    """Return a U-Net around a backbone.

    Args:
        encoder: Name of the backbone.
        encoder_options: Of the backbone, such as {"width": 0.5}.
        stages: How many of its stages, the first ones, are used; None: all. What is deeper sees little of a small
            volume.
        channels: Of the decoder's stages, coarsest first; None: those of the maps that they are joined with.
        initial: Channels of a 3x3 convolution at full size, where the encoder has no map there; None: 16, and none
            where it has.
        attention: In every block of encoder and decoder; with stages or blocks named, of the encoder alone.
        attend: Where the attention goes instead: "encoder" and "decoder", their blocks; "skips", the maps that the
            decoder is given from the encoder.

    Raises:
        UsageError: there is no such backbone, or an argument does not fit it.
    """
    where = _attended(attention, attend)
    options = dict(encoder_options or {})
    build = BACKBONES[encoder]
    check_options(f"network {encoder!r}", build, options, fixed=("in_channels", "dims", "attention"))
    plan = {place: attention if place in where else None for place in get_args(Place)}
    trunk = shallow(build(in_channels, dims=dims, attention=plan["encoder"], **options), stages)
    full = (1,) * dims in trunk.strides
    if initial is None and not full and finest == 1:
        initial = WIDTHS[-1]
    return UNet(trunk, num_classes=num_classes, channels=channels or _widths(trunk, initial, finest),
                initial=initial, attention=plan["decoder"], skip_attention=plan["skips"], up=up, separable=separable,
                finest=finest, gives=gives, weights=EncoderWeights(name=encoder), name="unet")


def _attended(attention: AttentionPlan | None, attend: Sequence[Place] | None) -> tuple[str, ...]:
    """Return where the attention goes."""
    if attend is None:
        somewhere = attention is not None and (attention.stages is not None or attention.blocks is not None)
        return ("encoder",) if somewhere else ("encoder", "decoder")
    if attention is None:
        raise UsageError("attend needs an attention", fix="--attention se")
    if isinstance(attend, str) or not attend or not set(attend) <= set(get_args(Place)):
        raise UsageError(f"attend must be one or more of {', '.join(get_args(Place))}, got {attend!r}")
    return tuple(attend)


def shallow(backbone: Backbone, stages: int | None) -> Backbone:
    """Return the backbone with its first stages alone, and no head.

    Raises:
        UsageError: it has not so many.
    """
    if stages is None:
        return backbone
    most = len(backbone.stages)
    if type(stages) is not int or not 1 <= stages <= most:
        raise UsageError(f"stages must be from 1 to {most}, got {stages!r}", why="so many has the encoder")
    if stages < most:
        backbone.stages = backbone.stages[:stages]
        backbone.channels, backbone.strides = backbone.channels[:stages + 1], backbone.strides[:stages + 1]
        backbone.head, backbone.out_channels, backbone.attention = nn.Identity(), backbone.channels[-1], None
    return backbone


def _widths(trunk: Backbone, initial: int | None, finest: int) -> tuple[int, ...]:
    """Return the channels of the decoder's stages: of the map that each joins, 16 at least and 256 at most."""
    deepest = dict(zip(trunk.strides, trunk.channels, strict=True))
    found = [width for strides, width in reversed(deepest.items())
             if strides != trunk.strides[-1] and max(strides) >= finest]
    if finest == 1 and (1,) * trunk.dims not in deepest:
        found.append(initial or WIDTHS[-1])
    return tuple(min(max(width, WIDTHS[-1]), WIDTHS[0]) for width in found)
