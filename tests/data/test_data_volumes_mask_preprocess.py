"""A scan to the network's spacing and back, and patches of a training."""

import numpy as np
import pytest
from scipy import ndimage

from excite.data.volumes.levels import Levels
from excite.data.volumes.mask_preprocess import MaskPreprocess, usual_patch
from excite.data.volumes.reading import read_volume
from excite.errors import DataError, ModelError
from small_scans import scan_of, write_scan


@pytest.fixture
def scan(tmp_path):
    image, _ = scan_of(3)
    write_scan(tmp_path / "scan.nii.gz", image)
    return read_volume(tmp_path / "scan.nii.gz")


def process(spacing=(1.5, 1.0, 1.0), **more):
    return MaskPreprocess(maps=("scan",), spacing=spacing, patch=(8, 16, 16), levels=(Levels(kind="volume"),),
                          **({"values": (0, 4, 9)} | more))


def test_on_its_own_spacing_nothing_is_moved_and_the_best_class_is_taken(scan):
    ours = process()
    np.testing.assert_array_equal(ours.on_grid({"scan": scan})[0], scan.values)
    shares = np.random.default_rng(0).dirichlet(np.ones(3), scan.shape).transpose(3, 0, 1, 2).astype(np.float32)
    np.testing.assert_array_equal(ours.labels(shares, scan), np.array([0, 4, 9])[shares.argmax(axis=0)])


@pytest.mark.parametrize("spacing", [(0.75, 1.0, 1.0), (1.5, 0.5, 0.7), (1.1, 0.9, 1.2)])
def test_labels_come_back_to_the_scans_own_grid(scan, spacing):
    """A ball on the network's grid is the ball of the same millimetres on the scan's, but for its outermost voxels."""
    ours = process(spacing=spacing)
    grid = ours.grid(scan)
    far = {}
    for name, shape, affine in (("network", grid.shape, grid.affine), ("scan", scan.shape, scan.affine)):
        voxels = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        places = voxels @ affine[:3, :3].T + affine[:3, 3]
        far[name] = np.linalg.norm(places - grid.centre, axis=-1)
    inside = 1 / (1 + np.exp(far["network"] - 4.0)).astype(np.float32)
    found = ours.labels(np.stack([1 - inside, inside, 0 * inside]), scan)
    assert found.shape == scan.shape and set(np.unique(found)) == {0, 4}
    near = np.abs(far["scan"] - 4.0) < 0.4
    np.testing.assert_array_equal((found == 4)[~near], (far["scan"] < 4.0)[~near])


def test_probabilities_are_softmax_of_the_networks_logits(scan):
    kernel = np.random.default_rng(0).normal(size=(3, 3, 3))

    def predict(patch):
        moved = ndimage.convolve(patch[0, 0], kernel, mode="constant")
        return np.stack([moved, -moved, 0.5 * moved])[None].astype(np.float32)

    found = process(spacing=(3.0, 2.0, 2.0)).probabilities(process(spacing=(3.0, 2.0, 2.0)).on_grid({"scan": scan}),
                                                           predict)
    assert found.shape == (3, *process(spacing=(3.0, 2.0, 2.0)).grid(scan).shape)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-5)
    with pytest.raises(DataError, match="the network's outputs are not finite for this scan"):
        process().probabilities(process().on_grid({"scan": scan}), lambda patch: np.full((1, 3, 8, 16, 16), np.nan))


def test_a_scan_without_one_of_the_maps_is_an_error(scan):
    ours = MaskPreprocess(maps=("t1", "t2"), spacing=(1, 1, 1), patch=(8, 8, 8))
    with pytest.raises(DataError, match="the scan has no t2"):
        ours.on_grid({"t1": scan})


@pytest.mark.parametrize("kind", ["volume", "map"])
def test_part_of_a_scan_is_levelled_as_the_whole(scan, kind):
    level = Levels.fit([scan.values], kind=kind)
    whole = level.apply(scan.values)
    np.testing.assert_array_equal(level.line(scan.values).apply(scan.values[2:5, 3:9]), whole[2:5, 3:9])
    assert whole.std() > 0.3


def test_a_stored_preprocessing_comes_back_whole_or_not_at_all():
    assert MaskPreprocess.from_json(process().to_json()) == process()
    for change in ({"spacing": [1, 1]}, {"levels": []}, {"overlap": 1.0}, {"values": [0]}, {"patch": "x"}):
        with pytest.raises(ModelError, match="the stored preprocessing of volumes cannot be used"):
            MaskPreprocess.from_json(process().to_json() | change)


def test_the_usual_patch_holds_the_usual_volume_where_it_is_not_too_large():
    assert usual_patch([(35, 50, 35)] * 3, (1.0, 1.0, 1.0), multiple=(8, 8, 8)) == (40, 56, 40)
    large = usual_patch([(300.0, 500.0, 500.0)], (1.0, 1.0, 1.0), multiple=(8, 8, 8))
    assert np.prod(large) < 1.4 * 96**3 and max(large) <= 1.3 * min(large)
    assert usual_patch([(10.0, 500.0, 500.0)], (5.0, 1.0, 1.0), multiple=(1, 8, 8))[0] == 2
