"""Losses of each sample, against torch and against the papers' formulas written out."""

import numpy as np
import pytest
import torch
from scipy.special import log_softmax
from torch import Tensor
from torch.nn import functional

from excite.losses.cross_entropy import cross_entropy
from excite.losses.focal import focal


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return (4 * torch.randn(33, 5, generator=generator, dtype=torch.float64),
            torch.randint(5, (33,), generator=generator))


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3])
def test_cross_entropy_equals_torchs(batch: tuple[Tensor, Tensor], smoothing: float) -> None:
    expected = functional.cross_entropy(*batch, label_smoothing=smoothing, reduction="none")
    torch.testing.assert_close(cross_entropy(*batch, smoothing=smoothing), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0, 5.0])
def test_focal_is_the_papers_equation_4(batch: tuple[Tensor, Tensor], gamma: float) -> None:
    logits, labels = (one.numpy() for one in batch)
    log_p = log_softmax(logits, axis=1)[np.arange(33), labels]
    expected = -((1 - np.exp(log_p)) ** gamma) * log_p
    np.testing.assert_allclose(focal(*batch, gamma=gamma).numpy(), expected, rtol=1e-6, atol=1e-12)
    assert np.ptp(expected) > 1


def test_focal_without_focus_is_cross_entropy_smoothed_or_not(batch: tuple[Tensor, Tensor]) -> None:
    for smoothing in (0.0, 0.2):
        torch.testing.assert_close(focal(*batch, gamma=0, smoothing=smoothing),
                                   cross_entropy(*batch, smoothing=smoothing))
    assert (focal(*batch, gamma=2, smoothing=0.2) != focal(*batch, gamma=2)).all()  # the option is not dropped


@pytest.mark.parametrize("gamma", [0.5, 1.0, 2.0])
def test_focal_has_a_finite_slope_where_the_network_is_certain(gamma: float) -> None:
    logits = torch.tensor([[200.0, 0.0], [-200.0, 0.0]], requires_grad=True)
    focal(logits, torch.tensor([0, 0]), gamma=gamma).sum().backward()
    assert logits.grad is not None and torch.isfinite(logits.grad).all() and logits.grad[1].abs().max() > 0.5


def test_half_precision_outputs_are_summed_in_single() -> None:
    logits = torch.randn(8, 3, dtype=torch.bfloat16)
    for loss in (cross_entropy, focal):
        found = loss(logits, torch.zeros(8, dtype=torch.int64))
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, loss(logits.float(), torch.zeros(8, dtype=torch.int64)))
