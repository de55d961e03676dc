"""Batches of windows of a scene as the training loop takes them."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from excite.data.scenes.windows import SceneWindows


@dataclass(frozen=True, kw_only=True)
class SceneBatch:
    """Some windows, (N, bands, window, window) float32, the classes of their pixels, and which pixels these are."""

    index: NDArray[np.int64]
    images: torch.Tensor
    labels: torch.Tensor


class SceneBatches:
    """The batches of `SceneWindows` as tensors, which share their memory."""

    def __init__(self, windows: SceneWindows) -> None:
        self.windows = windows

    @property
    def steps(self) -> int:
        """Return the batches of an epoch."""
        return self.windows.steps

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[SceneBatch]:
        """Yield the batches of an epoch from batch `start` on."""
        for one in self.windows.batches(epoch, start=start):
            yield SceneBatch(index=one.index, images=torch.from_numpy(one.images),
                             labels=torch.from_numpy(one.labels))
