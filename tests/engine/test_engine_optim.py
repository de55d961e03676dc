"""Every parameter is in one group, at its own rate, with weight decay only where it belongs."""

import pytest
import torch
from engine_toy import Net
from torch import nn

from excite.attention.se import SqueezeExcitation
from excite.engine.optim import build_optimiser, decays, export_state, import_state, set_rates
from excite.engine.schedule import rate
from excite.engine.sections import OptimSection, ScheduleSection


class Gated(Net):
    """The toy with a gate inside the trunk, which has a vector of scales in the shape of an image."""

    def __init__(self) -> None:
        super().__init__()
        gate = SqueezeExcitation(8, reduction=2)
        gate.register_parameter("alpha", nn.Parameter(torch.ones(1, 8, 1, 1)))
        self.backbone.append(gate)


def moved(model: nn.Module, section: OptimSection, steps: int) -> torch.optim.Optimizer:
    optimiser = build_optimiser(model, section)
    for step in range(steps):
        torch.manual_seed(step)
        model(torch.randn(4, 2, 6, 6)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return optimiser


def test_groups_have_their_rates_and_every_parameter_once() -> None:
    model = Gated()
    optimiser = build_optimiser(model, OptimSection(lr=0.1, trunk_lr=0.5, gate_lr=3, weight_decay=0.02))
    found = [parameter for group in optimiser.param_groups for parameter in group["params"]]
    assert len(found) == len({id(one) for one in found}) == len(list(model.parameters()))
    of = {id(one): group for group in optimiser.param_groups for one in group["params"]}
    expected = {"backbone.0.weight": (0.05, 0.02), "backbone.0.bias": (0.05, 0.0), "backbone.1.weight": (0.05, 0.0),
                "backbone.6.alpha": (0.3, 0.0), "backbone.6.squeeze.weight": (0.3, 0.02),
                "classifier.weight": (0.1, 0.02), "classifier.bias": (0.1, 0.0)}
    for name, parameter in model.named_parameters():
        if name in expected:
            group = of[id(parameter)]
            assert (group["lr"], group["weight_decay"]) == pytest.approx(expected[name]), name


def test_a_head_of_one_class_decays() -> None:
    assert decays(nn.Linear(8, 1).weight, "head") and not decays(torch.ones(1, 8, 1, 1), "gates")


def test_no_schedule_overwrites_a_groups_own_factor() -> None:
    model = Net()
    optimiser = build_optimiser(model, OptimSection(lr=0.1, trunk_lr=0.25))
    for step in range(30):
        set_rates(optimiser, rate(ScheduleSection(name="onecycle"), step=step, steps=30, epoch=0, history=[]))
        rates = {group["part"]: group["lr"] for group in optimiser.param_groups}
        assert rates["trunk"] == pytest.approx(0.25 * rates["head"])
    # Planted: the torch scheduler writes one rate into every group, whatever it was.
    torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.1, total_steps=30)
    assert len({group["lr"] for group in optimiser.param_groups}) == 1


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_state_comes_back_bit_by_bit(name: str, layout: torch.memory_format) -> None:
    section = OptimSection(name=name)
    model = Net().to(memory_format=layout)
    first = moved(model, section, 5)
    stored = {key: value.clone() for key, value in export_state(first, model).items()}
    other = Net().to(memory_format=layout)
    other.load_state_dict(model.state_dict())
    second = build_optimiser(other, section)
    import_state(second, other, {key: value.contiguous() for key, value in stored.items()})
    again = export_state(second, other)
    assert set(again) == set(stored) and len(stored) >= len(list(model.parameters()))
    for key, value in stored.items():
        assert torch.equal(again[key], value) and again[key].stride() == value.stride(), key


def test_without_momentum_there_is_no_state() -> None:
    model = Net()
    assert export_state(moved(model, OptimSection(name="sgd", momentum=0), 2), model) == {}


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_steps_are_torchs_own(name: str) -> None:
    model, plain = Net(), Net()
    moved(model, OptimSection(name=name, lr=0.01, weight_decay=0), 5)
    optimiser = {"sgd": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9),
                 "adam": lambda p: torch.optim.Adam(p, 0.01, fused=True),
                 "adamw": lambda p: torch.optim.AdamW(p, 0.01, weight_decay=0, fused=True)}[name](plain.parameters())
    for step in range(5):
        torch.manual_seed(step)
        plain(torch.randn(4, 2, 6, 6)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_fused_steps_are_those_of_the_plain_ones_in_every_memory_layout(layout: torch.memory_format) -> None:
    model = Net(norm=False).to(memory_format=layout)
    plain = Net(norm=False)
    plain.load_state_dict(model.state_dict())
    section = OptimSection(name="adamw", lr=0.01)
    ours = build_optimiser(model, section)
    theirs = torch.optim.AdamW([{key: group[key] for key in ("params", "lr", "weight_decay")}
                                for group in build_optimiser(plain, section).param_groups], fused=False)
    for step in range(10):
        images = torch.randn(4, 2, 6, 6, generator=torch.Generator().manual_seed(step))
        for network, optimiser in ((model, ours), (plain, theirs)):
            torch.manual_seed(step)
            network(images.contiguous(memory_format=layout) if network is model else images).square().sum().backward()
            optimiser.step()
            optimiser.zero_grad()
    for a, b in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-6)
