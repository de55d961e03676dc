"""What an insertion did, in words and as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from excite.layers.residual import Position

SHOWN = 8  # blocks that the text lists


@dataclass(frozen=True, kw_only=True)
class InsertedGate:
    """One attention that was put into a block.

    Args:
        block: Name of the block in the network.
        place: "stage.block", counted from 0 among the residual blocks; a stage begins where their outputs change size.
        channels: That the attention sees.
        gate: Name of the module that was added, the prefix of its keys.
        parameters: That it has.
        lacks: {position: why} of the positions that this block does not have.
    """

    block: str
    place: str
    channels: int
    gate: str
    parameters: int
    lacks: Mapping[Position, str]

    def said(self) -> str:
        """Return the gate in a line."""
        lacks = f"; it has no {' and no '.join(self.lacks)} position" if self.lacks else ""
        name = self.block or "itself"
        return f"{name} ({self.place}): {self.channels} channels, {self.parameters:,} parameters{lacks}"


@dataclass(frozen=True, kw_only=True)
class InsertReport:
    """What an insertion did.

    Args:
        plan: What was inserted, as a line of text that AttentionPlan.parse takes.
        position: Where in the blocks.
        unchanged: Whether all gates are exactly 1 at first, so that the network computes what it did.
        places: The blocks that have the attention now, in the order in which they are run.
        refused: Blocks that the plan covers and that lack the position, as sentences.
        left: Names of the blocks that the plan does not cover.
        passed_over: Modules that are no places though they might look it, as sentences.
        new_keys: Of the state dict; all others are what they were.
        input_size: (C, *S) that sizes and multiply-adds are for.
        parameters: Before and after.
        macs: Multiply-adds before and after, for one input; None where they were not counted.
        milliseconds: Median of a forward pass before and after; None where it was not measured.
        notes: What the counts do not know, as sentences.
    """

    plan: str
    position: Position
    unchanged: bool
    places: tuple[InsertedGate, ...]
    refused: tuple[str, ...]
    left: tuple[str, ...]
    passed_over: tuple[str, ...]
    new_keys: tuple[str, ...]
    input_size: tuple[int, ...]
    parameters: tuple[int, int]
    macs: tuple[int, int] | None = None
    milliseconds: tuple[float, float] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def parameters_added(self) -> int:
        """How many parameters the network has more."""
        return self.parameters[1] - self.parameters[0]

    def text(self) -> str:
        """Return the insertion in a few lines."""
        blocks = len(self.places) + len(self.refused) + len(self.left)
        start = "the outputs are what they were until the gates learn" if self.unchanged else \
            "THE OUTPUTS CHANGE: fresh gates are not 1"
        size = " x ".join(map(str, self.input_size))
        lines = [f"{self.plan}: {self.position} position of {len(self.places)} of {blocks} residual blocks; {start}",
                 f"parameters {_change(self.parameters)}"]
        lines += [f"multiply-adds of {size}: {_change(self.macs)}"] if self.macs else []
        lines += ["milliseconds of {}: {:.2f} -> {:.2f}".format(size, *self.milliseconds)] if self.milliseconds else []
        lines += [f"  {one.said()}" for one in self.places[:SHOWN]]
        lines += [f"  and {len(self.places) - SHOWN} blocks more"] if len(self.places) > SHOWN else []
        return "\n".join([*lines, *(f"not in {one}" for one in self.refused), *self.passed_over, *self.notes])

    def to_json(self) -> dict[str, Any]:
        """Return everything as plain data."""
        return asdict(self) | {"parameters_added": self.parameters_added}


def _change(numbers: tuple[int, int]) -> str:
    """Return "100 -> 110 (+10.0 %)"."""
    before, after = numbers
    return f"{before:,} -> {after:,} (+{100 * (after - before) / max(before, 1):.2f} %)"
