"""The config sections of the data side: table, split, preprocessing, augmentation, cache."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from excite.config import Section

Positive = Annotated[int, Field(ge=1)]
Fraction = Annotated[float, Field(ge=0.0, lt=1.0)]
Outlines = Literal["auto", "yes", "no"]


class DataSection(Section):
    """Which table, which columns, where the files are."""

    table: Path | None = None
    root: Path | None = None  # images are relative to it; None: to the table's folder
    layout: str = "auto"      # a name of layouts/, or auto
    image_col: str | None = None
    label_col: str | None = None
    patient_col: str | None = None
    group_col: str | None = None
    patient_from: str | None = None  # regex with one group, applied to the image path
    existing_only: bool = False
    classes: tuple[str, ...] | None = None  # order of the classes; None: sorted
    # Whether masks are strokes around the structure; auto: where every mask looks like one. YAML reads yes as true.
    outlines: Annotated[Outlines, BeforeValidator(lambda said: ("no", "yes")[said] if isinstance(said, bool) else said)
                        ] = "auto"


class SplitSection(Section):
    """How rows become train, val and test; fractions are of the whole."""

    val: Fraction = 0.16
    test: Fraction = 0.20
    seed: int = 42
    by: Literal["patient", "image"] = "patient"  # image: leaky, warned about in every report
    column: bool = True  # obey the table's own split column
    stratify: bool = True

    @model_validator(mode="after")
    def _leaves_training(self) -> "SplitSection":
        if self.val + self.test >= 1:
            raise ValueError("val and test together must leave something for training")
        return self


class PreprocessSection(Section):
    """From a decoded image to the network's input. One piece of code for training, prediction and export."""

    mode: Literal["letterbox", "crop"] = "letterbox"  # crop: short side to `resize`, then the centre
    size: Positive | tuple[Positive, Positive] = 224  # of the input: square, or height and width
    resize: Positive | None = None  # stored size of the longer side before the last step; None: 8/7 of it
    channels: Literal[1, 3] = 3     # grey pictures are repeated
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the input's height and width."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size


class AugmentSection(Section):
    """Random changes of a training image; every one is drawn from (seed, epoch, index)."""

    enabled: bool = True
    horizontal_flip: Fraction = 0.5  # probability
    vertical_flip: Fraction = 0.0
    rotation: Annotated[float, Field(ge=0, le=180)] = 15.0  # degrees, +-
    scale: Fraction = 0.15       # +-
    shift: Fraction = 0.08       # of the size, +-
    brightness: Fraction = 0.15  # of the range, +-
    contrast: Fraction = 0.2     # +-
    gamma: Fraction = 0.2        # exponent in 1/(1+g) .. 1+g


class CacheSection(Section):
    """Decoded images on disk, memory-mapped."""

    folder: Path | None = None  # None: EXCITE_CACHE, else the user's cache folder
    limit_gb: Annotated[float, Field(gt=0)] = 20.0
