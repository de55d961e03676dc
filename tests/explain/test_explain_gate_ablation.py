"""A gate that alone carries the class loses exactly what is expected; one that carries nothing loses nothing."""

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score, log_loss
from torch import nn

from excite.explain.gate_ablation import gate_costs, label_scores, mask_scores, scores_of
from excite.explain.gate_statistics import gate_statistics
from gate_networks import planted


class Carried(nn.Module):
    """The class is told by the gates alone: the maps that they scale are one for every image."""

    def __init__(self):
        super().__init__()
        self.live = planted([-20.0, 4.0], [40.0, -8.0])
        self.idle = planted([0.3, 0.3])

    def forward(self, x):
        seen = x.mean((2, 3), keepdim=True).expand(-1, 2, 3, 3)
        gates = self.live(seen) / seen
        return (gates * self.idle(torch.ones_like(seen))).mean((2, 3)) - torch.tensor([0.0, 0.1])


def data():
    labels = torch.arange(40) % 4 // 3                    # 30 of class 0, 10 of class 1
    x = torch.where(labels == 0, 1.0, 0.1).view(-1, 1, 1, 1).expand(-1, 1, 4, 4)
    return [(x[:15], labels[:15]), (x[15:], labels[15:])]


def test_the_gate_that_carries_the_class_loses_it_and_the_idle_one_nothing():
    model = Carried().eval()
    own = scores_of(model, data(), {}, label_scores)[""]["accuracy"]
    assert own.mean() == 1
    found = gate_costs(model, data(), gate_statistics(model, data()))
    lost = {(one.name, one.how): one.lost["accuracy"] for one in found}
    assert list(lost) == [("live", "mean"), ("live", "one"), ("idle", "mean"), ("idle", "one")]
    assert lost["live", "mean"].value == pytest.approx(0.25)  # every answer is class 0 then
    assert lost["live", "mean"].low < 0.25 < lost["live", "mean"].high
    assert lost["live", "one"].value == pytest.approx(0.25)
    assert lost["idle", "mean"].value == lost["idle", "one"].value == 0
    assert next(one for one in found if one.name == "live").lost["log_likelihood"].value > 0


def test_the_interval_is_over_units():
    model, layers = Carried().eval(), gate_statistics(Carried().eval(), data())
    alone, together = (gate_costs(model, data(), layers, units=units)[0].lost["accuracy"]
                       for units in (None, [str(place // 20) for place in range(40)]))
    assert alone.high - alone.low > 0.2
    assert together.low == together.high == 0.25  # both units have a quarter of class 1


def test_scores_of_labels_are_those_of_scikit_learn():
    torch.manual_seed(0)
    logits, labels = torch.randn(20, 4), torch.arange(20) % 4
    found = label_scores(logits, labels, temperature=2.0)
    shares = (logits.double() / 2).softmax(1).numpy()
    assert -float(found["log_likelihood"].mean()) == pytest.approx(log_loss(labels.numpy(), shares), rel=1e-9)
    assert float(found["accuracy"].mean()) == (logits.argmax(1) == labels).double().mean()


@pytest.mark.parametrize("maps", [1, 2])
def test_scores_of_masks_are_those_of_scikit_learn(maps):
    torch.manual_seed(0)
    logits, masks = torch.randn(3, maps, 6, 6), (torch.rand(3, 6, 6) > 0.5).float()
    found = mask_scores(logits, masks)
    inside = logits[:, 0] if maps == 1 else logits[:, 1] - logits[:, 0]
    for place in range(3):
        truth, share = masks[place].ravel().numpy(), inside[place].double().sigmoid().ravel().numpy()
        assert float(found["dice"][place]) == pytest.approx(f1_score(truth, share >= 0.5))
        assert -float(found["log_likelihood"][place]) == pytest.approx(log_loss(truth, share), rel=1e-6)


def test_two_empty_masks_agree():
    assert mask_scores(torch.full((1, 1, 2, 2), -9.0), torch.zeros(1, 2, 2))["dice"].tolist() == [1.0]
    assert np.isclose(mask_scores(torch.full((1, 1, 2, 2), 9.0), torch.zeros(1, 2, 2))["dice"].item(), 0)
