"""The config sections of volumes: which maps of which patients, on which grid, at which levels, changed how."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from excite.config import Section
from excite.data.sections import Fraction

Positive = Annotated[int, Field(ge=1)]
Millimetres = Annotated[float, Field(gt=0)]


class VolumesSection(Section):
    """Which table, which of its columns, and the common grid of a patient's maps."""

    table: Path | None = None
    maps: tuple[str, ...] | None = None  # columns with volumes, in the order of the network's input; None: all of them
    clinical: tuple[str, ...] = ()       # columns of numbers beside the maps, such as age; an empty cell is missing
    label_col: str | None = None
    patient_col: str | None = None
    classes: tuple[str, ...] | None = None  # in their order, which counts where they are grades; None: sorted
    series: dict[str, str] = {}          # map -> pattern of its SeriesDescription, where a cell names a DICOM folder
    gaps: Literal["refuse", "unseen"] = "refuse"  # voxels of NaN are faults, or were not seen, as beyond the edge
    reference: str | None = None         # the map on whose place and axes the others are put; None: the first
    spacing: tuple[Millimetres, Millimetres, Millimetres] | None = None  # mm, D, H, W; None: usual of reference
    shape: tuple[Positive, Positive, Positive] | None = None  # voxels; None: what covers the usual reference map
    levels: Literal["map", "volume"] = "map"  # one scale for all patients, or each volume's own, for scans without unit


class VolumeAugmentSection(Section):
    """Random changes of a training patient, alike for all maps but for noise, bias and contrast."""

    enabled: bool = True
    flip: tuple[Annotated[int, Field(ge=0, le=2)], ...] = ()  # axes 0 D, 1 H, 2 W; organs have sides: none
    turn: tuple[Annotated[int, Field(ge=0, le=2)], ...] = (0,)
    rotation: Annotated[float, Field(ge=0, le=180)] = 10.0  # degrees, +-
    scale: Fraction = 0.1
    shift: Annotated[float, Field(ge=0)] = 5.0  # mm, +-
    # Of the levels' standard deviation, as noise. None: 0 for maps, whose very level may be the disease's; else 0.1.
    bias: Annotated[float, Field(ge=0)] | None = None
    contrast: Fraction | None = None
    gamma: Annotated[float, Field(ge=0)] = 0.0
    noise: Annotated[float, Field(ge=0)] = 0.1
