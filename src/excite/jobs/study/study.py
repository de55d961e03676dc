"""A study: every arm trained on every seed with the same data and budget, side by side; then compared."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excite.errors import EnvironmentFault
from excite.jobs import run_folder as files
from excite.jobs.run_folder import lock_file
from excite.jobs.study.arms import Arm
from excite.jobs.study.files import write_results
from excite.jobs.study.plan import RUNS, Planned, checked_arms, is_finished, plan, workers_of, write_run_configs
from excite.jobs.study.results import Results, results_of
from excite.jobs.study.runs import Job, Pool
from excite.jobs.study.sections import StudyConfig
from excite.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Study:
    """A finished study.

    Args:
        planned: What was to be done.
        results: What it found.
        data: What study.json holds.
    """

    planned: Planned
    results: Results
    data: dict[str, Any]


def study(config: StudyConfig, *, out: str | Path | None = None, progress: Progress | None = None) -> Study:
    """Train every arm on every seed, compare them, and leave study.html, .md, .csv and .json beside the runs.

    The same call again trains what is missing: interrupted runs go on, finished ones are taken as they are, seeds and
    arms may be added.

    Args:
        out: Folder of the study; studies/NAME-OF-TABLE otherwise.

    Raises:
        UsageError: an arm cannot be trained, the folder holds another study, or too many runs failed.
        DataError: of the table. Interrupted: a signal came; what was under way is saved.
    """
    progress = progress or silent()
    name = config.data.table.resolve().stem if config.data.table else "study"
    folder = Path(out) if out else Path("studies") / name
    arms, notes = checked_arms(config)
    with _own(folder):
        planned, jobs = _train(config, folder, arms, notes, progress)
        failed = {key: job.error for key, job in jobs if job.error}
        results = results_of(planned, failed, progress=progress)
        data = write_results(planned, results, jobs=[job for _, job in jobs])
        return Study(planned=planned, results=results, data=data)


def _train(config: StudyConfig, out: Path, arms: list[Arm], notes: list[str],
           progress: Progress) -> tuple[Planned, list[tuple[tuple[str, int], Job]]]:
    """Train what is missing; return the plan, and what was trained now."""
    reports = [out / RUNS / arm.folder / f"seed-{seed}" / files.REPORT for arm in arms for seed in config.study.seeds]
    missing = sum(not report.is_file() for report in reports)
    with Pool(min(workers_of(config, arms), missing), out / "logs") as pool:  # they import while the study prepares
        planned = plan(config, out, arms, notes, progress=progress)
        write_run_configs(planned)
        jobs = _jobs(planned)
        total = len(planned.arms) * len(planned.seeds)
        progress.say(f"study: {len(planned.arms)} arms ({', '.join(arm.name for arm in planned.arms)}) x "
                     f"{len(planned.seeds)} seeds; {total - len(jobs)} of {total} runs are there; "
                     f"{planned.workers} processes, threads each: {planned.settled['threads']}")
        pool.run([job for _, job in jobs], progress=progress)
    return planned, jobs


def _jobs(planned: Planned) -> list[tuple[tuple[str, int], Job]]:
    """Return what is still to be trained: seed by seed, so that all arms come on alike, in each the longest first."""
    order = sorted(range(len(planned.arms)), key=lambda place: -planned.costs[place].macs)
    found = []
    for seed in planned.seeds:
        for place in order:
            arm = planned.arms[place]
            folder = planned.folder(arm, seed)
            if not is_finished(planned, arm, seed):
                found.append(((arm.name, seed), Job(name=f"{arm.name}, seed {seed}", config=folder.with_suffix(".yaml"),
                                                    out=folder, work=max(1.0, float(planned.costs[place].macs)))))
    return found


@contextmanager
def _own(out: Path) -> Iterator[None]:
    """Keep the folder of a study for this process."""
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(out / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as fault:
        raise EnvironmentFault("the study's folder cannot be written", where=out, why=str(fault),
                               fix="choose another with --out") from None
    try:
        lock_file(lock)
    except OSError:
        os.close(lock)
        raise EnvironmentFault("another process works in this study", where=out,
                               fix="wait for it, or choose another folder with --out") from None
    try:
        yield
    finally:
        os.close(lock)
