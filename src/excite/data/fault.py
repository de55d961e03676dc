"""One thing wrong with the data, as a value: the check lists faults, only a reader of the list raises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

# Kinds that leaving rows out does not mend: the table or folder as a whole is at fault, even where a line is named.
WHOLE_TABLE = frozenset({"encoding", "not-a-table", "empty-table", "missing-column", "duplicate-column", "no-rows",
                         "no-classes"})


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One fault of a data set: what kind, where, and a sentence that says how to fix it.

    Args:
        kind: Name of the kind, such as "missing-file"; stable, so programs may count by it.
        message: What is wrong, why it matters and the remedy, for a person.
        row: Line of the table (the header is line 1), or None where there is no table.
        file: The file concerned, as the table writes it, or None.
        severity: "error" stops a run; "warning" is said and passed over.
    """

    kind: str
    message: str
    row: int | None = None
    file: str | None = None
    severity: Literal["error", "warning"] = "error"
