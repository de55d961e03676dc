"""The whole config of a training on a scene."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from excite.config import Section
from excite.data.scenes.sections import ReductionSection, SceneAugmentSection, SceneSection, SceneSplitSection
from excite.engine.sections import LoopSection, OptimSection, Positive, ScheduleSection
from excite.losses.sections import LossSection
from excite.models.sections import ModelSection


class SceneModelSection(ModelSection):
    """Which network; `weights` takes a bundle of another scene, or a weights file."""

    name: str = "hybridsn"
    weights: str | Path | None = None


class SceneLoopSection(LoopSection):
    """The training loop; windows are many and small."""

    epochs: Positive = 40
    batch_size: Positive = 32
    early_stopping: Positive | None = 12

    @model_validator(mode="after")
    def _fits(self) -> "SceneLoopSection":
        if self.budget_minutes is not None or self.frozen_features:
            raise ValueError("budget_minutes and frozen_features are for tables of images: leave them out")
        return self


class SceneOptimSection(OptimSection):
    """Optimiser and learning rates."""

    weight_decay: Annotated[float, Field(ge=0)] = 0.01


class SceneConfig(Section):
    """What `excite train` reads for a scene: configs/scene.yaml, options and --set."""

    task: Literal["scene"] = "scene"
    seed: int = 42
    scene: SceneSection = SceneSection()
    split: SceneSplitSection = SceneSplitSection()
    reduction: ReductionSection = ReductionSection()
    window: Positive = 11  # pixels along a window
    border: Literal["reflect", "zero"] = "reflect"  # beyond the scene: its mirror image, or the training mean
    augment: SceneAugmentSection = SceneAugmentSection()
    model: SceneModelSection = SceneModelSection()
    loss: LossSection = LossSection()
    optim: SceneOptimSection = SceneOptimSection()
    schedule: ScheduleSection = ScheduleSection()
    loop: SceneLoopSection = SceneLoopSection()
    baselines: tuple[Literal["svm", "forest", "cnn"], ...] = ("svm", "forest")
    repeats: Positive = 1  # trainings with other seeds, of which the last numbers are told together
