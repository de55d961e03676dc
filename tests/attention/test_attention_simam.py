import numpy as np
import pytest
import torch
from gate_toy import assert_same, flat, sigmoid

from excite.attention.plan import AttentionPlan
from excite.attention.simam import SimpleAttention
from excite.errors import ModelError, UsageError
from lively import varied_images


def equations(x, regulariser, less=1):
    values = flat(x)
    apart = (values - values.mean(-1, keepdims=True)) ** 2
    variance = apart.sum(-1, keepdims=True) / (values.shape[-1] - less)
    return (values * sigmoid(apart / (4 * (variance + regulariser)) + 0.5)).reshape(x.shape)


@pytest.mark.parametrize("regulariser", [1e-4, 0.1])
@pytest.mark.parametrize("size", [(5, 7), (3, 5, 4), (1, 2)])
def test_equals_the_equations_in_numpy(size, regulariser):
    x = varied_images(3, channels=6, size=size)
    simam = SimpleAttention(6, dims=len(size), regulariser=regulariser)
    assert not list(simam.parameters())
    assert_same(simam(x), equations(x, regulariser))


def test_another_divisor_would_be_found_out():
    x = varied_images(3, channels=6, size=(5, 7))
    with pytest.raises(AssertionError):
        assert_same(SimpleAttention(6)(x), equations(x, 1e-4, less=0))


def test_the_inverse_of_the_least_energy_found_by_search():
    # eq. 1 with the labels 1 and -1: the linear neuron that tells one value from its fellows with least energy.
    values = np.random.default_rng(0).normal(size=200)
    t, others, regulariser = 3.0, values, 0.1
    design = np.stack([np.append(others, t), np.ones(len(others) + 1)], 1)
    target, weight = np.append(-np.ones(len(others)), 1.0), np.append(np.full(len(others), 1 / len(others)), 1.0)
    normal = design.T @ (design * weight[:, None]) + np.diag([regulariser, 0])
    solution = np.linalg.solve(normal, design.T @ (weight * target))
    energy = float((weight * (target - design @ solution) ** 2).sum() + regulariser * solution[0] ** 2)
    mean, variance = others.mean(), others.var()
    closed = 4 * (variance + regulariser) / ((t - mean) ** 2 + 2 * variance + 2 * regulariser)
    assert energy == pytest.approx(closed, rel=1e-9)
    assert 1 / closed == pytest.approx((t - mean) ** 2 / (4 * (variance + regulariser)) + 0.5, rel=1e-12)


def test_one_place_has_nothing_to_stand_out_from():
    x = torch.randn(2, 3, 1, 1)
    torch.testing.assert_close(SimpleAttention(3)(x), x * torch.sigmoid(torch.tensor(0.5)))


def test_the_open_start_is_refused_with_its_reason():
    with pytest.raises(UsageError, match="start must be 'paper' for simam.*it has no parameter.*use start='paper'"):
        AttentionPlan(kind="simam", start="open").build(16, dims=2)


@pytest.mark.parametrize("regulariser", [0, -1e-4])
def test_a_wrong_regulariser_is_named(regulariser):
    with pytest.raises(UsageError, match="regulariser must be above 0, got"):
        SimpleAttention(8, regulariser=regulariser)


def test_a_state_of_another_regulariser_is_refused():
    with pytest.raises(ModelError, match="a network with regulariser='0.1', this one has regulariser='0.0001'"):
        SimpleAttention(8).load_state_dict(SimpleAttention(8, regulariser=0.1).state_dict())


def test_squares_do_not_overflow_in_half_precision():
    x = torch.tensor([300.0, -300.0, 10.0, 0.0], dtype=torch.float16).view(1, 1, 2, 2)
    assert not (x - x.mean()).square().isfinite().all()
    expected = torch.from_numpy(equations(x.double(), 1e-4))
    torch.testing.assert_close(SimpleAttention(1)(x).double(), expected, rtol=2e-3, atol=0)
