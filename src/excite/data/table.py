"""Raw tables: bytes to a header and records of text, with every fault of the file named by its line."""

import csv
import importlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path
from typing import Any

from excite.data.fault import Fault
from excite.errors import DataError, EnvironmentFault

SEPARATORS = ",;\t"
NAMES = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
BOMS = ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
TABLE_SUFFIXES = (".csv", ".tsv", ".txt", ".parquet", ".xlsx")
TEXTS = (".csv", ".tsv", ".txt")
HEAD = 2**16  # bytes in which a table shows what it is


@dataclass(frozen=True, kw_only=True)
class Record:
    """One line of a table: its number (the header is line 1) and its cells, as many as the header has."""

    line: int
    cells: tuple[str, ...]


@dataclass(kw_only=True)
class Table:
    """A table of text.

    Args:
        header: Column names as written, without blanks around them.
        records: The lines that have as many cells as the header; all cells stripped.
        faults: Lines that have not, and whatever else is wrong with the file.
        notes: What was decided: separator, blank lines.
    """

    header: tuple[str, ...] = ()
    records: list[Record] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, kind: str, message: str, line: int | None = None) -> "Table":
        """Add an error and return the table."""
        self.faults.append(Fault(kind=kind, message=message, row=line))
        return self


def read_table(file: Path, *, encoding: str | None = None) -> Table:
    """Return the table in a CSV, TSV, Parquet or Excel file.

    Text is UTF-8, or UTF-16 where a byte-order mark says so. Nothing is guessed: a table in cp1252 or Latin-1 is a
    fault that names the line, since the two, and every other 8-bit encoding, read the same bytes as different names.

    Args:
        encoding: Another encoding, where it is known.

    Raises:
        DataError: the file cannot be read at all. EnvironmentFault: Parquet and Excel need the extra `tables`.
    """
    suffix = file.suffix.lower()
    if suffix == ".parquet":
        return _from_cells(_parquet_cells(file))
    if suffix == ".xlsx":
        return _from_cells(_excel_cells(file))
    try:
        content = file.read_bytes()
    except OSError as fault:
        raise DataError("the table cannot be read", where=file, why=fault.strerror or str(fault),
                        fix="check the path and its permissions") from None
    if not content.strip():
        return Table().add("empty-table", "the table is empty; it needs a header, such as image,label, and rows")
    text = _decoded(content, encoding)
    return text if isinstance(text, Table) else parse(text)


def read_head(path: Path) -> Table | None:
    """Return what the first bytes of a table in text hold; None for anything else. Faults of the table are not told."""
    if path.suffix.lower() not in TEXTS or not path.is_file():
        return None
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    return parse(head.decode(encoding, "replace"))


def parse(text: str) -> Table:
    """Return the table in a text: comma, semicolon or tab, whichever makes the most columns of the header."""
    table, skip = Table(), 0
    told = re.match(r"sep=(.)\r?\n", text)  # Excel's own way to say it
    if told:
        text, skip = text[told.end():], 1
    separator = told[1] if told else max(SEPARATORS, key=lambda sign: _columns(text, sign))
    blank = 0
    try:
        for line, cells in _lines(text, separator):
            if not any(cells):
                blank += 1
            elif not table.header:
                table.header = tuple(cells)
                while table.header and not table.header[-1]:
                    table.header = table.header[:-1]
            else:
                _add_record(table, line + skip, cells)
    except csv.Error as fault:
        table.add("not-a-table", f"the table cannot be taken apart: {fault}; is a quotation mark left open?")
    if len(table.header) > 1:
        table.notes.append(f"columns are separated by {NAMES.get(separator, repr(separator))}")
    if blank:
        table.notes.append(f"{blank} blank line{'s' if blank > 1 else ''} passed over")
    return _with_header_faults(table)


def parse_spacing(text: str) -> tuple[float, ...]:
    """Return millimetres a pixel from "0.2", "0,2" (a decimal comma), "0.2 0.3", "0.2x0.3" or "[0.2, 0.3]".

    A comma right between two digits is a decimal comma, unless the text has a decimal point too.

    Raises:
        ValueError: no positive numbers.
    """
    bare = text.strip().strip("[]()").strip()
    if "." in bare:
        bare = bare.replace(",", " ")
    bare = re.sub(r",(?=\s)", " ", bare).replace(",", ".")
    values = tuple(float(part) for part in re.split(r"[\s;x×|]+", bare) if part)
    if not values or not all(0 < value < float("inf") for value in values):
        raise ValueError(f"{text!r} is no spacing")
    return values


