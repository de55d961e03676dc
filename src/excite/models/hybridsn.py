"""HybridSN: 3-D convolutions over bands and space, one 2-D convolution, three dense layers, for one pixel's window.

part                                                              30 bands, window 25   parameters
spectral    8 kernels of 7 x 3 x 3 (bands, rows, columns)            8 x 24 x 23 x 23          512
            16 of 5 x 3 x 3                                         16 x 20 x 21 x 21        5,776
            32 of 3 x 3 x 3                                         32 x 18 x 19 x 19       13,856
spatial     bands folded into channels, 64 of 3 x 3                      64 x 17 x 17      331,840
dense       all places and channels to 256                                        256    4,735,232
hidden      to 128                                                                128       32,896
classifier  to 16 classes                                                          16        2,064

No convolution pads, so that the map of a window is a piece of the map of its scene: see models/whole_scene.py.
A 3-D convolution has channels as a 2-D one has, and slides over the bands besides; the spatial layer is what folds
bands into channels. The published code folds them in another order, which permutes the weights of that layer.
Source: Roy, Krishna, Dubey, Chaudhuri, "HybridSN: Exploring 3-D-2-D CNN Feature Hierarchy for Hyperspectral Image
Classification", IEEE GRSL 2020, arXiv:1902.06701, table I and section II.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from excite.attention.plan import AttentionPlan, residual
from excite.errors import DataError, UsageError
from excite.layers.dims import conv, norm
from excite.layers.norm import group_norms, refuse_single
from excite.layers.options import check_choice
from excite.layers.residual import Residual, Widths
from excite.models.groups import Freezable
from excite.models.registry import NETWORKS
from excite.weights.load import LoadReport, load_weights

Normalisation = Literal["none", "batch", "group"]


class Spectral(NamedTuple):
    """A row of table I: a 3-D convolution."""

    kernels: int
    bands: int  # of its kernel
    side: int


#            n  b  s
TABLE_I = (
    Spectral(8, 7, 3),
    Spectral(16, 5, 3),
    Spectral(32, 3, 3),
)
SPATIAL, SPATIAL_SIDE = 64, 3  # kernels of the 2-D convolution
DENSE, HIDDEN = 256, 128
BANDS_LOST = sum(row.bands - 1 for row in TABLE_I)
BORDER = sum(row.side - 1 for row in TABLE_I) + SPATIAL_SIDE - 1  # what a map is smaller than its window


class ValidConv(nn.Sequential):
    """Convolution without padding, normalisation where there is one, ReLU where it is asked for.

    Shape:
        (N, in_channels, *S) -> (N, out_channels, *T), T = S - kernel + 1.

    Raises:
        DataError: in training, the norm would have one value a channel to measure.
    """

    place: str | None = None  # its name in the network, for messages
    conv: nn.Module

    def __init__(self, in_channels: int, out_channels: int, kernel: tuple[int, ...], *, normalised: bool,
                 act: bool = True) -> None:
        super().__init__()
        dims = len(kernel)
        self.conv = conv(dims)(in_channels, out_channels, kernel_size=kernel, bias=not normalised)
        if normalised:
            self.norm = norm(dims)(out_channels)
        if act:
            self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the layers' output."""
        for layer in self:
            refuse_single(x, layer, self.place)
            x = layer(x)
        return x


