"""A small network, task and source of batches: a training of milliseconds, with all that makes resuming hard."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from excite.engine.loop import Fit, fit
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.engine.signals import StopFlag

CLASSES = 3


class Net(nn.Module):
    """A trunk with BatchNorm and dropout, and a head."""

    def __init__(self, *, norm: bool = True, dropout: float = 0.3) -> None:
        super().__init__()
        torch.manual_seed(11)
        self.backbone = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), nn.BatchNorm2d(8) if norm else nn.Identity(),
                                      nn.ReLU(), nn.Dropout2d(dropout), nn.Conv2d(8, 8, 3, padding=1), nn.ReLU())
        self.classifier = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.classifier(self.backbone(x).mean(dim=(2, 3)))


@dataclass(frozen=True)
class ToyBatch:
    index: np.ndarray
    images: Tensor
    labels: Tensor


@dataclass
class Toy:
    """Images of noise, the channel means of which tell the class; each epoch in an order of its own."""

    count: int = 36
    batch_size: int = 8
    seed: int = 5
    shuffle: bool = True
    start: int = 0
    poison: int | None = None
    opened: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        random = np.random.default_rng(self.seed)
        labels = random.integers(0, CLASSES, self.count)
        images = random.normal(size=(self.count, 2, 6, 6)) + np.stack([labels, -labels], 1)[:, :, None, None]
        self.labels = torch.from_numpy(labels)
        self.images = torch.from_numpy(images).float()
        if self.poison is not None:
            self.images[self.poison, 0, 0, 0] = float("nan")

    @property
    def steps(self) -> int:
        return -(-self.count // self.batch_size)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[ToyBatch]:
        self.opened.append((epoch, start))
        order = np.random.default_rng([self.seed, epoch]).permutation(self.count) if self.shuffle else \
            np.arange(self.count)
        for first in range(start * self.batch_size, self.count, self.batch_size):
            index = order[first:first + self.batch_size]
            yield ToyBatch(index + self.start, self.images[index], self.labels[index])


class ToyTask:
    """Weighted cross-entropy."""

    weights = torch.tensor([1.0, 2.0, 0.5])

    def loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        return functional.cross_entropy(logits, labels, self.weights, reduction="sum"), self.weights[labels].sum()

    def collect(self, logits: Any, truth: Any) -> Any:
        return np.column_stack([logits.argmax(1) == truth, truth])

    def summary(self, collected: Any, loss: float) -> dict[str, float | None]:
        right, truth = collected[:, 0], collected[:, 1]
        return {"loss": loss, "accuracy": float(right.mean()), "balanced_accuracy": float(
            np.mean([right[truth == one].mean() for one in np.unique(truth)])), "macro_auroc": None}


def toy_fit(folder: Path, *, model: nn.Module | None = None, train: Toy | None = None, val: Toy | None = None,
            optim: dict[str, Any] | None = None, schedule: dict[str, Any] | None = None,
            loop: dict[str, Any] | None = None, seed: int = 3, stop: StopFlag | None = None, task: Any = None,
            log: list[dict[str, Any]] | None = None) -> tuple[nn.Module, Fit]:
    """Train the toy; a section's values where the test cares, quiet defaults elsewhere."""
    model = model or Net()
    done = fit(model, task or ToyTask(), train or Toy(), val or Toy(count=20, seed=6, shuffle=False, start=100),
               optim=OptimSection(**{"lr": 0.01, **(optim or {})}),
               schedule=ScheduleSection(**(schedule or {})),
               loop=LoopSection(**{"epochs": 4, "precision": "float32", "threads": 1, "ema": 0.0, **(loop or {})}),
               seed=seed, folder=folder, log=(log if log is not None else []).append, stop=stop)
    return model, done


def bits(model: nn.Module) -> dict[str, bytes]:
    """Return the bytes of every parameter and buffer."""
    return {name: value.contiguous().numpy().tobytes() for name, value in model.state_dict().items()}
