"""Which pixels of a scene are trained on, chosen by and tested on; every split says what its windows share.

Source: arXiv 1811.03707 (partitions without a leak); random splits as published with HybridSN (arXiv 1902.06701).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from excite.data.scenes.overlap import Overlap, measure_overlap
from excite.errors import DataError, UsageError
from excite.tiling import reach

PARTS = ("train", "val", "test")
CODES = {"train": 1, "val": 2, "test": 3}  # in a map of parts; 0 is unused
FEW = 10  # pixels of a class in a part below which its numbers say little


@dataclass(frozen=True, kw_only=True, eq=False)
class SceneSplit:
    """The part of every pixel, and what is to be known about it.

    Args:
        parts: 0 unused, 1 train, 2 val, 3 test.
        unit: Number of the block of each used pixel, from 1 on, for intervals over blocks; 0 unused.
        kind: "block", "random" or "given"; of several cubes "patient", or "cube" where no patients are known.
        guard: Pixels that any two parts keep apart, 0 for none.
        window: For which it was made, pixels.
        counts: Pixels of each class in each part.
        overlap: What training windows cover of the test part.
        notes: What was decided and what to beware of, each a sentence.
        members: Names of the patients, or cubes, of each part, where whole ones were given away.

    Shape:
        parts (H, W) uint8, unit (H, W) int32
    """

    parts: NDArray[np.uint8]
    unit: NDArray[np.int32]
    kind: str
    guard: int
    window: int
    counts: Mapping[str, tuple[int, ...]]
    overlap: Overlap
    notes: tuple[str, ...] = ()
    members: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def positions(self, part: str) -> NDArray[np.int64]:
        """Return (row, column) of the pixels of one part, (N, 2), in reading order."""
        return np.argwhere(self.parts == CODES[part]).astype(np.int64)

    def to_json(self) -> dict[str, Any]:
        """Return all but the two maps, for a report."""
        return {"kind": self.kind, "guard": self.guard, "window": self.window, "notes": list(self.notes),
                "counts": {part: list(numbers) for part, numbers in self.counts.items()},
                "overlap": self.overlap.to_json(),
                **({f"{self.kind}s": {part: list(names) for part, names in self.members.items()}}
                   if self.members else {})}


def random_split(labels: NDArray[Any], *, window: int, train: float = 0.1, val: float = 0.1, seed: int = 345,
                 classes: Sequence[str] = ()) -> SceneSplit:
    """Return pixels drawn at random within each class, as published: leaky, and it says so.

    Args:
        labels: (H, W) of the scene: 0 no label, classes from 1 on.
        window: Pixels; for the overlap that is reported.
        train: Share of each class, at least a pixel.
        val: Share of each class; the rest is tested on.
        seed: Another seed, another draw.
        classes: Names of the classes 1, 2, ... for messages.

    Raises:
        UsageError: a share, window, seed or label map that cannot be.
        DataError: a class has too few pixels to be in train and test.
    """
    check_shares(train=train, val=val, seed=seed)
    total = class_totals(labels, classes)
    parts = np.zeros(labels.shape, np.uint8)
    for label in np.flatnonzero(total) + 1:
        members = np.random.default_rng([seed, int(label)]).permutation(np.flatnonzero(labels == label))
        first = min(max(1, round(train * len(members))), len(members) - 1)
        second = min(first + round(val * len(members)), len(members) - 1)
        parts.flat[members[:first]], parts.flat[members[first:second]] = CODES["train"], CODES["val"]
        parts.flat[members[second:]] = CODES["test"]
    unit = np.where(parts > 0, np.arange(1, parts.size + 1).reshape(parts.shape), 0)
    note = "pixels were drawn at random: windows of train and test overlap, numbers on them are too good"
    return describe(labels, parts, unit, kind="random", guard=0, window=window, notes=(note,), classes=classes)


def given_split(labels: NDArray[Any], maps: Mapping[str, NDArray[Any]], *, window: int,
                classes: Sequence[str] = ()) -> SceneSplit:
    """Return a partition that somebody else made; its blocks are the connected regions of each part.

    Args:
        labels: (H, W) of the scene: 0 no label, classes from 1 on.
        maps: "train", "test" and maybe "val" -> (H, W), not 0 where a pixel is in that part.
        window: Pixels; for the overlap that is reported.
        classes: Names of the classes 1, 2, ... for messages.

    Raises:
        UsageError: names or shapes of maps that cannot be.
        DataError: a pixel is in two parts, a part is empty, or a class cannot be trained on.
    """
    total = class_totals(labels, classes)
    if not {"train", "test"} <= set(maps) <= set(PARTS):
        raise UsageError(f"maps must be train, test and maybe val, got {', '.join(sorted(maps)) or 'none'}")
    parts, unit = np.zeros(labels.shape, np.uint8), np.zeros(labels.shape, np.int64)
    notes = []
    for part, chosen in maps.items():
        if chosen.shape != labels.shape:
            raise UsageError(f"the {part} map must be of the labels' shape {labels.shape}, got {chosen.shape}")
        inside = chosen != 0
        if (parts[inside] > 0).any():
            raise DataError(f"{np.count_nonzero(parts[inside])} pixels of the {part} map are in another part too",
                            fix="take them out of one of the two")
        parts[inside] = CODES[part]
        numbered, _ = ndimage.label(inside, np.ones((3, 3)))
        unit[inside] = numbered[inside] + unit.max()
        if lost := np.count_nonzero(inside & (labels == 0)):
            notes.append(f"{lost} pixels of the {part} map have no label and are unused")
    held = np.bincount(labels[(parts == CODES["train"]) & (labels > 0)], minlength=len(total) + 1)[1:]
    if untrained := [name_of(place + 1, classes) for place in np.flatnonzero((total > 0) & (held == 0)).tolist()]:
        raise DataError(f"nothing to train on for class {', '.join(untrained)}", fix="give the train map some of it")
    parts[labels == 0] = 0
    return describe(labels, parts, unit, kind="given", guard=0, window=window, notes=tuple(notes), classes=classes)


def describe(labels: NDArray[Any], parts: NDArray[np.uint8], unit: NDArray[Any], *, kind: str, guard: int, window: int,
             notes: tuple[str, ...], classes: Sequence[str]) -> SceneSplit:
    """Return the split with its counts, overlap and the notes that these ask for."""
    reach(window)
    if not (parts == CODES["test"]).any():
        raise DataError("the test part is empty", fix="give it pixels with labels")
    counts = class_counts(labels, parts)
    overlap = measure_overlap(parts == CODES["train"], parts == CODES["test"], window)
    used = tuple(np.flatnonzero(class_totals(labels, classes)).tolist())
    more = [f"with windows of {window}, {overlap}"]
    for part, numbers in zip(PARTS, counts.tolist(), strict=True):
        few = [f"{name_of(place + 1, classes)} ({numbers[place]})" for place in used if numbers[place] < FEW]
        if few and sum(numbers):
            more.append(f"the {part} part has fewer than {FEW} pixels of class {', '.join(few)}")
    return SceneSplit(parts=parts, unit=np.where(parts > 0, unit, 0).astype(np.int32), kind=kind, guard=guard,
                      window=window, overlap=overlap, notes=(*notes, *more),
                      counts={part: tuple(numbers) for part, numbers in zip(PARTS, counts.tolist(), strict=True)})


def class_counts(labels: NDArray[Any], parts: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return the pixels of each class in each part, (3, classes)."""
    kinds = int(labels.max()) + 1
    flat = np.bincount((parts.astype(np.int64) * kinds + labels).ravel(), minlength=4 * kinds)
    counted: NDArray[np.int64] = flat.reshape(4, kinds)[1:, 1:]
    return counted


