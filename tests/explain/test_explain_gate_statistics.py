"""Planted gates are found, and the numbers are those of numpy and scipy over all inputs at once."""

import numpy as np
import pytest
import torch
from scipy.stats import f_oneway

from excite.errors import UsageError
from excite.explain.gate_statistics import Bounds, gate_statistics
from excite.explain.gates import recorded
from excite.models.classifier import create_model
from gate_networks import Planted, of_ones, planted


def values_of(model, x):
    with torch.no_grad(), recorded(model) as taken:
        model(x)
    return {name: one.values.numpy() for name, one in taken.items()}


def batches(x, labels=None, size=7):
    parts = x.split(size)
    return list(parts) if labels is None else list(zip(parts, labels.split(size), strict=True))


def test_dead_saturated_constant_and_live_gates_are_found():
    model = of_ones(Planted(planted([-20.0, 20.0, 0.3, 0.0], [0.0, 0.0, 0.0, 3.0])))
    x = torch.rand(40, 1, 4, 4) * torch.linspace(0, 2, 40).view(-1, 1, 1, 1)
    [found] = gate_statistics(model, batches(x))
    assert found.states == ("dead", "saturated", "constant", "live")
    assert found.shares == dict.fromkeys(("dead", "saturated", "constant", "live"), 0.25)
    assert found.mean[2] == pytest.approx(1 / (1 + np.exp(-0.3)), rel=1e-6) and found.std[2] < 1e-7 < found.std[3]
    assert (found.name, found.attention, found.kind, found.n, found.largest) == ("gate", "se", "channel", 40, 1.0)


def test_bounds_are_shares_of_the_scale():
    model = of_ones(Planted(planted([-3.0, 3.0, 0.3, 0.0], [0.0, 0.0, 0.0, 3.0])))
    x = torch.rand(40, 1, 4, 4)
    [found] = gate_statistics(model, batches(x), bounds=Bounds(dead=0.1, saturated=0.9, constant=0.5))
    assert found.states == ("dead", "saturated", "constant", "constant")
    assert gate_statistics(model, batches(x))[0].states == ("constant", "constant", "constant", "live")


def test_a_hard_sigmoid_at_one_is_saturated_and_twice_the_sigmoid_at_one_is_not():
    from excite.attention.se import SqueezeExcitation

    hard = SqueezeExcitation(4, reduction=4, gate="hard_sigmoid")
    torch.nn.init.zeros_(hard.excite.weight)
    torch.nn.init.constant_(hard.excite.bias, 3.0)
    fresh = SqueezeExcitation(4, reduction=4, start="open")
    x = torch.rand(5, 1, 4, 4)
    assert gate_statistics(of_ones(Planted(hard)), [x])[0].states == ("saturated",) * 4
    assert gate_statistics(of_ones(Planted(fresh)), [x])[0].states == ("constant",) * 4


@pytest.mark.parametrize("size", [1, 4, 30])
def test_numbers_are_those_of_all_inputs_at_once_whatever_the_batches(size):
    torch.manual_seed(2)
    model = create_model("resnet20", num_classes=3, attention="se").eval()
    x, labels = torch.randn(30, 3, 8, 8) * torch.linspace(0.1, 5, 30).view(-1, 1, 1, 1), torch.arange(30) % 3
    found = gate_statistics(model, batches(x, labels, size), classes=("a", "b", "c"))
    whole = values_of(model, x)
    for layer in found:
        values = whole[layer.name]
        np.testing.assert_allclose(layer.mean, values.mean(0), rtol=1e-5)
        np.testing.assert_allclose(layer.std, values.std(0), rtol=1e-3, atol=1e-7)
        np.testing.assert_allclose(layer.low, values.min(0), rtol=1e-5)
        np.testing.assert_allclose(layer.high, values.max(0), rtol=1e-5)
        for share, height in layer.quantiles.items():
            assert (values <= height + 0.001).mean() >= share and (values >= height - 0.001).mean() >= 1 - share
        np.testing.assert_allclose(layer.class_means, [values[np.arange(30) % 3 == k].mean(0) for k in range(3)],
                                   rtol=1e-5)
        assert layer.between_inputs == pytest.approx(values.var(0).mean(), rel=1e-3)
        assert layer.between_channels == pytest.approx(values.mean(0).var(), rel=1e-4)
        assert layer.class_counts == (10, 10, 10) and layer.histogram.sum() == pytest.approx(1)


