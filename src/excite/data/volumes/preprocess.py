"""From a patient's volumes to the network's input, in training and prediction alike: one grid, then levels."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.clinical import ClinicalColumn, doubts_of, scaled
from excite.data.volumes.grid import Grid, resampled
from excite.data.volumes.levels import Kind, Levels
from excite.data.volumes.volume import Volume
from excite.errors import DataError, ModelError

Floats = NDArray[np.float32]
Shape = tuple[int, int, int]
Steps = tuple[float, float, float]
LARGEST = (64, 128, 128)  # voxels of a grid that nobody asked for
STEP = (4, 16, 16)        # its sides are multiples of these


@dataclass(frozen=True, kw_only=True)
class VolumePreprocess:
    """A patient's maps on one grid around the middle of the reference, and their levels.

    Args:
        maps: Names, in the order of the channels.
        reference: The one whose middle and axes the grid has; where a patient lacks it, the first that is there.
        shape: Voxels along D, H and W.
        spacing: Millimetres along D, H and W.
        kind: Of the levels.
        levels: Of each map; empty until they are learnt.
        clinical: Columns of numbers beside the maps, at the training part's scale; empty until it is learnt.
    """

    maps: tuple[str, ...]
    reference: str
    shape: Shape
    spacing: Steps
    kind: Kind = "map"
    levels: tuple[Levels, ...] = ()
    clinical: tuple[ClinicalColumn, ...] = ()

    @property
    def stored_key(self) -> dict[str, Any]:
        """Return what `store` depends on besides the files."""
        return {"maps": list(self.maps), "reference": self.reference, "shape": list(self.shape),
                "spacing": list(self.spacing)}

    def store(self, volumes: Mapping[str, Volume]) -> Floats:
        """Return a patient's maps on the grid, in their own units; NaN where nothing was seen, a missing map all over.

        Shape:
            (M, D, H, W)

        Raises:
            DataError: there is no map, or one lies altogether outside the grid.
        """
        first = next((volumes[name] for name in (self.reference, *self.maps) if name in volumes), None)
        if first is None:
            raise DataError("the patient has none of the maps", why=f"they are {', '.join(self.maps)}")
        grid = Grid.of(first).centred(shape=self.shape, spacing=self.spacing)
        found = np.full((len(self.maps), *self.shape), np.nan, np.float32)
        for place, name in enumerate(self.maps):
            if name in volumes:
                found[place] = resampled(volumes[name], grid)
                if np.isnan(found[place]).all() and volumes[name] is first:
                    raise DataError(f"no voxel of the grid lies in the {name}", where=first.source,
                                    why=f"it reaches over {_by(Grid.of(first).extent)} mm (D x H x W), the voxels of "
                                        f"the grid are {_by(self.spacing)} mm apart",
                                    fix="check its header, or leave it out")
                if np.isnan(found[place]).all():
                    raise DataError(f"the {name} shows nothing of where the reference is", where=volumes[name].source,
                                    why="their places in the scanner's millimetres do not meet",
                                    fix="check that both are of one patient and one session")
        return found

    def fit(self, stored: Iterable[Floats]) -> "VolumePreprocess":
        """Return the same with levels learnt from stored training patients."""
        kept = list(stored)
        levels = []
        for place, name in enumerate(self.maps):
            there = [one[place] for one in kept if not np.isnan(one[place]).all()]
            if not there:
                raise DataError(f"no training patient has the {name}", fix="leave the map out: --maps")
            levels.append(Levels.fit(there, kind=self.kind))
        return replace(self, levels=tuple(levels))

    def fit_clinical(self, names: Sequence[str], values: Floats) -> "VolumePreprocess":
        """Return the same with the scale of clinical columns learnt from training patients.

        Shape:
            values (N, C), NaN where one is missing

        Raises:
            DataError: a column holds no value, or the same one everywhere.
        """
        columns = tuple(ClinicalColumn.fit(name, column) for name, column in zip(names, values.T, strict=True))
        return replace(self, clinical=columns)

    @property
    def columns(self) -> tuple[str, ...]:
        """Return the names of the clinical columns."""
        return tuple(one.name for one in self.clinical)

    def scale(self, values: Floats) -> Floats:
        """Return clinical values as the network takes them, (N, C); NaN, a missing one, stays."""
        return scaled(self.clinical, values)

    def normalise(self, stored: Floats) -> Floats:
        """Return stored maps as the network takes them; a missing one is 0 all over.

        Shape:
            (M, D, H, W)
        """
        return np.stack([level.apply(one) for level, one in zip(self.levels, stored, strict=True)])

    def doubts(self, stored: Floats, clinical: Sequence[float] = ()) -> list[str]:
        """Return a sentence for each map and each clinical value whose level is not that of the training."""
        said = [(name, level.suspicious(one)) for name, level, one in
                zip(self.maps, self.levels, stored, strict=True) if not np.isnan(one).all()]
        return [*(f"{name}: {text}" for name, text in said if text),
                *doubts_of(self.clinical if len(clinical) else (), clinical)]

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        found = {**self.stored_key, "kind": self.kind, "levels": [one.to_json() for one in self.levels]}
        return found | ({"clinical": [one.to_json() for one in self.clinical]} if self.clinical else {})

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "VolumePreprocess":
        """Return the preprocessing that `to_json` wrote.

        Raises:
            ModelError: something is missing or not of its kind.
        """
        try:
            (depth, height, width), (far, down, right) = tree["shape"], tree["spacing"]
            found = cls(maps=tuple(map(str, tree["maps"])), reference=str(tree["reference"]), kind=tree["kind"],
                        shape=(int(depth), int(height), int(width)), spacing=(float(far), float(down), float(right)),
                        levels=tuple(map(Levels.from_json, tree["levels"])),
                        clinical=tuple(map(ClinicalColumn.from_json, tree.get("clinical", ()))))
        except (AttributeError, KeyError, TypeError, ValueError) as fault:
            raise ModelError("the stored preprocessing of volumes cannot be used",
                             why=f"{type(fault).__name__}: {fault}") from None
        if not found.maps or len(found.levels) != len(found.maps) or min(*found.shape, *found.spacing) <= 0:
            raise ModelError("the stored preprocessing of volumes cannot be used", why="its numbers do not fit")
        return found


def _by(numbers: Iterable[float]) -> str:
    return " x ".join(f"{number:g}" for number in numbers)


def usual_grid(grids: Sequence[Grid], *, shape: Shape | None, spacing: Steps | None) -> tuple[Shape, Steps]:
    """Return the shape and spacing that cover the usual extent of reference volumes, where they are not given.

    The spacing is the median one, coarser where the grid would have more than 64 x 128 x 128 voxels.
    """
    extent = np.median([grid.extent for grid in grids], axis=0)
    steps = np.array(spacing if spacing is not None else np.median([grid.spacing for grid in grids], axis=0))
    if shape is None:
        if spacing is None:
            steps = np.maximum(steps, extent / np.array(LARGEST))
            steps[1:] = steps[1:].max()  # square in the plane
        counts = np.ceil(np.round(extent / steps, 3) / STEP).astype(int) * STEP
    else:
        counts = np.array(shape)
        if spacing is None:
            steps = np.maximum(steps, extent / counts)
    (depth, height, width), (far, down, right) = counts.tolist(), steps.tolist()
    return (depth, height, width), (far, down, right)
