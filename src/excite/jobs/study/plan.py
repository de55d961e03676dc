"""What a study is before anything is trained: its arms, its runs, and what is settled for all of them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from excite.config import differences
from excite.data.targets import mask_contents
from excite.engine.precision import choose
from excite.errors import UsageError
from excite.jobs import run_folder as files
from excite.jobs.kinds import with_defaults
from excite.jobs.network import build_model, check_network, weights_file
from excite.jobs.prepare import Prepared, prepare
from excite.jobs.run_folder import is_unfinished
from excite.jobs.sections import TrainConfig
from excite.jobs.study.arms import Arm, arm_config, arms_of
from excite.jobs.study.check import possible
from excite.jobs.study.metric import deciding
from excite.jobs.study.sections import StudyConfig
from excite.machine import usable_cores
from excite.models.cost import Cost, count
from excite.progress import Progress

RUNS, SETTLED = "runs", "settled.json"
PLACES = (("data", "table"), ("data", "root"), ("cache", "folder"), ("cache", "limit_gb"))


@dataclass(kw_only=True)
class Planned:
    """A study before its trainings.

    Args:
        arms: The baseline first.
        seeds: Of every arm.
        metric: That decides.
        kind: Of the work.
        workers: Processes side by side.
        costs: Of each arm's network.
        settled: Keys of the loop that hold for every run.
        notes: What was decided.
    """

    config: StudyConfig
    out: Path
    arms: list[Arm]
    seeds: tuple[int, ...]
    metric: str
    kind: str
    workers: int
    costs: list[Cost]
    settled: Mapping[str, Any]
    notes: list[str] = field(default_factory=list)

    @property
    def source(self) -> str:
        """Return what the table is called."""
        return self.config.data.table.resolve().stem if self.config.data.table else "a table"

    def run_config(self, arm: Arm, seed: int) -> TrainConfig:
        """Return what `excite train` takes for one run."""
        return arm_config(self.config, arm, seed, loop=self.settled)

    def folder(self, arm: Arm, seed: int) -> Path:
        """Return a run's folder."""
        return self.out / RUNS / arm.folder / f"seed-{seed}"


def checked_arms(config: StudyConfig) -> tuple[list[Arm], list[str]]:
    """Return the arms that are trained, each once, and notes on the others; nothing is read for it.

    Raises:
        UsageError: an arm cannot be trained, or fewer than two are left.
    """
    arms = arms_of(config.study)
    arms, notes = possible(arms, [arm_config(config, arm, config.study.seeds[0], loop={}) for arm in arms])
    if len(arms) < 2:
        raise UsageError("a study compares at least two arms, and one is left", why="; ".join(notes),
                         fix="study.attention: others")
    return arms, notes


def workers_of(config: StudyConfig, arms: Sequence[Arm]) -> int:
    """Return how many processes work side by side."""
    return min(config.study.workers or usable_cores(), len(arms) * len(config.study.seeds))


def plan(config: StudyConfig, out: Path, arms: list[Arm], notes: list[str], *, progress: Progress) -> Planned:
    """Decode the images once, and settle what holds for all runs.

    Raises:
        UsageError: the folder holds a study of something else. DataError: faults of the table or its images.
    """
    study = config.study
    prepared = prepare(arm_config(config, arms[0], study.seeds[0], loop={}), progress=progress)
    metric, workers = deciding(study.metric, prepared), workers_of(config, arms)
    settled = _settled(config, prepared, workers, out)
    found = Planned(config=config, out=out, arms=arms, seeds=study.seeds, metric=metric,
                    kind=prepared.kind, workers=workers, costs=[], settled=settled["loop"], notes=notes)
    found.costs = [_cost(found.run_config(arm, study.seeds[0]), prepared) for arm in arms]
    _refuse_other(found, settled["data"])
    _same_weights(found)
    found.notes += [f"every run: {settled['loop']['threads']} thread, {settled['loop']['precision']} "
                    f"({settled['why']})"]
    found.notes += [f"{topic}: {text}" for topic, text in prepared.reasons.items() if topic not in ("network", "table")]
    return found


def write_run_configs(planned: Planned) -> None:
    """Write the config of every run beside its folder, as `excite train --config` takes it."""
    for arm in planned.arms:
        for seed in planned.seeds:
            file = planned.folder(arm, seed).with_suffix(".yaml")
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file.write_text(text_of(planned.run_config(arm, seed)), encoding="utf-8", newline="\n")


def text_of(config: TrainConfig) -> str:
    """Return a config as YAML with what was given alone: what is left out is filled by the kind of work."""
    return yaml.safe_dump(config.model_dump(mode="json", exclude_unset=True), sort_keys=False, allow_unicode=True)


