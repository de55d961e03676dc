"""The config section of the loss."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from excite.config import Section

Weight = Annotated[float, Field(ge=0)]
OF_MASKS = ("dice_bce", "focal_tversky")


class LossSection(Section):
    """What training minimises; the first three are of classes, the last two of masks; each has its own keys."""

    name: Literal["cross_entropy", "focal", "ordinal", "dice_bce", "focal_tversky"] = "cross_entropy"  # ordinal: grades
    class_weights: Literal["none", "balanced"] = "balanced"              # of classes
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05          # of classes
    focal_gamma: Weight = 2.0                                            # focal
    dice_weight: Weight = 0.5                                            # dice_bce
    bce_weight: Weight = 0.5                                             # dice_bce
    form: Literal["semimetric", "linear", "squared"] = "semimetric"      # dice_bce, focal_tversky
    over: Literal["image", "batch"] = "image"                            # dice_bce, focal_tversky: overlap of each
    smooth: float = 1.0                                                  # pixels; dice_bce, focal_tversky
    missed: Weight = 0.7                                                 # alpha of focal_tversky
    false: Weight = 0.3                                                  # beta of focal_tversky
    tversky_gamma: float = 4 / 3                                         # focal_tversky

    @field_validator("smooth")
    @classmethod
    def _smooth(cls, given: float) -> float:
        if not 0 < given < float("inf"):
            raise ValueError("must be a number above 0 (an empty mask would give 0 / 0)")
        return given

    @field_validator("tversky_gamma")
    @classmethod
    def _gamma(cls, given: float) -> float:
        if not 1 <= given < float("inf"):
            raise ValueError("must be at least 1 (the power is 1 / gamma: for a port's 0.75 give 4/3)")
        return given

    @field_validator("form")
    @classmethod
    def _form(cls, given: str, info: ValidationInfo) -> str:
        if given == "squared" and info.data.get("name") == "focal_tversky":
            raise ValueError("must be semimetric or linear for focal Tversky")
        return given

    @property
    def of_masks(self) -> bool:
        """Return whether it compares masks, not classes."""
        return self.name in OF_MASKS