def test_eta_squared_is_that_of_scipys_f():
    torch.manual_seed(0)
    model = of_ones(Planted(planted([0.0], [2.0]), 1))
    labels = torch.arange(24) % 3
    x = torch.rand(24, 1, 4, 4) * (1 + labels.view(-1, 1, 1, 1))
    [layer] = gate_statistics(model, batches(x, labels), classes=("a", "b", "c"))
    values = values_of(model, x)["gate"][:, 0]
    f = f_oneway(*(values[labels.numpy() == k] for k in range(3))).statistic
    assert layer.eta == pytest.approx(2 * f / (2 * f + 21), rel=1e-9)
    assert layer.eta_corrected == pytest.approx(1 - (1 - layer.eta) * 23 / 21) and layer.eta_by_chance == 2 / 23


def test_shuffled_labels_give_what_chance_gives():
    torch.manual_seed(0)
    model = of_ones(Planted(planted([0.0, -1.0, 1.0, 0.5], [2.0, 1.0, -1.0, 4.0])))
    x = torch.rand(12, 1, 4, 4) * torch.linspace(0, 3, 12).view(-1, 1, 1, 1)
    dice, found = torch.Generator().manual_seed(3), []
    for _ in range(400):
        labels = (torch.arange(12) % 4)[torch.randperm(12, generator=dice)]
        found.append(gate_statistics(model, [(x, labels)], classes="abcd")[0])
    etas = [one.eta for one in found]
    error = 4 * np.std(etas) / 400**0.5
    assert np.mean(etas) == pytest.approx(3 / 11, abs=error) and found[0].eta_by_chance == 3 / 11
    assert np.mean([one.eta_corrected for one in found]) == pytest.approx(0, abs=error * 11 / 8)


def test_what_does_not_vary_or_has_one_input_a_class_has_no_eta():
    model = of_ones(Planted(planted([-1.0, 0.0, 0.3, 1.0])))
    x = torch.rand(6, 1, 4, 4)
    constant = gate_statistics(model, batches(x, torch.arange(6) % 2), classes=("a", "b"))[0]
    assert constant.eta is None and constant.share_of_inputs < 1e-9 and constant.between_channels > 0.01
    live = of_ones(Planted(planted([0.0] * 4, [2.0] * 4)))
    assert gate_statistics(live, batches(x, torch.arange(6)), classes="abcdef")[0].eta is None
    assert gate_statistics(live, batches(x))[0].class_means is None


def test_what_depends_on_the_input_alone_says_so():
    live = of_ones(Planted(planted([0.0] * 4, [3.0] * 4)))
    assert gate_statistics(live, [torch.rand(9, 1, 4, 4)])[0].share_of_inputs == pytest.approx(1)


def test_the_network_is_left_as_it_was():
    model = Planted(planted([0.0] * 4)).train()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    gate_statistics(model, [torch.rand(3, 1, 4, 4)])
    assert model.training and all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_faults_are_told():
    model = of_ones(Planted(planted([0.0] * 4)))
    with pytest.raises(UsageError, match="at least two inputs are needed, got 1"):
        gate_statistics(model, [torch.rand(1, 1, 4, 4)])
    with pytest.raises(UsageError, match=r"labels must be 2 whole numbers from 0 to 1, got \[0, 2\]; leave classes"):
        gate_statistics(model, [(torch.rand(2, 1, 4, 4), torch.tensor([0, 2]))], classes=("a", "b"))
    with pytest.raises(UsageError, match="got none"):
        gate_statistics(model, [torch.rand(2, 1, 4, 4)], classes=("a", "b"))
