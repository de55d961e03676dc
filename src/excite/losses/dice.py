"""Soft Dice loss of each image, on logits; and what the losses of masks share.

With p the probability and g the target of a pixel, 1 - Dice is written as error / (total + smooth), which is never
below 0 and loses no digits near it:

| form | error | total | source |
|---|---|---|---|
| semimetric | sum of abs(p - g) | sum of p + g | Wang et al., MICCAI 2023, arXiv:2303.16296, DML1 |
| linear | sum of p + g - 2pg | sum of p + g | Drozdzal et al. 2016, arXiv:1608.04656 |
| squared | sum of (p - g)^2 | sum of p^2 + g^2 | Milletari et al. 2016, V-Net, arXiv:1606.04797, section 3 |

Where g is 0 or 1, semimetric and linear are the same number. Where g is the covered share of a pixel, p = g has
semimetric and squared 0, while linear is above 0 there and smallest at another p: it would teach the wrong outline.
"""

from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor

from excite.errors import DataError, UsageError

Activation = Literal["sigmoid", "softmax"]
Form = Literal["semimetric", "linear", "squared"]
Over = Literal["image", "batch"]


class Pair(NamedTuple):
    """Probabilities and targets, (N, K, pixels) each, float32 at least."""

    chances: Tensor
    targets: Tensor


def dice(logits: Tensor, masks: Tensor, *, activation: Activation = "sigmoid", form: Form = "semimetric",
         over: Over = "image", background: bool = True, smooth: float = 1.0) -> Tensor:
    """Return 1 - soft Dice of each image, the mean over its classes; 0 for a perfect prediction, at most 1.

    `smooth` is in pixels, above and below the line of the Dice. It is the rule for empty masks: nothing there and
    nothing predicted is a loss of 0, T predicted pixels where nothing is there are T / (T + smooth).

    Args:
        logits: Outputs of the network; the sigmoid or softmax is taken here, once.
        masks: Target of each pixel and class, 0 to 1; the covered share of a pixel is fine. With softmax also the
            class index of each pixel, as integers.
        activation: "sigmoid", classes that may overlap, or one class; "softmax", one class a pixel.
        form: Which of the forms above.
        over: "image": one Dice an image and class. "batch": one a class from the sums over the whole batch (of one
            device, and of one part where steps accumulate), which every image of it gets.
        background: Whether class 0 counts; with softmax only.
        smooth: Pixels, above 0.

    Shape:
        (N, K, *S), (N, K, *S) -> (N,); integer masks for softmax (N, *S) or (N, 1, *S). float32 at least, also under
        autocast.

    Raises:
        DataError: a mask has a value outside 0 to 1 (0/255 masks) or NaN, or a class that does not exist.
        UsageError: the shapes differ, or an option is unknown.
    """
    pair = paired(logits, checked(logits, masks, activation=activation), activation=activation)
    return dice_of(without_background(pair, activation=activation, background=background), form=form, over=over,
                   smooth=smooth)


def dice_of(pair: Pair, *, form: Form, over: Over, smooth: float) -> Tensor:
    """Return the Dice loss of each image, (N,), from probabilities and targets; see `dice`."""
    check_choice("form", form, Form)
    check_smooth(smooth)
    p, g = pair
    error, total = _error_and_total(p, g, form)
    losses = summed(error, over) / (summed(total, over) + smooth)
    return losses.mean(dim=1).expand(len(p))


def paired(logits: Tensor, targets: Tensor, *, activation: Activation) -> Pair:
    """Return probabilities and targets of logits and their checked masks, float32 at least.

    NaN in the logits stays NaN in the loss, where the training loop finds it and says where.
    """
    values = widened(logits).flatten(2)
    chances = torch.sigmoid(values) if activation == "sigmoid" else torch.softmax(values, dim=1)
    return Pair(chances, targets.flatten(2))


