"""What each layer of gates is worth: the score that is lost when its gates no longer look at the input.

Two replacements. By the mean: each gate becomes its own mean over the data, which asks whether it has to depend on the
input. By one: the gates are switched off, which asks whether they matter at all; what follows was trained with them, so
a network trained without the layer may well do better than that. The differences are paired, input by input, and their
intervals are of a bootstrap over units.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import length_hint
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.explain.gate_statistics import LayerGates
from excite.explain.gates import at_rest, replaced
from excite.metrics.intervals import Interval, bootstrap
from excite.progress import Progress, silent

How = Literal["mean", "one"]
Float = NDArray[np.float64]
Score = Callable[[Tensor, Tensor], dict[str, Tensor]]
Batches = Iterable[tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class GateCost:
    """What one layer's gates are worth.

    Args:
        name: Of the layer.
        how: Replaced by their mean over the data, or by one.
        lost: Of each score, how much lower it is then; below 0 the network is better without.
    """

    name: str
    how: How
    lost: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"name": self.name, "how": self.how, "lost": {key: one.to_json() for key, one in self.lost.items()}}


def label_scores(logits: Tensor, labels: Tensor, *, temperature: float = 1.0) -> dict[str, Tensor]:
    """Return whether each input is right, and the log of the probability that its class was given.

    Shape:
        logits (N, K), labels (N,) -> (N,) each
    """
    logs = (logits.double() / temperature).log_softmax(1)
    return {"accuracy": (logits.argmax(1) == labels).double(), "log_likelihood": logs.gather(1, labels[:, None])[:, 0]}


def mask_scores(logits: Tensor, masks: Tensor, *, level: float = 0.5) -> dict[str, Tensor]:
    """Return the Dice of each input at the network's own size, and the mean log likelihood of its pixels.

    Of one map its sigmoid is the chance to be inside; of several the largest is the answer, and all but the first count
    as inside. Two empty masks agree: 1.

    Shape:
        logits (N, K, *S), masks (N, *S), from 0 to 1 -> (N,) each
    """
    z = logits.double()
    inside = z[:, 0] if z.shape[1] == 1 else z[:, 1:].logsumexp(1) - z[:, 0]
    found = inside.sigmoid() >= level if z.shape[1] == 1 else z.argmax(1) > 0
    true, found = (masks >= 0.5).flatten(1).double(), found.flatten(1).double()
    both, total = (true * found).sum(1), true.sum(1) + found.sum(1)
    logs = -nn.functional.binary_cross_entropy_with_logits(inside, masks.double(), reduction="none")
    dice = torch.where(total > 0, 2 * both / total.clamp(min=1), 1.0)
    return {"dice": dice, "log_likelihood": logs.flatten(1).mean(1)}


def scores_of(model: nn.Module, batches: Batches, variants: Mapping[str, Mapping[str, Tensor]], score: Score, *,
              progress: Progress | None = None) -> dict[str, dict[str, Float]]:
    """Return the scores of each input, {variant: {score: (N,)}}, the network's own under "".

    Args:
        model: With gates.
        batches: Of (inputs, truths).
        variants: What is put in place of which gates, by a name.
        score: From outputs and truths to scores of each input.
    """
    found: dict[str, list[dict[str, Tensor]]] = {"": [], **{name: [] for name in variants}}
    progress = progress or silent()
    with at_rest(model) as device:
        for done, (images, truths) in enumerate(batches, 1):
            images, truths = images.to(device), truths.to(device)
            for name, kept in found.items():
                with replaced(model, variants.get(name, {})):
                    kept.append(score(model(images), truths))
            progress.step("replacing gates, batches", done, length_hint(batches, done + 1))
    return {name: {key: torch.cat([one[key] for one in kept]).cpu().numpy() for key in kept[0]}
            for name, kept in found.items()}


def gate_costs(model: nn.Module, batches: Batches, layers: Sequence[LayerGates], *, score: Score = label_scores,
               units: Sequence[str] | None = None, resamples: int = 1000, seed: int = 0,
               progress: Progress | None = None) -> list[GateCost]:
    """Return what each layer of gates is worth, replaced by the mean and by one.

    Args:
        model: With gates.
        batches: Of (inputs, truths); each input goes through the network twice a layer.
        layers: Of `gate_statistics`, whose means are put in place; of gates of places it is the mean over them.
        score: From outputs and truths to scores of each input, larger is better.
        units: What each input belongs to; None: itself.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.
    """
    variants: dict[str, dict[str, Tensor]] = {}
    for layer in layers:
        variants[f"mean {layer.name}"] = {layer.name: torch.from_numpy(layer.mean)}
        variants[f"one {layer.name}"] = {layer.name: torch.ones(1)}
    found = scores_of(model, batches, variants, score, progress=progress)
    lost = {(name, key): values - found[name][key] for name in variants for key, values in found[""].items()}
    intervals = lost_intervals(lost, units, resamples=resamples, seed=seed)
    hows: tuple[How, How] = ("mean", "one")
    return [GateCost(name=layer.name, how=how, lost={key: intervals[f"{how} {layer.name}", key] for key in found[""]})
            for layer in layers for how in hows]


def lost_intervals(lost: Mapping[tuple[str, str], Float], units: Sequence[str] | None, *, resamples: int, seed: int
                   ) -> dict[tuple[str, str], Interval]:
    """Return the mean of each difference with its interval, from a bootstrap over units."""
    names, values = list(lost), np.stack(list(lost.values()), 1)
    units = units if units is not None else [str(place) for place in range(len(values))]

    def means(weights: Float) -> dict[str, Float]:
        found = weights @ values / weights.sum(1, keepdims=True)
        return {str(place): found[:, place] for place in range(len(names))}

    found = bootstrap(means, units, resamples=resamples, seed=seed)
    return {name: found[str(place)] for place, name in enumerate(names)}
