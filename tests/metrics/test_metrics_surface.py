"""Surface distances are MONAI's and those of a search through every pair of pixels; no spacing, no mm."""

import itertools
import math

import numpy as np
import pytest
from scipy.ndimage import binary_erosion, generate_binary_structure

from excite.errors import DataError, UsageError
from excite.metrics.surface import boundary, surface_distances, surface_scores

SPACINGS = [((17, 14), (0.4, 1.3)), ((17, 14), (1.0, 1.0)), ((8, 7, 9), (5.0, 0.7, 1.1))]


def blobs(*size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return two overlapping ellipsoids; one has a hole and a speck, and both touch the border for some seeds."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in size], indexing="ij"), axis=-1)
    found = []
    for _ in range(2):
        centre = np.array(size) / 2 + rng.normal(0, 1.5, len(size))
        axes = np.array(size) * rng.uniform(0.3, 0.55, len(size))
        found.append((((grid - centre) / axes) ** 2).sum(axis=-1) <= 1)
    found[0][tuple(n // 2 for n in size)] = False
    found[0][tuple(rng.integers(n) for n in size)] = True
    return found[0], found[1]


def slow_boundary(mask: np.ndarray) -> list[tuple[int, ...]]:
    places = {tuple(place) for place in np.argwhere(mask).tolist()}
    steps = [tuple(sign * (axis == one) for one in range(mask.ndim)) for axis in range(mask.ndim) for sign in (-1, 1)]
    return [place for place in places
            if any(tuple(a + b for a, b in zip(place, step, strict=True)) not in places for step in steps)]


def slow_scores(predicted: np.ndarray, truth: np.ndarray, spacing: tuple[float, ...], tolerance: float) -> list[float]:
    def towards(places: list[tuple[int, ...]], others: list[tuple[int, ...]]) -> list[float]:
        return sorted(min(math.sqrt(sum(((a - b) * s) ** 2 for a, b, s in zip(place, other, spacing, strict=True)))
                          for other in others) for place in places)

    def percentile(values: list[float], share: float) -> float:
        rank = share * (len(values) - 1)
        low = math.floor(rank)
        return values[low] + (rank - low) * (values[min(low + 1, len(values) - 1)] - values[low])

    edges = slow_boundary(predicted), slow_boundary(truth)
    both = towards(*edges), towards(*edges[::-1])
    every = [*both[0], *both[1]]
    return [max(one[-1] for one in both), max(percentile(one, 0.95) for one in both), sum(every) / len(every),
            sum(one <= tolerance for one in every) / len(every)]


@pytest.mark.parametrize(("size", "spacing"), SPACINGS)
def test_scores_are_those_of_a_search_through_every_pair(size: tuple[int, ...], spacing: tuple[float, ...]) -> None:
    for seed in range(6):
        predicted, truth = blobs(*size, seed=seed)
        near = 1.1 * min(spacing)
        expected = slow_scores(predicted, truth, spacing, near)
        found = surface_scores(predicted, truth, spacing=spacing, tolerance=near)
        assert list(found) == ["hd_mm", "hd95_mm", "assd_mm", "surface_dice"]
        assert list(found.values()) == pytest.approx(expected, rel=1e-12)
        assert 0 < expected[2] < expected[1] <= expected[0] and 0.02 < expected[3] < 0.98  # masks that differ


@pytest.mark.peers
@pytest.mark.parametrize(("size", "spacing"), [*SPACINGS, ((40, 33), (0.1, 0.3)), ((14, 30, 26), (3.0, 0.9, 0.9))])
def test_scores_equal_monais(size, spacing):
    import torch
    from monai.metrics import compute_average_surface_distance, compute_hausdorff_distance, compute_surface_dice

    for seed in range(6):
        predicted, truth = blobs(*size, seed=seed)
        pair = [torch.from_numpy(one)[None, None].float() for one in (predicted, truth)]
        near = 1.1 * max(spacing)
        expected = [compute_hausdorff_distance(*pair, spacing=spacing),
                    compute_hausdorff_distance(*pair, spacing=spacing, percentile=95),
                    compute_average_surface_distance(*pair, spacing=spacing, symmetric=True),
                    compute_surface_dice(*pair, class_thresholds=[near], spacing=spacing)]
        found = surface_scores(predicted, truth, spacing=spacing, tolerance=near)
        assert list(found.values()) == pytest.approx([float(one) for one in expected], rel=5e-6)  # theirs is float32


@pytest.mark.parametrize("size", [(12, 9), (7, 6, 8), (1, 9), (1, 1)])
def test_the_boundary_is_what_erosion_takes_away(size: tuple[int, ...]) -> None:
    rng = np.random.default_rng(0)
    for share in (0.1, 0.5, 0.95):
        mask = rng.random(size) < share
        expected = mask & ~binary_erosion(mask, generate_binary_structure(len(size), 1))
        assert (boundary(mask) == expected).all() and (boundary(np.ones(size, bool)) <= np.ones(size, bool)).all()
    assert boundary(np.ones((5, 5), bool)).sum() == 16  # the image's border bounds a mask


def test_known_distances() -> None:
    truth, predicted = np.zeros((30, 30), bool), np.zeros((30, 30), bool)
    truth[5:15, 5:15] = True
    predicted[5:15, 8:18] = True
    found = surface_scores(predicted, truth, spacing=(0.2, 0.5), tolerance=0.1)
    assert found["hd_mm"] == pytest.approx(1.5)  # three pixels of half a millimetre
    assert surface_scores(truth, truth, spacing=(0.2, 0.5), tolerance=0) == {"hd_mm": 0, "hd95_mm": 0, "assd_mm": 0,
                                                                             "surface_dice": 1}
    swapped = surface_scores(predicted.T, truth.T, spacing=(0.2, 0.5), tolerance=0.1)
    assert swapped["hd_mm"] == pytest.approx(0.6)  # the trap: spacing in the wrong order
    predicted[29, 29] = True
    far = surface_scores(predicted, truth, spacing=(0.2, 0.5), tolerance=0.1)
    assert far["hd_mm"] == pytest.approx(math.hypot(15 * 0.2, 15 * 0.5)) and far["hd95_mm"] == pytest.approx(1.5)
    one_way = surface_distances(predicted, truth, spacing=(0.2, 0.5))
    assert one_way is not None and one_way.to_truth.max() > 5 > 2 > one_way.to_predicted.max()
    assert one_way.hausdorff() == far["hd_mm"]  # of the two directions the larger


def test_the_95th_percentile_and_the_mean_are_the_stated_ones_of_several_in_use() -> None:
    predicted, truth = np.zeros((20, 20), bool), np.zeros((20, 20), bool)
    predicted[2:6, 2:6], truth[2:18, 3:17] = True, True
    found = surface_distances(predicted, truth)
    assert found is not None
    both = np.concatenate([found.to_truth, found.to_predicted])
    assert found.hausdorff(95) == max(np.percentile(found.to_truth, 95), np.percentile(found.to_predicted, 95))
    assert abs(found.hausdorff(95) - np.percentile(both, 95)) > 1e-3
    assert abs(found.mean() - (found.to_truth.mean() + found.to_predicted.mean()) / 2) > 1e-3


def test_without_spacing_the_unit_is_pixels_and_says_so() -> None:
    predicted, truth = blobs(17, 14, seed=0)
    found = surface_scores(predicted, truth, tolerance=1)
    assert list(found) == ["hd_pixels", "hd95_pixels", "assd_pixels", "surface_dice"]
    same = surface_scores(predicted, truth, tolerance=1, spacing=(1, 1))
    assert list(found.values()) == list(same.values())
    bare, spaced = surface_distances(predicted, truth), surface_distances(predicted, truth, spacing=(2.0, 2.0))
    assert bare is not None and spaced is not None and (bare.unit, spaced.unit) == ("pixels", "mm")
    np.testing.assert_allclose(spaced.to_truth, 2 * bare.to_truth)


def test_empty_masks_have_no_distance() -> None:
    nothing, something = np.zeros((6, 6), bool), np.eye(6) > 0
    for spacing, unit in ((None, "pixels"), ((1.0, 2.0), "mm")):
        for pair, share in (((nothing, something), 0.0), ((something, nothing), 0.0), ((nothing, nothing), None)):
            found = surface_scores(*pair, tolerance=1, spacing=spacing)
            assert found == {f"hd_{unit}": None, f"hd95_{unit}": None, f"assd_{unit}": None, "surface_dice": share}
    assert surface_distances(nothing, something) is None


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, -1.0), (1.0, math.nan), (1.0, math.inf), (1, 1, 1)])
def test_a_spacing_that_cannot_be_is_refused(spacing: tuple[float, ...]) -> None:
    predicted, truth = blobs(17, 14, seed=0)
    with pytest.raises(UsageError, match="spacing must be 2 positive numbers, one an axis, got"):
        surface_scores(predicted, truth, tolerance=1, spacing=spacing)


def test_other_inputs_that_cannot_be_are_refused() -> None:
    predicted, truth = blobs(17, 14, seed=0)
    for tolerance in (-1, math.nan, math.inf):
        with pytest.raises(UsageError, match="tolerance must be a number of at least 0"):
            surface_scores(predicted, truth, tolerance=tolerance)
    with pytest.raises(DataError, match="b.png: the true mask must have the values 0 and 1 only, got 255"):
        surface_scores(predicted, truth * 255, tolerance=1, where="b.png")
    with pytest.raises(DataError, match="the true mask's size"):
        surface_scores(predicted[1:], truth, tolerance=1)
    found = surface_distances(predicted, truth)
    for percentile in itertools.chain((0, 101), (math.nan,)):
        with pytest.raises(UsageError, match="percentile must be above 0 and at most 100"):
            found.hausdorff(percentile)  # type: ignore[union-attr]
