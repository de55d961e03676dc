"""Segmentation: a class for each pixel. Its loss for training and its numbers for the log."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit
from torch import Tensor

from excite.errors import ModelError, UsageError
from excite.losses.dice import Activation
from excite.losses.focal_tversky import focal_tversky
from excite.losses.sections import LossSection
from excite.losses.segmentation import dice_bce
from excite.metrics.segmentation import Counts, Empty, Mask, binarise, check_finite, counts, rates

Loss = Callable[[Tensor, Tensor], Tensor]
Int = NDArray[np.int64]


class SegmentationTask:
    """Loss and validation numbers of a network that gives a map of outputs for each class.

    One class is told from its background by a sigmoid; several exclude each other, the first being the background,
    and are told apart by a softmax.

    Args:
        classes: Names of the network's output maps.
        loss: (logits (N, K, *S), masks) -> (N,), one value an image; by default 0.5 Dice + 0.5 cross-entropy.
        threshold: Of the probability, one class only; at least it is the object.
        empty: What Dice and IoU are where nothing is there and nothing is predicted; see metrics.segmentation.
    """

    def __init__(self, classes: Sequence[str], *, loss: Loss | None = None, threshold: float = 0.5,
                 empty: Empty = "undefined") -> None:
        if not classes or len(set(classes)) < len(classes):
            raise UsageError(f"classes must be one name or more, all different, got {tuple(classes)}")
        if not 0 < threshold < 1:
            raise UsageError(f"threshold must be above 0 and below 1, got {threshold}")
        self.classes = tuple(classes)
        self.threshold, self.empty = threshold, empty
        self._loss = loss or partial(dice_bce, activation="sigmoid" if len(classes) == 1 else "softmax")

    def replace_loss(self, loss: Loss) -> None:
        """Use another loss: (logits (N, K, *S), masks) -> (N,), one value an image."""
        self._loss = loss

    def loss(self, logits: Tensor, masks: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the images' losses and how many images there are; every image weighs the same.

        Args:
            logits: Outputs of the network, without sigmoid.
            masks: One class: covered share of each pixel, (N, 1, *S). Several: class indices (N, *S), int64, or one
                share a class, (N, K, *S).

        Raises:
            DataError: a mask has a value that cannot be.
            UsageError: the shapes differ, or the loss does not give one value an image.
        """
        losses = self._loss(logits, masks)
        if losses.shape != (len(logits),):
            raise UsageError(f"the loss must return one value an image, {(len(logits),)}, got {tuple(losses.shape)}",
                             fix="take the mean over an image's classes and pixels, not over the batch")
        return losses.sum(), losses.new_tensor(float(len(logits)))

    def collect(self, logits: NDArray[Any], truth: NDArray[Any]) -> Int:
        """Return what `summary` needs of a batch: four counts of pixels for each class but the background.

        Shape:
            logits (N, K, *S), truth as for `loss` -> (N, classes, 4)

        Raises:
            DataError: an output is NaN or infinite; the row is named.
        """
        outputs, target = np.asarray(logits), np.asarray(truth)
        if outputs.ndim < 3 or outputs.shape[1] != len(self.classes):
            raise ModelError(f"outputs must have the shape (N, {len(self.classes)}, *S), got {outputs.shape}")
        check_finite(outputs, "an output of the network")
        return np.array([[counts(chosen, known) for chosen, known in zip(*pair, strict=True)]
                         for pair in zip(self._chosen(outputs), self._known(target, outputs), strict=True)])

    def summary(self, collected: Int, loss: float) -> dict[str, float | None]:
        """Return the numbers of one validation: loss, and the means over images of Dice and IoU; None: not defined.

        They are measured on the network's own grid, where a pixel of the truth is of a class if at least half of it
        is covered; in original pixels an evaluation measures. Several classes: each image's number is the mean over
        its classes without the background, and "dice/CLASS" is the mean over images.

        Shape:
            collected (N, classes, 4)
        """
        found = [[rates(Counts(*of_class), empty=self.empty) for of_class in image] for image in collected.tolist()]
        summary: dict[str, float | None] = {"loss": loss}
        for number in ("dice", "iou"):
            summary[number] = _mean([_mean([one[number] for one in image]) for image in found])
        if len(self.classes) > 2:
            summary |= {f"dice/{name}": _mean([image[place]["dice"] for image in found])
                        for place, name in enumerate(self.classes[1:])}
        return summary

    def _chosen(self, outputs: NDArray[Any]) -> Mask:
        """Return the predicted masks, (N, classes, *S), without the background."""
        if len(self.classes) == 1:
            return binarise(expit(outputs), threshold=self.threshold)
        return _masks(outputs.argmax(axis=1), len(self.classes))

    def _known(self, target: NDArray[Any], outputs: NDArray[Any]) -> Mask:
        """Return the true masks, (N, classes, *S), without the background."""
        if len(self.classes) == 1:
            known: Mask = target.reshape(outputs.shape) >= 0.5
            return known
        indices = target.argmax(axis=1) if target.shape == outputs.shape else target
        return _masks(indices.reshape(len(outputs), *outputs.shape[2:]), len(self.classes))


def loss_of(section: LossSection, *, classes: int, background: bool = True) -> Loss:
    """Return the loss that a config names, for so many output maps.

    Args:
        background: Whether the overlap of several classes counts the first, the background.

    Raises:
        UsageError: it is a loss of classes.
    """
    activation: Activation = "sigmoid" if classes == 1 else "softmax"
    if section.name == "dice_bce":
        return partial(dice_bce, activation=activation, dice_weight=section.dice_weight,
                       bce_weight=section.bce_weight, form=section.form, over=section.over, smooth=section.smooth,
                       background=background)
    if section.name == "focal_tversky":
        return partial(focal_tversky, activation=activation, alpha=section.missed, beta=section.false,
                       gamma=section.tversky_gamma, form=section.form, over=section.over, smooth=section.smooth,
                       background=background)
    raise UsageError(f"loss.name must be dice_bce or focal_tversky for masks, got {section.name!r}",
                     fix="loss.name: dice_bce")


def _masks(indices: NDArray[Any], classes: int) -> Mask:
    """Return class indices (N, *S) as one mask a class, (N, classes - 1, *S), without class 0."""
    return np.stack([indices == place for place in range(1, classes)], axis=1)


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the defined values; None where there is none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
