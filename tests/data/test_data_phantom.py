"""Speckle has the statistics of speckle, sound fades and shadows as it should, and the truth lies where it is told."""

import csv
import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.signal import hilbert
from scipy.stats import kstest, rayleigh

from excite.data.check import check
from excite.data.phantom.anatomy import PLANES
from excite.data.phantom.planes import draw_patient, simulate_plane, simulate_planes
from excite.data.phantom.scene import BONE, FLUID, Oval, Scene
from excite.data.phantom.speckle import Probe, compress, envelope, receive, scan_convert
from excite.data.sections import DataSection
from excite.errors import UsageError

PROBE = Probe()


def tissue(probe: Probe = PROBE, seed: int = 0) -> Scene:
    scene = Scene(probe=probe, random=np.random.default_rng(seed))
    scene.attenuation[:] = 0
    return scene


def heard(scene: Scene, **options: float) -> np.ndarray:
    return envelope(scene.echo, scene.attenuation, scene.probe, scene.random, **{"gain_slope": 0.0, **options})  # type: ignore[arg-type]


def decibel(amplitude: np.ndarray) -> np.ndarray:
    return 10 * np.log10((amplitude.astype(np.float64) ** 2).mean(axis=-1))


def test_speckle_of_homogeneous_tissue_is_rayleigh() -> None:
    part = heard(tissue())[60:-60, 12:-12]
    assert part.mean() / part.std() == pytest.approx(1.913, rel=0.03)
    apart = part[::12, ::16].ravel()  # far enough from each other to be independent
    assert kstest(apart / np.sqrt((apart ** 2).mean() / 2), rayleigh.cdf).pvalue > 0.01


def test_looks_smooth_speckle_and_a_plain_picture_of_noise_would_fail() -> None:
    part = heard(tissue(), looks=3)[60:-60, 12:-12]
    assert part.mean() / part.std() == pytest.approx(1.913 * np.sqrt(3), rel=0.05)
    coloured = np.abs(np.random.default_rng(0).standard_normal((300, 100)))  # planted: half-normal, not Rayleigh
    assert coloured.mean() / coloured.std() < 1.5


def test_the_baseband_signal_is_the_envelope_of_the_radio_frequency_line() -> None:
    probe = replace(PROBE, samples=2800, lines=32)  # fine, as the pulse's place is rounded to a sample
    random = np.random.default_rng(1)
    index = random.choice(np.arange(140, 2660), 150, replace=False)
    place = (index + random.random(150)) * probe.step
    amplitude = random.standard_normal(150)
    signal = np.zeros((2800, 32), np.complex64)
    signal[index] = (amplitude * np.exp(-4j * np.pi / probe.wavelength * place))[:, None]
    got = np.abs(receive(signal, probe))[:, 16] * np.sqrt(_beam_gain(probe))
    fine = np.arange(28_000) * (probe.depth / 28_000)
    sigma = 0.25 * probe.cycles * probe.wavelength
    line = sum(a * np.exp(-0.5 * ((fine - z) / sigma) ** 2) * np.cos(4 * np.pi / probe.wavelength * (fine - z))
               for a, z in zip(amplitude, place, strict=True))
    expected = np.abs(hilbert(line))[5::10]
    assert np.corrcoef(got[140:-140], expected[140:-140])[0, 1] > 0.995


