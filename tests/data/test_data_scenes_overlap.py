"""Sums over boxes and overlaps of windows against pixel-by-pixel counting."""

import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.scenes.overlap import box_sum, measure_overlap, near, reach
from excite.errors import UsageError


def covered(row: int, column: int, window: int, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the pixels of one window, as slicing has them after numpy mirrored the scene."""
    before, mask = (window - 1) // 2, np.zeros(shape, bool)
    rows, columns = (np.pad(np.arange(length), (before, window // 2), mode="reflect") for length in shape)
    mask[np.ix_(rows[row:row + window], columns[column:column + window])] = True
    return mask


@pytest.mark.parametrize("window", [1, 2, 3, 6, 7, 40])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6])
def test_the_three_numbers_are_those_of_brute_force(window: int, share: float) -> None:
    random = np.random.default_rng(window)
    drawn = random.random((13, 19))
    drawn[-1, -1] = drawn[-1, 5] = drawn[2, -1] = 0  # trained on at the border that even windows are mirrored at
    train, test = drawn < share, drawn > 1 - share
    windows = [covered(row, column, window, train.shape) for row, column in np.argwhere(train)]
    over = np.sum(windows, axis=0)[test]
    sharing = [any((covered(row, column, window, train.shape) & one).any() for one in windows)
               for row, column in np.argwhere(test)]
    found = measure_overlap(train, test, window)
    assert found.inside == pytest.approx((over > 0).mean())
    assert found.windows == pytest.approx(over.mean())
    assert found.sharing == pytest.approx(np.mean(sharing))


@pytest.mark.parametrize("axis", [0, 1])
def test_even_windows_see_two_rows_above_the_last_one_in_its_mirror(axis: int) -> None:
    train, test = np.zeros((9, 9), bool), np.zeros((9, 9), bool)
    np.moveaxis(train, axis, 0)[-1] = np.moveaxis(test, axis, 0)[-3] = True
    assert measure_overlap(train, test, 4).inside == 1
    assert measure_overlap(train, test, 3).inside == 0
    assert measure_overlap(np.ones((1, 4), bool), np.ones((1, 4), bool), 2).inside == 1  # a scene of one row


def test_a_random_split_of_a_scene_leaks_as_published() -> None:
    """145 x 145 pixels, 30 % trained on, windows of 25: all test pixels lie in training windows, in dozens each."""
    drawn = np.random.default_rng(0).random((145, 145))
    found = measure_overlap(drawn < 0.3, drawn >= 0.3, 25)
    assert found.inside == found.sharing == 1.0
    assert 0.3 * 625 * 0.85 < found.windows < 0.3 * 625
    assert str(found).startswith("100.0% of the test pixels lie in a training window (in 1")
    assert found.to_json() == {"inside": 1.0, "windows": found.windows, "sharing": 1.0}


def test_box_sums_of_lopsided_boxes_and_distances() -> None:
    mask = np.random.default_rng(1).random((9, 8)) < 0.3
    sums, close = box_sum(mask, 3, 1), near(mask, 2)
    for row, column in np.ndindex(mask.shape):
        assert sums[row, column] == mask[max(0, row - 3):row + 2, max(0, column - 3):column + 2].sum()
        assert close[row, column] == mask[max(0, row - 2):row + 3, max(0, column - 2):column + 3].any()


def test_windows_reach_and_what_cannot_be() -> None:
    assert [reach(window) for window in (1, 2, 5, 6)] == [(0, 0), (0, 1), (2, 2), (2, 3)]
    with pytest.raises(UsageError, match="window must be at least 1, got 0"):
        reach(0)
    empty = np.zeros((3, 3), bool)
    with pytest.raises(UsageError, match="the test part must have a pixel to measure overlap on, got none"):
        measure_overlap(~empty, empty, 3)
