"""SRM against its equations; what every kind owes is in test_contract_attention.py."""

import pytest
import torch

from excite.attention.plan import AttentionPlan
from excite.attention.srm import EPS, StyleRecalibration
from excite.errors import DataError, UsageError
from excite.models.classifier import create_model
from lively import lively


@pytest.mark.parametrize("start", ["paper", "open"])
@pytest.mark.parametrize("size", [(5, 7), (3, 5, 4)])
def test_equals_the_equations(size, start):
    x = torch.randn(6, 16, *size, dtype=torch.float64) * torch.linspace(0.2, 3, 6).view(6, 1, *[1] * len(size))
    gate = StyleRecalibration(16, dims=len(size), start=start).double()
    torch.nn.init.normal_(gate.style)
    lively(gate, x)
    flat = x.flatten(2)
    mean, spread = flat.mean(2), (flat.var(2, unbiased=False) + EPS).sqrt()
    z = gate.style[:, 0] * mean + gate.style[:, 1] * spread
    norm = gate.norm
    z = (z - norm.running_mean) / (norm.running_var + norm.eps).sqrt() * norm.weight + norm.bias
    expected = (2 if start == "open" else 1) * torch.sigmoid(z)
    torch.testing.assert_close(gate.gate(x).flatten(1), expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gate(x), x * expected.view(6, 16, *[1] * len(size)), rtol=1e-12, atol=1e-12)


def test_four_numbers_a_channel_and_a_half_at_first():
    gate = StyleRecalibration(16)
    assert sum(value.numel() for value in gate.parameters()) == 4 * 16
    assert torch.equal(gate.gate(torch.randn(3, 16, 4, 4)), torch.full((3, 16, 1, 1), 0.5))


def test_a_batch_of_one_cannot_train_the_norm_and_is_told_so():
    gate = StyleRecalibration(16)
    with pytest.raises(DataError, match="over 16 channels has one value a channel to measure"):
        gate(torch.randn(1, 16, 4, 4))
    gate.eval()(torch.randn(1, 16, 4, 4))


def test_group_norm_cannot_take_the_place_of_its_norm():
    with pytest.raises(UsageError, match="norm='group' cannot take the place of the norm in a StyleRecalibration"):
        create_model("resnet20", attention=AttentionPlan(kind="srm"), norm="group")


def test_a_constant_channel_has_the_papers_epsilon_under_the_root():
    assert EPS == 1e-5
    gate = StyleRecalibration(2).double().eval()
    torch.nn.init.ones_(gate.style)
    seen = gate.gate(torch.full((1, 2, 3, 3), 0.5, dtype=torch.float64)).detach()
    expected = torch.sigmoid(torch.tensor((0.5 + 1e-5 ** 0.5) / (1 + 1e-5) ** 0.5, dtype=torch.float64))
    torch.testing.assert_close(seen, expected.expand(1, 2, 1, 1), rtol=1e-9, atol=0)
