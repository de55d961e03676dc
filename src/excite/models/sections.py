"""The config section of the network: name, attention, weights."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from excite.attention.words import Place, parse
from excite.config import Section

RESERVED = ("name", "dims", "in_channels", "num_classes", "attention", "weights")  # no options of a network


class AttentionSection(Section):
    """What AttentionPlan takes; start None: open where weights are loaded into the trunk, paper from scratch."""

    kind: str = "se"
    position: Place = "standard"
    stages: tuple[int, ...] | None = None
    blocks: tuple[str, ...] | None = None
    start: Literal["paper", "open"] | None = None
    options: dict[str, Any] = Field(default_factory=dict)


class ModelSection(Section):
    """Which network, and what it starts from."""

    name: str = "mobilenet_v2"
    weights: str | Path | None = "imagenet"  # catalog tag, file, or none: random values
    attention: AttentionSection | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None  # None: the network's own
    options: dict[str, Any] = Field(default_factory=dict)       # passed to create_model

    @field_validator("attention", mode="before")
    @classmethod
    def _from_text(cls, given: object) -> object:
        """Take a line of text, such as "se@2,3:position=pre", too."""
        return parse(given) if isinstance(given, str) else given

    @field_validator("options")
    @classmethod
    def _no_reserved(cls, given: dict[str, Any]) -> dict[str, Any]:
        """Refuse what has a key of its own, or is told by the data."""
        taken = [name for name in given if name in RESERVED]
        if taken:
            raise ValueError(f"{', '.join(taken)} is no option of a network: it has its own key, or the data say it")
        return given
