"""Batches from the image cache: order and augmentation from (seed, epoch, row), rendered ahead by one thread."""

import queue
import threading
import weakref
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from excite.data.augment import draw
from excite.data.cache import ImageCache
from excite.data.preprocess import Preprocess
from excite.data.sampling import Sampler, batch_edges, epoch_order, repeats
from excite.data.sections import AugmentSection
from excite.data.targets import Target
from excite.errors import DataError, UsageError

AHEAD = 2      # batches that wait for the caller
PATIENCE = .1  # seconds between two looks of the thread at whether it is still wanted


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some images and their labels.

    Args:
        index: (N,) rows of the manifest.
        images: (N, channels, height, width) float32 in channels_last memory, normalised.
        labels: (N,) int64; or masks, the covered share of each pixel: (N, 1, height, width) float32.
    """

    index: NDArray[np.int64]
    images: torch.Tensor
    labels: torch.Tensor


class Loader:
    """Batches of some rows; the same seed, epoch and start give the same batches in every process.

    A training epoch ("shuffle", "balanced") has no last batch of one image, which BatchNorm could not use: that image
    joins the batch before it. "balanced" draws as many images as there are rows, the same number of each class to
    within one, each image of a class before any again; an image drawn again is augmented anew.

    OpenCV is set to one thread, for the whole process: rendering runs beside the training step, which has the cores.

    Args:
        cache: Images of all rows of the manifest.
        rows: The rows to load.
        labels: The class of every row of the manifest, or its mask, which goes where the image goes.
        augment: None loads the images as prediction sees them.
        sampler: The order: as `rows` has it, shuffled each epoch, or shuffled with equal classes.

    Raises:
        UsageError: a batch size below 1, a seed below 0, an unknown sampler, or one that needs classes for masks.
        DataError: no rows, or a row that the cache does not hold.
    """

    def __init__(self, cache: ImageCache, preprocess: Preprocess, rows: Sequence[int],
                 labels: Sequence[int] | Sequence[Target], *, batch_size: int, seed: int,
                 augment: AugmentSection | None = None,
                 sampler: Sampler = "order") -> None:
        if batch_size < 1 or seed < 0:
            raise UsageError(f"batch_size must be at least 1 and seed at least 0, got {batch_size} and {seed}")
        if sampler not in ("shuffle", "balanced", "order"):
            raise UsageError(f"sampler must be shuffle, balanced or order, got {sampler!r}")
        if not len(rows):
            raise DataError("there are no images to load", fix="check the split: a part is empty")
        if len(labels) != len(cache) or min(rows) < 0 or max(rows) >= len(cache):
            raise DataError(f"the cache holds {len(cache)} images, there are {len(labels)} labels and rows up to "
                            f"{max(rows)}", fix="build the cache from the same table")
        self.cache, self.preprocess, self.augment = cache, preprocess, augment
        self.rows = np.asarray(rows, dtype=np.int64)
        self.targets = [one for one in labels if not isinstance(one, int)]
        if self.targets and sampler == "balanced":
            raise UsageError("sampler must be shuffle or order for masks, got 'balanced'", why="masks have no classes",
                             fix="loop.sampler: shuffle")
        self.labels = np.zeros(len(cache), np.int64) if self.targets else np.asarray(labels, dtype=np.int64)
        self.batch_size, self.seed, self.sampler = batch_size, seed, sampler
        self._buffers = _Buffers((batch_size + 1, preprocess.height, preprocess.width, preprocess.channels))
        self._channels = max(cache.channels(row) for row in rows)
        self._depth = cache[self.rows[0]].dtype
        cv2.setNumThreads(1)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def steps(self) -> int:
        """Return the batches of an epoch."""
        return len(batch_edges(len(self.rows), self.batch_size, sampler=self.sampler)) - 1

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the rows of an epoch in their order."""
        return epoch_order(self.rows, self.labels[self.rows], sampler=self.sampler, seed=self.seed, epoch=epoch)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch from batch `start` on; earlier ones are neither rendered nor read.

        A thread renders two batches ahead. A fault in it is raised here. It ends when the iterator does or is closed.
        """
        order = self.order(epoch)
        again = repeats(order)
        edges = batch_edges(len(order), self.batch_size, sampler=self.sampler)
        wanted: queue.Queue[Batch | BaseException | None] = queue.Queue(AHEAD)
        stop = threading.Event()

        def work() -> None:
            try:
                shape = self.preprocess.height, self.preprocess.width
                rendered = np.empty((1, *shape, self._channels), self._depth)
                for step in range(start, self.steps):
                    place = slice(edges[step], edges[step + 1])
                    if not _put(wanted, self._batch(order[place], again[place], epoch, rendered), stop):
                        return
                _put(wanted, None, stop)
            except BaseException as fault:  # whatever it is, the caller must see it
                _put(wanted, fault, stop)

        thread = threading.Thread(target=work, name="excite-loader", daemon=True)
        thread.start()
        try:
            while (found := wanted.get()) is not None:
                if isinstance(found, BaseException):
                    raise found
                yield found
        finally:
            stop.set()
            thread.join()

    def _batch(self, rows: NDArray[np.int64], again: NDArray[np.int64], epoch: int, rendered: NDArray[Any]) -> Batch:
        floats = self._buffers.take(len(rows))
        shape = self.preprocess.height, self.preprocess.width
        masks = np.empty((len(rows), 1, *shape), np.float32) if self.targets else None
        for place, (row, repeat) in enumerate(zip(rows.tolist(), again.tolist(), strict=True)):
            change = None
            if self.augment is not None:
                change = draw(self.augment, seed=self.seed, epoch=epoch, index=row, repeat=repeat)
            stored = self.cache[row]
            self.preprocess.render(stored, out=rendered[0], augmentation=change)
            self.preprocess.normalise(rendered, out=floats[place:place + 1])
            if masks is not None:
                masks[place, 0] = self.targets[row].render(self.preprocess.matrix(stored.shape, change), shape)
        return Batch(index=rows, images=torch.from_numpy(floats).permute(0, 3, 1, 2),
                     labels=torch.from_numpy(self.labels[rows] if masks is None else masks))


class _Buffers:
    """Memory for batches, used again when the last tensor that looks at it is gone: new memory costs a page fault each
    4 KB, a quarter of the time of rendering.
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._free: list[NDArray[np.float32]] = []

    def take(self, count: int) -> NDArray[np.float32]:
        whole = self._free.pop() if self._free else np.empty(self._shape, np.float32)
        part = whole[:count]  # torch.from_numpy keeps this very object alive as long as its storage
        weakref.finalize(part, self._give_back, whole).atexit = False
        return part

    def _give_back(self, whole: NDArray[np.float32]) -> None:
        if len(self._free) < AHEAD + 2:
            self._free.append(whole)


def _put(line: "queue.Queue[Batch | BaseException | None]", item: "Batch | BaseException | None",
         stop: threading.Event) -> bool:
    """Put `item` in line as soon as there is room; return False where nobody waits for it any more."""
    while not stop.is_set():
        try:
            line.put(item, timeout=PATIENCE)
            return True
        except queue.Full:
            continue
    return False
