"""Maps go back to the original pixels where they belong, at any size and shape."""

import numpy as np
import pytest

from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.errors import ModelError
from excite.outcome.maps import FAR, Place, bounds, cut_of, mirrored_back, sigmoid, to_original, unseen_note

SHAPES = [(540, 800), (800, 540), (37, 50), (100, 31), (256, 384)]


def place_of(shape: tuple[int, int], size: int | tuple[int, int], mode: str = "letterbox") -> Place:
    return Place(Preprocess(PreprocessSection(size=size, mode=mode, channels=1)).inverse(shape), shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("size", "mode"), [(64, "letterbox"), ((64, 96), "letterbox"), ((96, 40), "letterbox"),
                                            (64, "crop")])
def test_a_slope_lands_on_the_pixels_that_it_came_from(shape: tuple[int, int], size: int | tuple[int, int],
                                                       mode: str) -> None:
    place = place_of(shape, size, mode)
    height, width = (size, size) if isinstance(size, int) else size
    rows, columns = np.indices((height, width)).astype(np.float32)
    back = to_original(np.stack([rows, columns]), place)
    forward = np.linalg.inv(np.vstack([place.inverse, [0, 0, 1]]))
    y, x = np.indices(shape)
    for found, axis, grid in ((back[0], 1, y), (back[1], 0, x)):
        expected = forward[axis, axis] * grid + forward[axis, 2]
        inner = np.zeros(shape, bool)
        margin = [int(np.ceil(3 * place.inverse[one, one])) for one in (1, 0)]  # the border's values go on outside
        seen = place.seen((height, width))
        inner[tuple(slice(one.start + gap, one.stop - gap) for one, gap in zip(seen, margin, strict=True))] = True
        assert inner.any()
        # OpenCV's cubic (a = -0.75) is off a slope by up to 0.048 of a step, half a pixel would be 0.5.
        assert np.abs(found - expected)[inner].max() < 0.06


def test_what_the_input_does_not_show_is_background_and_said() -> None:
    place = place_of((40, 100), 64, "crop")
    one, several = to_original(np.full((1, 64, 64), 5, np.float32), place), to_original(
        np.stack([np.zeros((64, 64)), np.ones((64, 64))]).astype(np.float32), place)
    seen = place.seen((64, 64))
    shown = np.zeros((40, 100), bool)
    shown[seen] = True
    assert shown.mean() == pytest.approx((64 / 74) * (64 / 185), rel=0.05)
    assert (one[0][shown] > 4).all() and (one[0][~shown] == -FAR).all()
    assert (several.argmax(axis=0) == shown).all()
    assert (several[:, ~shown] == [[FAR], [-FAR]]).all()  # no doubt about what is not seen
    (note,) = unseen_note(place, (64, 64))
    assert note.startswith(f"{100 * (1 - shown.mean()):.0f} % of the image")
    assert unseen_note(place_of((40, 100), 64), (64, 64)) == ()


def test_the_black_beside_a_letterbox_does_not_come_in() -> None:
    """A head that fills the picture reaches its border: the letterbox around it is no background of the picture."""
    place = place_of((50, 100), 64)
    maps = np.full((1, 64, 64), -9, np.float32)
    maps[:, 16:48] = 9
    np.testing.assert_allclose(to_original(maps, place), 9, rtol=1e-6)


def test_sigmoid_cut_and_mirror() -> None:
    logits = np.array([-1e4, -3.0, 0.0, 3.0, 1e4], np.float32)
    with np.errstate(all="raise"):
        found = sigmoid(np.clip(logits, -50, 50))
    np.testing.assert_allclose(found, [0, 1 / (1 + np.exp(3)), 0.5, 1 / (1 + np.exp(-3)), 1], atol=1e-7)
    assert sigmoid(logits).dtype == np.float32
    for level in (0.01, 0.3, 0.5, 0.99):
        assert 1 / (1 + np.exp(-cut_of(level))) == pytest.approx(level, rel=1e-12)
    maps = np.arange(12, dtype=np.float32).reshape(1, 1, 3, 4)
    assert (mirrored_back(maps)[0, 0, 0] == [3, 2, 1, 0]).all()


def test_bounds_hold_all_that_is_true() -> None:
    inside = np.zeros((20, 30), bool)
    assert bounds(inside) is None
    inside[3, 0], inside[10, 29] = True, True
    assert bounds(inside) == (slice(2, 12), slice(0, 30))


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ModelError, match=r"maps must have the shape .* got \(1, 1, 8, 8\)"):
        to_original(np.zeros((1, 1, 8, 8), np.float32), place_of((8, 8), 8))
