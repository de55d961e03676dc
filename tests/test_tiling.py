"""Tiles cover a scene once, and what the windows of a tile cover is what numpy's padding of the scene says."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from excite.errors import UsageError
from excite.tiling import Cover, Tile, mirrored, reach, tiles

MODES: dict[str, Any] = {"reflect": "reflect", "zero": "constant"}


def picture(height: int, width: int) -> NDArray[np.int64]:
    """Return a picture of two bands, no value twice and none 0."""
    return 1 + np.arange(height * width * 2).reshape(height, width, 2)


def padded(values: NDArray[np.int64], window: int, border: str) -> NDArray[np.int64]:
    sides = ((window - 1) // 2, window // 2)
    return np.pad(values, (sides, sides, (0, 0)), mode=MODES[border])


@pytest.mark.parametrize("border", MODES)
@pytest.mark.parametrize("window", [1, 2, 3, 6, 9, 10, 31, 40])  # the last two are larger than the scene
@pytest.mark.parametrize(("sizes", "side"), [((12, 7), 5), ((12, 7), 100), ((7, 13), 1), ((3, 2), 2)])
def test_a_cover_is_the_piece_of_the_padded_scene(border: Any, window: int, sizes: tuple[int, int], side: int) -> None:
    values = picture(*sizes)
    expected = padded(values, window, border)
    for part in tiles(sizes, side):
        cover = Cover(part, sizes, window=window, border=border)
        rows, columns = (slice(first, first + length + window - 1) for first, length in zip(part[:2], part[2:],
                                                                                            strict=True))
        np.testing.assert_array_equal(cover.blank(cover.read(values)), expected[rows, columns])


def test_one_row_is_its_own_mirror_image() -> None:
    cover = Cover(Tile(0, 0, 1, 3), (1, 3), window=4, border="reflect")
    np.testing.assert_array_equal(cover.read(picture(1, 3)), padded(picture(1, 3), 4, "reflect"))


def test_a_cover_reads_the_rows_it_needs_and_returns_a_copy() -> None:
    class Watched:
        """An array that tells what was asked of it."""

        asked: list[tuple[slice, slice]] = []

        def __getitem__(self, place: tuple[slice, slice]) -> Any:
            self.asked.append(place)
            return values[place]

    values = picture(50, 40)
    block = Cover(Tile(20, 30, 5, 10), (50, 40), window=5, border="reflect").read(Watched())  # type: ignore[arg-type]
    assert Watched.asked == [(slice(18, 27), slice(28, 40))]
    block[...] = 0
    assert (values == picture(50, 40)).all()


@pytest.mark.parametrize(("sizes", "side"), list(product([(1, 1), (10, 10), (192, 193), (400, 7)], [1, 7, 192])))
def test_tiles_cover_each_pixel_once_and_are_alike(sizes: tuple[int, int], side: int) -> None:
    found = tiles(sizes, side)
    often = np.zeros(sizes, int)
    for part in found:
        often[part.inside] += 1
    assert (often == 1).all()
    assert found == sorted(found)
    for lengths in ({part.height for part in found}, {part.width for part in found}):
        assert max(lengths) <= side and max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_places_beyond_are_mirrored_as_numpy_does(size: int) -> None:
    far = 5 * size
    expected = np.pad(np.arange(size), far, mode="reflect")
    np.testing.assert_array_equal(mirrored(np.arange(-far, size + far), size), expected)


def test_an_even_window_reaches_farther_down_and_right() -> None:
    assert [reach(window) for window in (1, 2, 3, 10, 11)] == [(0, 0), (0, 1), (1, 1), (4, 5), (5, 5)]


def test_what_cannot_be() -> None:
    with pytest.raises(UsageError, match="window must be at least 1, got 0"):
        reach(0)
    with pytest.raises(UsageError, match="tile must be at least 1, got 0"):
        tiles((3, 3), 0)
