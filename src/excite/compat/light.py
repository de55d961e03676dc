"""Names of the document on light networks; HybridSN is in hyperspectral.py."""

from functools import partial
from typing import Any

from torch import Tensor, nn

from excite.errors import UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.residual import Residual
from excite.layers.shuffle import channel_shuffle as channel_shuffle
from excite.models.classifier import Classifier, create_model
from excite.models.mobilenet_v2 import inverted


class hswish(nn.Hardswish):  # noqa: N801
    """x * relu6(x + 3) / 6, which stands for swish, x * sigmoid(x), at the cost of a ReLU6.

    Source: Howard et al., arXiv:1905.02244, section 5.2.
    """

    def __init__(self, inplace: bool = False) -> None:
        _refuse_tensor("hswish", inplace)
        super().__init__(inplace=inplace)


class hsigmoid(nn.Hardsigmoid):  # noqa: N801
    """relu6(x + 3) / 6, which stands for the sigmoid."""

    def __init__(self, inplace: bool = False) -> None:
        _refuse_tensor("hsigmoid", inplace)
        super().__init__(inplace=inplace)


class ConvBNReLU(ConvNormAct):
    """Convolution, batch normalisation, ReLU6.

    Shape:
        (N, in_planes, H, W) -> (N, out_planes, H / stride, W / stride), rounded up.
    """

    def __init__(self, in_planes: int, out_planes: int, kernel_size: int = 3, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_planes, out_planes, kernel_size, stride=stride, groups=groups, act=nn.ReLU6)


class InvertedResidual(Residual):
    """MobileNetV2's block: expand, filter each channel, project without activation; a sum at stride 1 and equal shapes.

    Args:
        inp: Channels of the input.
        oup: Channels of the output.
        stride: 1 or 2.
        expand_ratio: Channels inside over `inp`.

    Shape:
        (N, inp, H, W) -> (N, oup, H / stride, W / stride), rounded up.

    Raises:
        UsageError: `stride` is neither.
    """

    def __init__(self, inp: int, oup: int, stride: int, expand_ratio: int) -> None:
        if stride not in (1, 2):
            raise UsageError(f"stride must be 1 or 2, got {stride!r}")
        if not expand_ratio > 0:
            raise UsageError(f"expand_ratio must be above 0, got {expand_ratio!r}", fix="6 is the paper's")
        hidden = int(round(inp * expand_ratio))
        brick = partial(ConvNormAct, act=nn.ReLU6)
        super().__init__(inverted(brick, inp, hidden, oup, stride=stride),
                         nn.Identity() if stride == 1 and inp == oup else None)


def MobileNetV2(num_classes: int = 1000, alpha: float = 1.0, round_nearest: int = 8) -> Classifier:  # noqa: N802
    """Return MobileNetV2 by the listing's rule: the last layer follows `alpha` below 1, too; the paper keeps 1280."""
    return create_model("mobilenet_v2", num_classes=num_classes, width=alpha, round_nearest=round_nearest,
                        head="scaled")


def mobilenet_v3_large(*, weights: Any = None, num_classes: int = 1000, reduced_tail: bool = False,
                       dilated: bool = False, width_mult: float = 1.0) -> Classifier:
    """Return MobileNetV3-Large; `weights` is what create_model takes and is loaded or refused, never ignored."""
    return create_model("mobilenet_v3_large", num_classes=num_classes, weights=weights, reduced_tail=reduced_tail,
                        dilated=dilated, width=width_mult)


def mobilenet_v3_small(*, weights: Any = None, num_classes: int = 1000, reduced_tail: bool = False,
                       dilated: bool = False, width_mult: float = 1.0) -> Classifier:
    """Return MobileNetV3-Small; as `mobilenet_v3_large`."""
    return create_model("mobilenet_v3_small", num_classes=num_classes, weights=weights, reduced_tail=reduced_tail,
                        dilated=dilated, width=width_mult)


def _refuse_tensor(name: str, given: object) -> None:
    if isinstance(given, Tensor):
        raise UsageError(f"{name} is a module, not a function", fix=f"{name}()(x)")
