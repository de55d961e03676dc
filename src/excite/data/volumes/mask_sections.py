"""The config sections of volumes with label masks: which table, which grid, which patches, changed how."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from excite.config import Section
from excite.data.volumes.sections import Millimetres, Positive, VolumeAugmentSection


class MaskedVolumesSection(Section):
    """Which table, which of its columns, and how volumes come to the network."""

    table: Path | None = None             # a table, or a folder with the dataset.json of the Decathlon
    maps: tuple[str, ...] | None = None   # columns with volumes, the first giving the grid; None: all but the masks
    mask_col: str | None = None           # column with label volumes; None: mask, label, seg, ...
    patient_col: str | None = None
    classes: tuple[str, ...] | None = None  # names of the labels 0, 1, 2, ... in order; None: dataset.json, numbers
    series: dict[str, str] = {}           # map -> pattern of its SeriesDescription, where a cell names a DICOM folder
    gaps: Literal["refuse", "unseen"] = "refuse"
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None  # mm, D, H, W; None: the usual one
    patch: tuple[Positive, Positive, Positive] | None = None  # voxels of the input; None: the usual volume's
    levels: Literal["volume", "map"] = "volume"  # each volume's own, for scans without unit; or one scale for all
    overlap: Annotated[float, Field(ge=0, lt=1)] = 0.5  # of patches, in prediction
    foreground: Annotated[float, Field(ge=0, le=1)] = 0.33  # share of training patches around a labelled voxel


class MaskedAugmentSection(VolumeAugmentSection):
    """Random changes of a training patch, image and labels moved alike."""

    # None: all three where voxels are nearly cubes, else D alone.
    turn: tuple[Annotated[int, Field(ge=0, le=2)], ...] | None = None  # type: ignore[assignment]
    rotation: Annotated[float, Field(ge=0, le=180)] = 15.0
    shift: Annotated[float, Field(ge=0)] = 0.0  # mm, +-; patches are placed at random anyway
    gamma: Annotated[float, Field(ge=0)] = 0.2
