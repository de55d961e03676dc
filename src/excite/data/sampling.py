"""The order of an epoch: shuffled, shuffled with equal classes, or as it is; from (seed, epoch) and nothing else."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from excite.errors import UsageError

Sampler = Literal["shuffle", "balanced", "order"]
SAMPLERS = ("shuffle", "balanced", "order")


def epoch_order(rows: NDArray[np.int64], labels: NDArray[np.int64], *, sampler: Sampler, seed: int,
                epoch: int) -> NDArray[np.int64]:
    """Return the rows of an epoch in their order.

    "balanced" draws as many as there are rows, the same number of each class to within one, each row of a class before
    any again.

    Args:
        rows: To be ordered.
        labels: The class of each of them.
        sampler: "order" leaves them as they are.
        seed: With `epoch` it decides the draw.

    Raises:
        UsageError: an unknown sampler, or a seed below 0.
    """
    if sampler not in SAMPLERS:
        raise UsageError(f"sampler must be shuffle, balanced or order, got {sampler!r}")
    if seed < 0:
        raise UsageError(f"seed must be at least 0, got {seed}")
    if sampler == "order":
        return rows
    random = np.random.default_rng([seed, epoch])
    if sampler == "shuffle":
        return random.permutation(rows)
    classes = [rows[labels == label] for label in np.unique(labels)]
    share, rest = divmod(len(rows), len(classes))
    more = set(random.permutation(len(classes))[:rest].tolist())
    drawn = [_cycled(members, share + (place in more), random) for place, members in enumerate(classes)]
    return random.permutation(np.concatenate(drawn))


def batch_edges(count: int, batch_size: int, *, sampler: Sampler) -> list[int]:
    """Return where the batches of an epoch begin, and `count`.

    A training epoch has no last batch of one, which BatchNorm could not use: it joins the batch before.
    """
    full, rest = divmod(count, batch_size)
    joined = rest == 1 and full > 0 and sampler != "order"
    return [step * batch_size for step in range(full + (1 if rest and not joined else 0))] + [count]


def repeats(order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return for each place how often its row came before."""
    seen: dict[int, int] = {}
    found = np.empty(len(order), np.int64)
    for place, row in enumerate(order.tolist()):
        found[place] = seen.get(row, 0)
        seen[row] = seen.get(row, 0) + 1
    return found


def _cycled(members: NDArray[np.int64], count: int, random: np.random.Generator) -> NDArray[np.int64]:
    """Return `count` of `members`: all of them in a random order, then again, as often as needed."""
    rounds = -(-count // len(members))
    return np.concatenate([random.permutation(members) for _ in range(rounds)])[:count]
