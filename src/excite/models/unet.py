"""U-Net around any backbone: its maps on the way up, joined by skips, to one logit a pixel and mask.

Source: Ronneberger, Fischer, Brox, MICCAI 2015, arXiv:1505.04597, figure 1; residual blocks: He et al.,
arXiv:1512.03385; gates on skips and blocks: Hu et al., arXiv:1709.01507.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from excite.attention.plan import AttentionPlan, residual
from excite.attention.se import SqueezeExcitation
from excite.errors import UsageError
from excite.layers.conv import Brick, ConvNormAct
from excite.layers.dims import conv
from excite.layers.initialise import kaiming_fan_out
from excite.layers.options import check_choice
from excite.layers.residual import Residual, Widths
from excite.models.backbone import Backbone
from excite.models.encoder import FreezableEncoder
from excite.models.encoder_weights import EncoderWeights, load_network
from excite.models.senet import Reduction, se_plan
from excite.weights.load import LoadReport

Up = Literal["transposed", "linear"]
Gives = Literal["logits", "probabilities"]
CHANNELS = (256, 128, 64, 32, 32)  # of the decoder's stages, the last at full size
_TRANSPOSED: dict[int, type[nn.Module]] = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
_LINEAR = {2: "bilinear", 3: "trilinear"}


class Skip(NamedTuple):
    """A map that a stage of the decoder takes besides the one from below."""

    place: int | None         # in the encoder's features; None: the convolution at full size, or nothing
    channels: int             # 0: nothing
    strides: tuple[int, ...]  # relative to the input


class UNet(FreezableEncoder):
    """Encoder, bridge, and a decoder of residual blocks that go up to the input's size.

    The deepest of the encoder's maps at each stride is a skip; the bridge takes its output. Inputs of any size are
    padded on the far sides to what the strides need, with the pixels of their border (zeros would be a black edge that
    no image has), and the result is cropped.

    Args:
        encoder: Any backbone.
        num_classes: Masks, one logit each.
        bridge: Between encoder and decoder, with `out_channels`; None for nothing.
        channels: Of the decoder's stages, coarsest first; None: the last of 256, 128, 64, 32, 32.
        initial: Channels of a 3x3 convolution of the input at full size, the last skip; None for none.
        attention: Of the decoder's blocks; stages are counted from the coarsest.
        skip_attention: Of the skips, before they are joined.
        up: "transposed" convolution with bias, or "linear": 1x1 convolution with bias, then interpolation.
        separable: Each 3x3 of the blocks as a depth-wise and a 1x1 convolution.
        finest: Stride of the last stage; above 1 its logits are interpolated to full size: most of a decoder's time
            goes into the stages at stride 1, and an outline of probabilities is finer than its pixels either way.
        gives: What forward returns. Losses want "logits".
        weights: How weights of a classifier come into the encoder.
        name: What create_model calls the network.

    Shape:
        (N, in_channels, *S) -> (N, num_classes, *S), any S.

    Raises:
        UsageError: an argument is wrong, or a plan does not fit the decoder.
    """

    encoder: Backbone
    usual_side = 256  # of the images that its figures are published for

    def __init__(self, encoder: Backbone, *, num_classes: int = 1, bridge: nn.Module | None = None,
                 channels: Sequence[int] | None = None, initial: int | None = None,
                 attention: AttentionPlan | None = None, skip_attention: AttentionPlan | None = None,
                 up: Up = "transposed", separable: bool = False, finest: int = 1,
                 gives: Gives = "logits", weights: EncoderWeights | None = None, name: str | None = None) -> None:
        super().__init__()
        check_choice("up", up, Up)
        check_choice("gives", gives, Gives, fix="losses want 'logits'")
        for what, value in (("num_classes", num_classes), ("initial", 1 if initial is None else initial)):
            if not isinstance(value, int) or isinstance(value, bool) or value < 1:
                raise UsageError(f"{what} must be a whole number of at least 1, got {value!r}")
        self.name, self.gives, self.encoder_weights = name, gives, weights or EncoderWeights()
        self.strides, found = encoder.strides[-1], skips(encoder, initial)
        self.skips_from = until(found, finest)
        widths = decoder_channels(channels, len(self.skips_from), of=len(found))
        _check_plans(attention, skip_attention, len(widths))
        dims = encoder.dims
        brick: Brick = partial(ConvNormAct, dims=dims)
        self.encoder, self.channels_last = encoder, encoder.channels_last
        self.initial = None if initial is None else brick(_in_channels(encoder), initial, 3)
        self.bridge = nn.Identity() if bridge is None else bridge
        below = encoder.out_channels if bridge is None else _out_channels(bridge)
        strides = [encoder.strides[-1], *(skip.strides for skip in self.skips_from)]
        self.ups, self.skips, self.blocks = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for stage, (skip, width) in enumerate(zip(self.skips_from, widths, strict=True)):
            step = tuple(a // b for a, b in zip(strides[stage], strides[stage + 1], strict=True))
            self.ups.append(upwards(below, width, step, kind=up))
            bare = skip_attention is None or skip.channels == 0 or not skip_attention.covers(stage, 0)
            self.skips.append(nn.Identity() if bare or skip_attention is None else
                              skip_attention.build(skip.channels, stage, dims=dims))
            self.blocks.append(block(brick, attention, stage, width + skip.channels, width, dims=dims,
                                     separable=separable))
            below = width
        self.output = conv(dims)(below, num_classes, kernel_size=1)
        last = self.skips_from[-1].strides
        self.enlarge = nn.Identity() if max(last) == 1 else nn.Upsample(scale_factor=tuple(map(float, last)),
                                                                         mode=_LINEAR[dims])
        for part in (self.initial, self.bridge, self.blocks):
            if part is not None:
                kaiming_fan_out(part)
        for place, layer in self.named_modules():
            if isinstance(layer, ConvNormAct):
                layer.place = place

    def logits(self, x: Tensor) -> Tensor:
        """Return one logit a pixel and mask."""
        sizes = x.shape[2:]
        x = pad_to_multiples(x, self.strides)
        maps = self.encoder.features(x)
        y: Tensor = self.encoder.head(maps[-1])
        y = self.bridge(y if self.encoder.attention is None else self.encoder.attention(y))
        for skip, up, gate, decode in zip(self.skips_from, self.ups, self.skips, self.blocks, strict=True):
            y = up(y)
            if skip.place is not None:
                y = torch.cat((y, gate(maps[skip.place])), dim=1)
            elif self.initial is not None:
                y = torch.cat((y, gate(self.initial(x))), dim=1)
            y = decode(y)
        y = self.enlarge(self.output(y))
        for axis, size in enumerate(sizes, start=2):
            y = y.narrow(axis, 0, size)
        return y

    def probabilities(self, x: Tensor) -> Tensor:
        """Return the sigmoid of the logits, whatever forward gives."""
        return self.logits(x).sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        """Return what `gives` says."""
        return self.logits(x) if self.gives == "logits" else self.probabilities(x)

    def narrow_gates(self, least: int = 4) -> dict[str, tuple[int, int]]:
        """Return {name: (channels, hidden)} of the SE whose hidden layer has fewer than `least` channels.

        One hidden channel is one number that decides all gates of a map; `min_channels` widens it.
        """
        shapes = {name: gate.excite.get_parameter("weight").shape for name, gate in self.named_modules()
                  if isinstance(gate, SqueezeExcitation)}
        return {name: (shape[0], shape[1]) for name, shape in shapes.items() if shape[1] < least}

    def load(self, source: str | Path | Mapping[str, Tensor]) -> LoadReport:
        """Load the encoder's weights, or those of a whole network like this.

        Args:
            source: What `load_weights` takes: a tag of the encoder, a file, a state dict.

        Raises:
            ModelError: they do not fit, or not the whole encoder. EnvironmentFault: they are not at hand.
        """
        return load_network(self, source, self.encoder_weights)


def skips(encoder: Backbone, initial: int | None) -> list[Skip]:
    """Return the skips, coarsest first, down to full size.

    Raises:
        UsageError: the encoder never strides, or has a map at full size besides `initial`.
    """
    last = {strides: index for index, strides in enumerate(encoder.strides)}
    full, deepest = (1,) * encoder.dims, encoder.strides[-1]
    if deepest == full:
        raise UsageError("encoder must stride at least once, this one keeps the input's size")
    if full in last and initial is not None:
        raise UsageError(f"initial must be None with this encoder, got {initial}",
                         why="it has a map at full size itself", fix="leave initial out")
    found = [Skip(index, encoder.channels[index], strides) for strides, index in reversed(last.items())
             if strides != deepest]
    return found if full in last else [*found, Skip(None, initial or 0, full)]


def gates(attention: AttentionPlan | None, reduction: Reduction,
          min_hidden: int | None) -> tuple[AttentionPlan, AttentionPlan]:
    """Return the plans of a decoder's blocks and of its skips: `attention`, or SE of `reduction`.

    Raises:
        UsageError: SE's own numbers are given with another attention.
    """
    if attention is not None and min_hidden is not None:
        raise UsageError("min_hidden and attention cannot be given together",
                         fix="say it in the plan: AttentionPlan(options={'min_channels': ...})")
    of_blocks = se_plan(reduction, attention)
    fewest = {} if min_hidden is None else {"min_channels": min_hidden}
    return of_blocks, replace(of_blocks, position="standard", options={**of_blocks.options, **fewest})


def until(found: Sequence[Skip], finest: int) -> list[Skip]:
    """Return the skips down to that stride.

    Raises:
        UsageError: no stage has it, or a convolution at full size is asked for besides.
    """
    there = [max(skip.strides) for skip in found]
    if isinstance(finest, bool) or finest not in there:
        raise UsageError(f"finest must be {', '.join(map(str, sorted(there)))}, got {finest!r}",
                         why="these are the strides of the decoder's stages")
    kept = list(found[:there.index(finest) + 1])
    if finest > 1 and found[-1].place is None and found[-1].channels:
        raise UsageError("initial must be None where the decoder ends before full size, got "
                         f"{found[-1].channels}", fix="leave initial out, or finest=1")
    return kept


def decoder_channels(channels: Sequence[int] | None, stages: int, *, of: int | None = None) -> tuple[int, ...]:
    """Return the channels of so many stages, the first ones of `of`.

    Raises:
        UsageError: it is another number of them, or one is not positive.
    """
    whole = of or stages
    if channels is None and whole <= len(CHANNELS):
        return CHANNELS[-whole:][:stages]
    found = tuple(channels or ())
    if len(found) != stages or any(not isinstance(one, int) or one < 1 for one in found):
        raise UsageError(f"channels must be {stages} whole numbers of at least 1, coarsest first, got {channels!r}",
                         fix="the encoder has so many strides")
    return found


def block(brick: Brick, plan: AttentionPlan | None, stage: int, channels: int, out: int, *, dims: int,
          separable: bool = False) -> Residual:
    """Return a block of two 3x3 convolutions beside a shortcut, which is a 1x1 where the channels change."""
    def filtered(given: int, act: type[nn.Module] | None) -> nn.Module:
        if not separable:
            return brick(given, out, 3, act=act)
        return nn.Sequential(brick(given, given, 3, groups=given), brick(given, out, 1, act=act))

    branch = nn.Sequential(filtered(channels, nn.ReLU), filtered(out, None))
    shortcut = nn.Identity() if channels == out else brick(channels, out, 1, act=None)
    return residual(plan, stage, 0, branch, shortcut, Widths(channels, out, out, out, out), dims=dims,
                    act=nn.ReLU(inplace=True), inner=0)


def upwards(channels: int, out: int, step: tuple[int, ...], *, kind: Up) -> nn.Module:
    """Return what makes a map `step` times as large."""
    dims = len(step)
    if kind == "transposed":
        return _TRANSPOSED[dims](channels, out, kernel_size=step, stride=step)
    return nn.Sequential(conv(dims)(channels, out, kernel_size=1),
                         nn.Upsample(scale_factor=tuple(map(float, step)), mode=_LINEAR[dims]))


def pad_to_multiples(x: Tensor, strides: Sequence[int]) -> Tensor:
    """Return `x` with its border repeated on the far sides, every size a multiple of its stride."""
    around: list[int] = []
    for size, stride in zip(x.shape[2:], strides, strict=True):
        around = [0, (size + stride - 1) // stride * stride - size, *around]  # functional.pad wants the last axis first
    known = all(isinstance(one, int) for one in around)  # while a network of any size is exported they are symbols
    return x if known and not any(around) else functional.pad(x, around, mode="replicate")


def _check_plans(attention: AttentionPlan | None, skip_attention: AttentionPlan | None, stages: int) -> None:
    for name, plan, allowed in (("attention", attention, None), ("skip_attention", skip_attention, "standard")):
        if plan is None:
            continue
        plan.check(stages)
        if plan.position == "tail" or (allowed and plan.position != allowed):
            raise UsageError(f"{name} cannot be at position {plan.position!r}",
                             fix="a decoder has no tail" if name == "attention" else "a skip has 'standard' only")


def _in_channels(encoder: Backbone) -> int:
    first = next(layer for layer in encoder.modules() if isinstance(layer, ConvNormAct))
    return int(first.conv.in_channels)  # type: ignore[arg-type]


def _out_channels(bridge: nn.Module) -> int:
    found = getattr(bridge, "out_channels", None)
    if not isinstance(found, int):
        raise UsageError(f"bridge must tell its out_channels, {type(bridge).__name__} does not")
    return found
