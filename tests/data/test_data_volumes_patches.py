"""Patches of volumes: where they lie, what they weigh, and a whole volume put together again."""

import numpy as np
import pytest
from scipy.signal.windows import gaussian

from excite.data.volumes.patches import LEAST, assembled, centred, cut, starts, weights
from excite.errors import UsageError

PATCH = (4, 6, 8)


def identity(patch):
    return patch


@pytest.mark.parametrize(("side", "length"), [(4, 4), (3, 4), (5, 4), (40, 7), (41, 8), (64, 64), (100, 33)])
@pytest.mark.parametrize("overlap", [0.0, 0.25, 0.5, 0.9])
def test_patches_cover_an_axis_and_end_with_it(side, length, overlap):
    found = starts(side, length, overlap=overlap)
    covered = {place for first in found for place in range(first, first + length)}
    assert covered >= set(range(side)) and found == sorted(set(found))
    assert max(found) == max(side - length, 0) and min(found) == 0


def test_weights_are_scipys_gaussian_with_a_floor():
    found = weights((9, 12, 5))
    lines = [gaussian(side, side / 8) for side in (9, 12, 5)]
    expected = np.maximum(np.einsum("d,h,w->dhw", *lines), LEAST)
    np.testing.assert_allclose(found, expected.astype(np.float32), rtol=1e-6)


@pytest.mark.parametrize("shape", [(4, 6, 8), (3, 5, 7), (4, 20, 8), (9, 7, 30), (2, 13, 9)])
def test_what_a_network_leaves_as_it_is_comes_back(shape):
    values = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_allclose(assembled(values, PATCH, identity), values, atol=1e-6)


def test_a_voxel_is_the_weighted_mean_of_the_patches_that_hold_it():
    """A network that gives each patch its own number: the mean is computed by hand."""
    values, numbers = np.zeros((1, 4, 6, 13), np.float32), iter(range(1, 99))
    found = assembled(values, PATCH, lambda patch: np.full_like(patch, next(numbers)))
    weight, total, share = weights(PATCH), np.zeros((4, 6, 13)), np.zeros((4, 6, 13))
    for number, first in enumerate((0, 4, 5), start=1):
        total[..., first:first + 8] += number * weight
        share[..., first:first + 8] += weight
    np.testing.assert_allclose(found[0], total / share, rtol=1e-5)
    assert len(np.unique(found)) > 3


def test_a_small_volume_lies_in_the_middle_of_zeros():
    seen = []
    assembled(np.ones((1, 2, 6, 5), np.float32), PATCH, lambda patch: seen.append(patch) or patch)
    assert len(seen) == 1 and seen[0].sum() == 2 * 6 * 5
    np.testing.assert_array_equal(np.flatnonzero(seen[0][0, 0].any(axis=(1, 2))), [1, 2])
    np.testing.assert_array_equal(np.flatnonzero(seen[0][0, 0].any(axis=(0, 1))), [1, 2, 3, 4, 5])


def test_cut_is_numpy_padding_and_slicing():
    values = np.random.default_rng(0).normal(size=(2, 5, 6, 7))
    padded = np.pad(values, ((0, 0), (9, 9), (9, 9), (9, 9)))
    for start in ((0, 0, 0), (-3, 2, 5), (4, -6, -2), (-9, 0, 0), (5, 0, 0)):
        box = tuple(slice(first + 9, first + 9 + side) for first, side in zip(start, PATCH, strict=True))
        np.testing.assert_array_equal(cut(values, start, PATCH), padded[(slice(None), *box)])
    assert centred((10, 6, 3), PATCH) == (3, 0, -2)


@pytest.mark.parametrize("overlap", [-0.1, 1.0])
def test_an_overlap_that_cannot_be(overlap):
    with pytest.raises(UsageError, match="overlap must be at least 0 and below 1"):
        assembled(np.zeros((1, 4, 6, 8), np.float32), PATCH, identity, overlap=overlap)


@pytest.mark.peers
@pytest.mark.parametrize("shape", [(20, 24, 30), (16, 17, 50), (11, 40, 9), (7, 8, 9)])
@pytest.mark.parametrize("overlap", [0.5, 0.25])
def test_whole_volumes_are_those_of_monai(shape, overlap):
    import torch
    from monai.inferers import sliding_window_inference

    torch.manual_seed(0)
    network = torch.nn.Conv3d(2, 3, 5, padding=2).double()
    values = np.random.default_rng(0).normal(size=(2, *shape))

    def predict(patch):
        return network(torch.from_numpy(patch)).numpy()

    with torch.no_grad():
        theirs = sliding_window_inference(torch.from_numpy(values)[None], (12, 16, 16), 1, network, overlap=overlap,
                                          mode="gaussian")[0].numpy()
        ours = assembled(values, (12, 16, 16), predict, overlap=overlap)
    np.testing.assert_allclose(ours, theirs, atol=2e-5)
    assert np.abs(theirs).max() > 1
