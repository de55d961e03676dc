"""The whole config of a training on volumes with label masks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from excite.attention.words import parse
from excite.config import Section
from excite.data.sections import SplitSection
from excite.data.volumes.mask_sections import MaskedAugmentSection, MaskedVolumesSection
from excite.engine.sections import LoopSection, OptimSection, Positive, ScheduleSection
from excite.losses.sections import LossSection, Weight
from excite.models.sections import AttentionSection, ModelSection


class MaskedModelSection(ModelSection):
    """Which network: a U-Net with SE in every block of encoder and decoder, unless `attention` says otherwise."""

    name: str = "unet"
    weights: str | Path | None = None
    attention: AttentionSection | None = AttentionSection()
    options: dict[str, Any] = Field(default_factory=lambda: {"encoder": "resnet20"})

    @field_validator("attention", mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        """Take a line of text, such as "se@2,3", and "none"."""
        return None if given == "none" else parse(given) if isinstance(given, str) else given


class MaskedLossSection(LossSection):
    """Dice of the classes but the background, summed over the batch, and cross-entropy, as nnU-Net has them."""

    name: Literal["dice_bce", "focal_tversky"] = "dice_bce"
    dice_weight: Weight = 1.0
    bce_weight: Weight = 1.0                      # of the cross-entropy
    over: Literal["image", "batch"] = "batch"
    background: bool = False                      # whether the Dice counts the background too


class MaskedLoopSection(LoopSection):
    """The training loop; one patch of each volume an epoch."""

    epochs: Positive = 40
    batch_size: Positive = 2
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.98
    monitor: Literal["loss", "dice", "iou"] = "dice"

    @model_validator(mode="after")
    def _fits(self) -> "MaskedLoopSection":
        if self.budget_minutes is not None or self.frozen_features or self.sampler != "shuffle":
            raise ValueError("budget_minutes, frozen_features and sampler are not for label volumes: leave them out")
        return self


class MaskedOptimSection(OptimSection):
    """Optimiser and learning rates."""

    lr: Annotated[float, Field(gt=0)] = 2e-3
    weight_decay: Annotated[float, Field(ge=0)] = 0.01


class MaskedVolumeConfig(Section):
    """What `excite train` reads for volumes with label masks: configs/hippocampus.yaml, options and --set."""

    task: Literal["volume_masks"] = "volume_masks"
    seed: int = 42
    volumes: MaskedVolumesSection = MaskedVolumesSection()
    split: SplitSection = SplitSection()
    augment: MaskedAugmentSection = MaskedAugmentSection()
    model: MaskedModelSection = MaskedModelSection()
    loss: MaskedLossSection = MaskedLossSection()
    optim: MaskedOptimSection = MaskedOptimSection()
    schedule: ScheduleSection = ScheduleSection()
    loop: MaskedLoopSection = MaskedLoopSection()

    @property
    def name(self) -> str:
        """Return what a run is called where nobody says: the name of its table."""
        return self.volumes.table.resolve().stem if self.volumes.table else "volumes"
