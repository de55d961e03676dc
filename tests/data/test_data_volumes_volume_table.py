"""Tables of volumes: which columns hold them, what is missing, and what is wrong with which line."""

import numpy as np
import pytest

from excite.data.volumes.sections import VolumesSection
from excite.data.volumes.volume_table import is_volume_table, read_volume_table
from excite.errors import DataError, UsageError
from small_volumes import read_rows, small_table, write_rows


@pytest.fixture
def table(tmp_path):
    return small_table(tmp_path, patients=6, missing=(1,))


def section(table, **values):
    return VolumesSection(table=table, **values)


def changed(table, line, **cells):
    """Return the table with cells of one line changed."""
    rows = read_rows(table)
    rows[line - 2] |= cells
    return write_rows(table, rows)


def test_columns_rows_and_missing_maps(table):
    found = read_volume_table(section(table))
    assert found.maps == ("t1", "adc") and found.missing == {"t1": 0, "adc": 1} and found.simulated is None
    assert found.files[0] == (table.parent / "maps/0_t1.nii.gz", table.parent / "maps/0_adc.nii.gz")
    assert found.files[1] == (table.parent / "maps/1_t1.nii.gz", None)
    rows = found.manifest.rows
    assert [row.label for row in rows] == ["low", "high"] * 3 and rows[4].patient == "P04" and rows[4].line == 6
    assert is_volume_table(table)


def test_maps_in_another_order_and_columns_by_name(table):
    found = read_volume_table(section(table, maps=("adc", "t1"), label_col="note", patient_col="grade"))
    assert found.maps == ("adc", "t1") and found.files[0][0].name == "0_adc.nii.gz"
    assert {row.label for row in found.manifest.rows} == {"x"} and found.manifest.rows[1].patient == "high"


def test_a_folder_is_a_map_and_a_table_of_images_is_none(table, tmp_path):
    (tmp_path / "study").mkdir()
    rows = [row | {"scan": "study"} for row in read_rows(table)]
    assert read_volume_table(section(write_rows(table, rows))).maps == ("t1", "adc", "scan")
    images = write_rows(tmp_path / "images.csv", [{"image": "a.png", "label": "x"}])
    assert not is_volume_table(images)
    dicom = write_rows(tmp_path / "dicom.csv", [{"t1": "study", "grade": "low"}])
    assert not is_volume_table(dicom)
    (tmp_path / "study" / "series").mkdir()
    (tmp_path / "study" / "series" / "0001").write_bytes(bytes(128) + b"DICM" + bytes(8))
    assert is_volume_table(dicom)


def test_simulated_is_read(table):
    rows = [row | {"simulated": "1"} for row in read_rows(table)]
    assert read_volume_table(section(write_rows(table, rows))).simulated is True
    rows[0]["simulated"] = "0"
    assert read_volume_table(section(write_rows(table, rows))).simulated is False


@pytest.mark.parametrize(("line", "cells", "message"), [
    (3, {"t1": "maps/none.nii.gz"}, "line 3: the t1 does not exist: maps/none.nii.gz"),
    (3, {"t1": "", "adc": ""}, "line 3: it has none of the maps"),
    (4, {"grade": ""}, "line 4: the label is empty"),
    (5, {"patient": ""}, "line 5: the patient is empty"),
])
def test_faults_name_the_line(table, line, cells, message):
    with pytest.raises(DataError, match=message):
        read_volume_table(section(changed(table, line, **cells)))


def test_a_column_that_is_not_there_is_named_with_the_nearest(table):
    with pytest.raises(UsageError, match=r"the table has no column 'T1'; did you mean 't1'"):
        read_volume_table(section(table, maps=("T1",)))
    with pytest.raises(DataError, match=r"no column is the label.*--label-col NAME"):
        rows = [{key: value for key, value in row.items() if key != "grade"} for row in read_rows(table)]
        read_volume_table(section(write_rows(table, rows)))
    with pytest.raises(DataError, match=r"no column of the table holds volumes.*--maps"):
        read_volume_table(section(write_rows(table, [{"patient": "a", "grade": "b"}])))


def test_clinical_columns_are_numbers_and_empty_cells_are_missing(table):
    rows = [row | {"age": f"{40 + place}", "egfr": "" if place == 2 else "61.5"}
            for place, row in enumerate(read_rows(table))]
    found = read_volume_table(section(write_rows(table, rows), clinical=("egfr", "age")))
    assert found.columns == ("egfr", "age") and found.clinical.dtype == np.float32
    assert found.clinical[1].tolist() == [61.5, 41] and np.isnan(found.clinical[2, 0]) and found.clinical[2, 1] == 42
    assert read_volume_table(section(table)).clinical is None


def test_texts_in_clinical_columns_are_faults_that_name_line_and_column(table):
    rows = [row | {"age": "NA" if place == 3 else "50"} for place, row in enumerate(read_rows(table))]
    with pytest.raises(DataError, match=r"1 fault.*line 5: the column age must be a number with a decimal point, or "
                                        r"empty, got 'NA'"):
        read_volume_table(section(write_rows(table, rows), clinical=("age",)))


@pytest.mark.parametrize(("columns", "message"), [
    (("grade",), "volumes.clinical must name columns of numbers beside the maps, got 'grade', which is the label"),
    (("patient",), "got 'patient', which is the patient"), (("adc",), "got 'adc', which is a map"),
    (("age", "age"), "volumes.clinical must name each column once, got age, age"),
    (("agee",), "the table has no column 'agee'; did you mean 'age'"),
])
def test_columns_that_are_something_else_are_refused(table, columns, message):
    write_rows(table, [row | {"age": "50"} for row in read_rows(table)])
    with pytest.raises(UsageError, match=message):
        read_volume_table(section(table, clinical=columns))


def test_wrong_lines_are_kept_beside_the_others_where_they_are_not_refused(table):
    rows = [row | {"age": "40", "split": "test"} for row in read_rows(table)]
    rows[1] |= {"t1": "maps/none.nii.gz", "age": "old"}
    rows[2] |= {"t1": "", "adc": ""}
    rows[3] |= {"grade": "", "patient": "", "split": "somewhere"}  # nothing that a prediction needs
    write_rows(table, rows)
    with table.open("a", encoding="utf-8") as stream:
        stream.write("P99,short\n")
    found = read_volume_table(section(table, clinical=("age",)), labelled=False, refuse=False)
    assert list(found.faults) == [8, 3, 4] and "cell" in found.faults[8][0]
    assert found.faults[3] == ("the t1 does not exist: maps/none.nii.gz",
                               "the column age must be a number with a decimal point, or empty, got 'old'")
    assert found.faults[4] == ("it has none of the maps",)
    assert [row.line for row in found.manifest.rows] == [2, 3, 4, 5, 6, 7] and found.manifest.rows[3].patient is None
    with pytest.raises(DataError, match="7 fault.*line 8: .*line 3: .*line 4: .*line 5: "):
        read_volume_table(section(table, clinical=("age",)))
    write_rows(table, rows[:1])
    table.write_text(table.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="no row"):
        read_volume_table(section(table, maps=("t1",)), labelled=False, refuse=False)
