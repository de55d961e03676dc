"""Dividing units among parts so that every class has its share in each.

Source: Sechidis, Tsoumakas, Vlahavas, "On the stratification of multi-label data", ECML PKDD 2011: what is rare goes
where it is most wanted. Here whole units are given away in a random order, then moved singly while that helps. The
outcome depends on the seed, the names and the counts, not on the order in which they are given.
"""

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

PASSES = 10


def assign(names: Sequence[str], counts: NDArray[np.int64], shares: Mapping[str, float], *,
           seed: int) -> dict[str, str]:
    """Return the part of each unit.

    Args:
        names: Of the units, distinct.
        counts: Samples of each class in each unit.
        shares: Part -> share of the whole, together 1; the first named part is never left without a class.
        seed: Another seed, another draw.

    Shape:
        counts (units, classes)
    """
    order = sorted(range(len(names)), key=lambda unit: hashlib.sha256(f"{seed}\0{names[unit]}".encode()).digest())
    ordered = counts[order].astype(np.float64)
    target = np.outer(list(shares.values()), ordered.sum(axis=0))
    part = _fill(ordered, target)
    _improve(ordered, target, part)
    _represent(ordered, part, len(shares))
    parts = list(shares)
    return {names[unit]: parts[place] for unit, place in zip(order, part.tolist(), strict=True)}


def _fill(counts: NDArray[np.float64], target: NDArray[np.float64]) -> NDArray[np.int64]:
    """Give each unit to the part that lacks most of it."""
    safe = np.maximum(target, 1e-9)
    lack = np.ones_like(target)
    part = np.zeros(len(counts), np.int64)
    for unit, classes in enumerate(counts):
        part[unit] = int(np.argmax(lack @ classes))
        lack[part[unit]] -= classes / safe[part[unit]]
    return part


def _improve(counts: NDArray[np.float64], target: NDArray[np.float64], part: NDArray[np.int64]) -> None:
    """Move single units while the squared deviation from the targets, each relative to its target, falls."""
    weight = 1 / np.maximum(target, 0.5)
    have = np.stack([counts[part == place].sum(axis=0) for place in range(len(target))])
    for _ in range(PASSES):
        moved = False
        for unit, classes in enumerate(counts):
            over = have - target
            gain = (weight * classes * (2 * over + classes)).sum(axis=1)  # what each part pays to take the unit
            own = part[unit]
            left = float((weight[own] * classes * (2 * over[own] - classes)).sum())  # what its own saves by giving it
            gain[own] = left
            best = int(np.argmin(gain))
            if gain[best] < left - 1e-9:
                have[own] -= classes
                have[best] += classes
                part[unit] = best
                moved = True
        if not moved:
            return


def _represent(counts: NDArray[np.float64], part: NDArray[np.int64], parts: int) -> None:
    """Give every part a unit of each class that has units enough; the first part's need goes before the others'."""
    held = counts > 0
    for label in np.argsort(held.sum(axis=0), kind="stable"):
        units = np.flatnonzero(held[:, label])
        for place in [*range(parts - 1, 0, -1), 0]:
            needed = 1 if place == 0 else (2 if place == parts - 1 else 3)
            if len(units) < needed or (part[units] == place).any():
                continue
            spare = [other for other in range(parts) if (part[units] == other).sum() > (place != 0)]
            givers = units[np.isin(part[units], spare)]
            if len(givers):
                part[givers[np.argmin(counts[givers].sum(axis=1))]] = place
