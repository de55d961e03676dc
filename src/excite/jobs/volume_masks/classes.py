"""Which label value is which class, and what of it the data lack."""

from collections.abc import Sequence
from dataclasses import dataclass

from excite.data.split import Split
from excite.data.volumes.mask_store import MaskStore
from excite.data.volumes.mask_table import MaskTable
from excite.errors import DataError, UsageError

SHOWN = 10


@dataclass(frozen=True, kw_only=True)
class Classes:
    """The names and values of the labels, the background first."""

    names: tuple[str, ...]
    values: tuple[int, ...]

    def refuse_untaught(self, store: MaskStore, split: Split) -> None:
        """Raise where no training mask has a class.

        Raises:
            DataError: it is so.
        """
        for name, value in zip(self.names[1:], self.values[1:], strict=True):
            if not any(store.entries[row].counts.get(value) for row in split.train):
                raise DataError(f"nothing to train on for {name}: no training mask has the label {value}",
                                fix="leave the class out of volumes.classes, or put scans with it into the training "
                                    "part")

    def lacking(self, store: MaskStore, split: Split) -> list[str]:
        """Return a sentence for each class that no mask of the validation or the test part has."""
        return [f"no mask of the {part} part has {name}: nothing is said about it there"
                for part in ("val", "test") for name, value in zip(self.names[1:], self.values[1:], strict=True)
                if not any(store.entries[row].counts.get(value) for row in split.parts[part])]


def classes_of(asked: Sequence[str] | None, table: MaskTable, store: MaskStore) -> tuple[Classes, str]:
    """Return the classes and where their names are from: the config, the data set's own list, or the values found.

    Raises:
        DataError: a mask has a value that no class has, or all masks are empty. UsageError: names that cannot be.
    """
    found = sorted({value for entry in store.entries for value in entry.counts} | {0})
    if asked is not None:
        if len(asked) < 2 or len(set(asked)) < len(asked):
            raise UsageError(f"volumes.classes must be two or more different names, that of 0 first, got "
                             f"{', '.join(asked)}", fix="volumes.classes: [background, tumour]")
        known, why = dict(enumerate(asked)), "as the config says"
    elif table.names is not None:
        known, why = dict(table.names), "from dataset.json"
    else:
        known = {value: f"label {value}" if value else "background" for value in found}
        why = "the values that the masks hold; --classes background,NAME,... names them"
    if 0 not in known or len(known) < 2:
        raise DataError("the masks have the label 0 alone" if len(found) < 2 else "no class has the label 0",
                        where=table.manifest.source, why="0 is the background, and something else is to be found")
    _refuse_unknown(known, table, store)
    values = tuple(sorted(known))
    return Classes(names=tuple(known[value] for value in values), values=values), \
        ", ".join(f"{value} {known[value]}" for value in values) + f" ({why})"


def empty_told(table: MaskTable, classes: Classes, store: MaskStore) -> str:
    """Return which masks are empty, or lack a class."""
    rows, total = table.manifest.rows, len(store.entries)
    empty = [row.line for row, entry in zip(rows, store.entries, strict=True)
             if not any(entry.counts.get(value) for value in classes.values[1:])]
    told = [f"{len(empty)} of {total} are empty: lines {_first(empty)}"] if empty else []
    for name, value in zip(classes.names[1:], classes.values[1:], strict=True):
        lines = [row.line for row, entry in zip(rows, store.entries, strict=True) if not entry.counts.get(value)]
        if len(lines) > len(empty):
            told.append(f"{len(lines)} of {total} lack {name}: lines {_first(lines)}")
    return "; ".join(told) or f"all {total} have every class"


def _refuse_unknown(known: dict[int, str], table: MaskTable, store: MaskStore) -> None:
    wrong = [(row.line, sorted(set(entry.counts) - set(known)))
             for row, entry in zip(table.manifest.rows, store.entries, strict=True) if set(entry.counts) - set(known)]
    if wrong:
        told = "; ".join(f"line {line}: {', '.join(map(str, values))}" for line, values in wrong[:SHOWN])
        more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
        raise DataError(f"{len(wrong)} masks have labels that no class has: {told}{more}", where=table.manifest.source,
                        why="the classes are " + ", ".join(f"{value} {name}" for value, name in sorted(known.items())),
                        fix="name all labels in volumes.classes, or write the masks again")


def _first(lines: Sequence[int]) -> str:
    return ", ".join(map(str, lines[:SHOWN])) + (f" and {len(lines) - SHOWN} more" if len(lines) > SHOWN else "")
