"""From the runs of a study to its numbers: read, checked to be on the same test images, compared, timed."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from excite.deploy.bundle import read_bundle
from excite.deploy.runtime import Predictor
from excite.errors import UsageError
from excite.jobs import run_folder as files
from excite.jobs.compare.images import tested_images
from excite.jobs.compare.same import order_of
from excite.jobs.compare.tested import Tested
from excite.jobs.evaluation_data import read_json
from excite.jobs.run_folder import read_events
from excite.jobs.study.defined import on_common_images
from excite.jobs.study.metric import check_metric
from excite.jobs.study.plan import Planned
from excite.jobs.study.times import BLANK, TIMES, kept_times, told
from excite.metrics.arms import Comparison, Drawn, Estimate, compare_arms, drawn, pair
from excite.metrics.direction import direction, unit_of
from excite.metrics.measured import UNPROVEN
from excite.models.cost import Cost
from excite.progress import Progress

BESIDE = {"classification": ("accuracy", "auroc_macro", "f1_macro", "ece"),
          "segmentation": ("iou", "sensitivity", "specificity"), "heads": ("dice", "found")}


@dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm of a study.

    Args:
        value: The metric's mean over seeds.
        difference: From the baseline; None for itself.
        best: Chance to be the best.
        ranks: 95 % range.
        seeds: The metric of each training.
        beside: Means of other numbers.
        turns: Milliseconds of one image through the bundle, one thread, turn by turn with the other arms.
        train_seconds: Mean of a training's epochs.
    """

    name: str
    value: Estimate
    difference: Estimate | None
    best: float
    ranks: tuple[int, int]
    seeds: list[float]
    beside: dict[str, float]
    cost: Cost
    turns: Sequence[float]
    train_seconds: float

    @property
    def milliseconds(self) -> float:
        """Return the milliseconds that stand for the turns."""
        return told(self.turns)


@dataclass(frozen=True, kw_only=True)
class Results:
    """What a study found; arms in their order, the baseline first.

    Args:
        better: 1 where more of the metric is better, -1 where less is.
        simulated: The data are.
        unproven: Trainings that are not shown to be better than one answer for every image, by arm.
        missed: What has to be known of images that lack the metric.
        failed: Runs that failed, (arm, seed, error).
        notes: What was decided, and what the runs have to say.
    """

    metric: str
    better: int
    arms: list[ArmResult]
    drawn: Drawn
    comparison: Comparison
    seeds: tuple[int, ...]
    images: int
    units: int
    unit_kind: str
    machine: str
    simulated: bool = False
    unproven: dict[str, int] = field(default_factory=dict)
    missed: list[str] = field(default_factory=list)
    failed: list[tuple[str, int, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def between(self, first: int, second: int) -> Estimate:
        """Return how much the second arm is above the first."""
        return pair(self.drawn, first, second)


def results_of(planned: Planned, failed: dict[tuple[str, int], str], *, progress: Progress) -> Results:
    """Return what a study found.

    Raises:
        UsageError: fewer than two arms are whole, or the metric is none of the work's.
        DataError: runs were tested on different images.
    """
    broken = {arm for arm, _ in failed}
    arms = [arm for arm in planned.arms if arm.name not in broken]
    if len(arms) < 2 or planned.arms[0].name in broken:
        first = next(iter(failed.items()))
        raise UsageError(f"runs of {', '.join(sorted(broken))} failed, and nothing is left to compare with"
                         if planned.arms[0].name not in broken else
                         f"the baseline {planned.arms[0].name} failed, and the others are measured against it",
                         where=planned.out, why=f"{first[0][0]}, seed {first[0][1]}: {first[1]}",
                         fix="mend the cause; the same command trains what is missing")
    runs = [[_tested(planned.folder(arm, seed), progress) for seed in planned.seeds] for arm in arms]
    baseline = runs[0][0]
    orders = [[order_of(baseline, one, own=True)[1] for one in of_arm] for of_arm in runs]
    compared, missed = on_common_images(runs, [arm.name for arm in arms], planned.metric)
    sides = [[one.side(order, baseline.info.classes).measure() for one, order in zip(of_arm, of_orders, strict=True)]
             for of_arm, of_orders in zip(compared, orders, strict=True)]
    check_metric(planned.metric, list(sides[0][0](np.ones((1, len(baseline.files))))))
    better = direction(planned.metric)
    progress.say("comparing: resampling the test units of every run")
    found = drawn(sides, baseline.units, (planned.metric,))[planned.metric]
    comparison = compare_arms(found, better=better, share=unit_of(planned.metric)[1] == "points")
    times = kept_times(planned.out / TIMES, {arm.name: planned.folder(arm, planned.seeds[0]) / files.BUNDLE
                                             for arm in arms}, progress=progress)
    costs = {arm.name: cost for arm, cost in zip(planned.arms, planned.costs, strict=True)}
    each = [ArmResult(
        name=arm.name, value=comparison.arms[place], difference=comparison.differences[place],
        best=comparison.best[place], ranks=comparison.ranks[place], seeds=comparison.seeds[place],
        beside=_beside(planned, arm_sides, len(baseline.files)), cost=costs[arm.name], turns=times[arm.name],
        train_seconds=statistics.fmean(_seconds(planned.folder(arm, seed)) for seed in planned.seeds))
        for place, (arm, arm_sides) in enumerate(zip(arms, sides, strict=True))]
    return Results(metric=planned.metric, better=better, arms=each, drawn=found, comparison=comparison,
                   seeds=planned.seeds, images=len(baseline.files), units=found.units, unit_kind=baseline.unit_kind,
                   machine=_machine(planned, runs[0][0]), notes=_notes(planned, runs),
                   simulated=baseline.info.provenance.get("data", {}).get("simulated") is True,
                   unproven={arm.name: count for arm, of_arm in zip(arms, runs, strict=True)
                             if (count := sum(map(_unproven, of_arm)))},
                   missed=missed, failed=[(arm, seed, error) for (arm, seed), error in failed.items()])


def _tested(run: Path, progress: Progress) -> Tested:
    folder = run / files.BUNDLE
    return tested_images(run, folder, read_bundle(folder), None, progress=progress)


def _beside(planned: Planned, sides: Sequence[Any], count: int) -> dict[str, float]:
    """Return other numbers of an arm, means over its seeds."""
    found = [side(np.ones((1, count))) for side in sides]
    return {name: float(np.mean([one[name][0] for one in found])) for name in BESIDE[planned.kind]
            if name != planned.metric and all(name in one and not np.isnan(one[name][0]) for one in found)}


def _unproven(one: Tested) -> bool:
    """Return whether a training is not shown to be better than one answer for every image."""
    return any(note.startswith(UNPROVEN) for note in one.info.metrics.get("notes", ()))


def _seconds(run: Path) -> float:
    """Return the seconds that the epochs of a run took."""
    return sum(float(event["seconds"]) for event in read_events(run / files.LOG) if event.get("event") == "epoch")


def _machine(planned: Planned, one: Tested) -> str:
    """Return on what the times were measured."""
    processor = read_json(planned.folder(planned.arms[0], planned.seeds[0]) / files.ENVIRONMENT).get("cpu", {})
    sides = Predictor(one.folder, threads=1).prepare(BLANK)[0].shape
    return f"{processor.get('name', 'this machine')}, one thread, input {' x '.join(map(str, sides))}"


def _notes(planned: Planned, runs: Sequence[Sequence[Tested]]) -> list[str]:
    """Return what was decided for the study and what its runs have to say, each once."""
    said = [note for of_arm in runs for one in of_arm for note in one.notes]
    return [*planned.notes, *dict.fromkeys(said)]
