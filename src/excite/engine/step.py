"""One optimiser step over one or several batches."""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from excite.engine.contracts import BatchLike, inputs_of
from excite.engine.optim import set_rates, with_gradient
from excite.engine.precision import autocast
from excite.engine.state import Setup, Training
from excite.errors import ModelError


def take_step(setup: Setup, state: Training, batches: Iterator[BatchLike]) -> None:
    """Take one step over the next `accumulate` batches; a stop between two of them takes it back."""
    at = state.at
    count = min(setup.loop.accumulate, setup.train.steps - at.batch)
    before = {name: value.clone() for name, value in state.model.named_buffers()} if count > 1 else {}
    loss_sum = weight_sum = 0.0
    rows: list[int] = []
    for number in range(count):
        if number and setup.stop.signal is not None:
            _take_back(state, before)
            return
        batch = next(batches)
        # What is random inside the network depends on the place in the training, so a resume needs no state of it.
        seed_network(step_seed(setup.seed, at.epoch, at.batch + number), device=setup.device)
        with autocast(at.precision, device=setup.device):
            logits = state.model(*placed(setup, batch))
        loss, weight = setup.task.loss(logits.float(), batch.labels.to(setup.device))
        value = float(loss.detach())
        check_finite(setup, state, "training loss", value, batch.index.tolist())
        loss.backward()  # type: ignore[no-untyped-call]
        loss_sum, weight_sum = loss_sum + value, weight_sum + float(weight)
        rows += batch.index.tolist()
    _update(setup, state, weight_sum, rows)
    at.batch, at.steps = at.batch + count, at.steps + 1
    at.loss, at.weight = at.loss + loss_sum, at.weight + weight_sum


def seed_network(seed: int, *, device: str) -> None:
    """Seed what is random inside the network; torch.manual_seed seeds every device there may be, in 0.6 ms."""
    torch.default_generator.manual_seed(seed)
    if torch.device(device).type != "cpu":
        torch.manual_seed(seed)


def step_seed(seed: int, epoch: int, batch: int) -> int:
    """Return the seed of what is random in the network at one batch."""
    return int(np.random.SeedSequence([seed % 2**64, epoch, batch]).generate_state(1, np.uint64)[0])


def placed(setup: Setup, batch: BatchLike) -> tuple[Tensor, ...]:
    """Return what the network is called with, on the device."""
    images, *beside = inputs_of(batch)
    return (place(setup, images), *(one.to(setup.device, non_blocking=True) for one in beside))


def place(setup: Setup, images: Tensor) -> Tensor:
    """Return the images on the device, in the memory layout that the loop asks for."""
    images = images.to(setup.device, non_blocking=True)
    last = {4: torch.channels_last, 5: torch.channels_last_3d}.get(images.ndim) if setup.loop.channels_last else None
    layout = last or torch.contiguous_format
    # Images of one channel count as contiguous in both layouts; the network's maps follow the strides, which are set.
    strides = torch.empty(images.shape, memory_format=layout, device="meta").stride()
    return images.contiguous(memory_format=layout).as_strided(images.shape, strides)


def check_finite(setup: Setup, state: Training, what: str, value: float, rows: list[int]) -> None:
    """Raise a ModelError where `value` is NaN or infinite; the checkpoints stay as they are."""
    if math.isfinite(value):
        return
    at = state.at
    precision = "set loop.precision=float32, " if at.precision == "bfloat16" else ""
    raise ModelError(
        f"the {what} is {value}", where=f"epoch {at.epoch + 1}, step {at.steps + 1}",
        why=f"in the batch of table rows {', '.join(map(str, rows))}, counted from 0",
        fix=f"lower optim.lr (now {setup.optim.lr:g}) or set optim.clip=1, {precision}look at these images with "
            "`excite check`, and start in a new folder with --out; the last good checkpoint is kept")


def _update(setup: Setup, state: Training, weight_sum: float, rows: list[int]) -> None:
    """Move the weights by the gradient of the mean loss over all batches of the step."""
    moved = with_gradient(state.optimiser)
    found = [parameter.grad.div_(weight_sum) for parameter in moved if parameter.grad is not None]
    norm = torch.nn.utils.get_total_norm(found)
    check_finite(setup, state, "gradient's norm", float(norm), rows)
    if setup.optim.clip is not None:
        torch.nn.utils.clip_grads_with_norm_(moved, setup.optim.clip, norm)
    set_rates(state.optimiser, setup.rate(state.at, step=state.at.steps))
    state.optimiser.step()
    state.optimiser.zero_grad(set_to_none=True)
    if state.ema:
        state.ema.update(state.model, updates=state.at.steps)


def _take_back(state: Training, buffers: dict[str, Tensor]) -> None:
    for name, value in state.model.named_buffers():
        value.copy_(buffers[name])
    state.optimiser.zero_grad(set_to_none=True)
