"""A frozen trunk does not move: not its weights, not its statistics; gates and head do."""

import pytest
import torch
from engine_toy import Net
from torch import nn

from excite.attention.se import SqueezeExcitation
from excite.engine.freeze import Trunk
from excite.errors import UsageError


def statistics(model: nn.Module) -> list[torch.Tensor]:
    return [value.clone() for name, value in model.named_buffers() if name.startswith("backbone.1.")]


def seen(model: nn.Module) -> None:
    model(torch.randn(8, 2, 6, 6, generator=torch.Generator().manual_seed(0)) + 3)


def test_statistics_stay_put_and_dropout_is_off() -> None:
    model = Net(dropout=0.9)
    trunk, before = Trunk(model), statistics(model)
    trunk.train(frozen=True)
    seen(model)
    assert all(torch.equal(a, b) for a, b in zip(statistics(model), before, strict=True))
    assert [name for name, one in model.named_parameters() if one.requires_grad] == ["classifier.weight",
                                                                                     "classifier.bias"]
    assert model.training and model.classifier.training and not model.backbone[3].training


def test_the_usual_way_would_move_them() -> None:
    model = Net()
    before = statistics(model)
    for parameter in model.backbone.parameters():
        parameter.requires_grad_(False)  # or a rate of 0: no difference to the statistics
    model.train()
    seen(model)
    assert not torch.equal(statistics(model)[0], before[0])


def test_unfrozen_again_everything_trains_but_what_the_owner_froze() -> None:
    model = Net()
    model.backbone[0].bias.requires_grad_(False)
    trunk = Trunk(model)
    trunk.train(frozen=True)
    trunk.train(frozen=False)
    assert [name for name, one in model.named_parameters() if not one.requires_grad] == ["backbone.0.bias"]
    assert all(module.training for module in model.modules())
    before = statistics(model)
    seen(model)
    assert not torch.equal(statistics(model)[0], before[0])


def test_a_free_trunk_may_keep_its_statistics() -> None:
    model = Net()
    norm = model.backbone[1]
    for statistics_too in (False, True):
        Trunk(model).train(frozen=False, statistics=statistics_too)
        before = norm.running_mean.clone()
        seen(model)
        assert torch.equal(norm.running_mean, before) != statistics_too
        assert norm.weight.requires_grad and norm.bias.requires_grad and model.backbone[0].training


def test_gates_inside_a_frozen_trunk_train() -> None:
    model = Net()
    gate = SqueezeExcitation(8)
    gate.norm = nn.BatchNorm2d(8)
    model.backbone.append(gate)
    Trunk(model).train(frozen=True)
    assert gate.training and gate.norm.training and not model.backbone[1].training and not model.backbone.training
    assert all(one.requires_grad for one in gate.parameters())


def test_no_trunk_to_freeze_or_nothing_else_is_an_error() -> None:
    with pytest.raises(UsageError, match="loop.freeze_epochs: this network has no trunk.*freeze_epochs=0"):
        Trunk(nn.Sequential()).train(frozen=True)
    with pytest.raises(UsageError, match="nothing besides its trunk"):
        Trunk(nn.Sequential(nn.Linear(2, 2))).train(frozen=True)


def test_a_head_under_another_name_is_not_frozen_in_silence() -> None:
    model = nn.Sequential(nn.Linear(2, 2), SqueezeExcitation(2), nn.Linear(2, 2))
    with pytest.raises(UsageError, match=r"no head of this network is known.*model.heads"):
        Trunk(model).train(frozen=True)
    model.heads = ("2",)  # type: ignore[assignment]
    Trunk(model).train(frozen=True)
    assert not model[0].weight.requires_grad and model[2].weight.requires_grad


def test_statistics_without_parameters_stay_put_too_and_a_child_called_heads_is_the_head() -> None:
    model = nn.Module()
    model.norm, model.trunk, model.heads = nn.BatchNorm1d(2, affine=False), nn.Linear(2, 2), nn.Linear(2, 2)
    Trunk(model).train(frozen=True)
    assert not model.norm.training and not model.trunk.weight.requires_grad and model.heads.weight.requires_grad
    model = Net()
    model.heads = ("clff",)  # type: ignore[assignment]
    with pytest.raises(UsageError, match=r"model.heads names clff, which is no child of this Net; its"):
        Trunk(model)
