"""What each map, and each clinical column, is worth to a finished network: the test part with it left out."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.deploy.volume_predictor import VolumePredictor
from excite.engine.volumes import VolumeBatch
from excite.metrics.classification import ClassificationMeasure
from excite.metrics.intervals import Float, Interval, bootstrap
from excite.outcome.decode import decode

METRICS = ("balanced_accuracy", "auroc_macro", "nll")


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """How much worse the bundle is without one thing that it was given.

    Args:
        name: Of the map or column.
        kind: "map" or "clinical".
        n: Rows that have it, and a map besides; the others cannot tell.
        n_units: Units among them.
        loss: Of each metric: how much worse it is without, paired by row; above 0, the network does better with it.
    """

    name: str
    kind: str
    n: int
    n_units: int
    loss: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"name": self.name, "kind": self.kind, "n": self.n, "n_units": self.n_units,
                "loss": {name: one.to_json() for name, one in self.loss.items()}}


def left_out(predictor: VolumePredictor, batches: Iterable[VolumeBatch], whole: NDArray[np.float32],
             truth: NDArray[np.int64], units: Sequence[str], *, temperature: float) -> list[LeftOut]:
    """Return what the bundle loses with each map and each clinical column missing, as a patient may lack it.

    Args:
        batches: Of the part.
        whole: The bundle's logits on it, (N, K).
        truth: Places in the bundle's classes, (N,).
        units: What each row belongs to.
        temperature: Of the probabilities.
    """
    kinds = {**dict.fromkeys(predictor.preprocess.maps, "map"),
             **dict.fromkeys(predictor.preprocess.columns, "clinical")}
    rows, logits = {name: list[int]() for name in kinds}, {name: list[NDArray[np.float32]]() for name in kinds}
    first = 0
    for batch in batches:
        images, clinical = batch.images.numpy(), batch.beside[0].numpy() if batch.beside else None
        for name, there, without in _variants(predictor, images, clinical):
            if len(there):
                rows[name] += (first + there).tolist()
                logits[name].append(predictor.logits(*without))
        first += len(images)
    found = []
    for name, some in rows.items():
        if some:
            both = [decode(one[None], classes=predictor.info.classes, temperature=temperature)
                    for one in (whole[some], np.concatenate(logits[name]))]
            of_rows = [units[row] for row in some]
            found.append(LeftOut(name=name, kind=kinds[name], n=len(some), n_units=len(set(of_rows)),
                                 loss=_loss(both[0], both[1], truth[some], of_rows, predictor.info.classes)))
    return found


Inputs = tuple[NDArray[np.float32], NDArray[np.float32] | None]


def _variants(predictor: VolumePredictor, images: NDArray[np.float32], clinical: NDArray[np.float32] | None
              ) -> Iterator[tuple[str, NDArray[np.int64], Inputs]]:
    """Yield (name, places of the rows that have it and a map besides, these rows without it)."""
    there = (images != 0).any(axis=(2, 3, 4))
    for place, name in enumerate(predictor.preprocess.maps):
        rows = np.flatnonzero(there[:, place] & (there.sum(axis=1) > 1))
        without = images[rows].copy()
        without[:, place] = 0
        yield name, rows, (without, None if clinical is None else clinical[rows])
    for place, name in enumerate(predictor.preprocess.columns):
        values = np.asarray(clinical)
        rows = np.flatnonzero(~np.isnan(values[:, place]))
        gone = values[rows].copy()
        gone[:, place] = np.nan
        yield name, rows, (images[rows], gone)


def _loss(whole: Float, without: Float, truth: NDArray[np.int64], units: list[str], classes: tuple[str, ...]
          ) -> dict[str, Interval]:
    """Return by how much each metric is worse, over the same resamples of units."""
    full, less = (ClassificationMeasure(truth, shares, classes) for shares in (whole, without))

    def worse(weights: Float) -> dict[str, Float]:
        a, b = full(weights), less(weights)
        return {one: b[one] - a[one] if one == "nll" else a[one] - b[one] for one in METRICS}

    return bootstrap(worse, units)
