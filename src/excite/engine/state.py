"""A training in memory and as a checkpoint: what stays the same, and what changes."""

import math
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from excite.config import differences
from excite.engine import checkpoint
from excite.engine.checkpoint import Checkpoint
from excite.engine.contracts import Batches, Task
from excite.engine.ema import Ema, copy_into, copy_of
from excite.engine.freeze import Trunk
from excite.engine.optim import build_optimiser, export_state, import_state
from excite.engine.schedule import rate
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.engine.signals import StopFlag
from excite.errors import ModelError
from excite.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What stays the same during a training."""

    task: Task
    train: Batches
    val: Batches
    optim: OptimSection
    schedule: ScheduleSection
    loop: LoopSection
    seed: int
    folder: Path  # of the checkpoints
    log: Callable[[dict[str, object]], None]
    progress: Progress
    stop: StopFlag
    device: str

    @property
    def guard(self) -> dict[str, Any]:
        """Return what a checkpoint has to agree with."""
        return {"seed": self.seed, "optimiser": self.optim.name, "epochs": self.loop.epochs,
                "accumulate": self.loop.accumulate, "batches": self.train.steps}

    @property
    def lower_is_better(self) -> bool:
        """Return which direction of the watched validation value is good."""
        return self.loop.monitor == "loss"

    def rate(self, at: "Position", *, step: int) -> float:
        """Return the schedule's factor for an optimiser step of the epoch at hand."""
        steps = self.loop.epochs * math.ceil(self.train.steps / self.loop.accumulate)
        return rate(self.schedule, step=step, steps=steps, epoch=at.epoch, lower_is_better=self.lower_is_better,
                    history=[record["val"][self.loop.monitor] for record in at.history])


@dataclass
class Position:
    """Where a training is, as small values; a checkpoint brings the floats back exactly."""

    epoch: int = 0                      # epochs done
    batch: int = 0                      # batches done in this one
    steps: int = 0                      # optimiser steps done in all
    loss: float = 0.0                   # sums over this epoch so far
    weight: float = 0.0
    seconds: float = 0.0
    best_epoch: int = 0
    best_value: float | None = None
    precision: str = "float32"
    history: list[dict[str, Any]] = field(default_factory=list)

    def end_epoch(self, record: dict[str, Any]) -> None:
        """Go to the start of the next epoch."""
        self.history.append(record)
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss = self.weight = self.seconds = 0.0


class Training:
    """A network with its optimiser, its average, its best weights and its position.

    Args:
        model: The network; moved to `device`, its memory as `prefers_last` says.
        device: Where it is trained.
    """

    def __init__(self, model: nn.Module, *, optim: OptimSection, loop: LoopSection, device: str) -> None:
        self.model = arrange(model.to(device), channels_last=prefers_last(model, loop))
        self.optimiser = build_optimiser(model, optim)
        self.trunk = Trunk(model)
        self.ema = Ema(model, decay=loop.ema) if loop.ema else None
        self.best: dict[str, Tensor] = {}
        self.at = Position()
        self.saved = time.monotonic()

    def averaged(self) -> AbstractContextManager[None]:
        """Return a context in which the network has the averaged weights, where an average is kept."""
        return self.ema.applied(self.model) if self.ema else nullcontext()

    def keep_best(self, value: float | None) -> None:
        """Keep the weights of the epoch just done as the best ones."""
        self.best = {name: one.clone() for name, one in self.ema.tensors.items()} if self.ema else copy_of(self.model)
        self.at.best_epoch, self.at.best_value = self.at.epoch + 1, value

    def save(self, setup: Setup) -> None:
        """Write a checkpoint that `restore` accepts in the same training."""
        parts = {"model": self.model.state_dict(), "ema": self.ema.tensors if self.ema else {}, "best": self.best,
                 "optimiser": export_state(self.optimiser, self.model)}
        tensors = {f"{part}/{name}": value for part, named in parts.items() for name, value in named.items()}
        checkpoint.save(setup.folder, Checkpoint(tensors, {"guard": setup.guard, "position": asdict(self.at)}))
        self.saved = time.monotonic()

    def restore(self, setup: Setup, found: Checkpoint) -> None:
        """Put everything back as it was, bit by bit.

        Raises:
            ModelError: the checkpoint is of another network or another training.
        """
        changed = differences(found.values["guard"], setup.guard)
        if changed:
            raise ModelError(f"the checkpoint is of another training: {'; '.join(changed)}",
                             fix="undo the change, or start in a new folder with --out")
        parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "best": {}, "optimiser": {}}
        for key, value in found.tensors.items():
            part, _, name = key.partition("/")
            parts[part][name] = value
        own = self.model.state_dict()
        for part in ("model", *(["ema"] if self.ema or parts["ema"] else []), *(["best"] if parts["best"] else [])):
            _check_fit(parts[part], own, part)
        self.at = Position(**found.values["position"])
        copy_into(self.model, parts["model"])
        if self.ema:
            for name, value in self.ema.tensors.items():
                value.copy_(parts["ema"][name])
        self.best = {name: torch.empty_like(own[name]).copy_(value) for name, value in parts["best"].items()}
        import_state(self.optimiser, self.model, parts["optimiser"])


def prefers_last(model: nn.Module, loop: LoopSection) -> bool:
    """Return whether channels come last in memory: as the loop says, or else the network, or else yes."""
    return bool(getattr(model, "channels_last", True)) if loop.channels_last is None else loop.channels_last


def arrange(model: nn.Module, *, channels_last: bool) -> nn.Module:
    """Lay the network's kernels out in memory, channels last or as usual; values and names stay."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        wanted = formats.get(parameter.ndim) if channels_last else None
        parameter.data = parameter.data.contiguous(memory_format=wanted or torch.contiguous_format)
    return model


def _check_fit(found: Mapping[str, Tensor], own: Mapping[str, Tensor], part: str) -> None:
    faults = [f"{name} is missing" for name in own if name not in found]
    faults += [f"{name} is unknown here" for name in found if name not in own]
    faults += [f"{name} is {tuple(found[name].shape)} there and {tuple(own[name].shape)} here" for name in own
               if name in found and found[name].shape != own[name].shape]
    if faults:
        more = f"; and {len(faults) - 5} more" if len(faults) > 5 else ""
        raise ModelError(f"the checkpoint does not fit the network: {'; '.join(faults[:5])}{more}", where=part,
                         fix="resume with the network that began the run, or start in a new folder with --out")
