"""The window that a refused split proposes is the largest that works."""

import numpy as np
import pytest

from excite.data.scenes.block_split import block_split
from excite.errors import DataError


@pytest.mark.slow
def test_the_largest_smaller_window_is_proposed() -> None:
    labels = np.ones((40, 40), int)
    labels[:, 20:] = 2
    labels[4:8, 4:16] = 3  # a spot, 4 x 12 pixels
    works = next(window for window in range(31, 0, -2) if splits(labels, window))
    assert works > 1
    for more in (2, 4, 12):
        with pytest.raises(DataError, match=rf"; use a window of {works}, or leave such classes out"):
            block_split(labels, window=works + more)


def splits(labels: np.ndarray[tuple[int, int], np.dtype[np.int_]], window: int) -> bool:
    try:
        block_split(labels, window=window)
    except DataError:
        return False
    return True
