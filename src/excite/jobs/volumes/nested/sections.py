"""The config of a nested cross-validation: a training's, of which only a small head is left to learn."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from excite.config import Section
from excite.engine.sections import Positive
from excite.jobs.volumes.sections import VolumeConfig

Penalty = Annotated[float, Field(gt=0)]


class NestedSection(Section):
    """What a head learns from, and between which heads the inner folds choose."""

    features: Literal["pooled", "levels", "none"] = "pooled"  # of a trunk; simple numbers of each map; clinical alone
    inner: Annotated[int, Field(ge=2)] = 5
    penalties: Annotated[tuple[Penalty, ...], Field(min_length=1)] = (0.01, 0.1, 1.0, 10.0, 100.0)  # on squared weights
    components: Annotated[tuple[Positive | None, ...], Field(min_length=1)] = (5, 20, None)  # principal; null: all

    @model_validator(mode="after")
    def _ordered(self) -> "NestedSection":
        if list(self.penalties) != sorted(set(self.penalties)):
            raise ValueError("penalties must be increasing")
        return self


class NestedConfig(VolumeConfig):
    """What `excite train --frozen-features` reads for volumes; what is of training networks plays no part."""

    nested: NestedSection = NestedSection()

    @model_validator(mode="after")
    def _goes_together(self) -> "NestedConfig":
        if self.split.fold is not None:
            raise ValueError("split.fold must be left out: a nested cross-validation tests every fold")
        if self.nested.features == "none" and not self.volumes.clinical:
            raise ValueError("nested.features=none needs volumes.clinical: there is nothing else to learn from")
        if self.nested.features == "levels" and self.volumes.levels != "map":
            raise ValueError("nested.features=levels needs volumes.levels=map: without a unit, the mean of a map says "
                             "nothing")
        return self