def _decoded(content: bytes, encoding: str | None) -> str | Table:
    mark = next((name for start, name in BOMS if content.startswith(start)), None)
    if b"\0" in content and mark != "utf-16" and encoding is None:
        return Table().add("encoding", "the file holds NUL bytes: it is no text, or UTF-16 without its mark; save it "
                           "as UTF-8", content.count(b"\n", 0, content.index(b"\0")) + 1)
    try:
        return content.decode(encoding or mark or "utf-8")
    except LookupError:
        raise DataError(f"unknown encoding {encoding!r}", fix="for example utf-8, cp1252, latin-1") from None
    except UnicodeDecodeError as fault:
        line = content.count(b"\n", 0, fault.start) + 1
        begin = content.rfind(b"\n", 0, fault.start) + 1
        word = re.search(rb"[^\s,;\t\"]*$", content[begin:fault.start])
        rest = re.match(rb"[^\s,;\t\"]*", content[fault.start:])
        shown = ((word[0] if word else b"") + (rest[0] if rest else b"")).decode("cp1252", "replace")
        shown = "".join(sign if sign.isprintable() else "\ufffd" for sign in shown)
        return Table().add("encoding", f"byte 0x{content[fault.start]:02x} at position {fault.start - begin + 1} is "
                           f"not {encoding or mark or 'UTF-8'}; it looks like Windows-1252 or Latin-1, where the "
                           f"word would be '{shown}'; save it as UTF-8 (Excel: 'CSV UTF-8'; or iconv -f CP1252 -t "
                           "UTF-8), nothing is guessed", line)


def _columns(text: str, separator: str) -> int:
    try:
        return next((len(cells) for _, cells in _lines(text, separator) if any(cells)), 0)
    except csv.Error:
        return 0


def _lines(text: str, separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the line that a record begins on, and its cells."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").removesuffix("\n").split("\n")
    reader = csv.reader((line + "\n" for line in lines), delimiter=separator, strict=True, skipinitialspace=True)
    begin = 1
    for cells in reader:
        yield begin, [cell.strip() for cell in cells]
        begin = reader.line_num + 1


def _add_record(table: Table, line: int, cells: list[str]) -> None:
    width = len(table.header)
    while len(cells) > width and not cells[-1]:
        cells.pop()
    if len(cells) != width:
        table.add("ragged-row", f"{len(cells)} cells where the header has {width}; put a cell that holds the "
                                "separator in quotation marks, or fill in what is missing", line)
    else:
        table.records.append(Record(line=line, cells=tuple(cells)))


def _with_header_faults(table: Table) -> Table:
    seen: set[str] = set()
    for name in table.header:
        key = name.casefold()
        if key and key in seen:
            table.add("duplicate-column", f"column {name!r} is there twice; rename or delete one of the two", 1)
        seen.add(key)
    if not table.records and not table.faults:
        table.add("empty-table", "the table has a header and no rows; add one row an image")
    return table


def _from_cells(rows: Iterator[list[Any]]) -> Table:
    """Return a table from typed cells, whose numbers are written as a person would have."""
    table = Table()
    for line, values in enumerate(rows, start=1):
        cells = [_as_text(value) for value in values]
        if not table.header:
            table.header = tuple(cells)
        elif any(cells):
            _add_record(table, line, cells)
    if not table.header:
        return table.add("empty-table", "the table is empty; it needs a header, such as image,label, and rows")
    return _with_header_faults(table)


def _as_text(value: object) -> str:
    if value is None or value != value:  # NaN is what others write for an empty cell
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))  # ids with a gap become floats in other programs
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    return str(value).strip()


def _parquet_cells(file: Path) -> Iterator[list[Any]]:
    columns = _extra("pyarrow.parquet", file).read_table(file).to_pydict()
    yield list(columns)
    yield from (list(values) for values in zip(*columns.values(), strict=True))


def _excel_cells(file: Path) -> Iterator[list[Any]]:
    book = _extra("openpyxl", file).load_workbook(file, read_only=True, data_only=True)
    yield from (list(values) for values in book.worksheets[0].iter_rows(values_only=True))


def _extra(module: str, file: Path) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise EnvironmentFault(f"{file.suffix} tables need another package", where=file,
                               why=f"{module.split('.')[0]} is not installed",
                               fix="pip install 'excite[tables]', or save the table as CSV") from None
