"""From a scan to what a network for labels takes, and back: one spacing, levels, patches, the scan's own grid."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from excite.data.volumes.grid import Grid, resampled
from excite.data.volumes.levels import Kind, Levels
from excite.data.volumes.patches import OVERLAP, Triple, assembled
from excite.data.volumes.volume import Volume
from excite.errors import DataError, ModelError

Floats = NDArray[np.float32]
Steps = tuple[float, float, float]
LARGEST = 80 * 80 * 80  # voxels of a patch that nobody asked for: a step on two of them takes seconds on a CPU
FEWEST = 16             # voxels along a side, likewise


@dataclass(frozen=True, kw_only=True)
class MaskPreprocess:
    """What is done to a scan before the network, and to its outputs after.

    Args:
        maps: Names, in the order of the channels; the first gives the grid.
        spacing: Millimetres along D, H and W.
        patch: Voxels of the network's input.
        kind: Of the levels.
        levels: Of each map; empty until they are learnt.
        values: The label value of each class, that of the background first.
        overlap: Share of a patch that neighbours have in common.
    """

    maps: tuple[str, ...]
    spacing: Steps
    patch: Triple
    kind: Kind = "volume"
    levels: tuple[Levels, ...] = ()
    values: tuple[int, ...] = (0, 1)
    overlap: float = OVERLAP

    def grid(self, volume: Volume) -> Grid:
        """Return the grid on which a scan is predicted: its own place and extent, the network's spacing."""
        return Grid.of(volume).centred(spacing=self.spacing)

    def on_grid(self, volumes: Mapping[str, Volume]) -> Floats:
        """Return a scan's maps on its grid, in their own units; NaN where nothing was seen.

        Shape:
            (M, D, H, W)

        Raises:
            DataError: a map is missing, or shows nothing of where the first one is.
        """
        for name in self.maps:
            if name not in volumes:
                raise DataError(f"the scan has no {name}", why=f"the network takes {', '.join(self.maps)}",
                                fix="all of them are needed")
        grid = self.grid(volumes[self.maps[0]])
        found = np.stack([resampled(volumes[name], grid) for name in self.maps])
        for name, values in zip(self.maps, found, strict=True):
            if np.isnan(values).all():
                raise DataError(f"the {name} shows nothing of where the {self.maps[0]} is", where=volumes[name].source,
                                why="their places in the scanner's millimetres do not meet",
                                fix="check that both are of one patient and one session")
        return found

    def fit(self, scans: Iterable[Floats]) -> "MaskPreprocess":
        """Return the same with levels learnt from training scans on their grids."""
        kept = list(scans) if self.kind == "map" else []
        return replace(self, levels=tuple(Levels.fit([one[place] for one in kept], kind=self.kind)
                                          for place in range(len(self.maps))))

    def lines(self, scan: Floats) -> tuple[Levels, ...]:
        """Return how the values of each map of a scan, and of parts of it, are brought to those of the network."""
        return tuple(level.line(values) for level, values in zip(self.levels, scan, strict=True))

    def normalise(self, values: Floats, lines: Sequence[Levels]) -> Floats:
        """Return a scan or a part of it as the network takes it, (M, D, H, W); 0 where nothing was seen."""
        return np.stack([line.apply(one) for line, one in zip(lines, values, strict=True)])

    def probabilities(self, scan: Floats, predict: Callable[[Floats], Floats]) -> Floats:
        """Return the classes' probabilities on the scan's grid.

        Args:
            scan: Of `on_grid`.
            predict: The network: (1, M, *patch) -> logits (1, K, *patch).

        Shape:
            (M, D, H, W) -> (K, D, H, W)
        """
        logits = assembled(self.normalise(scan, self.lines(scan)), self.patch, predict, overlap=self.overlap)
        if not np.isfinite(logits).all():
            raise DataError("the network's outputs are not finite for this scan")
        found: Floats = softmax(logits, axis=0)
        return found

    def labels(self, probabilities: Floats, volume: Volume) -> NDArray[np.int16]:
        """Return the label of each voxel of the scan itself: its most probable class, brought back linearly.

        Shape:
            (K, D, H, W) on the network's grid -> (D, H, W) on the scan's own
        """
        grid, own = self.grid(volume), Grid.of(volume)
        best = np.full(own.shape, -1, np.float32)
        found = np.zeros(own.shape, np.int16)
        for value, share in zip(self.values, probabilities, strict=True):
            there = resampled(Volume(values=share, affine=grid.affine, source=volume.source), own, outside=0.0)
            better = there > best
            best[better], found[better] = there[better], value
        return found

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return {"maps": list(self.maps), "spacing": list(self.spacing), "patch": list(self.patch), "kind": self.kind,
                "levels": [one.to_json() for one in self.levels], "values": list(self.values), "overlap": self.overlap}

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "MaskPreprocess":
        """Return the preprocessing that `to_json` wrote.

        Raises:
            ModelError: something is missing or not of its kind.
        """
        try:
            (far, down, right), (depth, height, width) = tree["spacing"], tree["patch"]
            found = cls(maps=tuple(map(str, tree["maps"])), kind=tree["kind"], overlap=float(tree["overlap"]),
                        spacing=(float(far), float(down), float(right)),
                        patch=(int(depth), int(height), int(width)), values=tuple(map(int, tree["values"])),
                        levels=tuple(map(Levels.from_json, tree["levels"])))
        except (KeyError, TypeError, ValueError) as fault:
            raise ModelError("the stored preprocessing of volumes cannot be used",
                             why=f"{type(fault).__name__}: {fault}") from None
        sound = 0 <= found.overlap < 1 and min(*found.patch, *found.spacing) > 0 and len(found.values) > 1
        if not found.maps or len(found.levels) != len(found.maps) or not sound:
            raise ModelError("the stored preprocessing of volumes cannot be used", why="its numbers do not fit")
        return found


def usual_spacing(volumes: Sequence[Volume]) -> Steps:
    """Return the median spacing of some volumes."""
    far, down, right = np.median([one.spacing for one in volumes], axis=0).round(6).tolist()
    return far, down, right


def usual_patch(extents: Sequence[Sequence[float]], spacing: Steps, *, multiple: Sequence[int]) -> Triple:
    """Return a patch that holds the usual volume, or the largest part of it that is not too large to train on.

    Args:
        extents: Millimetres of volumes along D, H and W.
        spacing: Of the grid.
        multiple: What the network's strides are along D, H and W: the sides are multiples of these.
    """
    sides = np.median(extents, axis=0) / spacing
    while np.prod(sides) > LARGEST and sides.max() > FEWEST:
        sides[int(sides.argmax())] *= 0.9
    d, h, w = (max(ceil(round(side, 3) / step), 1) * step for side, step in
               zip(np.maximum(sides, 1).tolist(), multiple, strict=True))
    return d, h, w
