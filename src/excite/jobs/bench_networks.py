"""The library's networks beside torchvision's, timm's and MONAI's, on this machine and in one run.

Two comparisons, never mixed: the same settings for both, and each by its default. Beside them stands what the machine
reaches at best.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from excite.engine.memory import keep_freed_memory
from excite.errors import EnvironmentFault, UsageError
from excite.jobs.bench_networks_limits import Limits
from excite.jobs.bench_networks_pairs import MATCHES, Built, Match, build
from excite.jobs.bench_networks_works import Chosen, Work, forward_works, passing, plain_step, step_works
from excite.jobs.model_cost import machine
from excite.models.cost import Cost, count
from excite.models.measure import Timing, interleaved, using_threads
from excite.registry import nearest

SIDE = 224
BATCHES = (1, 16)
VOLUMES = ((8, 1, 16, 112, 112), (1, 1, 96, 96, 96))
WORKS = ("forward", "step")
PASSES = {"forward": 1, "step": 3}  # a way back is two passes: by the inputs and by the weights
ROUNDS = 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """One network, or two that are the same, in one kind of work on one shape of input.

    Args:
        network: The library's, or the public one where it stands alone.
        peer: The public one; empty: there is none that is the same.
        cost: Of a pass of one sample.
        times: By "peer", "same" (settings), "default", and of passes "float32": the default kept to float32.
        chosen: The default's precision, and why.
    """

    network: str
    peer: str = ""
    shape: tuple[int, ...]
    work: str
    cost: Cost
    times: Mapping[str, Timing]
    chosen: Chosen | None = None

    def ratio(self, way: str) -> float | None:
        """Return the peer's median over ours."""
        both = {"peer", way} <= self.times.keys()
        return self.times["peer"].median / self.times[way].median if both else None

    def share(self, way: str, limits: Limits) -> float | None:
        """Return the share of the machine's largest matrix rate that is reached, in the precision of that way."""
        if way not in self.times:
            return None
        limit = limits.flops(self.chosen[0] if way == "default" and self.chosen else "float32")
        done = 2 * PASSES[self.work] * self.cost.macs * self.shape[0] / self.times[way].median * 1e3
        return done / limit if limit else None


@dataclass(kw_only=True)
class Bench:
    """All that `excite bench networks` says.

    Args:
        rows: In the order of measuring.
        limits: Of the machine.
        packages: Of each public package its version, or why it is missing.
        apart: {network: largest difference of its outputs from the peer's with the same weights}, of the same only.
        notes: What was left out.
        asked: The options, as the command line has them.
        costs: Of each network for sizes of its input; None where it cannot take them.
    """

    limits: Limits = field(default_factory=Limits)
    rows: list[Row] = field(default_factory=list)
    packages: dict[str, str] = field(default_factory=dict)
    apart: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=dict)
    asked: str = ""
    costs: dict[tuple[str, tuple[int, ...]], Cost | None] = field(default_factory=dict, repr=False)


def bench_networks(*, dims: int | None = None, only: Sequence[str] = (), batches: Sequence[int] = BATCHES,
                   train: bool = True, seconds: float = 3.0, threads: int | None = None,
                   tell: Callable[[str], object] = lambda text: None) -> Bench:
    """Time the networks one match at a time, the works of a match in turns, three rounds at least.

    Passes come first. Before the training steps the process is told to keep freed memory, as the library's training
    does; that cannot be taken back, so the public networks gain by it, too.

    Args:
        dims: 2 for images, 3 for volumes; None: both.
        only: Names of the library's networks; none: all.
        batches: Images at a time, in 2-D.
        train: Time training steps, too.
        seconds: For the rounds of one match, kind of work and shape.
        threads: Of torch; None: all usable cores.
        tell: Is told what is timed next.

    Raises:
        UsageError: there is no such network or number of dimensions. EnvironmentFault: memory does not suffice.
    """
    matches, found = chosen(dims, only), Bench(asked=_asked(dims, only, batches, train, seconds))
    with using_threads(threads) as used, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for work in WORKS if train else WORKS[:1]:
            if work == "step":
                keep_freed_memory()
            for match in matches:
                tell(f"{match.label}: {'passes' if work == 'forward' else 'training steps'}")
                found.limits.measure()
                _measure(found, match, work, batches, seconds)
    found.machine = machine(used)
    return found


