"""Training on vectors in place of images: the head of a network, and batches of what its trunk gave once."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.data.sampling import repeats
from excite.engine.loader import Loader
from excite.errors import ModelError, UsageError


class QuickDropout(nn.Module):
    """Dropout from 16-bit random numbers: torch draws one of 64 bits for each value, half of a head's whole step.

    Args:
        rate: Of the values that are set to 0, to within 1/65536; the others grow by as much.

    Shape:
        any float32 -> the same

    Raises:
        UsageError: `rate` is 1, which leaves nothing.
    """

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.limit = round(rate * 65536)
        if not 0 <= self.limit < 65536:
            raise UsageError(f"dropout must be at least 0 and below 1, got {rate:g}")

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` with some values left out; in evaluation mode `x` itself."""
        if not self.training or not self.limit:
            return x
        seed = int(torch.randint(2**62, ()))  # from torch's own stream, which the loop seeds before each batch
        drawn = np.random.Generator(np.random.SFC64(seed)).integers(0, 65536, tuple(x.shape), np.uint16)
        kept = torch.from_numpy(drawn >= self.limit).to(x.device)
        return x * kept * (65536 / (65536 - self.limit))


class Head(nn.Module):
    """What a network does after `forward_features`: its dropout, and its classifier itself, no copy.

    Training it trains the network's head, and nothing of the trunk can move.

    Args:
        network: With `forward_features` and `classifier`; `dropout` where it has one.

    Shape:
        (N, F) -> logits (N, K)

    Raises:
        UsageError: the network has no `forward_features` or `classifier`, or nothing in its classifier learns.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        classifier = getattr(network, "classifier", None)
        if not callable(getattr(network, "forward_features", None)) or not isinstance(classifier, nn.Module):
            raise UsageError(f"loop.frozen_features: a {type(network).__name__} has no forward_features and classifier",
                             why="vectors are taken from the one and the other is trained on them",
                             fix="add both, classifier(forward_features(x)) being the network, or train it whole")
        if not any(one.requires_grad for one in classifier.parameters()):
            raise UsageError("loop.frozen_features: nothing in the network's classifier learns",
                             fix="let its parameters require gradients")
        dropout = getattr(network, "dropout", None)
        self.dropout = QuickDropout(dropout.p if isinstance(dropout, nn.Dropout) else 0.0)
        self.classifier = classifier

    def forward(self, features: Tensor) -> Tensor:
        """Return the logits."""
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


@dataclass(frozen=True, kw_only=True)
class FeatureBatch:
    """Some vectors and their labels.

    Args:
        index: (N,) rows of the manifest.
        images: (N, F) float32, what the trunk gave for a view of each.
        labels: (N,) int64.
    """

    index: NDArray[np.int64]
    images: Tensor
    labels: Tensor


class FeatureBatches:
    """The batches of a loader with vectors in place of its images: the same rows in the same order.

    An image shows another of its views in each epoch, all of them in as many epochs as there are views; which one
    comes first is drawn for each row from the loader's seed. An image that an epoch draws again shows the next one.

    Args:
        loader: Order, batch size, labels and seed; it renders nothing.
        vectors: (views, rows, F) float32, rows as the loader has them.

    Raises:
        ModelError: there is not one vector for each of the loader's rows, or one is not finite.
    """

    def __init__(self, loader: Loader, vectors: NDArray[np.float32]) -> None:
        if vectors.ndim != 3 or vectors.shape[1] != len(loader) or not vectors.shape[0]:
            raise ModelError(f"vectors must be (views, {len(loader)}, F), got {vectors.shape}")
        bad = np.flatnonzero(~np.isfinite(vectors).all(axis=(0, 2)))
        if len(bad):
            shown = ", ".join(str(row) for row in loader.rows[bad[:5]])
            raise ModelError(f"the trunk's outputs are not finite for {len(bad)} of {len(loader)} images",
                             where=f"table rows {shown}, counted from 0", fix="take other weights")
        self._loader = loader
        self._count = len(vectors)
        self._vectors = torch.from_numpy(np.ascontiguousarray(vectors, np.float32).reshape(-1, vectors.shape[2]))
        self._place = np.zeros(int(loader.rows.max()) + 1, np.int64)
        self._place[loader.rows] = np.arange(len(loader))
        self._first = np.random.default_rng([loader.seed, len(vectors)]).integers(0, len(vectors), len(loader))

    def __len__(self) -> int:
        return len(self._loader)

    @property
    def steps(self) -> int:
        """Return the batches of an epoch."""
        return self._loader.steps

    def views(self, epoch: int, order: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return which view each place of an epoch's order shows."""
        found: NDArray[np.int64] = (self._first[self._place[order]] + epoch + repeats(order)) % self._count
        return found

    def batches(self, epoch: int, *, start: int = 0) -> Iterator[FeatureBatch]:
        """Yield the batches of an epoch from batch `start` on."""
        order = self._loader.order(epoch)
        places = torch.from_numpy(self.views(epoch, order) * len(self) + self._place[order])
        labels: Any = torch.from_numpy(self._loader.labels[order])
        edges = [step * self._loader.batch_size for step in range(self.steps)] + [len(order)]
        for step in range(start, self.steps):
            part = slice(edges[step], edges[step + 1])
            vectors = self._vectors.index_select(0, places[part])
            yield FeatureBatch(index=order[part], images=vectors, labels=labels[part])
