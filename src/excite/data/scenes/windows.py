"""The windows around the pixels of a scene, as views; batches of them, changed at random from (seed, epoch, pixel)."""

import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from excite.data.sampling import Sampler, batch_edges, epoch_order, repeats
from excite.data.scenes.reduction import BandReduction
from excite.data.scenes.sections import SceneAugmentSection
from excite.data.scenes.window_augment import WindowNoise, change_of
from excite.errors import DataError, UsageError
from excite.tiling import Border, reach

Floats = NDArray[np.float32]
KEPT = 4  # buffers that wait to be used again


def pad_scene(cube: Floats, window: int, *, border: Border = "reflect") -> Floats:
    """Return the cube with a border, so that every pixel has a whole window; bands lie in planes in memory.

    Args:
        cube: Reduced.
        window: Pixels; an even one reaches one pixel farther down and right.
        border: Mirrored without the edge pixel twice, or zero, the training mean of scaled values.

    Shape:
        cube (H, W, bands), result (H + window - 1, W + window - 1, bands)

    Raises:
        UsageError: the window is below 1 or does not fit into the scene, or an unknown border.
    """
    before, after = reach(window)
    height, width, bands = cube.shape
    if border not in ("reflect", "zero"):
        raise UsageError(f"border must be reflect or zero, got {border!r}")
    if border == "reflect" and after >= min(height, width):
        raise UsageError(f"window must be below twice the scene's shorter side, {min(height, width)}, got {window}",
                         why="the scene is mirrored at its border", fix="take a smaller one, or border zero")
    planes = np.zeros((bands, height + window - 1, width + window - 1), np.float32)
    planes[:, before:before + height, before:before + width] = cube.transpose(2, 0, 1)
    if border == "reflect" and window > 1:
        for place in range(bands):
            inside = planes[place, before:before + height, before:before + width]
            planes[place] = np.pad(inside, (before, after), mode="reflect")
    return planes.transpose(1, 2, 0)


def window_view(padded: Floats, window: int) -> Floats:
    """Return the window around every pixel as a view into the padded scene, which no write goes through.

    Shape:
        padded (H + window - 1, W + window - 1, bands), result (H, W, bands, window, window)
    """
    return sliding_window_view(padded, (window, window), axis=(0, 1))


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowBatch:
    """Some windows and the classes of their pixels.

    Args:
        index: Numbers of the pixels in reading order: row * W + column.
        images: float32; the memory is used again when nothing looks at it any more.
        labels: Classes from 0 on.

    Shape:
        index (N,), images (N, bands, window, window), labels (N,) int64
    """

    index: NDArray[np.int64]
    images: Floats
    labels: NDArray[np.int64]


