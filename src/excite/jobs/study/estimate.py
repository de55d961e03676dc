"""What a study would train and how long it would take, measured on a few steps of each arm."""

from scipy.stats import norm

from excite.jobs.estimate import epoch_seconds
from excite.jobs.prepare import prepare
from excite.jobs.study.arms import arm_config
from excite.jobs.study.metric import deciding
from excite.jobs.study.plan import checked_arms, workers_of
from excite.jobs.study.sections import StudyConfig
from excite.machine import usable_cores
from excite.metrics.arms import ALPHA, POWER
from excite.metrics.direction import unit_of
from excite.progress import Progress

PER_RUN = 5.0   # seconds for proof, evaluation and report of a run: what a ResNet-20 of 32 x 32 takes on one core
SHARE = 0.75    # of right answers that the smallest difference is told for


def dry_run_study(config: StudyConfig, *, progress: Progress) -> dict[str, str]:
    """Return what a study would do, a line a topic, with measured times; nothing is kept but decoded images.

    Raises:
        UsageError: an arm cannot be trained. DataError: faults of the table or its images.
    """
    study, (arms, notes) = config.study, checked_arms(config)
    workers = workers_of(config, arms)
    threads = config.loop.threads or max(1, usable_cores() // workers)
    lines, whole = dict[str, str](), 0.0
    for arm in arms:
        prepared = prepare(arm_config(config, arm, study.seeds[0], loop={"threads": threads}), progress=progress)
        if not lines:
            metric = deciding(study.metric, prepared)
            lines["study"] = (f"{len(arms)} arms x {len(study.seeds)} seeds; decides: {metric.replace('_', ' ')}")
            lines["split"] = prepared.reasons["split"]
            units = len({prepared.split.units[place] for place in prepared.split.parts["test"]})
            lines["seen"] = f"{units} test units ({prepared.split.unit_kind})" + smallest(metric, units, len(arms) - 1)
        loop = prepared.config.loop
        if loop.frozen_features:
            lines[arm.name] = "a head on frozen features: not measured"
            continue
        seconds = epoch_seconds(prepared)
        whole += seconds * loop.epochs * len(study.seeds)
        lines[arm.name] = (f"{seconds:.1f} s an epoch, {seconds * loop.epochs / 60:.1f} minutes for {loop.epochs} "
                           f"epochs; {prepared.reasons['network']}")
    whole += PER_RUN * len(arms) * len(study.seeds)
    lines["time"] = (f"at least {whole / workers / 60:.1f} minutes with {workers} processes, threads each: {threads}; "
                     f"{PER_RUN:.0f} s a run for its proof and report among them; measured alone: side by side each is "
                     "slower")
    if notes:
        lines["notes"] = "; ".join(notes)
    return lines


def smallest(metric: str, units: int, tests: int) -> str:
    """Return roughly how small a difference of a share could be seen in four of five studies; "" of other numbers.

    Args:
        metric: That decides.
        units: In the test part.
        tests: Arms that are compared with the baseline.

    Source: the sample size of two proportions, both about 75 %, each unit counted as one answer; Bonferroni's bound.
    """
    if unit_of(metric)[1] != "points" or units < 2:
        return ""
    reach = float(norm.isf(ALPHA / 2 / tests) + norm.ppf(POWER))
    points = 100 * reach * (2 * SHARE * (1 - SHARE) / units) ** 0.5
    if points > 100 * (1 - SHARE):
        return f": too few to see any but the largest differences (roughly {points:.0f} points and more)"
    return (f": roughly, differences under {points:.0f} points could not be seen, were {100 * SHARE:.0f} % right; the "
            "trainings' chance comes on top, and that all arms share the units helps")
