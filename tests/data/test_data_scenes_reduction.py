"""Reduced bands against scikit-learn, bit-equal storage, mapped cubes, and spectra that cannot be fitted."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.io import loadmat
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from excite.data.scenes import reduction as module
from excite.data.scenes.reduction import BandReduction, fit_reduction, nearest_bands
from excite.errors import DataError, ModelError, UsageError


def spectra(pixels: int = 400, bands: int = 20, seed: int = 0, dtype: Any = np.float32) -> NDArray[Any]:
    """Return mixtures of five spectra with noise, as 12-bit counts."""
    random = np.random.default_rng(seed)
    mixed = random.dirichlet(np.ones(5), pixels) @ random.uniform(200, 4000, (5, bands))
    return (mixed + random.normal(0, 30, mixed.shape)).astype(dtype)


@pytest.mark.parametrize("whiten", [False, True])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint16])
def test_pca_is_that_of_scikit_learn(whiten: bool, dtype: Any) -> None:
    train, other = spectra(dtype=dtype), spectra(seed=1, dtype=dtype)
    theirs = PCA(6, whiten=whiten, svd_solver="full").fit(train.astype(np.float64))
    ours = fit_reduction(train, components=6, whiten=whiten, scale="none")
    wanted = theirs.transform(other.astype(np.float64))
    sign = np.sign((wanted * ours.apply(other)).sum(axis=0))
    np.testing.assert_allclose(ours.apply(other), wanted * sign, rtol=1e-5, atol=1e-5 * np.abs(wanted).max())
    assert ours.explained == pytest.approx(theirs.explained_variance_ratio_, rel=1e-9)
    np.testing.assert_allclose(ours.spread, theirs.transform(train.astype(np.float64)).std(axis=0), rtol=1e-9)


def test_scaled_together_the_first_component_has_a_deviation_of_one_and_the_others_keep_their_share() -> None:
    train = spectra()
    plain = fit_reduction(train, components=6, scale="none").apply(train)
    found = fit_reduction(train, components=6).apply(train)
    np.testing.assert_allclose(found, plain / plain.std(axis=0).max(), rtol=1e-4, atol=1e-5)
    assert found[:, 0].std() == pytest.approx(1, rel=1e-4) and found[:, -1].std() < 0.9


def test_standardised_values_are_those_of_scikit_learn() -> None:
    train, other = spectra(dtype=np.float64), spectra(seed=1, dtype=np.float64)
    chosen = [3, 0, 17]
    for kind, used, options in (("none", slice(None), {}), ("bands", chosen, {"chosen": chosen})):
        ours = fit_reduction(train, kind=kind, **options, scale="each")  # type: ignore[arg-type]
        wanted = StandardScaler().fit(train[:, used]).transform(other[:, used])
        np.testing.assert_allclose(ours.apply(other), wanted, rtol=1e-5, atol=1e-5)
    pca = PCA(6, svd_solver="full").fit(train)
    wanted = StandardScaler().fit(pca.transform(train)).transform(pca.transform(other))
    found = fit_reduction(train, components=6, scale="each").apply(other)
    np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=1e-4)


def test_nothing_asked_for_changes_nothing() -> None:
    cube = spectra().reshape(20, 20, 20)
    plain = fit_reduction(cube.reshape(-1, 20), kind="none", scale="none")
    assert (plain.apply(cube) == cube).all()
    chosen = fit_reduction(spectra(), kind="bands", chosen=(4, 2), scale="none")
    assert (chosen.apply(cube) == cube[..., [4, 2]]).all()


def test_it_is_fitted_on_what_it_is_given_and_says_so() -> None:
    train, test = spectra(), spectra(seed=5) * 3
    honest = fit_reduction(train, kind="none")
    leaky = fit_reduction(np.concatenate([train, test]), kind="none", fitted_on="all pixels")
    assert (honest.fitted_on, honest.pixels) == ("training pixels", 400)
    assert (leaky.fitted_on, leaky.pixels) == ("all pixels", 800)
    assert np.abs(honest.apply(train).mean(axis=0)).max() < 1e-5 < np.abs(leaky.apply(train).mean(axis=0)).min()


def test_signs_do_not_depend_on_the_order_of_the_pixels_or_the_solver() -> None:
    train = spectra()
    ours = fit_reduction(train, components=6, scale="none")
    weight = np.array(ours.weight)
    assert (weight[np.arange(6), np.abs(weight).argmax(axis=1)] > 0).all()
    turned = fit_reduction(train[::-1], components=6, scale="none")
    np.testing.assert_allclose(turned.apply(train), ours.apply(train), rtol=1e-3, atol=1e-2)


@pytest.mark.parametrize("options", [{"components": 7, "whiten": True}, {"kind": "none"},
                                     {"kind": "bands", "chosen": (1, 5), "scale": "none"}])
def test_stored_and_read_again_it_is_bit_equal(options: dict[str, Any]) -> None:
    ours = fit_reduction(spectra(), **options)
    again = BandReduction.from_json(json.loads(json.dumps(ours.to_json())))
    assert again == ours
    assert again.apply(spectra(seed=2)).tobytes() == ours.apply(spectra(seed=2)).tobytes()


@pytest.mark.parametrize("change", [{"weight": [[1.0]]}, {"kind": "ica"}, {"offset": [0.0]}, {"chosen": [0, 99]},
                                    {"extra": 1}, {"chosen": []}, {"weight": "x"}])
def test_a_damaged_store_is_refused(change: dict[str, Any]) -> None:
    tree = fit_reduction(spectra(), components=3).to_json() | change
    with pytest.raises(ModelError, match="the stored band reduction cannot be used"):
        BandReduction.from_json(tree)


def test_a_mapped_cube_is_reduced_in_blocks_into_a_mapped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cube = spectra(pixels=60 * 50).reshape(60, 50, 20)
    np.save(tmp_path / "cube.npy", cube)
    mapped = np.load(tmp_path / "cube.npy", mmap_mode="r")
    ours = fit_reduction(cube.reshape(-1, 20), components=5)
    whole = ours.apply(cube)
    monkeypatch.setattr(module, "BLOCK_BYTES", 7 * 50 * 20 * 4)  # seven rows
    target = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float32, (60, 50, 5))
    assert ours.apply(mapped, out=target) is target
    np.testing.assert_allclose(np.load(tmp_path / "out.npy"), whole, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.apply(cube.reshape(-1, 20)), whole.reshape(-1, 5), rtol=1e-6, atol=1e-6)
    blocked = fit_reduction(cube.reshape(-1, 20), components=5)
    np.testing.assert_allclose(blocked.apply(cube), whole, rtol=1e-5, atol=1e-5)


def test_brightness_in_reduced_values_is_brightness_of_the_spectrum() -> None:
    train = spectra(dtype=np.float64)
    for ours in (fit_reduction(train, components=6), fit_reduction(train, kind="none"),
                 fit_reduction(train, kind="bands", chosen=(2, 7))):
        reduced, black, grey = ours.apply(train), np.array(ours.offset), ours.grey()
        mean = train[:, list(ours.chosen)].mean()
        changed = ours.apply(1.1 * train + 0.05 * mean)
        np.testing.assert_allclose(black + 1.1 * (reduced - black) + 0.05 * grey, changed, rtol=1e-4, atol=1e-4)


def test_pixels_without_data_stay_without() -> None:
    cube = spectra().reshape(20, 20, 20).copy()
    cube[3, 4, 5] = np.nan
    reduced = fit_reduction(spectra(), components=4).apply(cube)
    assert np.isnan(reduced).any(axis=-1).sum() == 1 and np.isnan(reduced[3, 4]).all()


def broken(place: tuple[Any, ...], value: float) -> NDArray[Any]:
    pixels = spectra().copy()
    pixels[place] = value
    return pixels


@pytest.mark.parametrize(("pixels", "options", "kind", "text"), [
    (spectra(), {"components": 21}, UsageError, "components must be from 1 to the number of bands, 20, got 21"),
    (spectra(), {}, UsageError, "components must be from 1 to the number of bands, 20, got None"),
    (spectra(pixels=6), {"components": 6}, DataError, "components must be below the number of pixels it is fitted on"),
    (broken((slice(3, 5), 7), np.nan), {"components": 3}, DataError, "2 of 400 pixels hold NaN or infinity"),
    (broken((9, 7), np.inf), {"kind": "none"}, DataError, "1 of 400 pixels hold NaN or infinity"),
    (broken((slice(None), [2, 7]), 0.1), {"kind": "none", "scale": "each"}, DataError,
     "2 band(s) have one value in all 400 pixels: 2, 7 (they cannot be standardised); drop them, or scale"),
    (np.ones((50, 20)), {"components": 1}, DataError, "components must be at most 0, got 1"),
    (np.outer(np.arange(50.0), np.arange(20.0)), {"components": 3}, DataError,
     "components must be at most 1, got 3 (the 50 pixels vary in 1 direction(s) only)"),
    (spectra(), {"kind": "ica"}, UsageError, "kind must be pca, bands or none, got 'ica'"),
    (spectra(), {"kind": "none", "components": 3}, UsageError, "components and whiten go with kind pca"),
    (spectra(), {"kind": "bands"}, UsageError, "chosen goes with kind bands, got kind 'bands' and chosen None"),
    (spectra(), {"kind": "bands", "chosen": (1, 20)}, UsageError, "different bands from 0 to 19, got 1, 20"),
    (spectra(), {"kind": "bands", "chosen": (1, 1)}, UsageError, "different bands from 0 to 19, got 1, 1"),
    (spectra(), {"kind": "bands", "chosen": ()}, UsageError, "different bands from 0 to 19, got none"),
    (spectra(), {"components": 2, "fitted_on": "test"}, UsageError, "fitted_on must be training pixels or all pixels"),
    (spectra()[0], {"components": 2}, UsageError, "pixels must be (N, bands), got shape (20,)"),
    (spectra()[:0], {"components": 2}, UsageError, "pixels must be (N, bands), got shape (0, 20)"),
])
def test_what_cannot_be_fitted(pixels: NDArray[Any], options: dict[str, Any], kind: type[Exception], text: str) -> None:
    with pytest.raises(kind) as caught:
        fit_reduction(pixels, **options)
    assert text in str(caught.value)


def test_a_constant_band_does_not_hurt_pca() -> None:
    pixels = broken((slice(None), 4), 7.0)
    assert np.isfinite(fit_reduction(pixels, components=6, whiten=True).apply(pixels)).all()


def test_another_cube_or_output_is_refused() -> None:
    ours = fit_reduction(spectra(), components=3)
    with pytest.raises(DataError, match=r"for 20 bands, got an array of shape \(5, 5, 19\); drop the same bands"):
        ours.apply(np.zeros((5, 5, 19)))
    with pytest.raises(UsageError, match=r"out must be float32 of shape \(9, 3\), got float64 of shape \(9, 3\)"):
        ours.apply(spectra()[:9], out=np.zeros((9, 3)))  # type: ignore[arg-type]


def test_bands_by_wavelength() -> None:
    known = [400.0, 410.0, 420.0, 500.0]
    assert nearest_bands(known, [500, 404]) == (3, 0)
    for wanted, text in (([900], "got 900 nm (the cube has 400 to 500 nm)"),
                         ([401, 402], "got 402 nm (band 0 is taken)")):
        with pytest.raises(UsageError) as caught:
            nearest_bands(known, wanted)
        assert text in str(caught.value)
    with pytest.raises(UsageError, match="the cube's are unknown"):
        nearest_bands(None, [500])


@pytest.mark.real
def test_a_real_scene_against_scikit_learn(real_data: Path) -> None:
    pixels = loadmat(real_data / "hsi" / "jasper.mat")["Y"].T
    train = pixels[::3]
    ours = fit_reduction(train, components=30, whiten=True, scale="none").apply(pixels)
    theirs = PCA(30, whiten=True, svd_solver="full").fit(train.astype(float)).transform(pixels.astype(float))
    signs = np.sign((ours * theirs).sum(axis=0))
    np.testing.assert_allclose(ours, theirs * signs, atol=1e-4)