class SceneWindows:
    """Batches of the windows around some pixels; the same seed, epoch and start give the same batches in every process.

    Args:
        cube: Reduced, (H, W, bands) float32.
        positions: (N, 2) row and column of the pixels, each once.
        labels: (N,) their classes, from 0 on.
        window: Pixels along a window.
        augment: None gives the windows as prediction sees them.
        reduction: Which made the cube; with `augment`, so that brightness changes in the spectrum, not in a component.
        sampler: The order: as it is, shuffled each epoch, or shuffled with equal classes.
        border: See `pad_scene`.

    Raises:
        UsageError: an argument that cannot be.
        DataError: no pixels, a pixel outside the scene or named twice, values that are not finite.
    """

    def __init__(self, cube: Floats, positions: NDArray[np.int64], labels: NDArray[np.int64], *, window: int,
                 batch_size: int, seed: int, augment: SceneAugmentSection | None = None,
                 reduction: BandReduction | None = None, sampler: Sampler = "order",
                 border: Border = "reflect") -> None:
        if cube.ndim != 3 or cube.dtype != np.float32:
            raise UsageError(f"cube must be float32 (H, W, bands), got {cube.dtype} of shape {cube.shape}")
        if batch_size < 1 or seed < 0:
            raise UsageError(f"batch_size must be at least 1 and seed at least 0, got {batch_size} and {seed}")
        if augment is not None and reduction is None:
            raise UsageError("augment needs the reduction that made the cube, got none")
        _check_pixels(cube, positions, labels)
        self.positions, self.labels = np.asarray(positions, np.int64), np.asarray(labels, np.int64)
        self.batch_size, self.seed, self.sampler = batch_size, seed, sampler
        self.augment = augment if augment is not None and augment.enabled else None
        self.index = self.positions[:, 0] * cube.shape[1] + self.positions[:, 1]
        self._view = window_view(pad_scene(cube, window, border=border), window)
        self._noise = WindowNoise(self._view.shape[2:], reduction, seed=seed) if reduction is not None else None
        self._buffers = _Buffers(self._view.shape[2:], batch_size + 1)
        self.order(0)  # an unknown sampler is refused now

    def __len__(self) -> int:
        return len(self.positions)

    @property
    def steps(self) -> int:
        """Return the batches of an epoch."""
        return len(batch_edges(len(self), self.batch_size, sampler=self.sampler)) - 1

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Return the numbers of the positions in the order of an epoch."""
        return epoch_order(np.arange(len(self)), self.labels, sampler=self.sampler, seed=self.seed, epoch=epoch)

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[WindowBatch]:
        """Yield the batches of an epoch from batch `start` on; earlier ones are not gathered."""
        order = self.order(epoch)
        again = repeats(order)
        edges = batch_edges(len(order), self.batch_size, sampler=self.sampler)
        for first, last in zip(edges[start:-1], edges[start + 1:], strict=True):
            yield self._batch(order[first:last], again[first:last], epoch)

    def _batch(self, rows: NDArray[np.int64], again: NDArray[np.int64], epoch: int) -> WindowBatch:
        images, index = self._buffers.take(len(rows)), self.index[rows]
        for image, (row, column), pixel, repeat in zip(images, self.positions[rows].tolist(), index.tolist(),
                                                       again.tolist(), strict=True):
            window = self._view[row, column]
            if self.augment is None or self._noise is None:
                image[...] = window
                continue
            change = change_of(self.augment, seed=self.seed, epoch=epoch, index=pixel, repeat=repeat)
            image[...] = change.turned(window)
            self._noise.add(image, change)
        return WindowBatch(index=index, images=images, labels=self.labels[rows])


class _Buffers:
    """Memory for batches, used again when the last array that looks at it is gone: new memory costs page faults."""

    def __init__(self, shape: tuple[int, ...], most: int) -> None:
        self._shape, self._most = shape, most
        self._free: list[bytearray] = []

    def take(self, count: int) -> Floats:
        size = int(np.prod(self._shape))
        memory = self._free.pop() if self._free else bytearray(4 * size * self._most)
        flat = np.frombuffer(memory, np.float32, count * size)  # the base of every view of it, as it owns no memory
        weakref.finalize(flat, self._give_back, memory).atexit = False
        return flat.reshape(count, *self._shape)

    def _give_back(self, memory: bytearray) -> None:
        if len(self._free) < KEPT:
            self._free.append(memory)


def _check_pixels(cube: NDArray[Any], positions: NDArray[Any], labels: NDArray[Any]) -> None:
    if len(positions) == 0:
        raise DataError("there are no pixels to make windows of", fix="check the split: a part is empty")
    if positions.shape != (len(labels), 2) or labels.ndim != 1:
        raise UsageError(f"positions must be (N, 2) and labels (N,), got shapes {positions.shape} and {labels.shape}")
    if (positions < 0).any() or (positions >= cube.shape[:2]).any():
        raise DataError(f"positions must lie in the scene of {cube.shape[0]} x {cube.shape[1]} pixels, got "
                        f"{positions.min(axis=0).tolist()} to {positions.max(axis=0).tolist()}")
    flat = positions[:, 0] * cube.shape[1] + positions[:, 1]
    if len(np.unique(flat)) < len(flat):
        raise DataError(f"{len(flat) - len(np.unique(flat))} positions are named twice", fix="name each pixel once")
    if (labels < 0).any():
        raise DataError(f"labels must be classes from 0 on, got {labels.min()}",
                        fix="leave out pixels without a label")
    bad = sum(int((~np.isfinite(row)).any(axis=1).sum()) for row in cube)
    if bad:
        raise DataError(f"{bad} pixels of the reduced scene hold NaN or infinity, and so would windows around them",
                        fix="set pixels without data to 0, the training mean")
