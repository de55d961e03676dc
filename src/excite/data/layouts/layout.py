"""What a layout is: it turns a table or folder of one form into rows, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Protocol

from excite.data.fault import Fault
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.registry import Registry


@dataclass(kw_only=True)
class Found:
    """What a layout found.

    Args:
        rows: The rows, whether or not their files exist.
        root: Folder that their paths start from.
        faults: What was wrong with the table itself.
        notes: What was decided, each a sentence.
        lines: Whether Row.line is a line of a table, so that faults can name it.
    """

    rows: Sequence[Row]
    root: Path
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    lines: bool = True


class Layout(Protocol):
    """One form that data sets come in."""

    general: ClassVar[bool]  # one that fits anything: tried after all others

    def fits(self, source: Path) -> str | None:
        """Return why a file or folder is of this form, or None where it is not."""

    def read(self, section: DataSection, *, labelled: bool) -> Found:
        """Return the rows of `section.table`."""


LAYOUTS: Registry[type[Layout]] = Registry("layout", group="excite.layouts")
