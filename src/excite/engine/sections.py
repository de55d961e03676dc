"""The config sections of training: optimiser, schedule, loop."""

from typing import Annotated, Literal

from pydantic import Field

from excite.config import Section

Positive = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class OptimSection(Section):
    """Optimiser and learning rates."""

    name: Literal["sgd", "adam", "adamw"] = "adamw"
    lr: Annotated[float, Field(gt=0)] = 1e-3
    momentum: Share = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 0.02  # never on norms, biases and gates' scales
    trunk_lr: Annotated[float, Field(gt=0)] = 1.0       # times lr, for loaded weights
    gate_lr: Annotated[float, Field(gt=0)] = 1.0        # times lr, for attention
    clip: Annotated[float, Field(gt=0)] | None = None   # gradient norm


class ScheduleSection(Section):
    """Learning rate over time; `step` and `plateau` move once an epoch, `cosine` and `onecycle` every step."""

    name: Literal["constant", "step", "cosine", "plateau", "onecycle"] = "cosine"
    warmup: Share = 0.1            # share of all steps; cosine and onecycle
    step_size: Positive = 7        # epochs; step
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1  # step, plateau
    patience: Positive = 5         # epochs; plateau


class LoopSection(Section):
    """The training loop."""

    epochs: Positive = 20
    budget_minutes: Annotated[float, Field(gt=0)] | None = None  # fits the epochs to this time
    batch_size: Positive = 32
    accumulate: Positive = 1       # batches a step
    sampler: Literal["shuffle", "balanced"] = "shuffle"
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # auto: bfloat16 where measured faster
    channels_last: bool | None = None  # in memory; None: as the network is faster
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.98    # decay of the averaged weights; 0: off
    early_stopping: Positive | None = None             # epochs without a better validation value
    monitor: Literal["loss", "balanced_accuracy", "macro_auroc", "dice", "iou"] = "loss"
    freeze_epochs: Annotated[int, Field(ge=0)] = 0     # the trunk, BatchNorm with it, stays put so long
    frozen_features: bool = False  # only a classifier's head learns, on vectors that the trunk gives once
    feature_views: Positive = 4    # with frozen_features: the image, its mirror image, drawn changes
    trunk_statistics: Literal["train", "frozen"] = "train"  # of a free trunk's BatchNorm: measured anew, or as loaded
    checkpoint_seconds: Annotated[float, Field(gt=0)] = 60.0
    threads: Positive | None = None                    # None: the cores of this process