def is_finished(planned: Planned, arm: Arm, seed: int) -> bool:
    """Return whether a run is there with its report."""
    folder = planned.folder(arm, seed)
    return (folder / files.CONFIG).is_file() and not is_unfinished(folder)


def _settled(config: StudyConfig, prepared: Prepared, workers: int, out: Path) -> dict[str, Any]:
    """Return threads, precision and data of every run: those that the study began with where it goes on."""
    data = contents(prepared)
    file = out / SETTLED
    if file.is_file():
        found: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        return {**found, "data": {"before": found["data"], "now": data}}
    threads = config.loop.threads or max(1, usable_cores() // workers)
    precision, why = str(config.loop.precision), "as the config says"
    if precision == "auto":
        chosen = choose(prepared.model, prepared.task, next(iter(prepared.loader("train", train=True).batches(0))))
        precision, why = chosen.name, f"for every arm alike; of the first, {chosen.reason}"
    settled = {"loop": {"threads": threads, "precision": precision}, "why": why, "data": data, "weights": {}}
    _write(file, settled)
    return {**settled, "data": {"before": data, "now": data}}


def _write(file: Path, settled: Mapping[str, Any]) -> None:
    aside = file.with_name(f".{file.name}.tmp")
    aside.write_text(json.dumps(settled, indent=1) + "\n", encoding="utf-8")
    aside.replace(file)


def _same_weights(planned: Planned) -> None:
    """Keep the sha256 of each arm's start weights beside what is settled, and raise where it was another.

    A study that began before these were kept has none, and goes on.
    """
    file = planned.out / SETTLED
    settled = json.loads(file.read_text(encoding="utf-8"))
    if "weights" not in settled:
        return
    known = dict(settled["weights"])
    for arm in planned.arms:
        config = planned.run_config(arm, planned.seeds[0])
        source = weights_file(config, check_network(config))
        now = hashlib.sha256(source.read_bytes()).hexdigest() if source else "none"
        if (before := known.setdefault(arm.name, now)) != now:
            raise UsageError(f"{arm.name} began with other start weights: sha256 {before} -> {now}",
                             where=source or planned.out,
                             fix="put the first weights back, or start a new study with --out ANOTHER_FOLDER")
    if known != settled["weights"]:
        _write(file, {**settled, "weights": known})


def contents(prepared: Prepared) -> dict[str, str]:
    """Return what each row is: content, label, unit, part, and its mask's content."""
    part_of = {row: part for part, rows in prepared.split.parts.items() for row in rows}
    rows = prepared.manifest.rows
    masks = mask_contents(rows, prepared.manifest.root) if prepared.targets else [""] * len(rows)
    return {f"{row.line}: {row.image}": f"{one.content} {row.label} {unit} {part_of[place]} {mask} {row.spacing}"
            for place, (row, one, unit, mask) in enumerate(zip(rows, prepared.cache.fingerprints,
                                                               prepared.split.units, masks, strict=True))}


def _refuse_other(planned: Planned, data: Mapping[str, Any]) -> None:
    """Raise where runs that are there began with another config or other data."""
    if found := differences(data["before"], data["now"]):
        raise UsageError(f"this study began with other data: {'; '.join(found[:3])}"
                         + (f"; and {len(found) - 3} more" if len(found) > 3 else ""), where=planned.out,
                         fix="undo the change, or start a new study with --out ANOTHER_FOLDER")
    for arm in planned.arms:
        for seed in planned.seeds:
            file = planned.folder(arm, seed).with_suffix(".yaml")
            if not file.is_file():
                continue
            old, new = (_without_places(text) for text in (file.read_text(encoding="utf-8"),
                                                           text_of(planned.run_config(arm, seed))))
            if found := differences(old, new):
                raise UsageError(f"{arm.name} with seed {seed} began with another config: {'; '.join(found[:5])}",
                                 where=planned.out,
                                 fix="undo the change, or start a new study with --out ANOTHER_FOLDER")


def _without_places(text: str) -> dict[str, Any]:
    """Return a run's config without where files lie: the data are compared by content."""
    tree: dict[str, Any] = yaml.safe_load(text)
    for section, key in PLACES:
        tree.get(section, {}).pop(key, None)
    return {name: part for name, part in tree.items() if part != {}}


def _cost(config: TrainConfig, prepared: Prepared) -> Cost:
    """Return parameters and multiply-adds of an arm's network at its own input."""
    config = with_defaults(config, prepared.kind)
    classes = len(prepared.classes) if prepared.kind == "classification" else 1
    model = build_model(config, None, num_classes=classes)[0]
    return count(model, (config.preprocess.channels, *config.preprocess.shape))
