"""A table with a row an image, in the house's columns, known aliases, or columns that options name."""

from pathlib import Path
from typing import ClassVar

from excite.data.columns import choose_columns, missing_columns, partly_split, row_of
from excite.data.fault import Fault
from excite.data.layouts.layout import LAYOUTS, Found
from excite.data.row import Row
from excite.data.sections import DataSection
from excite.data.table import TABLE_SUFFIXES, read_table
from excite.errors import DataError, UsageError


@LAYOUTS.register("table")
class TableLayout:
    """Any CSV, TSV, Parquet or Excel table."""

    general: ClassVar[bool] = True

    def fits(self, source: Path) -> str | None:
        """Return a reason where the source is a file of a table."""
        return "it is a table" if source.is_file() and source.suffix.lower() in TABLE_SUFFIXES else None

    def read(self, section: DataSection, *, labelled: bool) -> Found:
        """Return a row a line."""
        file = table_of(section)
        table = read_table(file)
        found = Found(rows=[], root=section.root or file.parent, faults=list(table.faults), notes=list(table.notes))
        if not table.header:
            return found
        chosen, notes = choose_columns(table, section)
        found.notes += notes
        missing: list[Fault] = missing_columns(table, chosen, labelled=labelled)
        found.faults += missing
        if "image" not in chosen:
            return found
        if not labelled:
            chosen.pop("split", None)  # which part a row belongs to does not matter to prediction
        rows: list[Row] = []
        for record in table.records:
            row, faults = row_of(record, chosen)
            found.faults += faults
            rows += [row] if row else []
        found.rows = rows
        unsplit = {fault.row for fault in found.faults if fault.kind == "unknown-split"}
        found.faults += [fault for fault in partly_split(rows) if fault.row not in unsplit]
        return found


def table_of(section: DataSection) -> Path:
    """Return the section's table, which has to be a file."""
    if section.table is None:
        raise UsageError("no table of images is given", fix="name a table or a folder: data.table")
    if not section.table.is_file():
        raise DataError("the table layout needs a file", where=section.table, fix="name the CSV file, or --layout auto")
    return section.table
