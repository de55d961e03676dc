"""Does the network use what a picture marks? Deleting that first must take the answer away faster than a random order.

Whole cells are deleted, in the picture's order and in random ones alike: single pixels taken at random destroy texture
everywhere, and any smooth picture would lose against them. Half of the cells at most: what a network says of an image
that is nearly all gone says nothing of this image, and can be its first answer again.

Source: Petsiuk, Das, Saenko, RISE, arXiv:1806.07421, section 4.3 (deletion; lower is better), of the first half.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from excite.errors import UsageError
from excite.explain.occlusion import BATCH, Value

LEAST = 0.05  # of the answer: what changes less depends on nothing
ORDERS = 19   # random ones: chance alone beats all of them once in 20 pictures
MOST = 0.5    # that is deleted
STEPS = {1: 5, 2: 5, 3: 3}             # points of a curve after the first; a volume costs more
CELLS = {1: (20,), 2: (14, 14), 3: (4, 7, 7)}  # at most, along the axes
Numbers = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Deletion:
    """The answer while more and more is deleted.

    Args:
        shares: (P,) deleted, 0 to a half.
        own: (P,) the answer, the most important deleted first.
        reverse: (P,) the least important first.
        random: (R, P) in random orders.
        marks: Whether the picture marks any place more than another.
    """

    shares: Numbers
    own: Numbers
    reverse: Numbers
    random: Numbers
    marks: bool = True

    def area(self, curve: Numbers) -> float:
        """Return the area below a curve, divided by its width: the mean answer."""
        return float(np.trapezoid(curve, self.shares) / self.shares[-1])

    @property
    def random_areas(self) -> list[float]:
        """Return the areas of the random orders."""
        return [self.area(one) for one in self.random]

    @property
    def moves(self) -> float:
        """Return by how much the answer changes at most, whatever is deleted."""
        return float(max(np.ptp(curve) for curve in (self.own, self.reverse, self.random)))

    @property
    def passed(self) -> bool:
        """Return whether the picture's order is better than every random one, and the answer changes at all."""
        return self.marks and self.moves >= LEAST and self.area(self.own) < min(self.random_areas)

    @property
    def words(self) -> str:
        """Return what follows, in a sentence."""
        own, random, count = self.area(self.own), self.random_areas, len(self.random)
        numbers = f"area {own:.3f}, random orders {np.mean(random):.3f} ({min(random):.3f} to {max(random):.3f})"
        if not self.marks:
            return "the picture is empty: nothing can be deleted in its order"
        if self.moves < LEAST:
            return (f"the answer hardly depends on this file: it changes by {self.moves:.3f} at most, whatever is "
                    "deleted")
        if self.passed:
            return f"the network uses what the picture marks: deleting it first is better than {count} random orders " \
                   f"({numbers})"
        if own < float(np.median(random)):
            return f"not clearly better than random deletion: chance alone can do this ({numbers})"
        return f"no better than random deletion: do not read this picture ({numbers})"

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"shares": self.shares.tolist(), "own": self.own.tolist(), "reverse": self.reverse.tolist(),
                "random_mean": self.random.mean(axis=0).tolist(), "area": self.area(self.own),
                "reverse_area": self.area(self.reverse), "random_areas": self.random_areas, "passed": self.passed,
                "words": self.words}


def deletion(value: Value, image: Tensor, importance: NDArray[np.floating[Any]], *, cells: Sequence[int],
             fill: float | Tensor = 0.0, inside: NDArray[np.bool_] | None = None, steps: int | None = None,
             orders: int = ORDERS, batch: int = BATCH, seed: int = 0) -> Deletion:
    """Return the deletion curve of a picture beside those of random orders and of the reverse order.

    Args:
        value: What is explained.
        image: One input.
        importance: Of each place, of all channels (1, *S) or of each (C, *S).
        cells: Along the axes of `importance` after the first: what is deleted as one.
        fill: What a deleted place holds: one value, or one a channel, (C, *1).
        inside: Places that show the image, (*S) or as `importance`; cells without one are not deleted. None: all.
        steps: Points of the curves after the first; None: 5, of a volume 3.
        orders: Random ones.

    Shape:
        image (C, *S)

    Raises:
        UsageError: the shapes do not fit, or there are fewer than two cells to delete.
    """
    channels, sizes = importance.shape[0], importance.shape[1:]
    if sizes != tuple(image.shape[1:]) or channels not in (1, len(image)) or len(cells) != len(sizes) \
            or any(not 1 <= count <= size for count, size in zip(cells, sizes, strict=True)):
        raise UsageError(f"importance {importance.shape} and cells {tuple(cells)} must fit the image "
                         f"{tuple(image.shape)}")
    labels = cell_labels(sizes, cells)
    labels = labels[None] + np.arange(channels).reshape(-1, *[1] * len(sizes)) * (labels.max() + 1)
    seen = np.broadcast_to(np.ones(sizes, bool) if inside is None else inside, labels.shape)
    there = np.unique(labels[seen])
    if len(there) < 2:
        raise UsageError(f"there must be 2 cells to delete at least, got {len(there)}", fix="smaller cells")
    means = np.bincount(labels[seen], importance[seen].astype(np.float64))[there] / np.bincount(labels[seen])[there]
    rng = np.random.default_rng(seed)
    shuffled = rng.permutation(len(there))
    own = there[shuffled[np.argsort(-means[shuffled], kind="stable")]]  # what is equal lies in random order
    every = [own, own[::-1], *(rng.permutation(there) for _ in range(orders))]
    counts = np.rint(np.linspace(0, MOST, (steps or STEPS[len(sizes)]) + 1) * len(there)).astype(int)
    curves = _curves(value, image, torch.from_numpy(labels), every, counts, fill=fill, batch=batch)
    return Deletion(shares=counts / len(there), own=curves[0], reverse=curves[1], random=curves[2:],
                    marks=bool(np.ptp(means) > 0))


def cell_labels(sizes: Sequence[int], cells: Sequence[int]) -> NDArray[np.int64]:
    """Return the number of each place's cell, (*sizes), cells of nearly equal sides."""
    found: NDArray[np.int64] = np.zeros(tuple(sizes), np.int64)
    for axis, (size, count) in enumerate(zip(sizes, cells, strict=True)):
        along = np.arange(size) * count // size
        found = found * count + along.reshape([-1 if at == axis else 1 for at in range(len(sizes))])
    return found


def usual_cells(sizes: Sequence[int]) -> tuple[int, ...]:
    """Return how many cells an image or a volume of these sides is cut into."""
    return tuple(min(most, size) for most, size in zip(CELLS[len(sizes)], sizes, strict=True))


def _curves(value: Value, image: Tensor, labels: Tensor, orders: Sequence[NDArray[np.int64]],
            counts: NDArray[np.int64], *, fill: float | Tensor, batch: int) -> Numbers:
    """Return the answers, (orders, points); the first point is the same of all orders."""
    asked = [(0, 0), *((row, place) for row in range(len(orders)) for place in range(1, len(counts)))]
    found = np.empty((len(orders), len(counts)))
    with torch.no_grad():
        for first in range(0, len(asked), batch):
            some = asked[first:first + batch]
            gone = [torch.isin(labels, torch.from_numpy(orders[row][:counts[place]].copy())) for row, place in some]
            inputs = torch.stack([torch.where(one, fill, image) for one in gone])
            for (row, place), answer in zip(some, value(inputs).tolist(), strict=True):
                found[row, place] = answer
    found[:, 0] = found[0, 0]
    return found
