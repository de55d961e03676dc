"""Rows that may be one patient under two names: they share a file, or their ids are spelt alike."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from excite.data.row import Row


class Twin(NamedTuple):
    """Two rows with a file in common, byte by byte.

    Args:
        row: Place of the later one.
        other: Place of the first that has the file.
        maps: Of the later one, those whose file it is.
        whole: Whether all their files are the same.
    """

    row: int
    other: int
    maps: tuple[str, ...]
    whole: bool

    def told(self, rows: Sequence[Row]) -> str:
        """Return it as a clause that names the lines."""
        line, other = rows[self.row].line, rows[self.other].line
        if self.whole:
            return f"the files of line {line} are those of line {other}"
        verb = "is a file" if len(self.maps) == 1 else "are files"
        return f"the {', '.join(self.maps)} of line {line} {verb} of line {other}"


def same_files(maps: Sequence[str], hashes: Sequence[Sequence[str | None]]) -> list[Twin]:
    """Return the rows that have a file of an earlier one, each with the first that has it.

    Args:
        maps: Their names.
        hashes: Of each row that of each map's file; None where it has none.
    """
    first: dict[str, int] = {}
    found = []
    for row, own in enumerate(hashes):
        shared: dict[int, list[str]] = {}
        for name, one in zip(maps, own, strict=True):
            if one is not None and (other := first.setdefault(one, row)) != row:
                shared.setdefault(other, []).append(name)
        found += [Twin(row, other, tuple(names), set(own) - {None} == set(hashes[other]) - {None})
                  for other, names in shared.items()]
    return found


def alike_ids(rows: Sequence[Row]) -> Iterator[tuple[int, int]]:
    """Yield each row whose patient's id differs from that of the first like it in letter case or blanks only."""
    first: dict[str, int] = {}
    for place, row in enumerate(rows):
        if row.patient is not None:
            other = first.setdefault("".join(row.patient.split()).casefold(), place)
            if rows[other].patient != row.patient:
                yield place, other
