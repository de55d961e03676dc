"""Resampling against nibabel, scipy and places in millimetres; bit-equal where nothing changes; labels stay labels."""

from itertools import product
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
from nibabel.processing import resample_from_to
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial.transform import Rotation

from excite.data.volumes.grid import Grid, resampled
from excite.data.volumes.volume import Volume
from excite.errors import UsageError

MM = tuple[float, float, float]


def placed(spacing: MM, *, turn: MM = (0, 0, 0), origin: MM = (-20, 15, 7)) -> NDArray[np.float64]:
    """Return an affine (d, h, w) -> RAS whose axes are turned by so many degrees."""
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xyz", turn, degrees=True).as_matrix() @ np.eye(3)[::-1] * spacing
    affine[:3, 3] = origin
    return affine


def made(shape: tuple[int, int, int], affine: NDArray[np.float64], *, seed: int = 0) -> Volume:
    values = np.random.default_rng(seed).standard_normal(shape, np.float32)
    return Volume(values=values, affine=affine, source=Path("made.nii"))


def millimetres(shape: tuple[int, int, int], affine: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where each voxel is. Shape (3, D, H, W)."""
    return np.tensordot(affine[:3, :3], np.indices(shape), axes=1) + affine[:3, 3].reshape(3, 1, 1, 1)


def from_nibabel(volume: Volume, grid: Grid, order: int) -> NDArray[Any]:
    """Return what nibabel makes of it; its arrays are (W, H, D)."""
    swap = [2, 1, 0, 3]
    image = nibabel.Nifti1Image(volume.values.T, volume.affine[:, swap])
    return np.asarray(resample_from_to(image, (grid.shape[::-1], grid.affine[:, swap]), order=order, mode="nearest"
                                       ).dataobj).T


GRIDS = {
    "finer": Grid((30, 40, 44), placed((2.0, 0.9, 0.8), origin=(-18, 17, 8))),
    "mirrored": Grid((14, 20, 22), placed((3.5, 1.4, 1.5)) @ np.diag([-1.0, 1.0, -1.0, 1.0])
                     + np.array([[0, 0, 0, 28.0], [0] * 4, [0, 0, 0, 40], [0] * 4])),
    "oblique": Grid((20, 30, 30), placed((3.0, 1.4, 1.4), turn=(12, -7, 20))),
}


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("order", [0, 1])
def test_nibabel_has_the_same_values(name: str, order: Any) -> None:
    volume, grid = made((16, 30, 28), placed((4.0, 1.5, 1.5))), GRIDS[name]
    mine = resampled(volume, grid, order=order)
    seen = np.isfinite(mine)
    assert seen.mean() > 0.05 and mine.dtype == np.float32 and mine.shape == grid.shape
    apart = np.abs(mine - from_nibabel(volume, grid, order))[seen]
    if order == 1:
        assert apart.max() < 1e-5
    else:
        assert (apart == 0).mean() > 0.99  # the rest lie halfway between two voxels


@pytest.mark.parametrize("turn", [(0, 0, 0), (9, 4, -15)])
def test_a_coarser_grid_smooths_first_as_scipy_does(turn: MM) -> None:
    volume = made((40, 50, 60), placed((1.0, 1.0, 1.0), turn=turn))
    grid = Grid((10, 20, 30), placed((4.0, 2.0, 1.2)))
    matrix = np.linalg.inv(volume.affine) @ grid.affine
    ratio = np.sqrt((matrix[:3, :3] ** 2).sum(axis=1))
    sigma = np.where(ratio > 1.5, np.sqrt(np.maximum(ratio ** 2 - 1, 0) / (8 * np.log(2))), 0)
    smooth = ndimage.gaussian_filter(volume.values, sigma, mode="nearest")
    expected = ndimage.map_coordinates(smooth, millimetres(grid.shape, matrix), order=1, mode="nearest")
    mine = resampled(volume, grid)
    seen = np.isfinite(mine)
    assert sigma[0] > 1 and sigma[2] == 0 or any(turn)
    assert seen.mean() > 0.4 and np.abs(mine - expected)[seen].max() < 1e-4


def test_stripes_that_a_coarse_grid_cannot_hold_become_grey() -> None:
    values = np.broadcast_to((np.arange(64) // 2 % 2).astype(np.float32), (4, 8, 64))
    volume = Volume(values=values, affine=placed((1, 1, 1)), source=Path("x"))
    coarse = resampled(volume, Grid.of(volume).centred(spacing=(1, 1, 5)))
    assert np.abs(coarse[..., 2:-2] - 0.5).max() < 0.05
    assert np.ptp(resampled(volume, Grid.of(volume).centred(spacing=(1, 1, 5)), order=0)) == 1


@pytest.mark.parametrize("turn", [(0, 0, 0), (25, -10, 5)])
def test_values_that_are_millimetres_stay_so_on_any_grid(turn: MM) -> None:
    affine = placed((3.0, 1.5, 1.2), turn=turn)
    where = millimetres((20, 30, 40), affine)
    grid = Grid((12, 25, 25), placed((2.5, 1.3, 1.3), turn=(3, 5, -20), origin=(0, 25, 20)))
    expected = millimetres(grid.shape, grid.affine)
    inner = millimetres(grid.shape, np.linalg.inv(affine) @ grid.affine)
    inside = ((inner >= 0) & (inner <= np.array([19, 29, 39]).reshape(3, 1, 1, 1))).all(axis=0)
    assert inside.mean() > 0.3
    for axis in range(3):
        volume = Volume(values=where[axis].astype(np.float32), affine=affine, source=Path("x"))
        np.testing.assert_allclose(resampled(volume, grid)[inside], expected[axis][inside], atol=1e-3)


def test_the_same_grid_is_a_bit_equal_copy_even_with_an_affine_of_float32() -> None:
    volume = made((7, 9, 11), placed((4.1, 1.3, 1.7), turn=(8, 3, -2)))
    volume.values[2, 3, 4] = np.nan
    for order, affine in product((0, 1), (volume.affine, volume.affine.astype(np.float32).astype(np.float64))):
        same = resampled(volume, Grid(volume.shape, affine), order=order)  # type: ignore[arg-type]
        np.testing.assert_array_equal(same, volume.values)
        assert not np.shares_memory(same, volume.values)


def test_a_crop_and_a_pad_are_bit_equal_where_the_volume_is() -> None:
    volume = made((8, 10, 12), placed((4, 1.3, 1.7)))
    grid = Grid.of(volume).centred(shape=(10, 6, 12))
    for order in (0, 1):
        result = resampled(volume, grid, order=order, outside=-7.0)  # type: ignore[arg-type]
        np.testing.assert_array_equal(result[1:-1], volume.values[:, 2:-2])
        assert (result[[0, -1]] == -7).all()
    np.testing.assert_allclose(grid.centre, Grid.of(volume).centre)
    assert np.isnan(resampled(volume, grid)[0]).all()


def test_a_voxel_reaches_half_a_spacing_outwards() -> None:
    volume = made((1, 1, 4), placed((5, 2, 2), origin=(0, 0, 0)))
    line = Grid((1, 1, 100), placed((5, 2, 0.1), origin=(-1.95, 0, 0)))
    found = resampled(volume, line)[0, 0]
    x = -1.95 + 0.1 * np.arange(100)
    np.testing.assert_array_equal(np.isfinite(found), (x > -1.001) & (x < 7.001))
    np.testing.assert_allclose(found[np.isfinite(found)],
                               np.interp(x, [0, 2, 4, 6], volume.values[0, 0])[np.isfinite(found)], atol=1e-5)
    thick = resampled(volume, Grid((3, 1, 4), placed((2, 2, 2), origin=(0, 0, -2))))
    np.testing.assert_array_equal(thick, volume.values.repeat(3, axis=0))


@pytest.mark.parametrize("name", GRIDS)
def test_labels_stay_labels(name: str) -> None:
    volume = made((16, 30, 28), placed((4.0, 1.5, 1.5)))
    labels = Volume(values=np.digitize(volume.values, (-0.5, 0.5)).astype(np.float32) * 7, affine=volume.affine,
                    source=Path("x"))
    assert set(np.unique(resampled(labels, GRIDS[name], order=0, outside=0))) == {0, 7, 14}


@pytest.mark.parametrize("name", ["finer", "oblique"])
def test_a_hole_does_not_spread(name: str) -> None:
    values = np.full((16, 30, 28), 5, np.float32)
    values[4:8, 10:14, 6:20], values[12, 20, 20] = np.nan, np.inf
    volume, whole = (Volume(values=array, affine=placed((4.0, 1.5, 1.5)), source=Path("x"))
                     for array in (values, np.full_like(values, 5)))
    found, full = resampled(volume, GRIDS[name]), resampled(whole, GRIDS[name])
    lost = np.isfinite(full) & ~np.isfinite(found)
    assert 0 < lost.sum() < 0.2 * np.isfinite(full).sum()
    np.testing.assert_allclose(found[np.isfinite(found)], 5, rtol=1e-5)


def test_beside_a_hole_a_voxel_is_seen_where_half_of_what_it_is_made_of_was() -> None:
    values = np.arange(1, 9, dtype=np.float32).reshape(1, 1, 8)
    values[0, 0, 3:5] = np.nan  # known up to 2, then from 5 on
    volume = Volume(values=values, affine=placed((1, 1, 1), origin=(0, 0, 0)), source=Path("x"))
    found = resampled(volume, Grid((1, 1, 41), placed((1, 1, 0.1), origin=(1.5, 0, 0))))[0, 0]
    x = 1.5 + 0.1 * np.arange(41)
    share = np.interp(x, np.arange(8), np.isfinite(values[0, 0]))
    clear = np.abs(share - 0.5) > 0.01
    np.testing.assert_array_equal(np.isfinite(found)[clear], (share > 0.5)[clear])
    assert 10 < np.isnan(found).sum() < 25


def test_a_grid_of_another_spacing_has_the_same_middle_and_directions() -> None:
    grid = Grid((16, 64, 60), placed((6, 2.3, 2.0), turn=(10, 5, -3)))
    other = grid.centred(spacing=(3, 1.5, 1.5))
    assert other.shape == (32, 98, 80) and np.allclose(other.spacing, (3, 1.5, 1.5))
    np.testing.assert_allclose(other.centre, grid.centre)
    np.testing.assert_allclose(other.directions, grid.directions)
    np.testing.assert_allclose(grid.extent, (96, 147.2, 120))
    assert grid.centred(shape=grid.shape).shape == grid.shape


def test_what_cannot_be_a_grid_is_said() -> None:
    with pytest.raises(UsageError, match=r"shape must be three numbers of voxels above 0, got \(4, 0, 4\)"):
        Grid((4, 0, 4), np.eye(4))
    with pytest.raises(UsageError, match=r"affine must be an invertible matrix \(4, 4\), got \[\[0\.0"):
        Grid((4, 4, 4), np.zeros((4, 4)))
    grid = Grid((4, 4, 4), np.eye(4))
    with pytest.raises(UsageError, match=r"spacing must be three numbers of millimetres above 0, got \(1, 0, 1\)"):
        grid.centred(spacing=(1, 0, 1))
    with pytest.raises(UsageError, match=r"shape must be three numbers of voxels above 0, got \(1, 1\)"):
        grid.centred(shape=(1, 1))
    with pytest.raises(UsageError, match=r"order must be 1 \(linear\) or 0 \(nearest\), got 3"):
        resampled(made((4, 4, 4), np.eye(4)), grid, order=3)  # type: ignore[arg-type]
