"""What a report tells of a run, whatever the kind of work."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class RunTold:
    """A run in words and numbers.

    Args:
        lead: What was trained, on what, and the result with its interval, in a sentence or two.
        counts: Images of each part by class, or by what is in them: {"train": {"head": 12}}.
        unit_kind: What was kept together when splitting: "patient", "group", "near-duplicate cluster", "image".
        recipe: The whole config as YAML.
        units: How many units (patients) each part has.
        split_notes: Remarks of the split.
        leaks: What the leak check found: {"kind", "message", "file", "row", "severity"}; none is good news.
        reasons: Why the run is as it is, by topic.
        curves: The log's epochs, by plan.
        cost: {"parameters", "macs", "milliseconds", "threads", "input"}; any may be missing.
        weights: What the network started from, in words.
        environment: Versions and machine, nested.
        parity: How far the export is from the trained network: `Parity.to_json()`.
        limits: Sentences beside the standing ones.
        next_commands: (command, what it does).
        created: When: an ISO 8601 time, or any text.
    """

    title: str
    simulated: bool
    lead: str
    counts: Mapping[str, Mapping[str, int]]
    unit_kind: str
    recipe: str
    units: Mapping[str, int] = field(default_factory=dict)
    split_notes: Sequence[str] = ()
    leaks: Sequence[Mapping[str, Any]] = ()
    reasons: Mapping[str, str] = field(default_factory=dict)
    curves: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)
    cost: Mapping[str, Any] = field(default_factory=dict)
    weights: str = ""
    environment: Mapping[str, Any] = field(default_factory=dict)
    parity: Mapping[str, Any] | None = None
    limits: Sequence[str] = ()
    next_commands: Sequence[tuple[str, str]] = ()
    created: str = ""
