"""The training loop, to be read in one go: steps, validation, the best weights, checkpoints and resume."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from excite.engine import checkpoint
from excite.engine.contracts import Batches, BatchLike, Task
from excite.engine.ema import copy_into
from excite.engine.memory import keep_freed_memory
from excite.engine.precision import Choice, as_configured, choose
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.engine.signals import StopFlag
from excite.engine.state import Setup, Training, arrange, prefers_last
from excite.engine.step import check_finite, placed, take_step
from excite.errors import DataError, Interrupted
from excite.machine import usable_cores
from excite.progress import Progress, silent

SOON = 1.0  # seconds after a checkpoint before which an epoch's end is no reason for another


@dataclass(frozen=True, kw_only=True)
class Fit:
    """How a training went; epochs count from 1, `history` has the log's epoch events."""

    best_epoch: int
    best_value: float | None
    epochs_done: int
    stopped_early: bool
    history: list[dict[str, Any]]


def fit(model: nn.Module, task: Task, train: Batches, val: Batches, *, optim: OptimSection,
        schedule: ScheduleSection, loop: LoopSection, seed: int, folder: Path,
        log: Callable[[dict[str, object]], None], progress: Progress | None = None, stop: StopFlag | None = None,
        device: str = "cpu") -> Fit:
    """Train `model`, which ends with its best weights (the averaged ones where an average is kept).

    The same call on the same folder goes on where the last one stopped and ends with the same bits.

    Args:
        model: (N, C, *S) -> logits.
        task: Loss and validation numbers.
        train: Training batches.
        val: Validation batches.
        folder: The run folder; checkpoints go into `checkpoints` inside it.
        log: Takes one event at a time. An epoch at whose end the process was killed may come twice.
        stop: Looked at after each step and each validation batch.
        device: Where to compute.

    Raises:
        ModelError: a loss or gradient is not finite, or the checkpoints there do not fit or are all damaged.
        EnvironmentFault: the disk is full, or the folder cannot be written.
        Interrupted: `stop` rose; the state is saved.
    """
    loop = loop.model_copy(update={"channels_last": prefers_last(model, loop)})
    setup = Setup(task=task, train=train, val=val, optim=optim, schedule=schedule, loop=loop, seed=seed,
                  folder=folder / "checkpoints", log=log, progress=progress or silent(), stop=stop or StopFlag(),
                  device=device)
    threads = machine_threads(loop)
    state = Training(model, optim=optim, loop=loop, device=device)
    _begin(setup, state, threads)
    while state.at.epoch < loop.epochs and not _stopped_early(setup, state):
        _train(setup, state)
        _judge(setup, state, _validate(setup, state))
    return _finish(setup, state)


def machine_threads(loop: LoopSection) -> int:
    """Let torch use the threads that the config names, or the cores that this process may use; return how many.

    Memory that is freed stays with the process from then on.
    """
    keep_freed_memory()
    torch.set_num_threads(loop.threads or usable_cores())
    return torch.get_num_threads()


def _begin(setup: Setup, state: Training, threads: int) -> None:
    """Go on from the newest good checkpoint, or choose the precision and write the first one."""
    checkpoint.sweep(setup.folder)
    found = checkpoint.load_latest(setup.folder)
    if found is None:
        choice = _precision(setup, state)
        state.at.precision = choice.name
        setup.progress.say(f"precision: {choice.name} ({choice.reason}), {threads} threads")
        setup.log({"event": "start", "threads": threads, "precision": choice.name, "reason": choice.reason,
                   "milliseconds": choice.milliseconds})
        state.save(setup)  # a full disk shows now, not after an hour
        return
    state.restore(setup, found)
    for text in found.passed_over:
        setup.progress.say(text)
    setup.log({"event": "resume", "epoch": state.at.epoch + 1, "batch": state.at.batch, "threads": threads,
               "precision": state.at.precision, "passed_over": list(found.passed_over)})


def _precision(setup: Setup, state: Training) -> Choice:
    with _opened(setup.train.batches(0)) as batches:
        if setup.loop.precision != "auto":
            return as_configured(setup.loop.precision, state.model, next(batches), device=setup.device)
        return choose(state.model, setup.task, next(batches), device=setup.device)


def _stopped_early(setup: Setup, state: Training) -> bool:
    patience = setup.loop.early_stopping
    return patience is not None and state.at.epoch - state.at.best_epoch >= patience


