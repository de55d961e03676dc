"""Classification: one class an image. Its loss for training and its numbers for the log."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from excite.errors import DataError, UsageError
from excite.losses.cross_entropy import cross_entropy
from excite.losses.focal import focal
from excite.losses.ordinal import ordinal
from excite.losses.sections import LossSection
from excite.metrics.classification import measure
from excite.outcome.decode import decode

Loss = Callable[[Tensor, Tensor], Tensor]


class ClassificationTask:
    """Loss and validation numbers of a classifier.

    Args:
        classes: Labels in the order of the network's outputs.
        section: Loss, class weights, smoothing.
        counts: Training images of each class.

    Raises:
        DataError: a class has no training image.
    """

    def __init__(self, classes: Sequence[str], section: LossSection, counts: Sequence[int]) -> None:
        if len(counts) != len(classes):
            raise UsageError(f"counts must have one number a class ({len(classes)}), got {len(counts)}")
        empty = [name for name, count in zip(classes, counts, strict=True) if count < 1]
        if empty:
            raise DataError(f"no training image of class {', '.join(empty)}",
                            fix="put some into the training part, or leave the class out")
        self.classes = tuple(classes)
        self.class_weights = _weights(section.class_weights, counts)
        self._loss = _loss(section)

    def replace_loss(self, loss: Loss) -> None:
        """Use another loss: (logits (N, K), labels (N,)) -> (N,), one value a sample; class weights stay."""
        self._loss = loss

    def loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the samples' weighted losses and the sum of their weights.

        A sample's weight is that of its true class and multiplies its whole loss, the smoothed part too; without
        smoothing the quotient of the two is the mean that torch's weighted cross-entropy gives. Training minimises it;
        validation adds up both over all batches and divides once, so that a short last batch counts as what it is.

        Raises:
            UsageError: the loss does not give one value a sample.
        """
        losses = self._loss(logits, labels)
        if losses.shape != labels.shape:
            raise UsageError(f"the loss must return one value a sample, {tuple(labels.shape)}, got "
                             f"{tuple(losses.shape)}", fix="for torch's losses: reduction='none'")
        weights = self.class_weights.to(device=losses.device, dtype=losses.dtype)[labels]
        return (weights * losses).sum(), weights.sum()

    def collect(self, logits: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
        """Return what `summary` needs of a batch: the outputs, and the class as a last column.

        Shape:
            logits (N, K), truth (N,) integers -> (N, K + 1)
        """
        return np.column_stack([logits, truth])

    def summary(self, collected: NDArray[Any], loss: float) -> dict[str, float | None]:
        """Return the numbers of one validation: loss, accuracy, balanced accuracy, macro AUROC; None: not defined.

        Shape:
            collected (N, K + 1)
        """
        logits, truth = collected[:, :-1], collected[:, -1].astype(np.int64)
        found = measure(truth, decode(logits[None], classes=self.classes), self.classes)
        return {"loss": loss, "accuracy": found["accuracy"], "balanced_accuracy": found["balanced_accuracy"],
                "macro_auroc": found["auroc_macro"]}


def _weights(name: str, counts: Sequence[int]) -> Tensor:
    """Return one weight a class; "balanced" is n / (K * count), so that every class weighs the same in total."""
    if name == "none":
        return torch.ones(len(counts))
    values = torch.tensor(counts, dtype=torch.float64)
    return (values.sum() / (len(counts) * values)).float()


def _loss(section: LossSection) -> Loss:
    if section.of_masks:
        raise UsageError(f"loss.name must be cross_entropy, focal or ordinal for classes, got {section.name!r}",
                         fix="loss.name: cross_entropy")
    if section.name == "focal":
        return partial(focal, gamma=section.focal_gamma, smoothing=section.label_smoothing)
    if section.name == "ordinal":
        return partial(ordinal, smoothing=section.label_smoothing)
    return partial(cross_entropy, smoothing=section.label_smoothing)
