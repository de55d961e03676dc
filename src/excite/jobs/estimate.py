"""How long will it take: measured on real batches of this run, on this machine."""

import time
from copy import deepcopy
from itertools import chain

import torch
from torch import nn

from excite.engine.contracts import Batches, Task, inputs_of
from excite.engine.loop import machine_threads
from excite.engine.optim import build_optimiser
from excite.engine.precision import autocast, choose
from excite.engine.sections import LoopSection, OptimSection
from excite.engine.state import arrange, prefers_last
from excite.errors import UsageError
from excite.jobs import frozen_features
from excite.jobs.prepare import Prepared, prepare
from excite.jobs.sections import TrainConfig
from excite.progress import Progress, silent

STEPS = 4  # measured, after one that warms up


def dry_run(config: TrainConfig, *, progress: Progress | None = None) -> dict[str, str]:
    """Return what a training would do, a line a topic, with its reason and a measured time; nothing is kept."""
    progress = progress or silent()
    given = bool(config.loop.model_fields_set or config.optim.model_fields_set)
    prepared = prepare(config, progress=progress)
    config = prepared.config  # with what the kind of work fills in
    progress.say("measuring the time of a few steps")
    frozen = config.loop.frozen_features
    if frozen:
        frozen_features.check(prepared)
    seconds = 0.0 if frozen else epoch_seconds(prepared)
    optim, schedule, loop = config.optim, config.schedule, config.loop
    epochs = loop.epochs
    if loop.budget_minutes:
        epochs = epochs_within(prepared, loop.budget_minutes, progress=progress)
    lines = dict(prepared.reasons)
    lines["recipe"] = (f"{optim.name} lr {optim.lr:g}, {schedule.name} schedule, batch {loop.batch_size}, "
                       f"{epochs} epochs, augmentation {'on' if config.augment.enabled else 'off'}: "
                       f"{'as given' if given else 'the default recipe'}")
    lines["leaks"] = "; ".join(fault.message for fault in prepared.leaks[:5]) or "none between the parts"
    lines["time"] = frozen_features.told_time(prepared) if frozen else (
                     f"{seconds:.1f} s an epoch, measured here with {torch.get_num_threads()} threads; "
                     f"about {seconds * epochs / 60:.1f} minutes for {epochs} epochs"
                     + (" at most (early stopping)" if loop.early_stopping else ""))
    return lines


def epochs_within(prepared: Prepared, minutes: float, *, progress: Progress) -> int:
    """Return how many epochs fit into `minutes`, a tenth kept for evaluation and report."""
    progress.say("measuring the time of a few steps")
    seconds = epoch_seconds(prepared)
    epochs = int(minutes * 60 * 0.9 / seconds)
    if epochs < 1:
        raise UsageError(f"a budget of {minutes:g} minutes is less than one epoch", why=f"measured: {seconds:.0f} s",
                         fix="give more time, a smaller --size, or a smaller --model")
    progress.say(f"budget: {epochs} epochs of {seconds:.1f} s fit into {minutes:g} minutes")
    return epochs


def epoch_seconds(prepared: Prepared) -> float:
    """Return the measured seconds of one epoch, validation included; the network is left as it was."""
    return measured_epoch(prepared.model, prepared.task, prepared.loader("train", train=True), prepared.loader("val"),
                          optim=prepared.config.optim, loop=prepared.config.loop)


def measured_epoch(model: nn.Module, task: Task, train: Batches, val: Batches, *, optim: OptimSection,
                   loop: LoopSection) -> float:
    """Return the seconds of one epoch from a few of its steps, waiting for their batches included.

    Args:
        model: A copy of it is trained; it is left as it was.
        train: Batches to train on.
        val: Batches of the validation.
        optim: The optimiser.
        loop: Threads, precision and layout.
    """
    machine_threads(loop)
    model = arrange(deepcopy(model), channels_last=prefers_last(model, loop))
    batches = iter(train.batches(0))
    first = next(batches)
    precision = choose(model, task, first).name if loop.precision == "auto" else loop.precision
    optimiser = build_optimiser(model, optim)
    taken, began = [], time.perf_counter()
    for step, batch in zip(range(STEPS + 1), chain([first], batches), strict=False):
        with autocast(precision):
            logits = model(*inputs_of(batch))
        loss, weight = task.loss(logits.float(), batch.labels)
        optimiser.zero_grad()
        (loss / weight).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        if step:
            taken.append(time.perf_counter() - began)
        began = time.perf_counter()
    model.eval()
    checked = next(iter(val.batches(0)))
    began = time.perf_counter()
    with torch.no_grad(), autocast(precision):
        model(*inputs_of(checked))
    forward = time.perf_counter() - began
    return train.steps * (sorted(taken)[len(taken) // 2] if taken else forward * 3) + val.steps * forward
