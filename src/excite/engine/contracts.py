"""What the loop needs of its parts: a source of batches and a task."""

from collections.abc import Iterator
from typing import Any, Protocol

from numpy.typing import NDArray
from torch import Tensor


class BatchLike(Protocol):
    """Images with their labels and the rows of the manifest that they come from."""

    @property
    def index(self) -> NDArray[Any]:
        """Return the rows, (N,)."""

    @property
    def images(self) -> Tensor:
        """Return the images, (N, C, *S), float32."""

    @property
    def labels(self) -> Tensor:
        """Return the labels, (N,) int64, or masks, (N, K, *S) float32."""


def inputs_of(batch: BatchLike) -> tuple[Tensor, ...]:
    """Return what the network is called with: the images, and what a batch has `beside` them, (N, F) each."""
    return (batch.images, *getattr(batch, "beside", ()))


class Batches(Protocol):
    """The batches of one part of the data; those of an epoch depend on its number and nothing else."""

    @property
    def steps(self) -> int:
        """Return how many batches an epoch has."""

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[BatchLike]:
        """Yield the batches of an epoch from number `start` on."""


class Task(Protocol):
    """The loss and the numbers of one kind of work."""

    def loss(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the sum of the losses and the sum of their weights."""

    def collect(self, logits: NDArray[Any], truth: NDArray[Any]) -> NDArray[Any]:
        """Return what `summary` needs of a batch, one row an image; maps are not kept, they would fill the memory."""

    def summary(self, collected: NDArray[Any], loss: float) -> dict[str, float | None]:
        """Return the numbers of an epoch's validation, `loss` among them, from the rows of all its batches."""
