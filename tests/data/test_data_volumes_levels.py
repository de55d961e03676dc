"""Levels of maps: learnt as numpy says, one line for all patients, other units noticed; volumes without a unit."""

import json
from pathlib import Path
from typing import Literal

import nibabel
import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.volumes.levels import IN_ALL, Levels
from excite.errors import DataError, ModelError, UsageError

Floats = NDArray[np.float32]


def maps(count: int = 6, *, level: float = 1300, side: int = 20, seed: int = 0) -> list[Floats]:
    random = np.random.default_rng(seed)
    return [random.normal(level * random.uniform(0.9, 1.1), 0.1 * level, (side, side, side)).astype(np.float32)
            for _ in range(count)]


def test_levels_of_all_voxels_are_those_of_numpy() -> None:
    volumes = maps()
    levels = Levels.fit(iter(volumes))
    values = np.concatenate([volume.ravel() for volume in volumes]).astype(np.float64)
    low, high = np.percentile(values, (0.5, 99.5))
    cut = np.clip(values, low, high)
    assert (levels.low, levels.high, levels.volumes) == (low, high, 6)
    assert levels.mean == pytest.approx(cut.mean(), abs=1e-9) and levels.std == pytest.approx(cut.std(), abs=1e-9)
    found = np.concatenate([levels.apply(volume).ravel() for volume in volumes])
    np.testing.assert_allclose(found, (cut - cut.mean()) / cut.std(), atol=1e-4)
    assert found.dtype == np.float32


def test_what_was_not_seen_or_not_fitted_teaches_nothing_and_unseen_becomes_the_mean() -> None:
    volumes = maps()
    blanked = [volume.copy() for volume in volumes]
    for volume in blanked:
        volume[:10], volume[10:15] = np.nan, 0
    levels = Levels.fit(blanked)
    assert levels == Levels.fit([volume[15:] for volume in volumes])
    applied = levels.apply(blanked[0])
    assert (applied[:10] == 0).all()
    np.testing.assert_allclose(applied[10:15], (levels.low - levels.mean) / levels.std, rtol=1e-5)
    assert levels.apply(np.array([np.inf, -np.inf, np.nan], np.float32)).tolist() == [0, 0, 0]


def test_a_level_that_disease_moved_stays_moved() -> None:
    volumes = maps()
    levels, seen = Levels.fit(volumes), volumes[0]
    inside = (seen > levels.low) & (seen + 80 < levels.high)
    moved = levels.apply(seen + 80) - levels.apply(seen)
    np.testing.assert_allclose(moved[inside], 80 / levels.std, rtol=1e-4)


def test_each_volume_weighs_the_same_and_memory_is_bounded() -> None:
    small, large = np.full((25, 20, 20), 100, np.float32), np.full((100, 100, 100), 200, np.float32)
    levels = Levels.fit([small, large])
    assert levels.mean == pytest.approx(150)
    many = Levels.fit(np.full((30, 30, 30), 1 + number % 2, np.float32) for number in range(260))
    assert many.mean == pytest.approx(1.5) and many.volumes == 260 and IN_ALL < 260 * 10_000


@pytest.mark.parametrize(("factor", "said"), [
    (1e-3, "about 1,000 times less"), (1e-6, "about 1,000,000 times less"), (1000, "about 1,000 times more"),
    (11, "about 10 times more"), (0.11, "about 10 times less")])
def test_another_unit_is_noticed(factor: float, said: str) -> None:
    levels = Levels.fit(maps(level=2100))
    told = levels.suspicious(maps(1, level=2100, seed=5)[0] * factor)
    assert told is not None and said in told and "perhaps in another unit" in told
    assert f"that of the training maps {levels.median:.4g}" in told


def test_what_is_no_other_unit_is_not_told() -> None:
    levels = Levels.fit(maps(level=2100))
    for factor in (0.3, 0.6, 1.0, 1.7, 3.5):
        assert levels.suspicious(maps(1, level=2100, seed=5)[0] * factor) is None
    assert levels.suspicious(np.full((3, 3, 3), np.nan)) is None
    assert Levels.fit(maps(), kind="volume").suspicious(maps(1)[0] * 1000) is None


