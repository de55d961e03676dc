"""What a study would train and how long it would take, measured on a few steps of each arm."""

from excite.jobs.estimate import epoch_seconds
from excite.jobs.prepare import prepare
from excite.jobs.study.arms import arm_config
from excite.jobs.study.metric import metric_of
from excite.jobs.study.plan import checked_arms, workers_of
from excite.jobs.study.sections import StudyConfig
from excite.machine import usable_cores
from excite.progress import Progress


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
            lines["study"] = (f"{len(arms)} arms x {len(study.seeds)} seeds; decides: "
                              f"{metric_of(study.metric, prepared.kind, prepared.classes).replace('_', ' ')}")
            lines["split"] = prepared.reasons["split"]
        loop = prepared.config.loop
        if loop.frozen_features:
            lines[arm.name] = "a head on frozen features: not measured"
            continue
        seconds = epoch_seconds(prepared)
        whole += seconds * loop.epochs * len(study.seeds)
        lines[arm.name] = (f"{seconds:.1f} s an epoch, {seconds * loop.epochs / 60:.1f} minutes for {loop.epochs} "
                           f"epochs; {prepared.reasons['network']}")
    lines["time"] = (f"about {whole / workers / 60:.1f} minutes with {workers} processes, threads each: {threads}; "
                     "measured alone: side by side each is slower, and every run ends with its proof and report")
    if notes:
        lines["notes"] = "; ".join(notes)
    return lines
