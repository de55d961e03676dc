"""A cube of another scene: the bands of the training are found, and what is odd about it is said."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from excite.data.scenes.cube import Cube
from excite.data.scenes.reduction import fit_reduction
from excite.deploy.info import BundleInfo
from excite.deploy.scene_fit import choice_of, fitted
from excite.errors import DataError

TRAINED = tuple(500.0 + 10 * place for place in (0, 1, 2, 5, 6, 9))
ALL = tuple(500.0 + 10 * place for place in range(10))
KEPT = [ALL.index(one) for one in TRAINED]
REDUCTION = fit_reduction(np.random.default_rng(0).normal(3, 1, (50, 6)), components=3)


def info(**provenance: Any) -> BundleInfo:
    return BundleInfo(name="x", classes=("a", "b"), task="scene", preprocess={}, provenance=provenance)


def values(bands: int, level: float = 3.0) -> NDArray[np.float64]:
    return np.random.default_rng(1).normal(level, level / 10, (7, 5, bands))


def test_a_cube_as_in_training_stays_the_same_object() -> None:
    cube = Cube(values=values(6), source="x", wavelengths=TRAINED)
    assert fitted(cube, info(wavelengths=list(TRAINED)), REDUCTION) is cube
    assert fitted(cube, info(), REDUCTION) is cube


def test_of_more_bands_those_of_the_trainings_wavelengths_are_taken() -> None:
    shifted = tuple(one + 2 for one in ALL)
    cube = Cube(values=values(10), source="x", wavelengths=shifted, notes=("before",))
    found = fitted(cube, info(wavelengths=list(TRAINED)), REDUCTION)
    np.testing.assert_array_equal(found.values, cube.values[..., KEPT])
    assert found.wavelengths == tuple(shifted[place] for place in KEPT)
    assert found.notes == ("before", "of the cube's 10 bands those 6 were taken whose wavelengths the network was "
                                     "trained on")


def test_without_wavelengths_the_bands_that_training_dropped_are_dropped() -> None:
    cube = Cube(values=values(10), source="x")
    found = fitted(cube, info(cube={"drop_bands": [3, 4, 7, 8]}), REDUCTION)
    np.testing.assert_array_equal(found.values, cube.values[..., KEPT])
    assert found.notes == ("4 of the cube's 10 bands were dropped, as in training",)
    done = Cube(values=values(6), source="x")
    assert fitted(done, info(cube={"drop_bands": [3, 4, 7, 8]}), REDUCTION) is done


def test_dropped_bands_are_those_of_the_file_where_some_of_it_are_gone() -> None:
    cube, told = Cube(values=values(10), source="x"), info(cube={"drop_bands": [3, 7, 8]})
    kept, notes = choice_of(told, REDUCTION)(cube, [0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert kept == [0, 1, 2, 5, 6, 9] and notes == ["3 of the cube's 9 bands were dropped, as in training"]
    shifted = replace(cube, wavelengths=ALL)
    kept, notes = choice_of(info(wavelengths=list(TRAINED)), REDUCTION)(shifted, [0, 1, 2, 3, 5, 6, 7, 8, 9])
    assert kept == KEPT and notes[0].startswith("of the cube's 9 bands those 6 were taken")


@pytest.mark.parametrize(("bands", "wavelengths", "provenance", "message"), [
    (10, None, {}, "^x.hdr: the network was trained on 6 bands, the cube has 10; drop the same bands as in training"),
    (10, None, {"cube": {"drop_bands": [3, 4]}}, "trained on 6 bands, the cube has 10"),
    (10, None, {"cube": {"drop_bands": [3, 4, 7, 10]}}, "trained on 6 bands, the cube has 10"),
    (10, None, {"cube": "unknown", "wavelengths": ["a"]}, "trained on 6 bands, the cube has 10"),
    (10, tuple(one + 300 for one in ALL), {"wavelengths": TRAINED},
     r"\(trained from 500 to 590 nm, the cube has 800 to 890 nm\); drop"),
    (5, None, {}, "trained on 6 bands, the cube has 5"),
])
def test_other_bands_are_refused(bands: int, wavelengths: tuple[float, ...] | None, provenance: dict[str, Any],
                                 message: str) -> None:
    cube = Cube(values=values(bands), source="x.hdr", wavelengths=wavelengths)
    with pytest.raises(DataError, match=message):
        fitted(cube, info(**provenance), REDUCTION)


def test_as_many_bands_in_another_order_are_brought_into_that_of_training() -> None:
    turned = Cube(values=values(6), source="x", wavelengths=TRAINED[::-1])
    found = fitted(turned, info(wavelengths=list(TRAINED)), REDUCTION)
    np.testing.assert_array_equal(found.values, turned.values[..., ::-1])
    assert found.wavelengths == TRAINED
    assert found.notes == ("the cube's 6 bands were brought into the order of the training's wavelengths",)
    swapped = Cube(values=values(6), source="x", wavelengths=(TRAINED[1], TRAINED[0], *TRAINED[2:]))
    found = fitted(swapped, info(wavelengths=list(TRAINED)), REDUCTION)
    np.testing.assert_array_equal(found.values, swapped.values[..., [1, 0, 2, 3, 4, 5]])


def test_bands_that_are_one_step_off_are_told() -> None:
    cube = Cube(values=values(10), source="x", wavelengths=tuple(one + 10 for one in ALL))
    reduction = fit_reduction(np.random.default_rng(0).normal(3, 1, (50, 10)), components=3)
    assert fitted(cube, info(wavelengths=ALL), reduction).notes == (
        "WARNING: the bands lie up to 10 nm from those of the training: another sensor?",)


def test_dropping_by_number_what_has_other_wavelengths_is_warned_of() -> None:
    cube = Cube(values=values(10), source="x", wavelengths=tuple(one + 5000 for one in ALL))
    notes = fitted(cube, info(wavelengths=list(TRAINED), cube={"drop_bands": [3, 4, 7, 8]}), REDUCTION).notes
    assert notes[0] == "4 of the cube's 10 bands were dropped, as in training"
    assert notes[1] == "WARNING: by their numbers: their wavelengths are not those of the training"


def test_another_sensor_of_as_many_bands_is_told() -> None:
    cube = Cube(values=values(6), source="x", wavelengths=tuple(one + 30 for one in TRAINED))
    assert fitted(cube, info(wavelengths=TRAINED), REDUCTION).notes == (
        "WARNING: the bands lie up to 30 nm from those of the training: another sensor?",)
    near = Cube(values=values(6), source="x", wavelengths=tuple(one + 3 for one in TRAINED))
    assert fitted(near, info(wavelengths=TRAINED), REDUCTION) is near


@pytest.mark.parametrize(("level", "told"), [(0.4, True), (0.7, False), (14.0, False), (17.0, True), (3000.0, True)])
def test_another_scale_is_told(level: float, told: bool) -> None:
    cube = Cube(values=values(6, level), source="x")
    notes = fitted(cube, info(), REDUCTION).notes
    assert bool(notes) is told
    if told:
        assert f"mean value of the cube is {cube.values.mean():.4g}, that of the training pixels " in notes[0]


def test_the_level_is_that_of_pixels_with_data() -> None:
    spoilt, valid = values(6), np.ones((7, 5), bool)
    spoilt[3:], valid[3:] = -9999, False
    assert not fitted(Cube(values=spoilt, source="x", valid=valid), info(), REDUCTION).notes
    assert fitted(Cube(values=spoilt, source="x"), info(), REDUCTION).notes


def test_raw_counts_beside_reflectance_are_told() -> None:
    cube = Cube(values=values(6), source="x")
    told = info(cube={"calibrated": True})
    assert fitted(cube, told, REDUCTION).notes[0].startswith(
        "WARNING: the network was trained on reflectance, and this cube is taken as it is: name its white and dark")
    white = cube.calibrated(np.full(6, 1.0), np.zeros(6))
    assert fitted(white, told, REDUCTION) is white
