"""The config sections of a hyperspectral scene: its files, its split, its bands, changes of its windows."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from excite.config import Section
from excite.data.sections import Fraction, Positive

Band = Annotated[int, Field(ge=0)]


def bands_of(text: str) -> tuple[int, ...]:
    """Return the bands in "104-108,150": numbers and runs.

    Raises:
        ValueError: it is something else; who reads the text says where it stands.
    """
    found: list[int] = []
    for part in text.split(","):
        first, dash, last = (one.strip() for one in part.partition("-"))
        if not first.isdecimal() or (dash and (not last.isdecimal() or int(last) < int(first))):
            raise ValueError("must be numbers and runs of them, from 0, such as 104-108,150")
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


class SceneSection(Section):
    """Which cube, which labels, and what is to be left out; the words are those of `open_scene`.

    Bands to drop may be a text such as 104-108,150 too, and class names one with commas, as they are typed.
    """

    table: Path | None = None          # of several cubes, instead of cube and labels
    cube: Path | None = None
    labels: Path | None = None         # None: the cube's file holds abundances
    variable: str | None = None        # of a file with several arrays; None: the only one that can be the cube
    label_variable: str | None = None
    classes: tuple[str, ...] | None = None  # names of the classes 1, 2, ...
    drop_classes: tuple[str, ...] = ()  # that are not learnt, by name
    purest: Annotated[float, Field(gt=0, le=1)] | None = None  # least abundance of a labelled pixel
    wavelengths: tuple[float, ...] | None = None  # nanometres, of all bands of the file
    drop_bands: tuple[Band, ...] = ()  # counted from 0, for example those of water vapour
    no_data: float | Literal["nan"] | None = None
    white: Path | None = None          # references for reflectance: both or none
    dark: Path | None = None

    @field_validator("drop_bands", mode="before")
    @classmethod
    def _typed_bands(cls, value: object) -> object:
        return bands_of(str(value)) if isinstance(value, str) or type(value) is int else value

    @field_validator("classes", "drop_classes", mode="before")
    @classmethod
    def _typed_names(cls, value: object) -> object:
        return tuple(name.strip() for name in value.split(",")) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _both_references(self) -> "SceneSection":
        if (self.white is None) != (self.dark is None):
            raise ValueError("white and dark go together: give both or none")
        return self

    @model_validator(mode="after")
    def _table_or_cube(self) -> "SceneSection":
        if self.table is not None and (self.cube, self.labels, self.purest) != (None, None, None):
            raise ValueError("a table names its cubes and the files of their labels: leave out cube, labels and purest")
        return self


class SceneSplitSection(Section):
    """Which pixels or patients are trained on; the rest of train and val is tested on."""

    # None: patient for a table of cubes, else block. random: leaky, warned about in every report
    kind: Literal["block", "random", "given", "patient"] | None = None
    train: Annotated[float, Field(gt=0, lt=1)] = 0.6
    val: Fraction = 0.15
    block: Positive | None = None  # pixels along a block; None tries many
    guard: Literal["pixel", "window"] = "pixel"  # window: no pixel in a training and in a test window
    seed: Annotated[int, Field(ge=0)] = 345
    train_map: Path | None = None  # of kind given
    val_map: Path | None = None
    test_map: Path | None = None

    @model_validator(mode="after")
    def _fits(self) -> "SceneSplitSection":
        if self.train + self.val >= 1:
            raise ValueError("train and val together must leave something to test on")
        maps = self.train_map is not None, self.test_map is not None
        if self.kind == "given" and not all(maps):
            raise ValueError("kind given needs train_map and test_map")
        if self.kind != "given" and (any(maps) or self.val_map is not None):
            raise ValueError("train_map, val_map and test_map go with kind given")
        return self


class ReductionSection(Section):
    """From bands to the values that a network sees."""

    kind: Literal["pca", "bands", "none"] = "pca"
    components: Positive | None = None  # of pca; None: 15, or as many as there are bands
    whiten: bool = False
    scale: Literal["together", "each", "none"] = "together"  # each: noisy components weigh as much as the first
    bands: tuple[Band, ...] | None = None  # of kind bands, counted from 0 after drop_bands
    nanometres: tuple[float, ...] | None = None  # or by wavelength
    fit_on: Literal["training pixels", "all pixels"] = "training pixels"  # all pixels: the usual leaky way

    @model_validator(mode="after")
    def _fits(self) -> "ReductionSection":
        if (self.kind == "bands") != ((self.bands is None) != (self.nanometres is None)):
            raise ValueError("kind bands needs bands or nanometres, one of the two; other kinds take neither")
        if self.kind != "pca" and (self.components is not None or self.whiten):
            raise ValueError("components and whiten go with kind pca")
        return self


class SceneAugmentSection(Section):
    """Random changes of a training window; every one is drawn from (seed, epoch, pixel)."""

    enabled: bool = True
    horizontal_flip: Fraction = 0.5  # probability
    vertical_flip: Fraction = 0.5
    quarter_turns: bool = True
    gain: Fraction = 0.1     # of the whole spectrum, +-
    offset: Fraction = 0.02  # of the mean level, added to every band, +-
    noise: Annotated[float, Field(ge=0)] = 0.02  # in standard deviations of the training pixels
