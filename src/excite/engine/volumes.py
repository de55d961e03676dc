"""Batches of patients' volumes: levels, changes drawn from (seed, epoch, row), prepared ahead by one thread."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from excite.data.sampling import Sampler, batch_edges, epoch_order, repeats
from excite.data.volumes.augment import VolumeAugment, augmented
from excite.data.volumes.preprocess import VolumePreprocess
from excite.engine.ahead import ahead


@dataclass(frozen=True, kw_only=True)
class VolumeBatch:
    """Some patients.

    Args:
        index: Their rows, (N,).
        images: Their maps, (N, M, D, H, W) float32, missing ones 0 all over.
        labels: Their classes, (N,) int64.
        beside: Their clinical values, (N, C) float32, NaN where one is missing; empty where there are no columns.
    """

    index: NDArray[np.int64]
    images: torch.Tensor
    labels: torch.Tensor
    beside: tuple[torch.Tensor, ...] = ()


class VolumeBatches:
    """The batches of some rows of prepared volumes.

    Args:
        stored: (N, M, D, H, W), NaN where nothing was seen.
        rows: Which.
        labels: The class of every row of `stored`.
        preprocess: With levels.
        clinical: (N, C) of every row of `stored`, as the table has them; None where there are no columns.
        augment: None gives the volumes as prediction sees them.
        sampler: The order: as it is, shuffled each epoch, or shuffled with equal classes.
    """

    def __init__(self, stored: NDArray[np.float32], rows: Sequence[int], labels: Sequence[int],
                 preprocess: VolumePreprocess, *, batch_size: int, seed: int,
                 clinical: NDArray[np.float32] | None = None, augment: VolumeAugment | None = None,
                 sampler: Sampler = "order") -> None:
        self.stored, self.preprocess, self.augment = stored, preprocess, augment
        self.rows, self.labels = np.asarray(rows, np.int64), np.asarray(labels, np.int64)
        self.batch_size, self.seed, self.sampler = batch_size, seed, sampler
        self._clinical = None if clinical is None else torch.from_numpy(preprocess.scale(clinical))
        self._edges = batch_edges(len(self.rows), batch_size, sampler=sampler)

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has."""
        return len(self._edges) - 1

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[VolumeBatch]:
        """Yield the batches of an epoch from number `start` on; the same in every process."""
        order = epoch_order(self.rows, self.labels[self.rows], sampler=self.sampler, seed=self.seed, epoch=epoch)
        again = repeats(order)
        yield from ahead(partial(self._batch, order, again, epoch), range(start, self.steps))

    def _batch(self, order: NDArray[np.int64], again: NDArray[np.int64], epoch: int, step: int) -> VolumeBatch:
        places = range(self._edges[step], self._edges[step + 1])
        images = np.stack([self.sample(int(order[place]), epoch, int(again[place])) for place in places])
        index = order[places.start:places.stop]
        beside = () if self._clinical is None else (self._clinical[torch.from_numpy(index)],)
        return VolumeBatch(index=index, images=torch.from_numpy(images), labels=torch.from_numpy(self.labels[index]),
                           beside=beside)

    def sample(self, row: int, epoch: int = 0, again: int = 0) -> NDArray[np.float32]:
        """Return one patient's maps, (M, D, H, W), changed where there is an augmentation."""
        images = self.preprocess.normalise(self.stored[row])
        if self.augment is None:
            return images
        random = np.random.default_rng([self.seed, epoch, row, again])
        changed, _ = augmented(images, augment=self.augment, spacing=self.preprocess.spacing, random=random)
        return changed
