"""The config section of the loss."""

from typing import Annotated, Literal

from pydantic import Field

from excite.config import Section


class LossSection(Section):
    """Cross-entropy or focal loss, and what is done about rare classes."""

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    class_weights: Literal["none", "balanced"] = "balanced"
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.05
    focal_gamma: Annotated[float, Field(ge=0)] = 2.0
