"""The schedules are pure functions, and give what torch's stateful ones give."""

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch.optim import SGD, lr_scheduler

from excite.engine.schedule import rate
from excite.engine.sections import ScheduleSection


def theirs(build: object, count: int, values: list[float] | None = None) -> Iterator[float]:
    optimiser = SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build(optimiser)  # type: ignore[operator]
    for place in range(count):
        yield optimiser.param_groups[0]["lr"]
        optimiser.step()
        schedule.step(values[place]) if values else schedule.step()


def by_step(section: ScheduleSection, steps: int) -> list[float]:
    return [rate(section, step=step, steps=steps, epoch=0, history=[]) for step in range(steps)]


def test_step_is_torchs() -> None:
    section = ScheduleSection(name="step", step_size=7, gamma=0.1)
    ours = [rate(section, step=0, steps=1, epoch=epoch, history=[]) for epoch in range(40)]
    np.testing.assert_allclose(ours, list(theirs(lambda o: lr_scheduler.StepLR(o, 7, 0.1), 40)), rtol=1e-12)
    assert 1e-3 * ours[21] == pytest.approx(1e-6)            # from 0.001: a millionth at epoch 22
    assert sum(ours[:7]) / sum(ours) == pytest.approx(0.9, abs=1e-3)  # nine tenths of the way in 7 epochs


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.1), (37, 0.3), (50, 0.02)])
def test_cosine_is_torchs_after_a_linear_warm_up(steps: int, warmup: float) -> None:
    first = round(warmup * steps)
    reference = theirs(lambda o: lr_scheduler.SequentialLR(o, [
        lr_scheduler.LinearLR(o, start_factor=1 / (first + 1), total_iters=first),
        lr_scheduler.CosineAnnealingLR(o, T_max=steps - first)], [first]), steps)
    np.testing.assert_allclose(by_step(ScheduleSection(name="cosine", warmup=warmup), steps), list(reference),
                               rtol=1e-9, atol=1e-12)


def test_cosine_without_warm_up_is_torchs() -> None:
    reference = theirs(lambda o: lr_scheduler.CosineAnnealingLR(o, T_max=60), 60)
    np.testing.assert_allclose(by_step(ScheduleSection(name="cosine", warmup=0), 60), list(reference), rtol=1e-9,
                               atol=1e-12)


@pytest.mark.parametrize(("steps", "warmup"), [(100, 0.3), (37, 0.1), (10, 0.5), (9, 0.0), (12, 1.0)])
def test_one_cycle_is_torchs(steps: int, warmup: float) -> None:
    reference = theirs(lambda o: lr_scheduler.OneCycleLR(o, max_lr=1.0, total_steps=steps + 1, pct_start=warmup,
                                                         cycle_momentum=False), steps)
    # One step more there: torch counts the call after the last step.
    ours = [rate(ScheduleSection(name="onecycle", warmup=warmup), step=step, steps=steps + 1, epoch=0, history=[])
            for step in range(steps)]
    np.testing.assert_allclose(ours, list(reference), rtol=1e-9, atol=1e-12)


def test_one_cycle_ends_at_its_last_rate() -> None:
    rates = by_step(ScheduleSection(name="onecycle", warmup=0.25), 40)
    assert (rates[0], max(rates), rates[-1]) == pytest.approx((1 / 25, 1.0, 1 / 25e4))


@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("seed", range(5))
def test_plateau_is_torchs(lower: bool, seed: int) -> None:
    values = [float(one) for one in np.random.default_rng(seed).normal(1, 0.3, 60).round(2)]
    values[30] = math.nan
    section = ScheduleSection(name="plateau", gamma=0.5, patience=2)
    reference = theirs(lambda o: lr_scheduler.ReduceLROnPlateau(o, "min" if lower else "max", factor=0.5, patience=2,
                                                                eps=0), 60, values)
    known = [None if math.isnan(one) else one for one in values]  # what is not defined is not better
    ours = [rate(section, step=0, steps=1, epoch=epoch, history=known[:epoch], lower_is_better=lower)
            for epoch in range(60)]
    assert len(set(ours)) > 4
    np.testing.assert_allclose(ours, list(reference), rtol=1e-12)


def test_constant_is_constant() -> None:
    assert set(by_step(ScheduleSection(name="constant"), 9)) == {1.0}
