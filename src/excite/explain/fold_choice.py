"""Which layers of gates may be folded: those that are constant, or that cost little as constants, within a promise.

Layers are taken one after another, the safest first, and each is measured together with those taken before, on all the
data: two layers that cost nothing alone can cost much together. What breaks the promise is left, with the number.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from excite.explain.gate_ablation import Batches, GateCost, Score
from excite.explain.gate_statistics import LayerGates
from excite.explain.gates import at_rest, replaced
from excite.progress import Progress, silent

Answer = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Promise:
    """What folding may change.

    Args:
        difference: Of constant layers: the largest difference of any probability of any input.
        loss: Take layers besides whose gates vary, where the mean score that all folded layers lose together stays
            at or below it; None: constant layers only, and `difference` is kept.
    """

    difference: float = 0.01
    loss: float | None = None


@dataclass(frozen=True, kw_only=True)
class Apart:
    """How far a changed network is from the network itself on the data.

    Args:
        difference: Largest difference of a probability.
        lost: Mean of each score that is lost.
    """

    difference: float
    lost: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to fold.

    Args:
        names: Layers, in the order in which they were taken.
        left: Why the other layers stay.
    """

    names: tuple[str, ...]
    left: dict[str, str]


def apart(model: nn.Module, batches: Batches, *, other: nn.Module | None = None,
          factors: Mapping[str, Tensor] | None = None, score: Score, answer: Answer) -> Apart:
    """Return how far another network is, or the same with other factors.

    Args:
        answer: From outputs to probabilities.
    """
    most, count, lost = 0.0, 0, dict[str, float]()
    changed = other if other is not None else model
    with at_rest(model) as device, at_rest(changed):
        for images, truths in batches:
            images, truths = images.to(device), truths.to(device)
            own = model(images)
            with replaced(changed, factors) if factors else nullcontext():
                given = changed(images)
            most = max(most, float((answer(own.double()) - answer(given.double())).abs().max()))
            own_scores, scores = score(own, truths), score(given, truths)
            lost = {key: lost.get(key, 0.0) + float((own_scores[key] - scores[key]).sum()) for key in scores}
            count += len(images)
    return Apart(difference=most, lost={key: value / count for key, value in lost.items()})


def choose(model: nn.Module, batches: Batches, layers: Sequence[LayerGates], costs: Sequence[GateCost],
           promise: Promise, *, score: Score, answer: Answer, progress: Progress | None = None) -> Choice:
    """Return the layers whose gates may be their means, all together, and why the others may not.

    Args:
        batches: All the data, gone through once a candidate.
        costs: Of `gate_costs`; the first score is the one that `promise.loss` is about.
        score: As it was for `costs`.
        answer: From outputs to probabilities.
    """
    lost = {one.name: next(iter(one.lost.values())).value or 0.0 for one in costs if one.how == "mean"}
    of = {layer.name: layer for layer in layers}
    left = {name: reason for name, layer in of.items() if (reason := _refused(layer, lost[name], promise))}
    order = sorted((name for name in of if name not in left),
                   key=lambda name: (_varying(of[name]) > 0, lost[name], float(of[name].std.max())))
    taken: list[str] = []
    progress = progress or silent()
    for done, name in enumerate(order, 1):
        found = apart(model, batches, score=score, answer=answer,
                      factors={one: torch.from_numpy(of[one].mean) for one in [*taken, name]})
        if breach := broken(found, promise):
            left[name] = f"{'together with those that are folded' if taken else 'folded'}, {breach}"
        else:
            taken.append(name)
        progress.step("choosing what to fold", done, len(order))
    return Choice(names=tuple(taken), left={name: left[name] for name in of if name in left})


def _varying(layer: LayerGates) -> int:
    return layer.states.count("live")


def _refused(layer: LayerGates, lost: float, promise: Promise) -> str | None:
    """Return why a layer is no candidate."""
    if layer.kind != "channel":
        return "its gates differ from place to place, so no factor of a channel stands for them"
    if promise.loss is not None:
        return f"as constants its gates cost {lost:.4f}, more than {promise.loss:g}" if lost > promise.loss else None
    return f"{_varying(layer)} of {len(layer.states)} gates vary with the input (standard deviation up to " \
           f"{layer.std.max() / layer.largest:.3f} of the largest factor)" if _varying(layer) else None


def broken(found: Apart, promise: Promise) -> str | None:
    """Return how a promise is broken; None where it is kept."""
    if promise.loss is not None:
        key, lost = next(iter(found.lost.items()))
        return f"{key.replace('_', ' ')} falls by {lost:.4f}, more than {promise.loss:g}" if lost > promise.loss \
            else None
    return f"a probability changes by {found.difference:.2g}, more than {promise.difference:g}" \
        if found.difference > promise.difference else None
