"""The pictures of a scene: colours that stay apart for every eye, the right bands, spectra that are the data's."""

import re
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.scenes.palette import palette
from excite.errors import UsageError
from excite.report import scene_figures as figures
from excite.report.scene_figures import Spectra, false_colour, rgb_bands

Float = NDArray[np.float64]
# What is left of linear RGB at full severity: Machado, Oliveira, Fernandes 2009, table 1.
SEEN_BY = {
    "all": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}


def lab(colours: NDArray[np.uint8], eye: str) -> Float:
    gamma = colours / 255
    linear = np.where(gamma <= 0.04045, gamma / 12.92, ((gamma + 0.055) / 1.055) ** 2.4)
    seen = np.clip(linear @ np.array(SEEN_BY[eye]).T, 0, 1)
    back = np.where(seen <= 0.0031308, seen * 12.92, 1.055 * seen ** (1 / 2.4) - 0.055)
    return np.asarray(cv2.cvtColor(back[None].astype(np.float32), cv2.COLOR_RGB2LAB)[0], np.float64)


@pytest.mark.parametrize("eye", SEEN_BY)
def test_classes_stay_apart_for_every_eye_and_on_both_pages(eye: str) -> None:
    found = lab(palette(32), eye)
    apart = np.linalg.norm(found[:, None] - found[None], axis=2) + 999 * np.eye(32)
    assert apart[:16, :16].min() > 16 and apart.min() > 10
    for paper in ((255, 255, 255), (0x18, 0x20, 0x2B), figures.UNLABELLED):
        assert np.linalg.norm(found - lab(np.array([paper], np.uint8), eye), axis=1).min() > 15, paper
    kinds = lab(np.array([*figures.ERRORS.values()], np.uint8), eye), lab(np.array([*figures.PARTS.values()], np.uint8),
                                                                          eye)
    for one in kinds:
        assert (np.linalg.norm(one[:, None] - one[None], axis=2) + 999 * np.eye(len(one))).min() > 16


def test_colours_are_all_different_and_labels_get_theirs() -> None:
    colours = palette(40)
    assert colours.shape == (40, 3) and len({tuple(one) for one in colours}) == 40
    assert figures.label_map(np.array([[0, 1], [40, 2]]), 40).tolist() == [
        [list(figures.UNLABELLED), colours[0].tolist()], [colours[39].tolist(), colours[1].tolist()]]


def test_confidence_goes_along_the_ramp_and_what_is_unknown_is_grey() -> None:
    found = figures.confidence_map(np.array([[0.0, 1.0, np.nan, 0.5]]))[0]
    ramp = figures.ramp()
    assert found[0].tolist() == ramp[0].tolist() and found[1].tolist() == ramp[-1].tolist()
    assert found[2].tolist() == list(figures.UNLABELLED) and found[3].tolist() in ramp[30:34].tolist()
    for eye in SEEN_BY:  # lighter all the way
        assert (np.diff(lab(ramp, eye)[:, 0]) > 0).all(), eye


@pytest.mark.parametrize(("wavelengths", "count", "bands"), [
    (np.arange(400.0, 1000, 10), 60, (25, 15, 5)),
    (np.arange(400.0, 1000, 10)[::-1], 60, (34, 44, 54)),
    (np.array([np.nan, 455, 540, 655, 900]), 5, (3, 2, 1)),
    (np.arange(1000.0, 2500, 25), 60, (50, 30, 10)),
    (np.array([400.0, 600, 800]), 3, (2, 1, 0)),
    (np.full(6, np.nan), 6, (5, 3, 1)),
    (None, 1, (0, 0, 0)),
    (None, 200, (166, 100, 33)),
])
def test_red_green_and_blue_are_the_nearest_bands_or_spread_ones(wavelengths: Float | None, count: int,
                                                                 bands: tuple[int, int, int]) -> None:
    assert rgb_bands(count, wavelengths) == bands


def test_wavelengths_of_another_cube_are_refused() -> None:
    with pytest.raises(UsageError, match=r"wavelengths must have one value a band \(5\), got shape \(4,\)"):
        rgb_bands(5, np.arange(4.0))