def chosen(dims: int | None, only: Sequence[str]) -> list[Match]:
    """Return the matches of those dimensions and names.

    Raises:
        UsageError: there is none.
    """
    if dims not in (None, 2, 3):
        raise UsageError(f"--dims must be 2 (images) or 3 (volumes), got {dims!r}")
    of_dims = [match for match in MATCHES if dims in (None, match.dims)]
    known = list(dict.fromkeys(match.name for match in of_dims))
    for name in only:
        if name not in known:
            raise UsageError(f"--only must be a network of this comparison, got {name!r}",
                             fix=f"{nearest(name, known)}known: {', '.join(known)}")
    return [match for match in of_dims if not only or match.name in only]


def _asked(dims: int | None, only: Sequence[str], batches: Sequence[int], train: bool, seconds: float) -> str:
    """Return the options as a command line has them."""
    words = [*[f"--dims {dims}"] * bool(dims), *(f"--only {name}" for name in only),
             *(f"--batch {batch}" for batch in batches if tuple(batches) != BATCHES), *["--no-train"] * (not train),
             f"--seconds {seconds:g}"]
    return " ".join(words)


def _measure(found: Bench, match: Match, work: str, batches: Sequence[int], seconds: float) -> None:
    """Add the rows of one match and one kind of work."""
    built = build(match)
    found.packages |= built.words
    if built.apart is not None:
        found.apart[match.label] = built.apart
        if not built.equal:
            _note(found, f"{match.label}: its outputs are {built.apart:.1e} apart from those of "
                         f"{built.peers[0][0].label} with the same weights; no ratio is given")
    for shape in [(batch, 3, SIDE, SIDE) for batch in batches] if match.dims == 2 else VOLUMES:
        try:
            found.rows += _rows(found, built, work, shape, seconds)
        except RuntimeError as fault:
            if "allocat" not in str(fault) and "memory" not in str(fault):
                raise
            raise EnvironmentFault("there is not memory enough for these networks", where=match.label,
                                   why=str(fault).splitlines()[0][:120],
                                   fix="a smaller --batch, or --no-train") from None


def _rows(found: Bench, built: Built, work: str, shape: tuple[int, ...], seconds: float) -> list[Row]:
    """Time the networks of one match on one shape: one row of two that are the same, otherwise one of each."""
    images = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    own, choice = (forward_works if work == "forward" else step_works)(built.ours, images)
    costs = {label: cost for label, model in [(built.match.label, built.ours), *_labelled(built)]
             if (cost := _counted(found, label, model, shape[1:]))}
    works = {label: _peer_work(model, images, work) for label, model in _labelled(built) if label in costs}
    times = interleaved({**works, **own}, seconds=seconds, least=ROUNDS)
    row = partial(Row, shape=shape, work=work)
    ours = row(network=built.match.label, cost=costs.pop(built.match.label), chosen=choice,
               times={way: times[way] for way in own})
    if built.equal:
        name = built.peers[0][0].label
        return [replace(ours, peer=name, times={"peer": times[name], **ours.times})]
    return [ours, *(row(network=name, cost=cost, times={"peer": times[name]}) for name, cost in costs.items())]


def _labelled(built: Built) -> list[tuple[str, nn.Module]]:
    return [(peer.label, model) for peer, model in built.peers]


def _peer_work(model: nn.Module, images: Tensor, work: str) -> Work:
    return passing(model, images) if work == "forward" else plain_step(model, images)


def _counted(found: Bench, label: str, model: nn.Module, sizes: tuple[int, ...]) -> Cost | None:
    """Return what a network costs, counted once; None, and a note, where it cannot take the sizes."""
    if (label, sizes) not in found.costs:
        try:
            found.costs[label, sizes] = count(model, sizes)
        except UsageError as fault:
            found.costs[label, sizes] = None
            _note(found, f"{label} is left out of {' x '.join(map(str, sizes))}: {fault.why}")
    return found.costs[label, sizes]


def _note(found: Bench, text: str) -> None:
    if text not in found.notes:
        found.notes.append(text)