def _train(setup: Setup, state: Training) -> None:
    """Take the steps of this epoch that are left."""
    at, total = state.at, setup.train.steps
    state.trunk.train(frozen=at.epoch < setup.loop.freeze_epochs,
                      statistics=setup.loop.trunk_statistics == "train")
    with _opened(setup.train.batches(at.epoch, start=at.batch)) as batches:
        while at.batch < total:
            began = time.perf_counter()
            take_step(setup, state, batches)
            at.seconds += time.perf_counter() - began
            setup.progress.step("training", at.epoch * total + at.batch, setup.loop.epochs * total)
            _keep(setup, state)


def _validate(setup: Setup, state: Training) -> dict[str, float | None]:
    """Return the validation numbers, loss per sample; always in float32, as the exported network computes."""
    began = time.perf_counter()
    collected, loss_sum, weight_sum = [], 0.0, 0.0
    state.model.eval()
    with state.averaged(), torch.no_grad(), _opened(setup.val.batches(0)) as batches:
        for batch in batches:
            if setup.stop.signal is not None:
                break
            found = state.model(*placed(setup, batch)).float()
            loss, weight = setup.task.loss(found, batch.labels.to(setup.device))
            check_finite(setup, state, "validation loss", float(loss), batch.index.tolist())
            loss_sum, weight_sum = loss_sum + float(loss), weight_sum + float(weight)
            collected.append(setup.task.collect(found.cpu().numpy(), batch.labels.cpu().numpy()))
    _keep(setup, state)
    state.at.seconds += time.perf_counter() - began
    return setup.task.summary(np.concatenate(collected), loss_sum / weight_sum)


def _judge(setup: Setup, state: Training, val: dict[str, float | None]) -> None:
    """End the epoch: are these the best weights so far? Then log, tell and save."""
    at, value = state.at, val[setup.loop.monitor]
    lr = setup.optim.lr * setup.rate(at, step=at.steps - 1)
    if value is None:
        raise DataError(f"loop.monitor: {setup.loop.monitor} is not defined on the validation part",
                        why="it has images of one class only", fix="set loop.monitor=loss")
    best = at.best_value is None or (value < at.best_value if setup.lower_is_better else value > at.best_value)
    if best:
        state.keep_best(value)
    record: dict[str, object] = {"event": "epoch", "epoch": at.epoch + 1, "lr": lr,
                                 "train": {"loss": at.loss / at.weight}, "val": val,
                                 "seconds": round(at.seconds, 3), "best": best}
    setup.log(record)
    setup.progress.say(f"epoch {at.epoch + 1}/{setup.loop.epochs}: training loss {at.loss / at.weight:.4g}, validation "
                       + ", ".join(f"{name.replace('_', ' ')} {'not defined' if one is None else f'{one:.4g}'}"
                                   for name, one in val.items()) + (" (best)" if best else ""))
    at.end_epoch(record)
    over = at.epoch >= setup.loop.epochs or _stopped_early(setup, state)
    # A head on vectors has epochs of milliseconds: a file for each would take most of the time.
    _keep(setup, state, now=over or time.monotonic() - state.saved >= min(SOON, setup.loop.checkpoint_seconds))


def _keep(setup: Setup, state: Training, *, now: bool = False) -> None:
    """Save where it is time to, or where a stop is asked for; then stop."""
    stopping = setup.stop.signal
    if now or stopping is not None or time.monotonic() - state.saved >= setup.loop.checkpoint_seconds:
        state.save(setup)
    if stopping is not None:
        raise Interrupted(stopping, fix=f"the same command goes on after {state.at.epoch} epochs and "
                                        f"{state.at.batch} batches")


def _finish(setup: Setup, state: Training) -> Fit:
    """Leave the network with its best weights, whole, in evaluation mode and in the usual memory layout."""
    at = state.at
    state.trunk.train(frozen=False)
    copy_into(state.model, state.best)
    arrange(state.model.eval(), channels_last=False)
    done = Fit(best_epoch=at.best_epoch, best_value=at.best_value, epochs_done=at.epoch,
               stopped_early=at.epoch < setup.loop.epochs, history=at.history)
    setup.log({"event": "done", "best_epoch": done.best_epoch, "best_value": done.best_value,
               "epochs": done.epochs_done, "stopped_early": done.stopped_early})
    return done


@contextmanager
def _opened(batches: Iterator[BatchLike]) -> Iterator[Iterator[BatchLike]]:
    """Close the batches at the end, and the thread that renders them."""
    try:
        yield batches
    finally:
        if hasattr(batches, "close"):
            batches.close()
