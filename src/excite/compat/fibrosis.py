"""Names of the document on renal fibrosis: MobileNetV2-SE in 3-D and its two ways of fine-tuning."""

from collections.abc import Iterator
from typing import Any

from torch import nn

from excite.errors import UsageError
from excite.models.classifier import Classifier, create_model


def get_model(num_classes: int = 1000, sample_size: int = 224, width_mult: float = 1.0, in_channels: int = 1,
              se_reduction: int = 8, se_in_blocks: bool = True) -> Classifier:
    """Return MobileNetV2-SE in 3-D.

    Args:
        num_classes: Length of the logits.
        sample_size: Height and width that it is meant for; it takes others, too.
        width_mult: Multiplies the channels, by int(channels * width_mult).
        in_channels: Channels of the volume.
        se_reduction: Of the SEs.
        se_in_blocks: SE on each block's output; one SE after the last convolution otherwise, which costs more.

    Shape:
        (N, in_channels, D, H, W) -> (N, num_classes).

    Raises:
        UsageError: `sample_size` is not a multiple of 16.
    """
    if not isinstance(sample_size, int) or sample_size < 16 or sample_size % 16:
        raise UsageError(f"sample_size must be a multiple of 16, got {sample_size!r}", fix="for example 112 or 224")
    return create_model("mobilenet_v2_se", dims=3, num_classes=num_classes, in_channels=in_channels, width=width_mult,
                        se_reduction=se_reduction, se_in_blocks=se_in_blocks)


def get_fine_tuning_parameters(model: nn.Module, ft_portion: str) -> Iterator[nn.Parameter] | list[dict[str, Any]]:
    """Return what an optimiser takes, as published.

    A rate of 0 is no freeze: gradients are computed, BatchNorm's statistics move, and a schedule that sets rates, such
    as OneCycleLR, trains the layers after all. `excite.models.groups.freeze_trunk` is the safe way.

    Args:
        model: Has its last layer at `classifier`.
        ft_portion: "complete": all parameters; "last_layer": the classifier's, and all others at a rate of 0.

    Raises:
        UsageError: `ft_portion` is neither; it is a ValueError, too.
    """
    if ft_portion == "complete":
        return model.parameters()
    if ft_portion == "last_layer":
        last = [name.split(".")[0] == "classifier" for name, _ in model.named_parameters()]
        return [{"params": parameter} if head else {"params": parameter, "lr": 0.0}
                for head, parameter in zip(last, model.parameters(), strict=True)]
    raise UsageError(f"ft_portion must be 'complete' or 'last_layer', got {ft_portion!r}")
