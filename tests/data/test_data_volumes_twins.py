"""Rows that share files, and ids that are spelt alike."""

from excite.data.row import Row
from excite.data.volumes.twins import Twin, alike_ids, same_files


def rows(*patients):
    return [Row(image="x", line=line, label="a", patient=patient) for line, patient in enumerate(patients, start=2)]


def test_files_of_an_earlier_row_are_found_whatever_map_they_are():
    hashes = [("a", "b"), ("c", None), ("b", "d"), ("a", "b"), ("c", "d"), ("e", "e"), ("b", "a")]
    found = same_files(("t1", "adc"), hashes)
    assert found == [Twin(2, 0, ("t1",), False), Twin(3, 0, ("t1", "adc"), True), Twin(4, 1, ("t1",), False),
                     Twin(4, 2, ("adc",), False), Twin(6, 0, ("t1", "adc"), True)]
    told = [twin.told(rows(*"ABCDEFG")) for twin in found]
    assert told[0] == "the t1 of line 4 is a file of line 2" and told[1] == "the files of line 5 are those of line 2"
    assert Twin(3, 0, ("t1", "adc"), False).told(rows(*"ABCD")) == "the t1, adc of line 5 are files of line 2"


def test_ids_that_differ_in_case_and_blanks_are_alike():
    assert list(alike_ids(rows("P1", "p1", "P 1", None, "P1", "P2", None, "p\u00a02"))) == [(1, 0), (2, 0), (7, 5)]
    assert not list(alike_ids(rows("P1", "P01", "P-1", "P1")))
