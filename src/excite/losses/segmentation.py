"""Weighted sum of Dice and binary cross-entropy of each image, on logits: 0.5 and 0.5 by default."""

import torch
from torch import Tensor
from torch.nn import functional

from excite.errors import UsageError
from excite.losses.dice import Activation, Form, Over, checked, dice_of, paired, widened, without_background


def dice_bce(logits: Tensor, masks: Tensor, *, dice_weight: float = 0.5, bce_weight: float = 0.5,
             activation: Activation = "sigmoid", form: Form = "semimetric", over: Over = "image",
             background: bool = True, smooth: float = 1.0) -> Tensor:
    """Return dice_weight * Dice loss + bce_weight * cross-entropy of each image.

    Args:
        logits: Outputs of the network, without sigmoid or softmax: it is taken here, once.
        masks: Target of each pixel and class, 0 to 1, or with softmax class indices; see `dice`.
        dice_weight: Of the Dice loss.
        bce_weight: Of the cross-entropy.
        activation: "sigmoid" or "softmax", of both parts.
        form: Of the Dice loss.
        over: Of the Dice loss: "image" or "batch".
        background: Whether class 0 counts in the Dice loss; with softmax only.
        smooth: Of the Dice loss, in pixels.

    Shape:
        (N, K, *S), (N, K, *S) -> (N,); float32 at least, also under autocast.

    Raises:
        DataError: a mask has a value outside 0 to 1 (0/255 masks) or NaN, or a class that does not exist.
        UsageError: the shapes differ, an option is unknown, or the weights are negative or both 0.
    """
    if not (0 <= dice_weight < float("inf") and 0 <= bce_weight < float("inf") and dice_weight + bce_weight > 0):
        raise UsageError(f"dice_weight and bce_weight must be at least 0 and not both 0, got {dice_weight} and "
                         f"{bce_weight}")
    targets = checked(logits, masks, activation=activation)
    pair = without_background(paired(logits, targets, activation=activation), activation=activation,
                              background=background)
    overlap = dice_of(pair, form=form, over=over, smooth=smooth)
    return dice_weight * overlap + bce_weight * _entropy(widened(logits), targets, activation)


def bce(logits: Tensor, masks: Tensor, *, activation: Activation = "sigmoid") -> Tensor:
    """Return the cross-entropy of each image, the mean over its pixels, and with sigmoid over its classes.

    It is computed from the logits, in float32 at least: the logarithm of a rounded probability is not finite.

    Shape:
        (N, K, *S), (N, K, *S) -> (N,)

    Raises:
        As `dice_bce`.
    """
    return _entropy(widened(logits), checked(logits, masks, activation=activation), activation)


def _entropy(values: Tensor, targets: Tensor, activation: Activation) -> Tensor:
    if activation == "sigmoid":
        each = functional.binary_cross_entropy_with_logits(values, targets, reduction="none")
    else:
        each = -(targets * torch.log_softmax(values, dim=1)).sum(dim=1)
    return each.flatten(1).mean(dim=1)