def _beam_gain(probe: Probe) -> np.ndarray:
    """Return the power that each depth loses to a beam of unit area, from white noise across the lines."""
    spacing = (probe.radius + probe.depths()) * (2 * probe.angle / (probe.lines - 1))
    frequency = np.fft.fftfreq(probe.lines + 2 * (probe.lines // 8))[None]
    power: np.ndarray = np.mean(np.exp(-4 * (np.pi * frequency * probe.beam_width() / spacing) ** 2), axis=1)
    return power


def test_the_beam_is_narrowest_at_the_focus() -> None:
    width = PROBE.beam_width()[:, 0]
    speckle = heard(tissue()).astype(np.float64)

    def likeness(depth: float) -> float:
        rows = np.abs(PROBE.depths()[:, 0] - depth) < 10
        part = speckle[rows] - speckle[rows].mean()
        return float((part[:, 2:] * part[:, :-2]).mean() / (part * part).mean())

    assert abs(PROBE.depths()[int(width.argmin()), 0] - PROBE.focus) < 20
    assert likeness(125) > likeness(60) + 0.1


def test_tissue_fades_by_its_attenuation_and_the_gain_brings_it_back() -> None:
    scene = tissue()
    scene.attenuation[:] = 0.5
    slope = np.polyfit(PROBE.depths()[40:-40, 0] / 10, decibel(heard(scene)[40:-40]), 1)[0]
    assert slope == pytest.approx(-2 * 0.5 * PROBE.frequency, rel=0.05)
    flat = np.polyfit(PROBE.depths()[40:-40, 0] / 10, decibel(heard(scene, gain_slope=0.5)[40:-40]), 1)[0]
    assert abs(flat) < 0.1


def test_bone_throws_a_shadow_and_fluid_brightens_what_is_behind() -> None:
    shape = Oval(x=0, z=50, a=12, b=6)
    behind = {}
    for tissue_in in (BONE, FLUID, None):
        scene = tissue(seed=3)
        scene.attenuation[:] = 0.5
        if tissue_in:
            scene.paint(shape.inside(scene.x, scene.z), tissue_in)
        behind[tissue_in] = float(decibel(heard(scene)[220:300, 80:96]).mean())
    assert behind[BONE] < behind[None] - 30
    assert behind[None] + 2 < behind[FLUID] < behind[None] + 6  # 12 mm of tissue less: 2 * 0.5 * 3.5 * 1.2 = 4.2 dB


def test_noise_fills_the_depth() -> None:
    scene = tissue()
    scene.echo[:] = 1e-6
    assert (heard(scene, noise=1e-3)[200] > 1e-4).mean() > 0.9


def test_grey_values_follow_the_decibels() -> None:
    grey = compress(np.array([[10.0, 1.0, 10 ** -1.5, 1e-9]], np.float32), dynamic_range=60.0, gain=0.0)
    assert np.allclose(grey, [[255, 255, 127.5, 0]], atol=0.01)


def test_the_fan_keeps_distances() -> None:
    lines = np.zeros((PROBE.samples, PROBE.lines), np.float32)
    lines[int(80 / PROBE.step) - 1:int(80 / PROBE.step) + 2] = 255  # an arc 80 mm below the array
    picture, scale = scan_convert(lines, PROBE, height=240, width=320)
    y, x = np.nonzero(picture > 100)
    top = PROBE.radius * (1 - np.cos(PROBE.angle))
    reach = np.hypot((x - 159.5) * scale, (y + 0.5) * scale - top + PROBE.radius)
    assert np.abs(reach - PROBE.radius - 80).max() < 2 * scale
    assert np.abs(np.arctan2((x - 159.5) * scale, (y + 0.5) * scale - top + PROBE.radius)).max() == pytest.approx(
        PROBE.angle, abs=0.02)
    assert picture[0, 0] == picture[-1, 0] == picture[-1, -1] == 0


def test_the_skull_lies_where_the_truth_says() -> None:
    inside_out = []
    for patient in range(12):
        picture, truth = simulate_plane("head", seed=5, patient=patient, number=0)
        probe = draw_patient(5, patient)[1].probe
        top = probe.radius * (1 - np.cos(probe.angle))
        oval = Oval(x=truth["x_mm"], z=truth["z_mm"], a=truth["half_axis_a_mm"], b=truth["half_axis_b_mm"],
                    turn=truth["turn_rad"])
        rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
        x = (columns - (picture.shape[1] - 1) / 2) * truth["mm_per_pixel"]
        z = (rows + 0.5) * truth["mm_per_pixel"] - top
        facing = np.abs(z - oval.z) > 0.6 * oval.b
        rim = oval.rim(x, z, 3.0) & facing & (picture > 0)
        inside = oval.level(x, z) < 0.8
        inside_out.append(picture[rim].mean() - picture[inside].mean())
    assert np.median(inside_out) > 40


def test_a_table_is_the_same_again_and_begins_a_larger_one(tmp_path: Path) -> None:
    small, again, large = (simulate_planes(tmp_path / name, patients=count, seed=3)
                           for name, count in (("small", 2), ("again", 2), ("large", 3)))
    assert small.read_bytes() == again.read_bytes()
    assert large.read_text().startswith(small.read_text())
    with small.open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert set(rows[0]) == {"image", "label", "patient", "simulated"}
    for row in rows:
        one, two, three = ((tmp_path / name / row["image"]).read_bytes() for name in ("small", "again", "large"))
        assert hashlib.sha256(one).digest() == hashlib.sha256(two).digest() == hashlib.sha256(three).digest()
    other = simulate_planes(tmp_path / "other", patients=2, seed=4)
    assert (other.parent / rows[0]["image"]).read_bytes() != (small.parent / rows[0]["image"]).read_bytes()


def test_the_table_passes_the_check_and_has_its_truth(tmp_path: Path) -> None:
    table = simulate_planes(tmp_path, patients=14, seed=1)
    report = check(DataSection(table=table))
    assert report.faults == [], report.faults
    counts = report.counts
    assert set(counts["classes"]) == set(PLANES) and len(counts["patients"]) == 14
    assert max(counts["classes"].values()) <= 2 * min(counts["classes"].values())
    assert counts["near_duplicate_pairs"] == 0
    with (tmp_path / "truth.csv").open(encoding="utf-8") as file:
        truth = {row["image"]: row for row in csv.DictReader(file)}
    assert len(truth) == counts["rows"] and all(float(row["mm_per_pixel"]) > 0 for row in truth.values())
    with Image.open(tmp_path / next(iter(truth))) as image:
        assert image.size == (320, 240) and image.mode == "L"


@pytest.mark.parametrize(("options", "words"), [
    ({"patients": 0}, "patients must be from 1"), ({"classes": 5}, "classes must be from 2 to 4, got 5"),
    ({"size": (8, 320)}, "height must be from 32"), ({"seed": -1}, "seed must be from 0")])
def test_arguments_out_of_range_are_refused(tmp_path: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        simulate_planes(tmp_path, **options)  # type: ignore[arg-type]
