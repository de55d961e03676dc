"""What every evaluation of one part of the data has, whatever the kind of work."""

from dataclasses import dataclass, field

from excite.errors import DataError
from excite.metrics.intervals import Interval

SHOWN = 3  # failed files that an error names
UNPROVEN = "not shown to be better than always answering"  # how the note begins that has to be read first


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredPart:
    """A part of the data, its numbers with their intervals, and what to beware of.

    Args:
        part: Name of the part.
        n: Images.
        n_units: Units among them, over which the intervals are made.
        unit_kind: What a unit is: "patient", "near-duplicate cluster", "image", ...
        classes: In the order of the network's outputs.
        metrics: Numbers over all images.
        notes: What was done and what to beware of, each a sentence.
        failed: Files that could not be used, with the reason.
    """

    part: str
    n: int
    n_units: int
    unit_kind: str
    classes: tuple[str, ...]
    metrics: dict[str, Interval]
    notes: tuple[str, ...] = ()
    failed: tuple[dict[str, str], ...] = field(default=())

    @property
    def unproven(self) -> list[str]:
        """The notes that say that one answer for every image may be as good."""
        return [note for note in self.notes if note.startswith(UNPROVEN)]

    def raise_failures(self) -> None:
        """Raise a DataError (exit code 3) where a file could not be used; the others were evaluated."""
        if self.failed:
            raise DataError(f"{len(self.failed)} of {self.n + len(self.failed)} rows could not be used",
                            why="; ".join(one["error"] for one in self.failed[:SHOWN]),
                            fix="mend or leave out these files; the others are evaluated")