@NETWORKS.register("hybridsn")
class HybridSN(Freezable):
    """The class of the pixel in the middle of a window of a hyperspectral scene.

    Args:
        in_channels: Bands, most often principal components: 30 for Indian Pines, 15 for the other published scenes.
        num_classes: Length of the logits.
        window: Side of the window; its pixel is at row and column (window - 1) // 2.
        dropout: Rate behind both dense layers.
        normalisation: "none", as published; "batch" or "group" behind each convolution, which has no bias then.
        dims: 2: bands are channels of an image, and the network's own third dimension.
        attention: On the 64 maps of the spatial layer, its one block.

    Attributes:
        heads: What is trained anew for other classes: the last layer.
        channels_last: Its 3-D convolutions train faster with planes apart in memory: 1.2 to 1.3 times.

    Shape:
        (N, in_channels, window, window) -> logits (N, num_classes).

    Raises:
        UsageError: an argument is wrong, or bands or window are too few for the valid convolutions.
        DataError: a batch of another shape.
    """

    name = "hybridsn"
    heads = ("classifier",)
    channels_last = False
    usual_side, usual_channels, usual_classes = 25, 30, 16  # of the scene that its count is published for

    def __init__(self, in_channels: int = 30, *, num_classes: int = 16, window: int = 25, dropout: float = 0.4,
                 normalisation: Normalisation = "none", dims: int = 2, attention: AttentionPlan | None = None) -> None:
        super().__init__()
        _check(in_channels, num_classes=num_classes, window=window, dropout=dropout, dims=dims)
        check_choice("normalisation", normalisation, Normalisation, fix="'none' is the published one")
        self.in_channels, self.window, self.side = in_channels, window, window - BORDER
        self.usual_side = window
        normalised, channels = normalisation != "none", 1
        self.spectral = nn.Sequential()
        for row in TABLE_I:
            self.spectral.append(ValidConv(channels, row.kernels, (row.bands, row.side, row.side),
                                           normalised=normalised))
            channels = row.kernels
        self.spatial = _spatial(channels * (in_channels - BANDS_LOST), attention, normalised=normalised)
        self.dense = nn.Linear(SPATIAL * self.side**2, DENSE)
        self.hidden = nn.Linear(DENSE, HIDDEN)
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(HIDDEN, num_classes)
        self._first_weights()
        if normalisation == "group":
            group_norms(self)

    def maps(self, x: Tensor) -> Tensor:
        """Return the maps of a scene or window, (N, in_channels, H, W) -> (N, 64, H - 8, W - 8)."""
        y: Tensor = self.spatial(self.spectral(x.unsqueeze(1)).flatten(1, 2))
        return y

    def after_dense(self, x: Tensor) -> Tensor:
        """Return the features of what the first dense layer gave, (N, 256) -> (N, 128)."""
        y: Tensor = self.hidden(self.dropout(x.relu())).relu()
        return y

    def forward_features(self, x: Tensor) -> Tensor:
        """Return one vector a window, (N, 128)."""
        self.refuse_other(x)
        return self.after_dense(self.dense(self.maps(x).flatten(1)))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        y: Tensor = self.classifier(self.dropout(self.forward_features(x)))
        return y

    def refuse_other(self, x: Tensor) -> None:
        """Raise a DataError where `x` is not a batch of the windows that the network was built for."""
        shape = (self.in_channels, self.window, self.window)
        tracing = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
        if x.ndim != 4 or (not tracing and tuple(x.shape[1:]) != shape):
            raise DataError(f"the network takes (N, {', '.join(map(str, shape))}), got {tuple(x.shape)}",
                            fix="give it such windows, or build it with other in_channels or window; "
                                "predict_scene takes a whole scene")

    def load(self, source: str | Path | Mapping[str, Tensor]) -> LoadReport:
        """Load weights of a network like this; the classifier stays fresh where the source's has other classes.

        Raises:
            ModelError: they do not fit. EnvironmentFault: they are not at hand.
        """
        return load_weights(self, source, layout="excite")

    def _first_weights(self) -> None:
        """Draw as the published code does, uniform by fan-in and fan-out, biases zero; attention keeps its own."""
        for place, part in self.named_modules():
            if isinstance(part, ValidConv):
                part.place = place
            layer = part.conv if isinstance(part, ValidConv) else part
            if isinstance(part, ValidConv | nn.Linear):
                nn.init.xavier_uniform_(layer.get_parameter("weight"))
                if getattr(layer, "bias", None) is not None:
                    nn.init.zeros_(layer.get_parameter("bias"))


def _spatial(channels: int, attention: AttentionPlan | None, *, normalised: bool) -> Residual:
    """Return the 2-D layer as a block without shortcut, so that attention has its usual places.

    Raises:
        UsageError: the plan does not fit one stage of one block, or asks for the place on a shortcut.
    """
    branch = ValidConv(channels, SPATIAL, (SPATIAL_SIDE, SPATIAL_SIDE), normalised=normalised, act=False)
    if attention is not None:
        attention.check(1)
        attention.check_blocks(["0.0"])
        if attention.position == "tail":  # the last map is this block's
            attention = replace(attention, position="post")
    block = residual(attention, 0, 0, branch, None, Widths(channels, SPATIAL, SPATIAL, SPATIAL, SPATIAL), dims=2,
                     act=nn.ReLU(inplace=True), inner=0)
    if block.refused:
        raise UsageError("hybridsn: its block cannot have this attention", why=f"it has {block.refused}",
                         fix="choose another position")
    return block


def _check(bands: int, *, num_classes: int, window: int, dropout: float, dims: int) -> None:
    """Raise a UsageError where an argument of HybridSN is wrong."""
    if dims != 2:
        raise UsageError(f"dims must be 2 for hybridsn, got {dims!r}",
                         why="bands are the channels of an image, and its own third dimension")
    for name, value, least in (("in_channels", bands, BANDS_LOST + 1), ("num_classes", num_classes, 1),
                               ("window", window, BORDER + 1)):
        if type(value) is not int or value < 1:
            raise UsageError(f"{name} must be a whole number of at least {least}, got {value!r}")
        if value < least:
            raise UsageError(f"{name} must be at least {least} for hybridsn, got {value}",
                             why=f"its convolutions without padding take off {least - 1}",
                             fix="keep more principal components" if name == "in_channels" else "take a larger window")
    if isinstance(dropout, bool) or not isinstance(dropout, int | float) or not 0 <= dropout < 1:
        raise UsageError(f"dropout must be at least 0 and below 1, got {dropout!r}")
