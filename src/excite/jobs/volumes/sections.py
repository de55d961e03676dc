"""The whole config of a training on volumes."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from excite.config import Section
from excite.data.sections import SplitSection
from excite.data.volumes.sections import VolumeAugmentSection, VolumesSection
from excite.engine.sections import LoopSection, OptimSection, Positive, ScheduleSection
from excite.losses.sections import LossSection
from excite.models.sections import ModelSection


class VolumeModelSection(ModelSection):
    """Which network: modality_fusion, or any classifier, to which the maps are the channels of one volume."""

    name: str = "modality_fusion"
    weights: str | Path | None = None  # imagenet: weights of images, inflated


class VolumeLoopSection(LoopSection):
    """The training loop; patients are few and large."""

    epochs: Positive = 30
    batch_size: Positive = 8
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.95

    @model_validator(mode="after")
    def _fits(self) -> "VolumeLoopSection":
        if self.budget_minutes is not None or self.frozen_features:
            raise ValueError("budget_minutes and frozen_features are for tables of images: leave them out (of volumes: "
                             "--frozen-features, or a section nested)")
        return self


class VolumeOptimSection(OptimSection):
    """Optimiser and learning rates."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.01


class VolumeSplitSection(SplitSection):
    """How patients become train, val and test, or folds of which each is the test part once."""

    folds: Annotated[int, Field(ge=2)] | None = None
    fold: Positive | None = None  # which of them is tested; set by a cross-validation for each of its trainings

    @model_validator(mode="after")
    def _is_one_of_them(self) -> "VolumeSplitSection":
        if self.fold is not None and (self.folds is None or self.fold > self.folds):
            raise ValueError("fold must be one of split.folds")
        return self


class VolumeConfig(Section):
    """What `excite train` reads for volumes: configs/renal_fibrosis.yaml, options and --set."""

    task: Literal["volumes"] = "volumes"
    seed: int = 42
    volumes: VolumesSection = VolumesSection()
    split: VolumeSplitSection = VolumeSplitSection()
    augment: VolumeAugmentSection = VolumeAugmentSection()
    model: VolumeModelSection = VolumeModelSection()
    loss: LossSection = LossSection()
    optim: VolumeOptimSection = VolumeOptimSection()
    schedule: ScheduleSection = ScheduleSection()
    loop: VolumeLoopSection = VolumeLoopSection()

    @property
    def name(self) -> str:
        """Return what a run is called where nobody says: the name of its table."""
        return self.volumes.table.resolve().stem if self.volumes.table else "volumes"
