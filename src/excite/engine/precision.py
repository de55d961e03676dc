"""Threads and precision: bfloat16 only where a measured step is faster."""

import time
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from excite.engine.contracts import BatchLike, Task, inputs_of
from excite.errors import UsageError
from excite.layers.bfloat16 import wrong_in_bfloat16
from excite.layers.volume import VolumeConv
from excite.models.prediction import has_bfloat16

ROUNDS = 3    # measured steps of each precision, after one of each that warms up
SAMPLES = 8   # images in a measured step
MARGIN = 1.1  # bfloat16 must be faster by this much


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A precision, why, and the milliseconds of the fastest step where steps were measured."""

    name: str
    reason: str
    milliseconds: dict[str, float]


def autocast(precision: str, *, device: str = "cpu") -> torch.autocast:
    """Return the context in which the network computes; float32 is the plain one."""
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def choose(model: nn.Module, task: Task, batch: BatchLike, *, device: str = "cpu") -> Choice:
    """Measure training steps in float32 and bfloat16 side by side and return the faster precision.

    The fastest of a few steps counts, on a CPU by processor time, which other work on the machine disturbs least. They
    run on a copy, on at most 8 images, and leave the network and the random state as they were.
    """
    clock = time.process_time if torch.device(device).type == "cpu" else time.perf_counter
    if not has_bfloat16(device):
        return Choice(name="float32", reason="this processor has no bfloat16", milliseconds={})
    if reason := _wrong(model, batch, device):
        return Choice(name="float32", reason=reason, milliseconds={})
    taken: dict[str, list[float]] = {"float32": [], "bfloat16": []}
    with torch.random.fork_rng(devices=[]):
        copy = deepcopy(model).train()
        for round_ in range(ROUNDS + 1):
            for name, times in taken.items():
                began = clock()
                _step(copy, task, batch, name, device)
                took = (clock() - began) * 1e3
                if round_:
                    times.append(took)
    best = {name: round(min(times), 3) for name, times in taken.items()}
    gain = best["float32"] / best["bfloat16"]
    return Choice(name="bfloat16" if gain >= MARGIN else "float32", milliseconds=best,
                  reason=f"measured: a step on {min(SAMPLES, len(batch.labels))} images takes "
                         f"{best['bfloat16']:.0f} ms in bfloat16, {best['float32']:.0f} ms in float32")


def as_configured(precision: str, model: nn.Module, batch: BatchLike, *, device: str = "cpu") -> Choice:
    """Return the precision that a config names.

    Raises:
        UsageError: it is bfloat16, and torch's gradients would be wrong in it here.
    """
    if precision == "bfloat16" and (reason := _wrong(model, batch, device)):
        raise UsageError("loop.precision: bfloat16 cannot be trained with here", why=reason,
                         fix="loop.precision=float32, or larger images")
    return Choice(name=precision, reason="as configured", milliseconds={})


def _wrong(model: nn.Module, batch: BatchLike, device: str) -> str:
    """Return which layer's bfloat16 gradients torch gets wrong, in words; nothing where there is none."""
    found: list[str] = []
    if torch.device(device).type != "cpu":
        return ""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        copy = deepcopy(model).train()
        for name, layer in copy.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Conv3d) and not isinstance(layer, VolumeConv):  # that one sees to it
                layer.register_forward_pre_hook(partial(_note, found, name))
        copy(*_some(batch, device))
    return found[0] if found else ""


def _some(batch: BatchLike, device: str) -> tuple[Tensor, ...]:
    return tuple(one[:SAMPLES].to(device) for one in inputs_of(batch))


def _note(found: list[str], name: str, layer: nn.Module, given: tuple[Tensor, ...]) -> None:
    size = tuple(given[0].shape[2:])
    if wrong_in_bfloat16(layer, size):
        found.append(f"torch's bfloat16 gradients of {name} are wrong on maps of {' x '.join(map(str, size))}")


def _step(model: nn.Module, task: Task, batch: BatchLike, precision: str, device: str) -> None:
    labels = batch.labels[:SAMPLES].to(device)
    with autocast(precision, device=device):
        logits = model(*_some(batch, device))
    loss, weight = task.loss(logits.float(), labels)
    model.zero_grad(set_to_none=True)
    (loss / weight).backward()  # type: ignore[no-untyped-call]
    float(loss.detach())  # waits for the device
