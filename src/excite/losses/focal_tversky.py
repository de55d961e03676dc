"""Focal Tversky loss of each image: missed pixels and false ones weigh as told, and easy images less.

Source: Abraham and Khan, "A Novel Focal Tversky Loss Function with Improved Attention U-Net for Lesion Segmentation",
ISBI 2019, arXiv:1810.07842, eq. 3 and 4. In that paper alpha weighs the MISSED pixels and beta the false ones, and the
power is 1 / gamma. Other texts and packages (Salehi et al. 2017, arXiv:1706.05721) have alpha and beta the other way
round, and ports of this loss often name the power itself gamma: their 0.75 is 4/3 here.
"""

import torch
from torch import Tensor

from excite.errors import UsageError
from excite.losses.dice import (
    Activation,
    Form,
    Over,
    check_choice,
    check_smooth,
    checked,
    paired,
    summed,
    without_background,
)

LEAST = 1e-8  # of 1 - index: below it the power, whose slope at 0 is not finite, is a straight line to 0


def focal_tversky(logits: Tensor, masks: Tensor, *, alpha: float = 0.7, beta: float = 0.3, gamma: float = 4 / 3,
                  activation: Activation = "sigmoid", form: Form = "semimetric", over: Over = "image",
                  background: bool = True, smooth: float = 1.0) -> Tensor:
    """Return (1 - TI) ** (1 / gamma) of each image, the mean over its classes; 0 for a perfect prediction.

    TI = (TP + smooth) / (TP + alpha FN + beta FP + smooth). The paper sums over the classes; the mean keeps the scale.
    With gamma 1 it is the Tversky loss, and with alpha = beta = 0.5 the Dice loss with twice the smooth. An empty mask
    with nothing predicted has a loss of 0.

    Args:
        logits: Outputs of the network; the sigmoid or softmax is taken here, once.
        masks: As for `dice`.
        alpha: Weight of missed pixels (false negatives); 0.7 in the paper.
        beta: Weight of false pixels (false positives); 0.3 in the paper.
        gamma: The power is 1 / gamma; 1 to 3 in the paper, 4/3 its best. Above 1 the slope is steeper for images that
            are nearly right.
        activation: As for `dice`.
        form: "semimetric" or "linear", equal for masks of 0 and 1: TP is the sum of min(p, g) or of pg, FN the sum of
            max(g - p, 0) or of (1 - p)g, FP likewise.
        over: As for `dice`.
        background: As for `dice`.
        smooth: Pixels, above 0.

    Shape:
        As for `dice`: (N, K, *S), (N, K, *S) -> (N,).

    Raises:
        DataError: a mask has a value outside 0 to 1 (0/255 masks) or NaN, or a class that does not exist.
        UsageError: the shapes differ, or an option is unknown or out of range.
    """
    check_choice("form", form, Form)
    check_smooth(smooth)
    _check(alpha, beta, gamma, form)
    pair = paired(logits, checked(logits, masks, activation=activation), activation=activation)
    p, g = without_background(pair, activation=activation, background=background)
    missed, false = _errors(p, g, form=form, over=over)
    error = alpha * missed + beta * false
    losses = _power(error / (summed(g, over) - missed + error + smooth), 1 / gamma)
    return losses.mean(dim=1).expand(len(logits))


def _errors(p: Tensor, g: Tensor, *, form: Form, over: Over) -> tuple[Tensor, Tensor]:
    """Return FN and FP, (N, K) or (1, K); TP is the sum of g less FN in both forms."""
    if form == "linear":
        both = p * g
        return summed(g - both, over), summed(p - both, over)
    apart = p - g
    either, more = summed(apart.abs(), over), summed(apart, over)
    return (either - more) / 2, (either + more) / 2


def _power(values: Tensor, exponent: float) -> Tensor:
    """Return values ** exponent, a straight line below LEAST so that its slope stays finite."""
    line = values * LEAST ** (exponent - 1)
    return torch.where(values > LEAST, values.clamp(min=LEAST).pow(exponent), line)


def _check(alpha: float, beta: float, gamma: float, form: Form) -> None:
    if not (0 <= alpha < float("inf") and 0 <= beta < float("inf") and alpha + beta > 0):
        raise UsageError(f"alpha and beta must be at least 0 and not both 0, got {alpha} and {beta}")
    if not 1 <= gamma < float("inf"):
        raise UsageError(f"gamma must be at least 1, got {gamma}",
                         fix="the power is 1 / gamma: for a port's 0.75 give 4/3")
    if form == "squared":
        raise UsageError("form must be semimetric or linear for focal Tversky, got 'squared'")
