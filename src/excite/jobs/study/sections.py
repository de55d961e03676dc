"""The config of a study: what `excite train` reads, and a section that says what is compared."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from excite.attention.words import Place
from excite.config import Section
from excite.jobs.sections import TrainConfig

FIXED = ("study", "seed", "data", "split", "loop.threads", "loop.budget_minutes")  # the same in every arm


def _texts(given: object) -> object:
    """Return a list of texts, whichever way YAML read a line such as 2, "2,3", [2, 3] or null."""
    if isinstance(given, list | tuple):
        return [",".join(map(str, one)) if isinstance(one, list | tuple) else "none" if one is None else str(one)
                for one in given]
    return given.split(";") if isinstance(given, str) else [str(given)]


Texts = Annotated[tuple[str, ...], BeforeValidator(_texts), Field(min_length=1)]


class ArmSection(Section):
    """An arm that is no attention of the lists: any keys of the config, dotted, with their values."""

    name: Annotated[str, Field(min_length=1, max_length=60)]
    set: dict[str, Any] = Field(default_factory=dict)

    @field_validator("set")
    @classmethod
    def _leaves_the_comparison_fair(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Refuse what has to be the same in every arm."""
        for key in given:
            if any(key == fixed or key.startswith(f"{fixed}.") for fixed in FIXED):
                raise ValueError(f"{key} has to be the same in every arm, or the arms cannot be compared")
        return given


class StudySection(Section):
    """What is compared. The first arm is the baseline that the others are measured against."""

    attention: Texts = ("none", "se", "eca", "cbam")  # none: the network as it is
    positions: tuple[Place, ...] = ("standard",)      # for each attention that does not name its own
    stages: Texts = ("all",)                          # "all" or such as "2,3"; likewise
    starts: tuple[Literal["auto", "open", "paper"], ...] = ("auto",)  # likewise
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (0, 1, 2)
    workers: Annotated[int, Field(ge=1)] | None = None  # processes side by side; None: the cores
    metric: str | None = None                           # that decides; None: the usual one of the work
    arms: tuple[ArmSection, ...] = ()                   # besides; alone where attention is not given

    @field_validator("positions", "stages", "starts", "seeds", "attention")
    @classmethod
    def _once(cls, given: Sequence[object]) -> Sequence[object]:
        """Refuse a value that is given twice, and none."""
        if not given:
            raise ValueError("must name at least one")
        if len(set(given)) != len(given):
            raise ValueError("must name each one once")
        return given

    @model_validator(mode="after")
    def _starts_are_plain(self) -> "StudySection":
        if "auto" in self.starts and len(self.starts) > 1:
            raise ValueError("starts must be auto alone, or open and paper: auto is one of the two")
        return self


class StudyConfig(TrainConfig):
    """What `excite study` reads: a config of `excite train` with a section `study`."""

    study: StudySection = StudySection()

    @model_validator(mode="after")
    def _one_budget(self) -> "StudyConfig":
        if self.loop.budget_minutes:
            raise ValueError("loop.budget_minutes has no place in a study: every arm is trained for loop.epochs")
        if "seed" in self.model_fields_set:
            raise ValueError("seed has no place in a study: study.seeds says them, split.seed that of the split")
        return self
