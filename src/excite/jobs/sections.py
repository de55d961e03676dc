"""The whole config of a training run: every part's section under one roof."""

from typing import Literal

from excite.config import Section
from excite.data.sections import AugmentSection, CacheSection, DataSection, PreprocessSection, SplitSection
from excite.deploy.sections import PredictSection
from excite.engine.sections import LoopSection, OptimSection, ScheduleSection
from excite.losses.sections import LossSection
from excite.models.sections import ModelSection


class TrainConfig(Section):
    """What `excite train` reads: configs/*.yaml, options and --set."""

    task: Literal["auto", "classification", "segmentation", "heads"] = "auto"  # auto: what the table is for
    seed: int = 42
    data: DataSection = DataSection()
    split: SplitSection = SplitSection()
    preprocess: PreprocessSection = PreprocessSection()
    augment: AugmentSection = AugmentSection()
    cache: CacheSection = CacheSection()
    model: ModelSection = ModelSection()
    loss: LossSection = LossSection()
    optim: OptimSection = OptimSection()
    schedule: ScheduleSection = ScheduleSection()
    loop: LoopSection = LoopSection()
    predict: PredictSection = PredictSection()
