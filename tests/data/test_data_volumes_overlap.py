"""Where maps lie: boxes that hardly meet, other centres, turns and sizes, and patients who moved between two maps."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from excite.data.phantom.kidneys import MAPS, draw_patient, paint
from excite.data.phantom.volumes import draw_examination
from excite.data.volumes.grid import Grid, resampled
from excite.data.volumes.overlap import check_overlap, found_shift, share_covered
from excite.data.volumes.reading import read_volume
from excite.data.volumes.volume import Volume
from excite.errors import UsageError


def maps_of(number: int, *, moved: tuple[float, float, float] = (0, 0, 0), seed: int = 3) -> dict[str, Volume]:
    """Return the maps of a simulated patient who moved (towards head, front, right) before the second one."""
    patient, taken = draw_patient(seed=seed, patient=number, severity=number % 3 / 2), draw_examination(
        seed=seed, patient=number)
    volumes = {}
    for name in MAPS:
        grid = taken.grids[name]
        values, _ = paint(patient, name=name, shape=grid.shape, affine=grid.affine,
                          moved=moved[::-1] if name == "adc" else (0, 0, 0))  # type: ignore[arg-type]
        volumes[name] = Volume(values=values, affine=grid.affine, source=Path(name))
    return volumes


def displaced(volume: Volume, change: Any) -> Volume:
    return Volume(values=volume.values, affine=change @ volume.affine, source=volume.source)


def shifted(x: float, y: float, z: float) -> Any:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def test_registered_maps_give_no_doubt() -> None:
    for number in range(4):
        assert check_overlap(maps_of(number), reference="t1") == []


@pytest.mark.parametrize("moved", [(12.0, 0.0, 0.0), (0.0, -15.0, 0.0), (0.0, 0.0, 18.0), (-9.0, 12.0, 9.0)])
def test_a_patient_who_moved_is_found_with_direction_and_distance(moved: tuple[float, float, float]) -> None:
    volumes = maps_of(1, moved=moved)
    shift = found_shift(volumes["adc"], volumes["t1"])
    assert shift.clear and np.linalg.norm(np.subtract(shift.millimetres, moved)) < 5
    doubt, = check_overlap(volumes, reference="t1")
    assert not doubt.refused and doubt.text.startswith("adc beside t1: what it shows looks shifted by about (")
    assert doubt.text.endswith("mm towards the head, the front and the right, though the headers agree: did the "
                               "patient move?")


@pytest.mark.slow
def test_twenty_patients_without_a_false_alarm_and_twenty_moved_ones_found() -> None:
    random = np.random.default_rng(0)
    for number in range(20):
        assert check_overlap(maps_of(number), reference="t1") == []
        way = random.standard_normal(3)
        moved = (way * random.uniform(12, 24) / np.linalg.norm(way)).tolist()
        assert [doubt.text[:14] for doubt in check_overlap(maps_of(number, moved=moved), reference="t1")] == [
            "adc beside t1:"]


def test_noise_and_constant_maps_show_no_shift() -> None:
    volumes = maps_of(0)
    noise = np.random.default_rng(0).standard_normal(volumes["adc"].shape, np.float32)
    for values in (noise, np.ones_like(noise), np.full_like(noise, np.nan)):
        other = Volume(values=values, affine=volumes["adc"].affine, source=Path("adc"))
        assert not found_shift(other, volumes["t1"]).clear
        assert not found_shift(volumes["t1"], other).clear


def test_boxes_that_hardly_meet_are_told_and_those_that_do_not_are_of_no_use() -> None:
    volumes = maps_of(2)
    volumes["adc"] = displaced(volumes["adc"], shifted(0, 0, 60))
    texts = [doubt.text for doubt in check_overlap(volumes, reference="t1")]
    assert any(text.startswith("adc beside t1: it covers 3") and text.endswith("% of the reference's box") for text in
               texts)
    assert any("the centres are 6" in text and text.endswith("mm apart") for text in texts)
    volumes["adc"] = displaced(volumes["adc"], shifted(500, 0, 0))
    first, second = check_overlap(volumes, reference="t1")
    assert first.refused and not second.refused
    assert str(first) == first.text == "adc beside t1: it covers 0% of the reference's box"


def test_turned_slices_and_other_extents_are_told() -> None:
    volumes = maps_of(2)
    turn = np.eye(4)
    turn[1:3, 1:3] = (np.cos(0.4), -np.sin(0.4)), (np.sin(0.4), np.cos(0.4))
    centre = shifted(*Grid.of(volumes["t2star"]).centre)
    volumes["t2star"] = displaced(volumes["t2star"], centre @ turn @ np.linalg.inv(centre))
    texts = [doubt.text for doubt in check_overlap(volumes, reference="t1")]
    assert any(text.startswith("t2star beside t1: the slices are turned by 2") for text in texts)
    grid = Grid.of(volumes["adc"]).centred(shape=(16, 40, 64))
    volumes["adc"] = Volume(values=resampled(volumes["adc"], grid), affine=grid.affine, source=Path("adc"))
    texts = [doubt.text for doubt in check_overlap(volumes, reference="t1")]
    assert "adc beside t1: it reaches over 96 x 92 x 147 mm, the reference over 96 x 144 x 144 mm (D x H x W)" in texts


def test_the_share_is_that_of_the_reference() -> None:
    base = Grid((10, 20, 30), np.diag([2.0, 2.0, 2.0, 1.0]))
    assert share_covered(base, base) == 1
    half = Grid((10, 20, 15), base.affine)
    assert share_covered(base, half) == pytest.approx(0.5, abs=0.02) and share_covered(half, base) == 1
    quarter = Grid((10, 20, 30), shifted(10, 20, 0) @ base.affine)
    assert share_covered(base, quarter) == pytest.approx(0.25, abs=0.03)


def test_a_box_too_small_to_judge_its_content_is_left_alone() -> None:
    volumes = maps_of(1, moved=(12.0, 0.0, 0.0))
    grid = Grid.of(volumes["t1"]).centred(shape=(12, 30, 30))
    small = {"t1": Volume(values=resampled(volumes["t1"], grid), affine=grid.affine, source=Path("t1")),
             "adc": volumes["adc"]}
    shift = found_shift(small["adc"], small["t1"])
    assert not shift.clear and shift.millimetres == (0, 0, 0)
    assert not any("looks shifted" in doubt.text for doubt in check_overlap(small, reference="t1"))


@pytest.mark.real
def test_registered_scans_of_a_head_fit_and_moved_ones_are_found(real_data: Path) -> None:
    folder = real_data / "brain_mm_dicom" / "pgbm-003"
    names = ("t1post", "t1prereg", "flairreg", "t2reg")
    scans = {name: read_volume(next(folder.glob(f"*-{name}-*"))) for name in names}
    assert check_overlap(scans, reference="t1post") == []
    random = np.random.default_rng(0)
    for name in ("t1prereg", "flairreg", "t2reg"):
        way = random.standard_normal(3)
        step = 14 * way / np.linalg.norm(way)
        shift = found_shift(displaced(scans[name], shifted(*step)), scans["t1post"])
        found = Grid.of(scans["t1post"]).directions @ np.array(shift.millimetres)
        assert shift.clear and np.linalg.norm(found - step) < 4


def test_the_reference_must_be_there() -> None:
    with pytest.raises(UsageError, match="reference must be one of t1, adc, t2star, got 't2'"):
        check_overlap(maps_of(0), reference="t2")
