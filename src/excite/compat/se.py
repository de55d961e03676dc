"""Names of the document on the SE module: the module, the bottleneck, and SE-ResNet-50 in two ways."""

from collections.abc import Mapping
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from excite.attention.se import SqueezeExcitation
from excite.errors import ModelError, UsageError
from excite.layers.conv import ConvNormAct
from excite.layers.gate import Start
from excite.layers.residual import Residual
from excite.models.classifier import Classifier
from excite.models.resnet import EXPANSION, bottleneck, resnet50
from excite.weights.load import load_weights

Weights = str | Path | Mapping[str, Tensor] | None


class SEModule(SqueezeExcitation):
    """SqueezeExcitation with `reduction` by position; its layers are called squeeze and excite, not fc1 and fc2.

    Args:
        channels: Channels of the input, C.
        reduction: C is squeezed to max(1, C // reduction).
        start: "paper", or "open", exactly 1 at first.

    Shape:
        (N, C, H, W) -> (N, C, H, W).

    Raises:
        UsageError: `reduction` is not a positive whole number.
    """

    def __init__(self, channels: int, reduction: int = 16, *, start: Start = "paper") -> None:
        super().__init__(channels, reduction=reduction, start=start)


class SEBottleneck(Residual):
    """A ResNet bottleneck that strides in its 3x3, with SE after the last norm and before the sum.

    Args:
        inplanes: Channels of the input.
        planes: Channels of the 3x3; the output has four times as many.
        stride: Of the 3x3.
        downsample: The shortcut; needed where the size or the channels change.
        reduction: Of the SE.
        start: Of the SE.

    Shape:
        (N, inplanes, H, W) -> (N, 4 * planes, H / stride, W / stride), rounded up.

    Raises:
        UsageError: size or channels change and there is no `downsample`, or `reduction` cannot be.
    """

    expansion = EXPANSION

    def __init__(self, inplanes: int, planes: int, stride: int = 1, downsample: nn.Module | None = None,
                 reduction: int = 16, *, start: Start = "paper") -> None:
        out = planes * EXPANSION
        if downsample is None and (stride != 1 or inplanes != out):
            raise UsageError(f"downsample must be given, because the block goes from {inplanes} to {out} channels "
                             f"with stride {stride}", fix="pass a 1x1 convolution of that stride, and its norm")
        made = bottleneck(ConvNormAct, inplanes, planes, out, stride=stride)
        super().__init__(made.branch, nn.Identity() if downsample is None else downsample,
                         attention=SEModule(out, reduction, start=start), act=nn.ReLU(inplace=True), inner=made.inner)


class SEResNet50(Classifier):
    """torchvision's ResNet-50 whose 16 bottlenecks are replaced by SEBottlenecks that carry all of their state.

    Args:
        num_classes: Length of the logits.
        reduction: Of the SEs.
        weights: Of a plain ResNet-50: a catalog tag ("imagenet"), a file or a state dict, never fetched here; None for
            random values. With weights the gates are open, so that the outputs stay those of the plain network.

    Shape:
        (N, 3, H, W) -> logits (N, num_classes).

    Raises:
        ModelError: the weights do not fit. EnvironmentFault: they are not at hand.
    """

    def __init__(self, num_classes: int = 30, *, reduction: int = 16, weights: Weights = None) -> None:
        super().__init__(resnet50(), num_classes=num_classes, dropout=0.0, name="resnet50")
        start = _load(self, weights)
        for blocks in self.backbone.stages:
            for name, old in list(blocks.named_children()):
                if isinstance(old, Residual):
                    blocks.add_module(name, _replaced(old, reduction, start))


class SEResNet50_Simple(Classifier):  # noqa: N801
    """torchvision's ResNet-50 whose blocks stay, with an SE added to each one's forward; as SEResNet50 in all else."""

    def __init__(self, num_classes: int = 30, *, reduction: int = 16, weights: Weights = None) -> None:
        super().__init__(resnet50(), num_classes=num_classes, dropout=0.0, name="resnet50")
        start = _load(self, weights)
        for block in self.modules():
            if isinstance(block, Residual):
                block.attach(SEModule(_out(block), reduction, start=start))


def _load(model: Classifier, weights: Weights) -> Start:
    if weights is None:
        return "paper"
    load_weights(model, weights)
    return "open"


def _replaced(old: Residual, reduction: int, start: Start) -> SEBottleneck:
    """Return an SEBottleneck with the state of a plain block, running statistics and all."""
    squeeze, spatial = (cast(nn.Conv2d, old.branch.get_submodule(f"{place}.conv")) for place in (0, 1))
    shortcut = old.shortcut if not isinstance(old.shortcut, nn.Identity) else None
    new = SEBottleneck(squeeze.in_channels, spatial.out_channels, spatial.stride[0], shortcut, reduction, start=start)
    missing, unexpected = new.load_state_dict(old.state_dict(), strict=False)
    if unexpected or any(not key.startswith("attention.") for key in missing):
        raise ModelError(f"a block cannot be replaced with all of its state: {[*missing, *unexpected]}")
    return new


def _out(block: Residual) -> int:
    channels = block.branch.get_submodule("2.conv").get_parameter("weight").shape[0]
    return int(channels)
