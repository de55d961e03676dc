"""The loss of a classifier is per sample; its weights are scikit-learn's; its numbers too."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.utils.class_weight import compute_class_weight
from torch import nn
from torch.nn import functional

from excite.errors import DataError, UsageError
from excite.losses.focal import focal
from excite.losses.sections import LossSection
from excite.tasks.classification import ClassificationTask

COUNTS = (60, 30, 10)


def task(**section: object) -> ClassificationTask:
    return ClassificationTask(("a", "b", "c"), LossSection(**section), COUNTS)  # type: ignore[arg-type]


def numbers(task: ClassificationTask, logits: np.ndarray, truth: np.ndarray, loss: float) -> dict[str, float | None]:
    """Return the numbers of one validation in a single batch."""
    return task.summary(task.collect(logits, truth), loss)


@dataclass
class Drawn:
    logits: torch.Tensor
    labels: torch.Tensor


@pytest.fixture
def drawn() -> Drawn:
    generator = torch.Generator().manual_seed(1)
    return Drawn(torch.randn(70, 3, generator=generator) * 2, torch.randint(3, (70,), generator=generator))


def test_balanced_weights_are_scikit_learns() -> None:
    labels = np.repeat([0, 1, 2], COUNTS)
    expected = compute_class_weight("balanced", classes=np.arange(3), y=labels)
    np.testing.assert_allclose(task().class_weights.numpy(), expected, rtol=1e-6)
    assert (task(class_weights="none").class_weights == 1).all()


def test_the_weighted_mean_is_torchs(drawn: Drawn) -> None:
    one = task(label_smoothing=0.0)
    total, weight = one.loss(drawn.logits, drawn.labels)
    expected = functional.cross_entropy(drawn.logits, drawn.labels, weight=one.class_weights)
    torch.testing.assert_close(total / weight, expected)


def test_with_smoothing_the_weight_of_the_true_class_holds_for_the_whole_sample(drawn: Drawn) -> None:
    one = task(label_smoothing=0.2)
    total, weight = one.loss(drawn.logits, drawn.labels)
    each = functional.cross_entropy(drawn.logits, drawn.labels, label_smoothing=0.2, reduction="none")
    weights = one.class_weights[drawn.labels]
    torch.testing.assert_close(total / weight, (weights * each).sum() / weights.sum())
    theirs = functional.cross_entropy(drawn.logits, drawn.labels, weight=one.class_weights, label_smoothing=0.2)
    assert abs(float(total / weight - theirs)) > 1e-3  # torch weighs the smoothed terms by their own classes


def test_the_loss_of_a_part_does_not_depend_on_its_batches(drawn: Drawn) -> None:
    one = task(class_weights="none", label_smoothing=0.0)
    drawn.logits[64:] *= -5  # the short last batch is bad
    found = [one.loss(drawn.logits[place:place + 32], drawn.labels[place:place + 32]) for place in (0, 32, 64)]
    summed = float(sum(total for total, _ in found) / sum(weight for _, weight in found))
    whole = float(functional.cross_entropy(drawn.logits, drawn.labels))
    assert summed == pytest.approx(whole, rel=1e-6)
    per_batch = float(sum(total / weight for total, weight in found)) / 3
    assert abs(per_batch - whole) > 0.2  # the trap: the mean of the batches' means


def test_focal_and_a_loss_of_ones_own(drawn: Drawn) -> None:
    total, weight = task(name="focal", class_weights="none", focal_gamma=1.5).loss(drawn.logits, drawn.labels)
    torch.testing.assert_close(total / weight, focal(drawn.logits, drawn.labels, gamma=1.5, smoothing=0.05).mean())
    one = task()
    one.replace_loss(nn.CrossEntropyLoss(reduction="none"))
    total, _ = one.loss(drawn.logits, drawn.labels)
    each = functional.cross_entropy(drawn.logits, drawn.labels, reduction="none")
    torch.testing.assert_close(total, (one.class_weights[drawn.labels] * each).sum())
    one.replace_loss(nn.CrossEntropyLoss())
    with pytest.raises(UsageError, match="one value a sample.*reduction='none'"):
        one.loss(drawn.logits, drawn.labels)


def test_the_summary_is_scikit_learns(drawn: Drawn) -> None:
    logits, labels = drawn.logits.numpy(), drawn.labels.numpy()
    found = numbers(task(), logits, labels, 0.5)
    chances = drawn.logits.double().softmax(1).numpy()
    assert found["loss"] == 0.5
    assert found["accuracy"] == pytest.approx((logits.argmax(1) == labels).mean())
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, logits.argmax(1)))
    assert found["macro_auroc"] == pytest.approx(roc_auc_score(labels, chances, multi_class="ovr"))
    assert numbers(task(), logits[:4], np.zeros(4, int), 0.5)["macro_auroc"] is None


def test_a_class_without_training_images_is_refused() -> None:
    with pytest.raises(DataError, match="no training image of class b"):
        ClassificationTask(("a", "b"), LossSection(), (3, 0))
    with pytest.raises(UsageError, match="one number a class"):
        ClassificationTask(("a", "b"), LossSection(), (3,))
