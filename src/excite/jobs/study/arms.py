"""From the lists of a study to its arms: each combination once, and each possible in its network."""

import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from itertools import product
from typing import Any

from excite.attention.words import parse
from excite.config import validate
from excite.errors import UsageError
from excite.jobs.sections import TrainConfig
from excite.jobs.study.sections import StudyConfig, StudySection


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One side of a comparison.

    Args:
        name: As it is shown.
        changes: Dotted keys of the config that make it, with their values.
    """

    name: str
    changes: Mapping[str, Any]

    @property
    def folder(self) -> str:
        """Return the name as a folder can have it."""
        return re.sub(r"[^A-Za-z0-9._-]+", "-", self.name).strip("-.") or "arm"


def arms_of(study: StudySection) -> list[Arm]:
    """Return the arms of a study, the baseline first.

    Raises:
        UsageError: an attention cannot be read, a name is taken twice, or there is only one arm.
    """
    found: dict[str, Arm] = {}
    lists = study.attention if "attention" in study.model_fields_set or not study.arms else ()
    for text in lists:
        for arm in _of_attention(text, study):
            found.setdefault(repr(arm.changes), arm)  # combinations that come to the same are one arm
    arms = [*found.values(), *(Arm(name=one.name, changes=one.set) for one in study.arms)]
    names = [arm.folder.casefold() for arm in arms]
    if twice := [arm.name for arm in arms if names.count(arm.folder.casefold()) > 1]:
        raise UsageError(f"each arm must have a name of its own, got {', '.join(twice)}",
                         fix="study.arms: other names; letters, digits and ._- tell them apart")
    if len(arms) < 2:
        raise UsageError(f"a study compares at least two arms, got {arms[0].name if arms else 'none'}",
                         fix="study.attention: [none, se], or more of positions, stages, starts or arms")
    return arms


def arm_config(config: StudyConfig, arm: Arm, seed: int, *, loop: Mapping[str, Any]) -> TrainConfig:
    """Return the config that `excite train` takes for one run; what the study leaves out stays left out.

    Args:
        loop: Keys of the loop that are settled for the whole study.
    """
    tree = deepcopy(config.model_dump(exclude_unset=True, exclude={"study"}))
    for key, value in {**{f"loop.{name}": one for name, one in loop.items()}, **arm.changes}.items():
        *parents, last = key.split(".")
        place = tree
        for parent in parents:
            place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise UsageError(f"{key} cannot be set in arm {arm.name}: {parent} is no section")
        place[last] = value
    return validate(TrainConfig, {**tree, "seed": seed}, where=f"arm {arm.name}")


def _of_attention(text: str, study: StudySection) -> list[Arm]:
    """Return the arms of one line of `study.attention`, in every position, stage and start that it leaves open."""
    if text.strip() == "none":
        return [Arm(name="none", changes={})]
    named = parse(text)
    positions = (None,) if "position" in named else study.positions
    stages = (None,) if {"stages", "blocks"} & set(named) else study.stages
    starts = (None,) if "start" in named else study.starts
    found = []
    for position, where, start in product(positions, stages, starts):
        line = text.strip()
        if where not in (None, "all") and (position or named.get("position")) != "tail":  # a tail has no stages
            kind, colon, rest = line.partition(":")
            line = f"{kind}@{where}{colon}{rest}"
        line += "" if position in (None, "standard") else f":position={position}"
        line += "" if start in (None, "auto") else f":start={start}"
        parse(line)
        found.append(Arm(name=line, changes={"model.attention": line}))
    return found
