"""Random changes of volumes: moves against scipy and in millimetres, labels with their maps, levels within bounds."""

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from excite.data.volumes.augment import VolumeAugment, augmented, draw_move
from excite.errors import UsageError

Floats = NDArray[np.float32]
STILL: dict[str, Any] = {"rotation": 0.0, "scale": 0.0, "shift": 0.0, "bias": 0.0, "contrast": 0.0, "noise": 0.0}
MOVES: dict[str, Any] = {"bias": 0.0, "contrast": 0.0, "noise": 0.0}
SPACING = (4.0, 1.5, 2.0)


def chance(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def smooth(shape: tuple[int, ...] = (2, 12, 40, 36), seed: int = 0) -> Floats:
    noise = chance(seed).standard_normal(shape, np.float32)
    return np.asarray(4 * ndimage.gaussian_filter(noise, (0, *[1.5] * (len(shape) - 1))))


def blob(shape: tuple[int, int, int], centre: NDArray[Any], spacing: tuple[float, float, float]) -> Floats:
    """Return a ball of 10 mm around a place in mm from the middle."""
    places = np.stack(np.meshgrid(*((np.arange(count) - (count - 1) / 2) * step for count, step in
                                    zip(shape, spacing, strict=True)), indexing="ij"))
    return np.asarray(np.exp(-0.5 * ((places - centre.reshape(3, 1, 1, 1)) ** 2).sum(axis=0) / 25), np.float32)


def middle_of(values: Floats, spacing: tuple[float, float, float]) -> NDArray[Any]:
    """Return the centre of mass in mm from the middle."""
    return (np.array(ndimage.center_of_mass(values)) - (np.array(values.shape) - 1) / 2) * spacing


def test_nothing_switched_on_changes_nothing() -> None:
    images, labels = smooth(), (smooth((12, 40, 36)) > 0).astype(np.float32)
    result, moved = augmented(images, augment=VolumeAugment(**STILL), spacing=SPACING, random=chance(), labels=labels)
    np.testing.assert_array_equal(result, images)
    assert moved is not None
    np.testing.assert_array_equal(moved, labels)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_move_is_one_trilinear_interpolation_as_scipy_computes_it(axis: int) -> None:
    image = smooth((20, 40, 36))
    move = draw_move(VolumeAugment(turn=(axis,), rotation=25, flip=(0, 1, 2)), shape=image.shape, spacing=SPACING,
                     random=chance(axis))
    row, column = (at for at in range(3) if at != axis)
    matrix, offset = np.zeros((3, 3)), np.zeros(3)
    matrix[axis, axis], offset[axis] = move.along
    for at, line in ((column, move.plane[0]), (row, move.plane[1])):
        matrix[at, [column, row]], offset[at] = line[:2], line[2]
    places = np.tensordot(matrix, np.indices(image.shape), axes=1) + offset.reshape(3, 1, 1, 1)
    inside = ((places >= 0) & (places <= np.array(image.shape).reshape(3, 1, 1, 1) - 1)).all(axis=0)
    expected = ndimage.map_coordinates(image, places, order=1)
    assert inside.mean() > 0.4 and np.abs(move.apply(image) - image).max() > 0.5
    np.testing.assert_allclose(move.apply(image)[inside], expected[inside], atol=0.02)  # its weights may be 1/32 steps


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_turn_is_one_of_millimetres_however_far_apart_the_slices_are(axis: int) -> None:
    shape, start = (25, 60, 50), np.array([8.0, 11.0, -9.0])
    for seed in range(6):
        augment = VolumeAugment(turn=(axis,), rotation=40, scale=0.0, shift=0.0, **MOVES)
        result, _ = augmented(blob(shape, start, SPACING)[None], augment=augment, spacing=SPACING, random=chance(seed))
        u = chance(seed).random(9)
        angle = 40 * (2 * u[1] - 1) * (1 if axis == 1 else -1)  # H has D and W in the other order
        expected = Rotation.from_rotvec(np.eye(3)[axis] * angle, degrees=True).apply(start)
        np.testing.assert_allclose(middle_of(result[0], SPACING), expected, atol=0.25)
        assert result[0].sum() == pytest.approx(blob(shape, start, SPACING).sum(), rel=0.02)


def test_scale_and_shift_are_parts_and_millimetres() -> None:
    shape, start = (25, 60, 50), np.array([8.0, 11.0, -9.0])
    image = blob(shape, start, SPACING)[None]
    still: dict[str, Any] = {**MOVES, "rotation": 0.0}
    for seed in range(5):
        u = chance(seed).random(9)
        larger, _ = augmented(image, augment=VolumeAugment(scale=0.3, shift=0.0, **still), spacing=SPACING,
                              random=chance(seed))
        np.testing.assert_allclose(middle_of(larger[0], SPACING), start * (1 + 0.3 * (2 * u[2] - 1)), atol=0.3)
        moved, _ = augmented(image, augment=VolumeAugment(scale=0.0, shift=9.0, **still), spacing=SPACING,
                             random=chance(seed))
        np.testing.assert_allclose(middle_of(moved[0], SPACING), start + 9 * (2 * u[6:] - 1), atol=0.3)


def test_flips_are_exact_and_only_along_the_axes_allowed() -> None:
    images = smooth()
    seen = set()
    for seed in range(40):
        result, _ = augmented(images, augment=VolumeAugment(flip=(0, 2), **STILL), spacing=SPACING, random=chance(seed))
        axes = [axes for axes in ((), (1,), (3,), (1, 3)) if np.array_equal(result, np.flip(images, axes))]
        assert len(axes) == 1
        seen.add(axes[0])
    assert len(seen) == 4


def test_all_maps_and_labels_move_alike() -> None:
    solid = (blob((20, 60, 60), np.array([4.0, 9, -8]), (2, 1, 1)) > 0.3).astype(np.float32)
    images = np.stack([solid, 2 * solid])  # what is whole in linear values has half-voxel steps in labels
    for seed in range(5):
        result, labels = augmented(images, augment=VolumeAugment(turn=(0, 1, 2), **MOVES), spacing=(2, 1, 1),
                                   random=chance(seed), labels=solid)
        assert labels is not None and set(np.unique(labels)) == {0, 1}
        np.testing.assert_allclose(result[1], 2 * result[0], atol=1e-5)
        both = ((result[0] > 0.5) & (labels > 0)).sum() * 2 / ((result[0] > 0.5).sum() + (labels > 0).sum())
        assert both > 0.93


def test_a_missing_map_stays_missing_and_the_others_do_not_mind() -> None:
    images = smooth((3, 12, 40, 36))
    fewer = images.copy()
    fewer[1] = 0
    augment = VolumeAugment(gamma=0.3)
    whole, less = (augmented(given, augment=augment, spacing=SPACING, random=chance(4))[0] for given in (images, fewer))
    assert (less[1] == 0).all()
    np.testing.assert_array_equal(less[[0, 2]], whole[[0, 2]])


def test_the_same_chance_is_the_same_sample_and_one_change_does_not_move_another() -> None:
    images = smooth()
    before = images.copy()
    same = [augmented(images, augment=VolumeAugment(), spacing=SPACING, random=chance(seed))[0] for seed in (1, 1, 2)]
    np.testing.assert_array_equal(same[0], same[1])
    assert np.abs(same[0] - same[2]).max() > 0.1
    np.testing.assert_array_equal(images, before)
    plain, noisy = (augmented(images, augment=VolumeAugment(**(MOVES | {"noise": noise})), spacing=SPACING,
                              random=chance(1))[0] for noise in (0.0, 0.5))
    assert 0 < (noisy - plain).std() < 0.5 and np.abs(ndimage.uniform_filter(noisy - plain, 9)).max() < 0.2


@pytest.mark.parametrize("name", ["bias", "contrast", "gamma", "noise"])
def test_levels_change_as_far_as_allowed_and_each_map_by_itself(name: str) -> None:
    images = np.stack([smooth((1, 12, 40, 36))[0]] * 2)
    changes = []
    for seed in range(60):
        result, _ = augmented(images, augment=VolumeAugment(**(STILL | {name: 0.2})), spacing=SPACING,
                              random=chance(seed))
        assert np.abs(result[0] - result[1]).max() > 1e-4
        changes.append(result[0] - images[0])
    change = np.stack(changes)
    if name == "bias":
        assert 0.12 < change.std() < 0.28 and np.abs(np.diff(change, axis=2)).max() < 0.12
    elif name == "noise":
        assert 0.15 < max(part.std() for part in change) <= 0.205
    elif name == "contrast":
        factor = [(part * images[0]).sum() / (images[0] ** 2).sum() for part in change]
        assert -0.2 <= min(factor) < -0.15 and 0.15 < max(factor) <= 0.2
    else:
        extremes = [(images[0] + part) for part in change]
        assert max(abs(part.min() - images.min()) + abs(part.max() - images.max()) for part in extremes) < 1e-3
        assert 0.05 < np.abs(change).max() < 1


@pytest.mark.parametrize(("options", "said"), [
    ({"flip": (3,)}, r"flip must be different axes out of 0 \(D\), 1 \(H\) and 2 \(W\), got \(3,\)"),
    ({"turn": (0, 0)}, r"turn must be different axes out of"),
    ({"scale": 0.95}, r"scale must be from 0 to 0\.9, got 0\.95"),
    ({"rotation": -1.0}, r"rotation must be from 0 to 180, got -1\.0"),
    ({"noise": float("nan")}, r"noise must be from 0 to 10, got nan"),
    ({"turn": ()}, r"turn must name an axis where rotation is above 0, got rotation 10; set rotation to 0")])
def test_what_cannot_be_is_said(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        VolumeAugment(**options)
