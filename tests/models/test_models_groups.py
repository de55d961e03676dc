import pytest
import torch
from torch import nn

from excite.attention.plan import AttentionPlan
from excite.errors import UsageError
from excite.models.classifier import create_model
from excite.models.groups import freeze_trunk, split_parameters, trunk_modules
from lively import lively, varied_images


@pytest.fixture
def model():
    torch.manual_seed(0)
    return lively(create_model("mobilenet_v2", num_classes=3, attention=AttentionPlan()), varied_images()).float()


def statistics(model):
    return {key: value.clone() for key, value in model.state_dict().items() if "running_" in key or "num_batch" in key}


def step(model):
    optimiser = torch.optim.SGD([value for value in model.parameters() if value.requires_grad], lr=0.1)
    model(torch.rand(4, 3, 32, 32) * 3).square().sum().backward()
    optimiser.step()


def test_the_parts_are_trunk_gates_and_head(model):
    parts = split_parameters(model)
    assert len(parts["gates"]) == 17 * 4 and parts["head"] == ["classifier.weight", "classifier.bias"]
    assert not [name for name in parts["trunk"] if "attention" in name or name.startswith("classifier")]


def test_a_foreign_network_has_trunk_and_head_by_its_childrens_names():
    foreign = nn.Sequential()
    foreign.add_module("body", nn.Conv2d(3, 4, 1))
    foreign.add_module("fc", nn.Linear(4, 2))
    assert split_parameters(foreign) == {"trunk": ["body.weight", "body.bias"], "gates": [],
                                         "head": ["fc.weight", "fc.bias"]}


def test_a_frozen_trunk_stays_put_whatever_train_is_called(model):  # T1-1
    freeze_trunk(model)
    model.train().eval()
    model.train()
    before, weights = statistics(model), {key: value.clone() for key, value in model.named_parameters()}
    step(model)
    assert all(torch.equal(value, before[key]) for key, value in statistics(model).items())
    moved = {key for key, value in model.named_parameters() if not torch.equal(value, weights[key])}
    parts = split_parameters(model)
    assert not moved & set(parts["trunk"]) and set(parts["head"]) <= moved and moved & set(parts["gates"])


def test_gradients_alone_would_not_keep_the_statistics(model):  # the planted failure of the test above
    for value in model.backbone.parameters():
        value.requires_grad_(False)
    before = statistics(model.train())
    step(model)
    assert not all(torch.equal(value, before[key]) for key, value in statistics(model).items())


def test_gates_and_head_train_in_a_frozen_trunk(model):
    freeze_trunk(model)
    model.train()
    assert model.training and model.dropout.training and model.classifier.training
    gate = next(module for name, module in model.named_modules() if name.endswith("attention"))
    assert gate.training and gate not in trunk_modules(model)
    assert not model.backbone.training and not any(module.training for module in trunk_modules(model))


def test_a_freed_trunk_trains_again(model):
    freeze_trunk(model)
    freeze_trunk(model, frozen=False)
    before = statistics(model.train())
    assert all(value.requires_grad for value in model.parameters()) and all(m.training for m in model.modules())
    step(model)
    assert not all(torch.equal(value, before[key]) for key, value in statistics(model).items())


def test_a_network_that_cannot_stay_frozen_is_refused():
    with pytest.raises(UsageError, match="the trunk of a Linear cannot be frozen here.*build it with create_model"):
        freeze_trunk(nn.Linear(2, 2))
