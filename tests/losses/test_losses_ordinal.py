"""The ordinal loss against each question written out, and what makes it a loss of grades."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import Tensor
from torch.nn import functional

from excite.errors import UsageError
from excite.losses.cross_entropy import cross_entropy
from excite.losses.ordinal import ordinal
from excite.losses.sections import LossSection
from excite.tasks.classification import ClassificationTask


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (3 * torch.randn(33, 4, generator=generator, dtype=torch.float64),
            torch.randint(4, (33,), generator=generator))


def by_hand(logits: np.ndarray, label: int, smoothing: float = 0.0) -> float:
    chances, grades = softmax(logits), len(logits)
    target = np.full(grades, smoothing / grades)
    target[label] += 1 - smoothing
    found = 0.0
    for grade in range(grades - 1):
        above, wanted = sum(chances[grade + 1:]), sum(target[grade + 1:])
        found -= wanted * np.log(above) + (1 - wanted) * np.log(1 - above)
    return found / (grades - 1)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_it_is_the_mean_of_the_questions_cross_entropies(batch: tuple[Tensor, Tensor], smoothing: float) -> None:
    expected = [by_hand(row, int(label), smoothing) for row, label in zip(batch[0].numpy(), batch[1], strict=True)]
    np.testing.assert_allclose(ordinal(*batch, smoothing=smoothing).numpy(), expected, rtol=1e-9)
    assert np.ptp(expected) > 1


def test_with_one_score_for_all_questions_it_is_the_published_loss() -> None:
    # A shared score and ordered biases give chances above each grade; their differences are a softmax of K logits.
    score, biases = torch.randn(20, 1, dtype=torch.float64), torch.tensor([1.5, -0.2, -1.0], dtype=torch.float64)
    above = torch.sigmoid(score + biases)
    labels = torch.randint(4, (20,))
    ends = torch.cat((torch.ones(20, 1), above, torch.zeros(20, 1)), dim=1)
    logits = torch.log(ends[:, :-1] - ends[:, 1:])
    levels = (labels[:, None] > torch.arange(3)).double()
    expected = functional.binary_cross_entropy_with_logits(score + biases, levels, reduction="none").mean(dim=1)
    torch.testing.assert_close(ordinal(logits, labels), expected, rtol=1e-9, atol=1e-12)


def test_of_two_grades_it_is_the_cross_entropy() -> None:
    logits, labels = torch.randn(9, 2, dtype=torch.float64), torch.randint(2, (9,))
    for smoothing in (0.0, 0.2):
        torch.testing.assert_close(ordinal(logits, labels, smoothing=smoothing),
                                   cross_entropy(logits, labels, smoothing=smoothing))


def test_a_far_grade_costs_more_than_the_next_where_cross_entropy_sees_no_difference() -> None:
    near, far = torch.tensor([[0.0, 4.0, 0.0]]), torch.tensor([[0.0, 0.0, 4.0]])
    none = torch.tensor([0])
    assert float(ordinal(far, none)) > 1.5 * float(ordinal(near, none))
    torch.testing.assert_close(cross_entropy(far, none), cross_entropy(near, none))


def test_chances_above_each_grade_never_grow(batch: tuple[Tensor, Tensor]) -> None:
    above = batch[0].softmax(dim=1).flip(1).cumsum(dim=1).flip(1)[:, 1:]
    assert bool((above.diff(dim=1) <= 0).all()) and above.shape[1] == 3


def test_the_true_chances_have_the_least_of_it() -> None:
    truth = torch.tensor([0.2, 0.1, 0.3, 0.4], dtype=torch.float64)
    logits = torch.zeros(1, 4, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logits], max_iter=200, tolerance_grad=1e-12, tolerance_change=1e-15)

    def closure() -> Tensor:
        optimiser.zero_grad()
        loss = (truth * ordinal(logits.expand(4, -1), torch.arange(4))).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    torch.testing.assert_close(logits.detach().softmax(dim=1)[0], truth, rtol=0, atol=1e-6)


def test_it_is_finite_where_the_network_is_certain_and_wrong_and_has_a_slope() -> None:
    logits = torch.tensor([[-300.0, 0.0, 300.0], [300.0, 0.0, -300.0]], requires_grad=True)
    losses = ordinal(logits, torch.tensor([0, 0]))
    losses.sum().backward()
    assert losses.isfinite().all() and logits.grad is not None and logits.grad.isfinite().all()
    assert float(logits.grad[0].abs().max()) > 0.5 and losses[1].item() == 0


def test_its_gradient_is_the_numerical_one(batch: tuple[Tensor, Tensor]) -> None:
    logits = batch[0][:4].clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda x: ordinal(x, batch[1][:4]), (logits,))


def test_half_precision_is_summed_in_single_and_one_grade_is_refused() -> None:
    assert ordinal(torch.randn(8, 3, dtype=torch.bfloat16), torch.zeros(8, dtype=torch.int64)).dtype == torch.float32
    with pytest.raises(UsageError, match="K of at least 2 grades"):
        ordinal(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))


def test_a_classification_takes_it_with_its_class_weights() -> None:
    task = ClassificationTask(("none", "mild", "severe"), LossSection(), (34, 69, 49))
    task.replace_loss(ordinal)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    total, weight = task.loss(logits, labels)
    weights = (152 / (3 * torch.tensor([34.0, 69.0, 49.0])))[labels]
    torch.testing.assert_close(total / weight, (weights * ordinal(logits, labels)).sum() / weights.sum())
