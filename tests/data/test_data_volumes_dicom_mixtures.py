"""Series with pictures of two patients, two frames of reference or two scales are refused, and nobody is named."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from excite.data.volumes.dicom_files import frames_of
from excite.data.volumes.dicom_series import list_series, read_series
from excite.errors import DataError
from made_up_dicom import STACK, plant


def changed(folder: Path, *, of: tuple[int, ...], usual: dict[str, Any] | None = None, **fields: Any) -> Path:
    """Write five pictures, those numbered in `of` with other fields, or without those that are None."""
    for number in range(5):
        own = (usual or {}) | (fields if number in of else {})
        plant(folder / f"{number}.dcm", STACK[number], place=number * 4.0,
              **{name: value for name, value in own.items() if value is not None})
    return folder


def test_two_patients_in_one_series(tmp_path: Path) -> None:
    changed(tmp_path, of=(1, 3), PatientID="MRN9999")
    with pytest.raises(DataError) as caught:
        read_series(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path}: pictures of 2 patients (PatientID) are in one series (their SeriesInstanceUID is the same); put "
        "each patient's files into a folder of its own")
    assert not re.search("MRN|4711|9999", repr(caught.value) + repr(frames_of(tmp_path / "1.dcm")))
    assert [info.spacing for info in list_series(tmp_path)] == [None]


@pytest.mark.parametrize("other", ["", "MRN4711 "])
def test_an_id_that_is_missing_or_padded_is_no_other_patient(tmp_path: Path, other: str) -> None:
    assert np.array_equal(read_series(changed(tmp_path, of=(2,), PatientID=other)).values, STACK[:, ::-1, ::-1])


def test_ids_are_kept_as_hashes_that_tell_them_apart(tmp_path: Path) -> None:
    ids = [frames_of(plant(tmp_path / f"{number}", PatientID=one))[0].patient
           for number, one in enumerate(("A1", "A1", "A2", ""))]
    assert ids[0] == ids[1] != ids[2] and ids[3] is None


def test_two_frames_of_reference(tmp_path: Path) -> None:
    usual = {"FrameOfReferenceUID": "1.2.5"}
    changed(tmp_path, of=(3, 4), usual=usual, FrameOfReferenceUID="1.2.6")
    with pytest.raises(DataError, match=r"the pictures lie in 2 frames of reference \(FrameOfReferenceUID\) \(their "
                                        "places in millimetres do not count from one point"):
        read_series(tmp_path)
    for other in ("1.2.5", "", None):
        assert read_series(changed(tmp_path, of=(3,), usual=usual, FrameOfReferenceUID=other)).shape == (5, 6, 7)


@pytest.mark.parametrize(("usual", "fields", "message"), [
    ({"RescaleSlope": 3}, {"RescaleSlope": None}, "2 of 5 pictures have no RescaleSlope, others have 3"),
    ({"RescaleSlope": 3}, {"RescaleSlope": ""}, "2 of 5 pictures have no RescaleSlope, others have 3"),
    ({}, {"RescaleSlope": 0.5}, "3 of 5 pictures have no RescaleSlope, others have 0.5"),
    ({"RescaleIntercept": -1024}, {"RescaleIntercept": None}, "2 of 5 pictures have no RescaleIntercept, others have "
                                                              "-1024"),
])
def test_pictures_with_a_scale_among_some_without(tmp_path: Path, usual: dict[str, Any], fields: dict[str, Any],
                                                  message: str) -> None:
    with pytest.raises(DataError, match=re.escape(f"{message} (their values are on different scales); export the")):
        read_series(changed(tmp_path, of=(0, 4), usual=usual, **fields))


@pytest.mark.parametrize(("usual", "fields"), [
    ({}, {"RescaleSlope": 1, "RescaleIntercept": 0}), ({"RescaleIntercept": 0}, {"RescaleIntercept": None})])
def test_scales_that_say_the_same_are_no_mixture(tmp_path: Path, usual: dict[str, Any], fields: dict[str, Any]) -> None:
    assert np.array_equal(read_series(changed(tmp_path, of=(1,), usual=usual, **fields)).values, STACK[:, ::-1, ::-1])
