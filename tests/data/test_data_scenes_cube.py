"""Cubes: bands, calibration, pixels without data, and files that stay on the disk."""

from pathlib import Path

import numpy as np
import pytest

from excite.data.scenes import blocks
from excite.data.scenes.cube import Cube, shortened
from excite.data.scenes.envi import write_envi
from excite.data.scenes.gaps import mark_gaps
from excite.data.scenes.reading import open_cube
from excite.errors import DataError, EnvironmentFault, UsageError

VALUES = np.random.default_rng(3).integers(1, 1000, (7, 5, 6)).astype(np.uint16)


def cube(values: np.ndarray = VALUES, **options: object) -> Cube:
    return Cube(values=values, source="here", **options)


def mapped(tmp_path: Path, values: np.ndarray = VALUES) -> Path:
    np.save(tmp_path / "cube.npy", values)
    return tmp_path / "cube.npy"


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every cube here go through several blocks."""
    monkeypatch.setattr(blocks.row_blocks, "__kwdefaults__", {"block_bytes": 2 * VALUES[0].nbytes})


def test_blocks_cover_all_rows_once() -> None:
    assert [(rows.start, rows.stop) for rows in blocks.row_blocks(VALUES)] == [(0, 2), (2, 4), (4, 6), (6, 7)]
    assert len(list(blocks.row_blocks(VALUES, block_bytes=1))) == 7


@pytest.mark.parametrize(("values", "message"), [
    (np.zeros((3, 4)), "a cube must be (rows, columns, bands), got shape (3, 4)"),
    (np.zeros((3, 0, 2)), "a cube must be (rows, columns, bands), got shape (3, 0, 2)"),
    (np.zeros((1, 2, 3), complex), "a cube must hold whole or real numbers, got complex128"),
    (np.zeros((1, 2, 3), bool), "a cube must hold whole or real numbers, got bool"),
])
def test_what_is_no_cube(values: np.ndarray, message: str) -> None:
    with pytest.raises(DataError) as caught:
        cube(values)
    assert f"here: {message}" in str(caught.value)


def test_wavelengths_and_valid_must_fit() -> None:
    with pytest.raises(DataError, match="wavelengths must be one a band, got 2 for 6 bands"):
        cube(wavelengths=(1.0, 2.0))
    with pytest.raises(DataError, match="valid must be a bool for each of 7 x 5 pixels, got bool"):
        cube(valid=np.ones((5, 7), bool))


@pytest.mark.parametrize("kept", [[0, 2, 5], [3, 1], [2, 3, 4], [0]])
def test_bands_of_arrays_and_of_files(tmp_path: Path, kept: list[int]) -> None:
    lengths = tuple(float(number) for number in range(400, 406))
    for whole in (cube(wavelengths=lengths), open_cube(mapped(tmp_path), wavelengths=lengths)):
        part = whole.with_bands(kept)
        assert np.array_equal(part.values, VALUES[:, :, kept]) and part.values.dtype == np.uint16
        assert part.wavelengths == tuple(lengths[band] for band in kept)
        assert isinstance(part.values, np.memmap) == isinstance(whole.values, np.memmap)


@pytest.mark.parametrize("kept", [[], [1, 1], [6], [-1, 2]])
def test_bands_that_are_not_there(kept: list[int]) -> None:
    with pytest.raises(UsageError, match="bands to keep must be different numbers from 0 to 5, got"):
        cube().with_bands(kept)


def test_calibration_from_lines_columns_and_bands(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    white, dark = random.integers(2000, 3000, (4, 5, 6)).astype(np.uint16), random.integers(0, 9, (2, 5, 6))
    expected = (VALUES - dark.mean(0)) / (white.mean(0) - dark.mean(0))
    for whole in (cube(), open_cube(mapped(tmp_path)), cube(VALUES.astype(">u2"))):
        done = whole.calibrated(white, dark)
        assert done.values.dtype == np.float32 and isinstance(done.values, np.memmap) == (whole.source != "here")
        np.testing.assert_allclose(done.values, expected, rtol=1e-6)
    np.testing.assert_array_equal(cube().calibrated(white.mean(0), dark.mean(0)).values, done.values)
    per_band = cube(VALUES.astype(np.float64)).calibrated(np.full(6, 2000), np.arange(6))
    np.testing.assert_allclose(per_band.values, (VALUES - np.arange(6)) / (2000 - np.arange(6)), rtol=1e-12)
    assert per_band.values.dtype == np.float64
    assert per_band.notes == ("calibrated to reflectance by a white and a dark reference",)


def test_calibration_refuses_what_divides_by_nothing() -> None:
    white, dark = np.full((5, 6), 9.0), np.zeros((5, 6))
    white[2, 3], white[0, 4], dark[1, 4] = 0, np.nan, 20
    with pytest.raises(DataError, match=r"the white reference must be above the dark one, is not in 3 of 30 values "
                                        r"\(in bands 3, 4\)"):
        cube().calibrated(white, dark)
    with pytest.raises(DataError, match=r"the dark reference must have 5 columns and 6 bands .* got shape \(4,\)"):
        cube().calibrated(white, np.zeros(4))
    with pytest.raises(DataError, match="the white reference must have 5 columns and 6 bands"):
        cube().calibrated(np.ones((2, 7, 6)), dark)


def test_nan_is_an_error_that_counts() -> None:
    values = VALUES.astype(np.float32)
    values[0, 0, 1] = values[6, 4, 1] = np.nan
    values[6, 4, 3] = np.inf
    with pytest.raises(DataError) as caught:
        mark_gaps(cube(values))
    assert str(caught.value) == (
        "here: 2 of 35 pixels hold NaN or infinity, in 2 of 6 bands (bands 1, 3 of the file, counted from 0); treat "
        "these pixels as no data (scene.no_data=nan in training, else --no-data nan), or drop these bands "
        "(scene.drop_bands in training, else --drop-bands)")
    for no_data in ("nan", float("nan")):
        done = mark_gaps(cube(values), no_data=no_data)
        assert done.valid is not None and np.array_equal(done.valid, np.isfinite(values).all(2))
        assert done.notes == ("2 of 35 pixels hold no data (no_data is nan)",)
    assert mark_gaps(cube(values).with_bands([0, 2, 4, 5])).valid is None


def test_a_band_of_nan_leaves_no_pixel() -> None:
    values = VALUES.astype(np.float32)
    values[:, :, 2] = np.nan
    with pytest.raises(DataError, match=r"no pixel holds data, no_data is nan \(bands 2 of the file are not finite in "
                                        r"any pixel\)"):
        mark_gaps(cube(values), no_data="nan")


def test_odd_bands_have_the_numbers_of_the_file(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32)
    values[..., [1, 2, 4]] = np.nan
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match=r"in 2 of 5 bands \(bands 2, 4 of the file, counted from 0\)"):
        open_cube(tmp_path / "a.npy", drop_bands=[1])
    with pytest.raises(DataError, match=r"no pixel holds data, .* \(bands 2, 4 of the file are not finite in any"):
        open_cube(tmp_path / "a.npy", drop_bands=[1], no_data="nan")
    assert open_cube(tmp_path / "a.npy", drop_bands=[1, 2, 4]).valid is None


@pytest.mark.parametrize("kind", [np.uint16, np.float32])
def test_no_data_values(kind: type) -> None:
    values = VALUES.astype(kind)
    values[1, 2], values[3, 3, 0] = 0, 0
    done = mark_gaps(cube(values), no_data=0)
    assert done.valid is not None and np.argwhere(~done.valid).tolist() == [[1, 2]]
    assert done.notes == ("1 of 35 pixels hold no data (no_data is 0)",
                          "1 pixels hold the no-data value 0 in some of their bands and are kept: 0 can be a "
                          "measurement")
    values[1, 2], values[3, 3, 0] = 5000, 5000
    done = mark_gaps(cube(values), no_data=5000)
    assert done.valid is not None and np.argwhere(~done.valid).tolist() == [[1, 2], [3, 3]]
    assert done.notes[1].endswith("count as no data")
    assert mark_gaps(cube(values), no_data=-9999).valid is None
    with pytest.raises(DataError, match="no pixel holds data, no_data is 7"):
        mark_gaps(cube(np.full((2, 2, 2), 7, kind)), no_data=7)
    with pytest.raises(UsageError, match="no_data must be a number or nan, got 'none'"):
        mark_gaps(cube(), no_data="none")


def test_nan_beside_a_no_data_value() -> None:
    values = VALUES.astype(np.float32)
    values[0, 0] = -9999
    values[0, 0, 3] = np.nan
    assert mark_gaps(cube(values), no_data=-9999).valid is not None  # the NaN lies in a pixel without data
    values[1, 1, 3] = np.nan
    with pytest.raises(DataError, match="1 of 35 pixels hold NaN"):
        mark_gaps(cube(values), no_data=-9999)


def test_opening_maps_the_file_and_checks_it_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_cube(mapped(tmp_path, VALUES.astype(np.float32)), no_data=0)
    assert type(whole.values) is np.memmap and Path(whole.values.filename).name == "cube.npy"
    seen: list[int] = []
    real = np.isfinite
    monkeypatch.setattr(np, "isfinite", lambda array: (seen.append(np.size(array)), real(array))[1])
    open_cube(tmp_path / "cube.npy")
    assert seen and max(seen) < VALUES.size and sum(seen) == VALUES.size


def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = open_cube(mapped(tmp_path))
    full = Path("/dev/full")
    monkeypatch.setattr(blocks.tempfile, "TemporaryFile", lambda **_: full.open("wb", buffering=0))  # noqa: SIM115
    with pytest.raises(EnvironmentFault, match=r"no room for a copy of the cube, 0 MB \(No space left .*; set TMPDIR"):
        whole.with_bands([0, 2])


def test_opening_drops_calibrates_and_marks(tmp_path: Path) -> None:
    raw = VALUES.astype(np.int16)
    raw[4, 4] = -1
    header = {"bbl": [1, 1, 0, 1, 1, 1], "data ignore value": "-1", "wavelength": range(400, 406),
              "wavelength units": "nm"}
    write_envi(tmp_path / "scene.hdr", raw, header, interleave="bil")
    white, dark = np.full((2, 5, 6), 2000, np.int16), np.full((2, 5, 6), 10, np.int16)
    white[:, :, 2] = 0  # a bad band may have no white: it is dropped before
    write_envi(tmp_path / "white.hdr", white)
    write_envi(tmp_path / "dark.hdr", dark)
    done = open_cube(tmp_path / "scene.hdr", drop_bands=[5], white=tmp_path / "white.hdr", dark=tmp_path / "dark.hdr")
    assert done.wavelengths == (400, 401, 403, 404)
    assert done.valid is not None and np.argwhere(~done.valid).tolist() == [[4, 4]]
    np.testing.assert_allclose(done.values, (raw[:, :, [0, 1, 3, 4]] - 10.0) / 1990, rtol=1e-6)
    assert done.notes == ("bands dropped as asked: 5", "bands dropped that the header marks as bad: 2",
                          "1 of 35 pixels hold no data (no_data is -1.0)",
                          "calibrated to reflectance by a white and a dark reference")
    assert open_cube(tmp_path / "scene.hdr", no_data=0).valid is None


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    path = mapped(tmp_path)
    cases = [({"white": path}, "white and dark must be given together; name the dark one too"),
             ({"drop_bands": [6]}, "drop_bands must be from 0 to 5, got 6"),
             ({"drop_bands": range(6)}, "all 6 bands are dropped"),
             ({"variable": "a"}, "variable 'a' cannot be chosen (the file holds one array only)"),
             ({"wavelengths": [1.0]}, "wavelengths must be one a band, got 1 for 6 bands")]
    for options, message in cases:
        with pytest.raises((UsageError, DataError)) as caught:
            open_cube(path, **options)
        assert message in str(caught.value)
    np.save(tmp_path / "white.npy", VALUES[:, :, :4])
    with pytest.raises(DataError, match="the reference has 4 bands, the cube 6"):
        open_cube(path, white=tmp_path / "white.npy", dark=tmp_path / "white.npy")
    (tmp_path / "a.xyz").write_bytes(b"1")
    for name, message in [("a.xyz", "cubes of kind '.xyz' cannot be read; known: .mat, .npy, .npz, .hdr"),
                          (".", "is a folder, no file"), ("no.npy", "the file does not exist")]:
        with pytest.raises(DataError, match=message):
            open_cube(tmp_path / name)


def test_numbers_in_few_words() -> None:
    assert shortened([1, 2, 3, 5, 6, 9]) == "1 to 3, 5, 6, 9"
    assert shortened(range(0, 40, 2)) == "0, 2, 4, 6, 8, 10, 12, 14 and 12 more"