def class_totals(labels: NDArray[Any], classes: Sequence[str] = ()) -> NDArray[np.int64]:
    """Return the pixels of each class 1, 2, ... of a label map.

    Raises:
        UsageError: it is not (H, W) of whole numbers from 0 on.
        DataError: no pixel has a label, or a class has one pixel, which cannot be in train and in test.
    """
    if labels.ndim != 2 or not np.issubdtype(labels.dtype, np.integer):
        raise UsageError(f"labels must be a map (H, W) of whole numbers, got {labels.dtype} of shape {labels.shape}")
    if labels.size == 0 or labels.max() < 1 or labels.min() < 0:
        span = "nothing" if labels.size == 0 else f"{labels.min()} to {labels.max()}"
        raise UsageError(f"labels must be 0 (none) or a class from 1 on, got {span}")
    total = np.bincount(labels.ravel())[1:]
    if single := [name_of(place + 1, classes) for place in np.flatnonzero(total == 1).tolist()]:
        raise DataError(f"class {', '.join(single)} has one labelled pixel, which cannot be in train and in test",
                        fix="set it to 0, or merge it with another class")
    return total


def check_shares(*, train: float, val: float, seed: int) -> None:
    """Refuse shares that leave a part without its share, and a seed below 0."""
    if not (0 < train < 1 and 0 <= val < 1 and train + val < 1):
        raise UsageError(f"train must be above 0, val at least 0 and both together below 1, got {train} and {val}")
    if seed < 0:
        raise UsageError(f"seed must be at least 0, got {seed}")


def name_of(label: int, classes: Sequence[str]) -> str:
    """Return the name of class `label`, counted from 1, or its number."""
    return classes[label - 1] if label <= len(classes) else str(label)
