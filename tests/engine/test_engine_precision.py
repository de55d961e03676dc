"""The precision is chosen by the clock, and choosing leaves nothing behind."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from engine_toy import Net, Toy, ToyTask, bits
from torch import nn

from excite.engine import precision
from excite.engine.precision import as_configured, autocast, choose
from excite.errors import UsageError
from excite.layers.volume import VolumeConv


@pytest.fixture
def batch() -> object:
    return next(Toy().batches(0))


def clock(monkeypatch: pytest.MonkeyPatch, float32: float, bfloat16: float) -> None:
    """Let the steps take such seconds, turn about."""
    ticks = itertools.chain.from_iterable((0.0, float32, 0.0, bfloat16) for _ in range(99))
    monkeypatch.setattr(precision, "has_bfloat16", lambda device: True)
    monkeypatch.setattr(precision.time, "process_time", lambda: next(ticks))


@pytest.mark.parametrize(("float32", "bfloat16", "name"), [(0.3, 0.1, "bfloat16"), (0.1, 0.3, "float32"),
                                                           (0.1, 0.098, "float32")])
def test_the_faster_one_is_chosen_where_it_is_clearly_faster(
        float32: float, bfloat16: float, name: str, batch: object, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, float32, bfloat16)
    found = choose(Net(), ToyTask(), batch)  # type: ignore[arg-type]
    assert found.name == name
    assert found.milliseconds == {"float32": float32 * 1e3, "bfloat16": bfloat16 * 1e3}
    assert f"{bfloat16 * 1e3:.0f} ms" in found.reason and f"{float32 * 1e3:.0f} ms" in found.reason


def test_without_bfloat16_nothing_is_measured(batch: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"avx2": True, "avx512_bf16": False})
    found = choose(Net(), ToyTask(), batch)  # type: ignore[arg-type]
    assert (found.name, found.milliseconds) == ("float32", {}) and "no bfloat16" in found.reason


def test_choosing_leaves_network_and_random_state(batch: object, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 0.2, 0.1)
    model = Net().eval()
    before, random = bits(model), torch.get_rng_state()
    choose(model, ToyTask(), batch)  # type: ignore[arg-type]
    assert bits(model) == before and not model.training and torch.equal(torch.get_rng_state(), random)
    assert all(parameter.grad is None for parameter in model.parameters())


def test_autocast_computes_in_the_precision_named() -> None:
    layer, x = torch.nn.Linear(4, 4), torch.ones(1, 4)
    with autocast("bfloat16"):
        assert layer(x).dtype == torch.bfloat16
    with autocast("float32"):
        assert layer(x).dtype == torch.float32


class Narrow(nn.Module):
    """A convolution with a stride over a map of one column."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.classifier = nn.Conv2d(2, 8, 3, stride=2, padding=1), nn.Linear(8, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y: torch.Tensor = self.classifier(self.conv(x[..., :1]).mean((2, 3)))
        return y


def test_wrong_gradients_of_torch_are_not_trained_with(batch: object, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(monkeypatch, 0.3, 0.1)
    found = choose(Narrow(), ToyTask(), batch)  # type: ignore[arg-type]
    assert found.name == "float32" and "gradients of conv are wrong on maps of 6 x 1" in found.reason
    with pytest.raises(UsageError, match=r"loop.precision: bfloat16 .*of conv are wrong.*float32, or larger images"):
        as_configured("bfloat16", Narrow(), batch)  # type: ignore[arg-type]
    assert as_configured("float32", Narrow(), batch).name == "float32"  # type: ignore[arg-type]
    assert as_configured("bfloat16", Net(), batch).name == "bfloat16"  # type: ignore[arg-type]


def test_every_image_of_the_step_is_looked_at_and_volumes_see_to_it_themselves() -> None:
    class Some(nn.Module):
        """A network whose later images go through a narrow map."""

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 8, 3, stride=2, padding=1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.conv(x[:1]).mean() + (self.conv(x[1:, :, :, :1]).mean() if len(x) > 1 else 0)

    images = SimpleNamespace(images=torch.randn(3, 2, 6, 6))
    with pytest.raises(UsageError, match="of conv are wrong on maps of 6 x 1"):
        as_configured("bfloat16", Some(), images)  # type: ignore[arg-type]
    volumes = SimpleNamespace(images=torch.randn(3, 2, 2, 6, 6))
    assert as_configured("bfloat16", VolumeConv(2, 4, 3, padding=1), volumes).name == "bfloat16"  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="of 0 are wrong on maps of 2 x 6 x 6"):
        as_configured("bfloat16", nn.Sequential(nn.Conv3d(2, 4, 3, padding=1)), volumes)  # type: ignore[arg-type]
