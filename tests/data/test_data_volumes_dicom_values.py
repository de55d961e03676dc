"""DICOM padding is not seen, and a mapping to real-world values that says otherwise than the rescale is told."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from excite.data.volumes.dicom_series import read_series
from excite.errors import DataError
from made_up_dicom import STACK, plant, plant_stack

PLACES = (0.0, 4.0, 8.0, 12.0, 16.0)


def mapping(slope: float | None, intercept: float = 0.0) -> Sequence:
    item = Dataset()
    item.RealWorldValueFirstValueMapped, item.RealWorldValueLastValueMapped = 0, 4095
    if slope is None:
        item.RealWorldValueLUTData = [1.0, 2.0]
    else:
        item.RealWorldValueSlope, item.RealWorldValueIntercept = slope, intercept
    return Sequence([item])


def padded(folder: Path, stack: Any = STACK, **fields: Any) -> Path:
    for number, place in enumerate(PLACES):
        plant(folder / f"{number}.dcm", stack[number], place=place, **fields)
    return folder


def seen(stack: Any) -> Any:
    """Return a stack as the reader turns it."""
    return stack.astype(np.float32)[:, ::-1, ::-1]


def test_padding_is_not_seen_and_told(tmp_path: Path) -> None:
    stack = STACK.copy()
    stack[1, :, :3] = 4000
    volume = read_series(padded(tmp_path, stack, PixelPaddingValue=4000, RescaleSlope=2, RescaleIntercept=-5))
    expected = np.where(stack == 4000, np.nan, stack * 2.0 - 5)
    np.testing.assert_array_equal(volume.values, seen(expected))
    assert volume.notes == ("18 of 210 voxels are padding (PixelPaddingValue) and count as not seen",)
    assert read_series(padded(tmp_path, stack, PixelPaddingValue=4001)).notes == ()


def test_a_range_of_padding_in_either_order(tmp_path: Path) -> None:
    stack = STACK.copy()
    stack[0, 0], stack[4, 1] = 3500, 3600
    for first, last in ((3500, 3600), (3600, 3500)):
        volume = read_series(padded(tmp_path, stack, PixelPaddingValue=first, PixelPaddingRangeLimit=last))
        np.testing.assert_array_equal(np.isnan(volume.values), seen((stack >= 3500) & (stack <= 3600)) > 0)
        assert np.isnan(volume.values).sum() == 14


def test_padding_of_signed_pixels_that_is_written_without_a_sign(tmp_path: Path) -> None:
    stack = STACK.astype(np.int16)
    stack[:, 0] = -2000
    for number, place in enumerate(PLACES):
        file = plant(tmp_path / f"{number}.dcm", stack[number], place=place)
        data = dcmread(file)
        data.add_new("PixelPaddingValue", "US", 2**16 - 2000)
        data.save_as(file)
    assert np.isnan(read_series(tmp_path).values).sum() == 5 * 7


def test_padding_of_floats_is_none_of_the_gaps(tmp_path: Path) -> None:
    stack = np.random.default_rng(7).normal(0, 1, (5, 6, 7)).astype(np.float32)
    stack[2, :2] = -9999
    fields = {"PixelData": None, "BitsAllocated": 32, "FloatPixelPaddingValue": -9999.0}
    for number, place in enumerate(PLACES):
        plant(tmp_path / f"{number}.dcm", stack[number], place=place, FloatPixelData=stack[number].tobytes(), **fields)
    volume = read_series(tmp_path)
    np.testing.assert_array_equal(volume.values, seen(np.where(stack == -9999, np.nan, stack)))
    stack[0, 3, 3] = np.nan
    plant(tmp_path / "0.dcm", stack[0], place=0.0, FloatPixelData=stack[0].tobytes(), **fields)
    with pytest.raises(DataError, match="1 of 210 voxels are NaN or infinite"):
        read_series(tmp_path)


def test_a_series_of_padding_alone_shows_nothing(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="every voxel is padding .PixelPaddingValue.: the series shows nothing"):
        read_series(padded(tmp_path, np.zeros_like(STACK), PixelPaddingValue=0))


def test_a_mapping_that_agrees_says_nothing_and_another_is_told(tmp_path: Path) -> None:
    same = read_series(padded(tmp_path, RescaleSlope=0.5, RescaleIntercept=3,
                              RealWorldValueMappingSequence=mapping(0.5, 3)))
    assert same.notes == ()
    other = read_series(padded(tmp_path, RescaleSlope=0.5, RescaleIntercept=3,
                               RealWorldValueMappingSequence=mapping(1e-6, 0)))
    assert np.array_equal(other.values, same.values) and len(other.notes) == 1
    # real = 1e-6 stored = 1e-6 (read - 3) / 0.5 = 2e-6 read - 6e-6
    assert other.notes[0] == ("a RealWorldValueMapping is not applied, RescaleSlope and RescaleIntercept are: by it "
                              "values would be 2e-06 x - 6e-06")


def test_a_mapping_by_a_table_is_told(tmp_path: Path) -> None:
    assert read_series(plant_stack(tmp_path, RealWorldValueMappingSequence=mapping(None))).notes == (
        "a RealWorldValueMapping is not applied, RescaleSlope and RescaleIntercept are",)


def test_mappings_by_which_pictures_are_on_different_scales_are_refused(tmp_path: Path) -> None:
    folder = padded(tmp_path, RealWorldValueMappingSequence=mapping(2))
    plant(folder / "3.dcm", STACK[3], place=12.0, RealWorldValueMappingSequence=mapping(3))
    with pytest.raises(DataError, match=r"the RealWorldValueMappings of the pictures differ.*2 x; another: .*3 x"):
        read_series(folder)
    plant(folder / "3.dcm", STACK[3], place=12.0)
    with pytest.raises(DataError, match=r"RealWorldValueMappings of the pictures differ.*another: none"):
        read_series(folder)
    for number, place in enumerate(PLACES):  # as the rescale differs, so does the mapping: one scale
        plant(folder / f"{number}.dcm", STACK[number], place=place, RescaleSlope=number + 1,
              RealWorldValueMappingSequence=mapping(10 * (number + 1)))
    assert read_series(folder).notes[0].endswith("by it values would be 10 x")
