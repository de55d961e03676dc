"""What a look at every volume warns of: files in two rows, ids alike, maps of nothing, one map twice."""

import shutil

import nibabel
import numpy as np
import pytest

from excite.data.volumes.check import check_volumes
from excite.data.volumes.sections import VolumesSection
from excite.errors import DataError
from small_volumes import read_rows, small_table, write_rows


@pytest.fixture
def table(tmp_path):
    return small_table(tmp_path, patients=6, missing=(3,))


def warned(table, changes, **section):
    """Return line, kind and message of what is found after changes of rows."""
    rows = read_rows(table)
    for number, change in changes.items():
        rows[number] |= change
    found = check_volumes(VolumesSection(table=write_rows(table, rows), **section))
    assert not found.errors
    return [(fault.row, fault.kind, fault.message) for fault in found.faults]


def test_a_table_without_faults_has_none(table):
    assert warned(table, {}) == []


def test_a_file_in_rows_of_two_patients(table):
    shutil.copy(table.parent / "maps/1_adc.nii.gz", table.parent / "maps/copy.nii.gz")
    assert warned(table, {4: {"adc": "maps/copy.nii.gz"}}) == [
        (6, "same-files", "the adc of line 6 is a file of line 3: one patient under two names?")]
    assert warned(table, {4: {"patient": "P01"}}) == []  # an examination of one patient


def test_a_row_that_is_there_twice(table):
    first = read_rows(table)[0]
    assert warned(table, {4: first}) == [
        (6, "same-files", "the files of line 6 are those of line 2: the row twice?")]


def test_ids_that_are_spelt_alike_are_told_once(table):
    assert warned(table, {2: {"patient": "P 00"}, 4: {"patient": "p00"}, 5: {"patient": "p00"}}) == [
        (4, "ids-alike", "patient 'P 00' is spelt like 'P00' of line 2: one patient under two names?"),
        (6, "ids-alike", "patient 'p00' is spelt like 'P00' of line 2: one patient under two names?")]


def test_one_file_as_two_maps(table):
    t1 = read_rows(table)[2]["t1"]
    found = warned(table, {2: {"adc": t1}})
    assert (4, "same-map", "t1 and adc are the same map: one file under two names?") in found


def test_a_number_that_float32_cannot_hold_names_its_line(table):
    rows = [row | {"age": "1e39" if number == 2 else "50"} for number, row in enumerate(read_rows(table))]
    section = VolumesSection(table=write_rows(table, rows), clinical=("age",))
    with pytest.raises(DataError, match=r"line 4: the column age must be a number from -3.403e\+38 to 3.403e\+38, got "
                                        r"1e\+39"):
        check_volumes(section)


@pytest.mark.parametrize("levels", ["map", "volume"])
def test_a_map_of_nothing(table, levels):
    file = table.parent / "maps/2_t1.nii.gz"
    image = nibabel.load(file)
    nibabel.save(nibabel.Nifti1Image(np.zeros(image.shape, np.float32), image.affine), file)
    found = warned(table, {}, levels=levels)
    assert found == [(4, "flat-map", "the t1 has one value everywhere: it shows nothing")]