def checked(logits: Tensor, masks: Tensor, *, activation: Activation) -> Tensor:
    """Return the masks as (N, K, *S) targets of the logits' depth, float32 at least.

    Raises:
        DataError: a mask has a value outside 0 to 1 (0/255 masks) or NaN, or a class that does not exist.
        UsageError: the shapes differ.
    """
    check_choice("activation", activation, Activation)
    if logits.ndim < 3 or not logits.numel():
        raise UsageError(f"logits must have the shape (N, K, *S), got {tuple(logits.shape)}")
    if activation == "softmax" and logits.shape[1] < 2:
        raise UsageError("activation must be sigmoid for one class, got softmax",
                         why="the softmax of one output is always 1", fix="use activation=sigmoid")
    if activation == "softmax" and not masks.is_floating_point() and masks.shape != logits.shape:
        return _one_hot(masks, logits)
    if masks.shape != logits.shape:
        form = "class indices are integers" if activation == "softmax" else "one class has the shape (N, 1, *S)"
        raise UsageError(f"masks must have the logits' shape {tuple(logits.shape)}, got {tuple(masks.shape)}",
                         fix=f"bring image and mask to one size together; {form}")
    targets = widened(masks, like=logits)
    low, high = (float(end) for end in torch.aminmax(targets))
    if not (low >= 0 and high <= 1):
        _refuse(targets)
    if activation == "softmax" and float((targets.sum(dim=1) - 1).abs().max()) > 1e-3:
        raise DataError("the targets of a pixel must sum to 1 over the classes with softmax",
                        fix="give the background its own class, or use activation=sigmoid")
    return targets


def without_background(pair: Pair, *, activation: Activation, background: bool) -> Pair:
    """Return the pair, without class 0 where the background does not count."""
    if background or activation == "sigmoid":
        return pair
    return Pair(pair.chances[:, 1:], pair.targets[:, 1:])


def summed(values: Tensor, over: Over) -> Tensor:
    """Return the sums over pixels, (N, K), or over pixels and images, (1, K)."""
    check_choice("over", over, Over)
    return values.sum(dim=2) if over == "image" else values.sum(dim=(0, 2))[None]


def widened(values: Tensor, *, like: Tensor | None = None) -> Tensor:
    """Return float64 where `like` or `values` is so, else float32: bfloat16 counts pixels to 256 only."""
    depth = (values if like is None else like).dtype
    return values.to(torch.float64 if depth == torch.float64 else torch.float32)


def check_choice(name: str, value: str, choices: object) -> None:
    """Raise a UsageError where `value` is none of the choices."""
    if value not in get_args(choices):
        raise UsageError(f"{name} must be one of {', '.join(get_args(choices))}, got {value!r}")


def check_smooth(smooth: float) -> None:
    """Raise a UsageError where `smooth` would leave the loss of an empty mask without a value."""
    if not 0 < smooth < float("inf"):
        raise UsageError(f"smooth must be a number above 0, got {smooth}", why="an empty mask would give 0 / 0")


def _error_and_total(p: Tensor, g: Tensor, form: Form) -> tuple[Tensor, Tensor]:
    """Return both of each pixel, as in the table above; none is below 0, whatever the rounding."""
    if form == "squared":
        return (p - g).square(), p.square() + g.square()
    if form == "semimetric":
        return (p - g).abs(), p + g
    both = p * g
    return (p - both) + (g - both), p + g


def _one_hot(masks: Tensor, logits: Tensor) -> Tensor:
    """Return class indices (N, *S) or (N, 1, *S) as (N, K, *S)."""
    count, classes, *size = logits.shape
    if masks.shape not in ((count, *size), (count, 1, *size)):
        raise UsageError(f"masks must have the shape {(count, *size)} of class indices, got {tuple(masks.shape)}",
                         fix="bring image and mask to one size together")
    places = masks.reshape(count, 1, *size).long()
    low, high = (int(end) for end in torch.aminmax(places))
    if low < 0 or high >= classes:
        row = int(((places < 0) | (places >= classes)).flatten(1).any(dim=1).int().argmax())
        raise DataError(f"a mask must have the class indices 0 to {classes - 1}, got "
                        f"{high if high >= classes else low}", where=_place(row),
                        fix="map the values of the masks to class indices")
    return torch.zeros_like(widened(logits)).scatter_(1, places, 1.0)


def _refuse(targets: Tensor) -> None:
    """Raise with the first mask that has a value that cannot be."""
    each = targets.flatten(1)
    row = int(((each < 0) | (each > 1) | each.isnan()).any(dim=1).int().argmax())
    if each[row].isnan().any():
        raise DataError("a mask has NaN", where=_place(row), fix="look at the file that it comes from")
    worst = float(each[row].max() if each[row].max() > 1 else each[row].min())
    raise DataError(f"a mask must have values from 0 to 1, got {worst:g}", where=_place(row),
                    fix="divide a 0/255 mask by 255; for class indices use integers and activation=softmax")


def _place(row: int) -> str:
    return f"image {row} of the batch (counted from 0)"