def test_false_colour_is_stretched_by_percentiles_and_survives_what_is_not_finite() -> None:
    draw = np.random.default_rng(0)
    cube = draw.normal(1000, 200, (40, 30, 9))
    wavelengths = np.array([450.0, 500, 550, 600, 650, 700, 750, 800, 850])
    plain = false_colour(cube, wavelengths)
    assert plain.shape == (40, 30, 3) and plain.dtype == np.uint8
    for channel, band in enumerate((4, 2, 0)):
        low, high = np.percentile(cube[..., band], (2, 98))
        expected = 255 * np.clip((cube[..., band] - low) / (high - low), 0, 1)
        assert np.abs(plain[..., channel] - expected).max() <= 0.51
    cube[3, 4], cube[5, 6, 4], cube[..., 2] = np.nan, np.inf, 7.0
    broken = false_colour(cube, wavelengths)
    assert broken[3, 4].tolist() == [0, 0, 0] and broken[5, 6, 0] == 0 and (broken[..., 1] == 0).all()
    assert np.abs(broken[10:, :, 0].astype(int) - plain[10:, :, 0]).max() < 6
    assert not false_colour(np.full((4, 4, 3), np.nan)).any()


def test_pixels_without_data_are_black_and_do_not_change_the_others() -> None:
    cube = np.random.default_rng(0).uniform(0.4, 0.6, (30, 20, 3))
    canvas, valid = np.full((40, 60, 3), -9999.0), np.zeros((40, 60), bool)
    canvas[5:35, 10:30], valid[5:35, 10:30] = cube, True
    found = false_colour(canvas, valid=valid)
    assert np.array_equal(found[5:35, 10:30], false_colour(cube)) and not found[~valid].any()
    assert not np.array_equal(false_colour(canvas)[5:35, 10:30], false_colour(cube))
    assert not false_colour(canvas, valid=np.zeros_like(valid)).any()


def test_a_memory_map_gives_what_the_array_gives(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "AT_ONCE", 100)
    values = np.random.default_rng(0).integers(0, 9000, (37, 23, 6)).astype(np.uint16)
    mapped = np.memmap(tmp_path / "cube", np.uint16, "w+", shape=values.shape)
    mapped[:] = values
    found = false_colour(mapped)
    monkeypatch.undo()
    assert (found == false_colour(values)).all()
    monkeypatch.setattr(figures, "SAMPLED", 90)
    assert np.abs(false_colour(mapped).astype(int) - found).mean() < 20


def spectra(**changes: object) -> Spectra:
    at = np.array([500.0, 400, 600, 700, 1200, 1300])
    mean = np.array([[2.0, 1, 3, 4, 5, 6], [1.0, 1, 1, 1, 1, 1], np.full(6, np.nan)])
    return replace(Spectra(mean=mean, std=0.5 * np.ones_like(mean), wavelengths=at), **changes)  # type: ignore[arg-type]


def line(drawing: str, colour: str) -> str:
    """Return the path of the line of a colour."""
    path = re.search(rf'<path d="([^"]+)"[^>]*style="fill: none; stroke: {colour}', drawing)
    assert path
    return path[1]


def corners(drawing: str, colour: str) -> Float:
    return np.array(re.findall(r"[ML] (-?[\d.]+) (-?[\d.]+)", line(drawing, colour)), float)


def test_a_spectrum_is_the_data_in_order_and_broken_where_bands_are_missing() -> None:
    drawing = str(figures.spectra_apart(spectra(), ("a", "b", "none"))[0])
    colour = figures.hexes(palette(1))[0]
    found = corners(drawing, colour)
    assert len(found) == 6 and line(drawing, colour).count("M") == 2
    share = (found - found[0]) / (found[-1] - found[0])
    np.testing.assert_allclose(share[:, 0], [0, 1 / 9, 2 / 9, 3 / 9, 8 / 9, 1], atol=1e-3)
    np.testing.assert_allclose(share[:, 1], [0, 0.2, 0.4, 0.6, 0.8, 1], atol=1e-3)
    assert "wavelength, nm" in drawing


def test_a_class_without_training_pixels_is_said_and_bands_without_wavelengths_are_numbered() -> None:
    drawn = figures.spectra_apart(spectra(wavelengths=None), ("a", "b", "none"))
    assert "none has no training pixel, so no spectrum" in drawn[2] and ">band<" in drawn[0]
    together = str(figures.spectra_together(spectra(), ("a", "b", "none")))
    assert "Mean spectra of 3 classes: a, b, none" in together and len(corners(together, figures.hexes(
        palette(2))[1])) == 6
    everything = figures.spectra_apart(spectra(mean=np.full((1, 6), np.nan), std=np.ones((1, 6))), ("none",))
    assert "no spectrum" in everything[0]


def test_spectra_of_other_shapes_are_refused() -> None:
    with pytest.raises(UsageError, match=r"mean and std must be \(K, B\) and wavelengths \(B,\), got \(3, 6\)"):
        spectra(wavelengths=np.arange(5.0))
    with pytest.raises(UsageError, match=r"got \(3, 6\), \(3, 5\) and \(6,\)"):
        spectra(std=np.ones((3, 5)))
