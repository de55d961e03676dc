"""Learning rate over time: pure functions of step, epoch and history, so a resumed run needs no scheduler's state."""

import math
from collections.abc import Sequence

from excite.engine.sections import ScheduleSection

# One-cycle: the first rate is the highest / 25, the last one the first / 10,000.
ONECYCLE_START, ONECYCLE_END = 25.0, 1e4
PLATEAU_THRESHOLD = 1e-4  # a better value is better by this share


def rate(section: ScheduleSection, *, step: int, steps: int, epoch: int, history: Sequence[float | None],
         lower_is_better: bool = True) -> float:
    """Return what every group's learning rate is multiplied by.

    Groups differ by a constant factor of their own, which no schedule overwrites. A frozen trunk is frozen by
    requires_grad=False, never by a rate of 0.

    Args:
        step: Optimiser steps done before this one.
        steps: Optimiser steps of the whole training.
        epoch: Epochs done before this one.
        history: The watched validation value of each epoch done; None where it is not defined.
        lower_is_better: Whether a smaller value in `history` is the better one.

    Source: "step", "plateau" and "onecycle" give what torch.optim.lr_scheduler's StepLR, ReduceLROnPlateau and
        OneCycleLR (anneal_strategy "cos", cycle_momentum False) give; "cosine" is CosineAnnealingLR to 0 after a
        linear warm-up; Loshchilov and Hutter, arXiv:1608.03983, eq. 5; Smith and Topin, arXiv:1708.07120.
    """
    if section.name == "step":
        return section.gamma ** (epoch // section.step_size)
    if section.name == "cosine":
        return _cosine(step, steps, round(section.warmup * steps))
    if section.name == "onecycle":
        return _onecycle(step, steps, section.warmup)
    if section.name == "plateau":
        return section.gamma ** _reductions(history, section.patience, lower_is_better)
    return 1.0


def _cosine(step: int, steps: int, warmup: int) -> float:
    if step < warmup:
        return (step + 1) / (warmup + 1)
    return (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup))) / 2


def _onecycle(step: int, steps: int, warmup: float) -> float:
    start = 1 / ONECYCLE_START
    end = start / ONECYCLE_END
    peak, last = warmup * steps - 1, steps - 1
    if step <= peak:
        return _blend(start, 1.0, step / peak if peak else 1.0)
    return _blend(1.0, end, (step - peak) / (last - peak) if last > peak else 1.0)


def _blend(first: float, second: float, share: float) -> float:
    return second + (first - second) / 2 * (1 + math.cos(math.pi * share))


def _reductions(history: Sequence[float | None], patience: int, lower_is_better: bool) -> int:
    """Return how often the rate has been reduced: each time after more than `patience` epochs without a better value.

    A value that is not defined is not better.
    """
    best, bad, reductions = math.inf, 0, 0
    for value in history:
        cost = math.inf if value is None else value if lower_is_better else -value
        if cost < best - PLATEAU_THRESHOLD * (abs(best) if math.isfinite(best) else 0):
            best, bad = cost, 0
        else:
            bad += 1
        if bad > patience:
            reductions, bad = reductions + 1, 0
    return reductions
