"""Batches of patches of scans with labels: cut, changed and levelled as (seed, epoch, row) say."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray

from excite.data.sampling import Sampler, batch_edges, epoch_order, repeats
from excite.data.volumes.augment import VolumeAugment, augmented
from excite.data.volumes.levels import Levels
from excite.data.volumes.mask_preprocess import MaskPreprocess
from excite.data.volumes.mask_store import MaskStore
from excite.data.volumes.patches import Triple, centred, cut
from excite.engine.ahead import ahead

REACH = 0.15  # of a patch's longest side that is read beyond it all around: turning then brings few empty corners in


@dataclass(frozen=True, kw_only=True)
class MaskedBatch:
    """Some patches: their rows, channels (N, M, D, H, W) float32, and class indices (N, D, H, W) int64."""

    index: NDArray[np.int64]
    images: torch.Tensor
    labels: torch.Tensor


class MaskedBatches:
    """The batches of some rows: one patch of each an epoch.

    In training a patch lies at random, a share of them around a labelled voxel, each class being as likely; otherwise
    around the middle of what is labelled, so that it is the same each time.

    Args:
        store: Of all rows.
        rows: Which.
        preprocess: With levels.
        augment: None gives the patches as prediction sees them.
        foreground: Share of training patches around a labelled voxel.
        sampler: "shuffle" for training, "order" otherwise.
    """

    def __init__(self, store: MaskStore, rows: Sequence[int], preprocess: MaskPreprocess, *, batch_size: int,
                 seed: int, augment: VolumeAugment | None = None, foreground: float = 0.0,
                 sampler: Sampler = "order") -> None:
        self.store, self.preprocess, self.augment, self.foreground = store, preprocess, augment, foreground
        self.rows, self.seed, self.sampler = np.asarray(rows, np.int64), seed, sampler
        self._edges = batch_edges(len(self.rows), batch_size, sampler=sampler)
        self._lines: dict[int, tuple[Levels, ...]] = {}

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has."""
        return len(self._edges) - 1

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[MaskedBatch]:
        """Yield the batches of an epoch from number `start` on; the same in every process."""
        order = epoch_order(self.rows, np.zeros(len(self.rows), np.int64), sampler=self.sampler, seed=self.seed,
                            epoch=epoch)
        again = repeats(order)

        def make(step: int) -> MaskedBatch:
            places = range(self._edges[step], self._edges[step + 1])
            found = [self.patch(int(order[place]), epoch, int(again[place])) for place in places]
            return MaskedBatch(index=order[places.start:places.stop],
                               images=torch.from_numpy(np.stack([one for one, _ in found])),
                               labels=torch.from_numpy(np.stack([one for _, one in found])))

        yield from ahead(make, range(start, self.steps))

    def patch(self, row: int, epoch: int = 0, again: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Return one patch of a row, (M, *patch), and its class indices, (*patch)."""
        random = np.random.default_rng([self.seed, epoch, row, again])
        shape, training = self.preprocess.patch, self.sampler != "order"
        start = self._drawn(row, random) if training else self._middle(row)
        wide = self._beyond() if self.augment else (0, 0, 0)
        first = [place - more for place, more in zip(start, wide, strict=True)]
        sides = [side + 2 * more for side, more in zip(shape, wide, strict=True)]
        images = self._images(row, first, sides)
        labels = cut(self.store.labels(row), first, sides)
        if self.augment is not None:
            moved, where = augmented(images, augment=self.augment, spacing=self.preprocess.spacing, random=random,
                                     labels=labels.astype(np.float32))
            inner = tuple(slice(more, more + side) for more, side in zip(wide, shape, strict=True))
            images, labels = moved[(slice(None), *inner)], np.asarray(where)[inner].astype(np.int16)
        return np.ascontiguousarray(images), np.searchsorted(self.preprocess.values, labels)

    def _beyond(self) -> tuple[int, ...]:
        """Return how many voxels are read beyond a patch along D, H and W: the same millimetres everywhere."""
        steps = self.preprocess.spacing
        reach = REACH * max(side * step for side, step in zip(self.preprocess.patch, steps, strict=True))
        return tuple(ceil(reach / step) for step in steps)

    def _images(self, row: int, first: Sequence[int], sides: Sequence[int]) -> NDArray[np.float32]:
        """Return a part of a scan, levelled as the whole of it is; 0 beyond it."""
        scan = self.store.scan(row)
        if row not in self._lines:
            self._lines[row] = self.preprocess.lines(scan)
        inside = [slice(max(begin, 0), max(begin + length, 0)) for begin, length in zip(first, sides, strict=True)]
        part = self.preprocess.normalise(scan[(slice(None), *inside)], self._lines[row])
        return cut(part, [min(begin, 0) for begin in first], sides)

    def _drawn(self, row: int, random: np.random.Generator) -> list[int]:
        """Return where a training patch starts; volumes that a patch holds lie anywhere in it."""
        chance, which = random.random(2)
        entry, shape = self.store.entries[row], self.preprocess.patch
        ranges = [sorted((0, side - length)) for side, length in zip(entry.shape, shape, strict=True)]
        free = [int(random.integers(low, high + 1)) for low, high in ranges]
        values = sorted(entry.places)
        if chance >= self.foreground or not values:
            return free
        places = entry.places[values[int(which * len(values))]]
        if not places:
            return free
        voxel = np.unravel_index(places[int(random.integers(len(places)))], entry.shape)
        return [int(np.clip(at - length // 2, low, high)) for at, length, (low, high) in
                zip(voxel, shape, ranges, strict=True)]

    def _middle(self, row: int) -> Triple:
        """Return where the patch around the middle of what is labelled starts."""
        entry, shape = self.store.entries[row], self.preprocess.patch
        middle = centred(entry.shape, shape)
        places = [place for some in entry.places.values() for place in some]
        if not places:
            return middle
        voxels = np.array(np.unravel_index(places, entry.shape))
        wanted = (voxels.min(axis=1) + voxels.max(axis=1) + 1) // 2
        d, h, w = (int(np.clip(at - length // 2, 0, side - length)) if side > length else start
                   for at, length, side, start in zip(wanted, shape, entry.shape, middle, strict=True))
        return d, h, w
