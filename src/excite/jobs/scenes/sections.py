"""The whole config of a training on a scene."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from excite.config import Section
from excite.data.scenes.sections import ReductionSection, SceneAugmentSection, SceneSection, SceneSplitSection
from excite.engine.sections import LoopSection, OptimSection, Positive, ScheduleSection
from excite.errors import UsageError
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
    border: Literal["reflect", "zero"] | None = None  # the scene's mirror image, or the training mean; None: zero for a
    # table of cubes, else reflect
    augment: SceneAugmentSection = SceneAugmentSection()
    model: SceneModelSection = SceneModelSection()
    loss: LossSection = LossSection()
    optim: SceneOptimSection = SceneOptimSection()
    schedule: ScheduleSection = ScheduleSection()
    loop: SceneLoopSection = SceneLoopSection()
    baselines: tuple[Literal["svm", "forest", "cnn"], ...] = ("svm", "forest")
    repeats: Positive = 1  # trainings with other seeds, of which the last numbers are told together

    @property
    def name(self) -> str:
        """Return what a run is called where nobody says: the name of its cube or table."""
        source = self.scene.table or self.scene.cube
        return source.resolve().stem if source else "scene"


def with_defaults(config: SceneConfig) -> SceneConfig:
    """Return the config with what depends on its data filled in: the kind of split, and what lies beyond the border.

    Raises:
        UsageError: a border or split that one cube, or a table of them, cannot have.
    """
    table = config.scene.table is not None
    if table and config.border == "reflect":
        raise UsageError("border must be zero for a table of cubes, got reflect",
                         why="the cubes lie side by side, and between them nothing can be mirrored",
                         fix="leave border out")
    if config.split.kind == ("given" if table else "patient"):
        raise UsageError(f"split.kind must be {'patient, block or random for a table of cubes' if table else ''}"
                         f"{'' if table else 'block, random or given for one cube'}, got {config.split.kind}",
                         fix="leave it out" if table else "name a table of the patients' cubes: excite train TABLE.csv")
    split = config.split.model_copy(update={"kind": config.split.kind or ("patient" if table else "block")})
    return config.model_copy(update={"border": config.border or ("zero" if table else "reflect"), "split": split})
