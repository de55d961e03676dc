"""How a training on scenes or volumes starts: anew, or where it was interrupted; and its loop."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

from torch import nn

from excite.config import dump_yaml
from excite.engine.contracts import Batches, Task
from excite.engine.loop import Fit, fit
from excite.engine.signals import StopFlag
from excite.jobs import run_folder as files
from excite.jobs.environment import environment
from excite.jobs.resuming import refuse_other_run
from excite.jobs.run_folder import RunFolder, ending_logged
from excite.machine import usable_cores
from excite.progress import Progress


class Startable(Protocol):
    """What is prepared of a training: its config, network, task, data, and what it has to say of them."""

    config: Any
    model: nn.Module
    split: Any
    reasons: dict[str, str]

    @property
    def task(self) -> Task:
        """Return the loss and its numbers."""

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """Return what the run is trained on, to be compared when it goes on."""

    def batches(self, part: str, *, train: bool = False) -> Batches:
        """Return the batches of a part."""


P = TypeVar("P", bound=Startable)


def started(run: RunFolder, config: Any, prepare: Callable[[], P], *, places: Sequence[tuple[str, str]],
            progress: Progress) -> P:
    """Return what is prepared, written into a new run's folder or compared with what a resumed one began with.

    Args:
        places: (section, key) of what may differ: where files lie.

    Raises:
        UsageError, EnvironmentFault: the folder holds another run.
    """
    threads, resumed = config.loop.threads or usable_cores(), not run.is_new
    if resumed:
        refuse_other_run(run, config, threads, places=places)
    prepared = prepare()
    if resumed:
        run.refuse_changes("data", run.read_json(files.HASHES), prepared.fingerprint)
        progress.say(f"resuming {run.path}")
    else:
        _begin(run, prepared, threads, progress)
    return prepared


def trained(run: RunFolder, prepared: Startable, *, progress: Progress) -> Fit:
    """Return what the loop came to; a signal stops it with its state saved."""
    config = prepared.config
    with StopFlag() as stop, ending_logged(run):
        return fit(prepared.model, prepared.task, prepared.batches("train", train=True), prepared.batches("val"),
                   optim=config.optim, schedule=config.schedule, loop=config.loop, seed=config.seed, folder=run.path,
                   log=run.log, progress=progress, stop=stop)


def _begin(run: RunFolder, prepared: Startable, threads: int, progress: Progress) -> None:
    """Write what the run starts from; config.yaml marks the folder as a run."""
    run.write_json(files.ENVIRONMENT, environment(threads))
    run.write_json(files.SPLIT, prepared.split.to_json())
    run.write_json(files.HASHES, prepared.fingerprint)
    run.write(files.CONFIG, dump_yaml(prepared.config))
    for topic, reason in prepared.reasons.items():
        progress.say(f"{topic}: {reason}")
        run.log({"event": "note", "topic": topic, "text": reason})
