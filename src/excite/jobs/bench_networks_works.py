"""What is timed of a network: a pass and a training step, as plain scripts do them and as the library does.

"same" is eager float32 in PyTorch's usual memory layout for both; "default" is what a user of the library gets.
"""

from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.engine.contracts import BatchLike
from excite.engine.precision import choose
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.engine.signals import StopFlag
from excite.engine.state import Setup, Training, prefers_last
from excite.engine.step import take_step
from excite.losses.sections import LossSection
from excite.models.prediction import for_prediction
from excite.progress import silent
from excite.tasks.classification import ClassificationTask

Work = Callable[[], object]
Chosen = tuple[str, str]  # a precision, and why


@dataclass(frozen=True, kw_only=True)
class OneBatch:
    """Training data that are one batch, again and again."""

    index: NDArray[Any]
    images: Tensor
    labels: Tensor
    steps: int = 10**9

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:
        """Yield it without end."""
        while True:
            yield self


def forward_works(ours: nn.Module, images: Tensor) -> tuple[dict[str, Work], Chosen]:
    """Return the passes of the library's network, and which precision the default took."""
    default = for_prediction(ours, images)
    works = {"same": passing(ours, images),
             "float32": passing(for_prediction(ours, images, precision="float32"), images),
             "default": passing(default, images)}
    return works, (default.form.precision, default.form.reason)


def step_works(ours: nn.Module, images: Tensor) -> tuple[dict[str, Work], Chosen]:
    """Return the training steps of the library's network, and which precision the default took."""
    step, chosen = own_step(deepcopy(ours), images)
    return {"same": plain_step(deepcopy(ours), images), "default": step}, chosen


def passing(model: nn.Module, images: Tensor) -> Work:
    """Return a pass in evaluation mode."""
    model.eval()

    def work() -> object:
        with torch.inference_mode():
            return model(images)
    return work


def plain_step(model: nn.Module, images: Tensor) -> Work:
    """Return a training step of a plain script: float32, cross-entropy, torch's AdamW as it comes."""
    model.train()
    optimiser, labels = torch.optim.AdamW(model.parameters()), labels_of(model, images)

    def work() -> object:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(model(images), labels)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        return float(loss.detach())
    return work


def own_step(model: nn.Module, images: Tensor) -> tuple[Work, Chosen]:
    """Return a step of the library's training loop with every default, its average of weights included."""
    labels, optim, loop = labels_of(model, images), OptimSection(), LoopSection()
    loop = loop.model_copy(update={"channels_last": prefers_last(model, loop)})
    data = OneBatch(index=np.arange(len(images)), images=images, labels=labels)
    names = [str(label) for label in range(_classes(model, images))]
    task = ClassificationTask(names, LossSection(), [1] * len(names))
    setup = Setup(task=task, train=data, val=data, optim=optim, schedule=ScheduleSection(), loop=loop, seed=0,
                  folder=Path(), log=lambda event: None, progress=silent(), stop=StopFlag(), device="cpu")
    state = Training(model, optim=optim, loop=loop, device="cpu")
    choice = choose(state.model, task, data)
    state.at.precision = choice.name
    state.trunk.train(frozen=False)
    batches = data.batches(0)
    return lambda: take_step(setup, state, batches), (choice.name, choice.reason)


def labels_of(model: nn.Module, images: Tensor) -> Tensor:
    """Return labels for the images, the classes in turns."""
    return torch.arange(len(images)) % _classes(model, images)


def _classes(model: nn.Module, images: Tensor) -> int:
    """Return the length of the logits."""
    training = model.training
    with torch.inference_mode():
        found: Tensor = model.eval()(images[:1])
    model.train(training)
    return found.shape[1]
