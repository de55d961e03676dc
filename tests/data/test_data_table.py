"""Tables as people and programs write them: what is read, and how a fault is told. Cases T1 to T4, T8, T9."""

import csv
import io
from pathlib import Path

import pytest

from excite.data.table import Table, parse, parse_spacing, read_table
from excite.errors import DataError, EnvironmentFault

ROWS = [["image", "label"], ["a.png", "Zyste"], ["b, c.png", "Größe; 2"], ['"q".png', "NA"], ["d.png", "None"]]


def table(tmp_path: Path, content: bytes, name: str = "t.csv") -> Table:
    file = tmp_path / name
    file.write_bytes(content)
    return read_table(file)


def cells(found: Table) -> list[list[str]]:
    return [list(found.header), *(list(record.cells) for record in found.records)]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_what_the_csv_module_writes_comes_back(tmp_path: Path, separator: str, end: str, encoding: str) -> None:
    stream = io.StringIO()
    csv.writer(stream, delimiter=separator, lineterminator=end).writerows(ROWS)
    found = table(tmp_path, stream.getvalue().encode(encoding))
    assert cells(found) == ROWS and not found.faults
    assert [record.line for record in found.records] == [2, 3, 4, 5]


def test_the_line_is_that_of_the_file_with_blank_lines_and_long_cells() -> None:
    found = parse('sep=;\nimage;label\n\na.png;"two\nlines"\nb.png;x\n;\n')
    assert [(record.line, record.cells) for record in found.records] == [(4, ("a.png", "two\nlines")),
                                                                        (6, ("b.png", "x"))]
    assert "2 blank lines passed over" in found.notes


def test_one_column_is_a_table() -> None:
    assert cells(parse("image\na.png\n")) == [["image"], ["a.png"]]


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1"])
def test_other_encodings_are_refused_with_line_byte_and_remedy(tmp_path: Path, encoding: str) -> None:
    found = table(tmp_path, "image,label\na.png,x\nRenée.png,y\n".encode(encoding))
    (fault,) = found.faults
    assert (fault.kind, fault.row) == ("encoding", 3) and not found.records
    for word in ("0xe9", "position 4", "Windows-1252", "'Renée.png'", "save it as UTF-8", "nothing is guessed"):
        assert word in fault.message


def test_the_word_that_is_not_utf_8_is_shown_as_it_is(tmp_path: Path) -> None:
    (fault,) = table(tmp_path, "image,label\nbilder\\Größe\\1.png,x\n".encode("cp1252")).faults
    assert "'bilder\\Größe\\1.png'" in fault.message and "\\\\" not in fault.message


def test_an_encoding_that_is_asked_for_is_used(tmp_path: Path) -> None:
    file = tmp_path / "t.csv"
    file.write_bytes("image,label\nRenée.png,y\n".encode("cp1252"))
    assert read_table(file, encoding="cp1252").records[0].cells[0] == "Renée.png"
    with pytest.raises(DataError, match="unknown encoding 'cp9'"):
        read_table(file, encoding="cp9")


def test_ragged_rows_are_named_and_the_others_read() -> None:
    found = parse("image,label\na.png,x\nb.png\nc.png,x,5.0\nd.png,x,,\n")
    assert [(fault.kind, fault.row) for fault in found.faults] == [("ragged-row", 3), ("ragged-row", 4)]
    assert "1 cells where the header has 2" in found.faults[0].message
    assert [record.line for record in found.records] == [2, 5], "trailing empty cells lose nothing"


def test_ids_and_class_names_stay_text() -> None:
    found = parse("image,label,patient\na.png,NA,007\nb.png,None,07\nc.png,nan,1e3\n")
    assert [record.cells[1:] for record in found.records] == [("NA", "007"), ("None", "07"), ("nan", "1e3")]


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xef\xbb\xbf", b"image,label\n"])
def test_empty_tables_are_faults(tmp_path: Path, content: bytes) -> None:
    assert [fault.kind for fault in table(tmp_path, content).faults] == ["empty-table"]


def test_duplicate_columns_open_quotes_and_binaries_are_faults(tmp_path: Path) -> None:
    assert [fault.kind for fault in parse("image,label,Label\na.png,x,y\n").faults] == ["duplicate-column"]
    assert "not-a-table" in [fault.kind for fault in parse('image,label\n"a.png,x\nb.png,y\n').faults]
    (fault,) = table(tmp_path, b"image,label\na.png,\0x\n").faults
    assert (fault.kind, fault.row) == ("encoding", 2)


@pytest.mark.parametrize(("text", "values"), [
    ("0.2", (0.2,)), ("0,2", (0.2,)), ("1,5", (1.5,)), ("0.2 0.3", (0.2, 0.3)), ("0,2 0,3", (0.2, 0.3)),
    ("[0.2, 0.3]", (0.2, 0.3)), ("0.2,0.3", (0.2, 0.3)), ("0,2, 0,3", (0.2, 0.3)), ("0,2;0,3", (0.2, 0.3)),
    ("0.5x0.5x2.0", (0.5, 0.5, 2.0)), ("3", (3.0,)), ("1e-1", (0.1,))])
def test_spacing_with_point_and_comma(text: str, values: tuple[float, ...]) -> None:
    assert parse_spacing(text) == values


@pytest.mark.parametrize("text", ["mm", "0", "-1", "nan", "inf", "0.1 a", "[]"])
def test_no_spacing(text: str) -> None:
    with pytest.raises(ValueError):
        parse_spacing(text)


def test_other_kinds_of_table_name_their_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", absent)
    for name in ("t.parquet", "t.xlsx"):
        with pytest.raises(EnvironmentFault, match=r"pip install 'excite\[tables\]'"):
            table(tmp_path, b"x", name)


def test_excel_and_parquet_cells_become_text(tmp_path: Path) -> None:
    openpyxl = pytest.importorskip("openpyxl", reason="the extra `tables` is not installed")
    book = openpyxl.Workbook()
    for row in (["image", "label", "patient"], ["a.png", "NA", "007"], [None, None, None], ["b.png", "x", 7.0]):
        book.active.append(row)
    book.save(tmp_path / "t.xlsx")
    found = read_table(tmp_path / "t.xlsx")
    assert [(record.line, record.cells) for record in found.records] == [(2, ("a.png", "NA", "007")),
                                                                        (4, ("b.png", "x", "7"))]


def test_cells_of_other_programs_are_written_as_a_person_would(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra: a stand-in for what pyarrow returns, since numbers, None and NaN are what goes wrong."""
    class Parquet:
        @staticmethod
        def read_table(file: Path) -> "Parquet":
            return Parquet()

        @staticmethod
        def to_pydict() -> dict[str, list[object]]:
            return {"image": ["a.png", "b.png"], "patient": [7.0, float("nan")], "label": [None, 2]}

    monkeypatch.setattr("importlib.import_module", lambda name: Parquet)
    found = table(tmp_path, b"x", "t.parquet")
    assert cells(found) == [["image", "patient", "label"], ["a.png", "7", ""], ["b.png", "", "2"]]