@pytest.mark.parametrize("kind", ["map", "volume"])
@pytest.mark.parametrize("value", [0.0, 2100.0, -5.0])
def test_a_map_of_one_value_is_doubted(kind: Literal["map", "volume"], value: float) -> None:
    levels = Levels.fit(maps(level=2100), kind=kind)
    flat = np.full((4, 5, 6), value, np.float32)
    flat[0] = np.nan
    told = levels.suspicious(flat)
    assert told is not None and told.startswith(f"all its values are {value:.4g}: it shows nothing")
    assert told.endswith("and the network takes it as missing") == (kind == "volume")
    flat[1, 1, 1] = value + 0.1
    assert "shows nothing" not in (levels.suspicious(flat) or "")


def test_rounding_makes_no_values_of_a_flat_volume() -> None:
    flat = np.full((4, 5, 6), 1000, np.float32)
    flat[::2] = np.nextafter(np.float32(1000), np.float32(2000))
    levels = Levels(kind="volume")
    assert (levels.apply(flat) == 0).all() and "missing" in (levels.suspicious(flat) or "")


def test_a_map_whose_sign_is_turned_round_is_doubted() -> None:
    levels = Levels.fit(maps(level=2100))
    told = levels.suspicious(-maps(1, level=2100, seed=5)[0])
    assert told is not None and "the sign is turned round, or it is another quantity" in told
    assert f"that of the training maps {levels.median:.4g}" in told
    small = maps(1, level=2100, seed=5)[0]
    small -= np.median(small) + 1
    assert levels.suspicious(small) is not None and (levels.suspicious(small - 5000) or "").startswith("the median")
    seen = np.median(maps(level=2100))
    around = Levels.fit([volume - seen + 10 for volume in maps(level=2100)])  # values on both sides of 0
    assert around.median > 0 > np.median(small) and around.suspicious(small) is None


def test_a_volume_without_a_unit_has_its_own_level_whatever_its_scale() -> None:
    random = np.random.default_rng(1)
    volume = np.where(random.random((20, 30, 30)) < 0.4, random.uniform(0, 3, (20, 30, 30)),
                      random.normal(100, 15, (20, 30, 30))).astype(np.float32)
    levels = Levels.fit([volume], kind="volume")
    applied = levels.apply(volume)
    front = volume > volume.min() + 0.1 * (np.percentile(volume, 99.5) - volume.min())
    low, high = np.percentile(volume[front], (0.5, 99.5))
    cut = np.clip(volume[front], low, high)
    inner = (volume[front] > low) & (volume[front] < high)
    np.testing.assert_allclose(applied[front][inner], ((cut - cut.mean()) / cut.std())[inner], atol=1e-4)
    np.testing.assert_allclose(levels.apply(volume * 4096 + 7), applied, atol=1e-3)
    assert (levels.apply(np.full((4, 4, 4), 9, np.float32)) == 0).all()
    assert (levels.apply(np.full((4, 4, 4), np.nan, np.float32)) == 0).all()


def test_json_gives_the_same_levels_back() -> None:
    for levels in (Levels.fit(maps()), Levels(kind="volume", volumes=3)):
        assert Levels.from_json(json.loads(json.dumps(levels.to_json()))) == levels


@pytest.mark.parametrize("change", [
    {"std": 0.0}, {"kind": "t1"}, {"low": 9e9}, {"mean": "5"}, {"high": float("nan")}, {"extra": 1}])
def test_damaged_levels_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(ModelError, match="the stored levels cannot be used"):
        Levels.from_json(Levels.fit(maps()).to_json() | change)


def test_what_cannot_be_learnt_is_said() -> None:
    with pytest.raises(DataError, match="the 0 training volumes of a map must hold different values, got none"):
        Levels.fit([])
    with pytest.raises(DataError, match="the 2 training volumes of a map must hold different values, got 3 alone"):
        Levels.fit([np.full((2, 2, 2), 3.0)] * 2)
    with pytest.raises(UsageError, match="kind must be map or volume, got 'x'"):
        Levels.fit([], kind="x")  # type: ignore[arg-type]


@pytest.mark.real
def test_scans_from_a_hundred_to_a_million_come_out_alike(real_data: Path) -> None:
    files = sorted((real_data / "hippocampus" / "imagesTr").glob("*.nii.gz"))[:60]
    levels = Levels(kind="volume")
    greatest, ends = [], []
    for file in files:
        values = np.asarray(nibabel.load(file).dataobj, np.float32)  # type: ignore[attr-defined]
        greatest.append(values.max())
        ends.append(np.percentile(levels.apply(values), (1, 50, 99)))
    assert max(greatest) / min(greatest) > 100
    low, middle, high = np.array(ends).T
    assert low.min() > -5 and low.max() < -0.9 and np.abs(middle).max() < 0.8 and high.min() > 1 and high.max() < 4.5
