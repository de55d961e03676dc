"""What a change does to a window, against numpy."""

from typing import Literal

import numpy as np
import pytest

from excite.data.scenes.sections import SceneAugmentSection
from excite.data.scenes.window_augment import WindowChange, change_of

WINDOW = np.arange(50).reshape(2, 5, 5)


def test_flips_and_turns_are_numpys() -> None:
    assert np.array_equal(WindowChange().turned(WINDOW), WINDOW)
    assert np.array_equal(WindowChange(horizontal_flip=True).turned(WINDOW), np.flip(WINDOW, 2))
    assert np.array_equal(WindowChange(vertical_flip=True).turned(WINDOW), np.flip(WINDOW, 1))
    both = WindowChange(horizontal_flip=True, vertical_flip=True)
    assert np.array_equal(both.turned(WINDOW), np.flip(WINDOW, (1, 2)))
    for quarters in range(4):
        expected = np.stack([np.rot90(band, quarters) for band in np.flip(WINDOW, 1)])
        assert np.array_equal(WindowChange(vertical_flip=True, quarters=quarters).turned(WINDOW), expected)


@pytest.mark.parametrize("name", ["horizontal_flip", "vertical_flip"])
def test_a_flip_comes_as_often_as_asked(name: Literal["horizontal_flip", "vertical_flip"]) -> None:
    for share in (0.0, 0.25, 0.9):
        section = SceneAugmentSection.model_validate({name: share})
        found = [getattr(change_of(section, seed=0, epoch=0, index=index), name) for index in range(2000)]
        assert np.mean(found) == pytest.approx(share, abs=0.04)
