"""ENVI images: bytes written by hand in every layout, headers as they are found, and what cannot be true."""

import struct
from pathlib import Path

import numpy as np
import pytest

from excite.data.scenes.envi import read_envi, write_envi
from excite.data.scenes.envi_header import bad_bands, class_names, ignored_value
from excite.data.scenes.reading import open_cube
from excite.errors import DataError, UsageError

ROWS, COLUMNS, BANDS = 2, 3, 4
TYPES = {1: "B", 2: "h", 3: "i", 4: "f", 5: "d", 12: "H", 13: "I", 14: "q", 15: "Q"}


def value(row: int, column: int, band: int) -> int:
    return 1 + band + 10 * column + 100 * row


EXPECTED = [[[value(r, c, b) for b in range(BANDS)] for c in range(COLUMNS)] for r in range(ROWS)]
ORDERS = {"bsq": [(r, c, b) for b in range(BANDS) for r in range(ROWS) for c in range(COLUMNS)],
          "bil": [(r, c, b) for r in range(ROWS) for b in range(BANDS) for c in range(COLUMNS)],
          "bip": [(r, c, b) for r in range(ROWS) for c in range(COLUMNS) for b in range(BANDS)]}


def plant(folder: Path, *, code: int = 12, interleave: str = "bsq", order: int = 0, offset: int = 0,
          more: str = "", raw: str = "scene.raw", without: str = "") -> Path:
    numbers = [value(*place) for place in ORDERS[interleave]]
    content = b"\xff" * offset + struct.pack(f"{'<>'[order]}{len(numbers)}{TYPES[code]}", *numbers)
    (folder / raw).write_bytes(content)
    lines = ["ENVI", "; a comment = nothing", "description = {", "  two lines,", "  in braces}", f"samples = {COLUMNS}",
             f"lines   = {ROWS}", f"bands = {BANDS}", f"header offset = {offset}", "file type = ENVI Standard",
             f"data type = {code}", f"Interleave = {interleave.upper()}", f"byte order = {order}", more]
    file = folder / "scene.hdr"
    file.write_text("\n".join(line for line in lines if not without or not line.startswith(without)), encoding="utf-8")
    return file


@pytest.mark.parametrize("order", [0, 1])
@pytest.mark.parametrize("interleave", ORDERS)
@pytest.mark.parametrize("code", TYPES)
def test_every_type_interleave_and_byte_order(tmp_path: Path, code: int, interleave: str, order: int) -> None:
    cube = read_envi(plant(tmp_path, code=code, interleave=interleave, order=order, offset=7))
    expected = np.array(EXPECTED)
    assert isinstance(cube.values, np.memmap) and cube.values.dtype == np.dtype("<>"[order] + TYPES[code])
    assert cube.shape == (ROWS, COLUMNS) and cube.bands == BANDS
    assert np.array_equal(cube.values, expected % 256 if code == 1 else expected)


def test_header_fields_and_either_path(tmp_path: Path) -> None:
    header = plant(tmp_path, more="wavelength units = Micrometers\nwavelength = {0.4, 0.5,\n 0.6, 2.4}\n"
                                  "bbl = {1,0,1,1}\ndata ignore value = -9999\n"
                                  "map info = {UTM, 1, 1, 500, 600, 30, 30, 33, North}")
    cube = read_envi(header)
    assert cube.wavelengths == (400, 500, 600, 2400) and cube.notes == ()
    assert cube.header["description"] == "{ two lines, in braces}"
    assert bad_bands(cube.header, header) == (1,) and ignored_value(cube.header, header) == -9999
    assert np.array_equal(read_envi(tmp_path / "scene.raw").values, cube.values)


@pytest.mark.parametrize(("text", "wavelengths", "note"), [
    ("wavelength = {400, 500, 600, 700}", (400, 500, 600, 700), "by their size they are nanometres"),
    ("wavelength = {0.4, 0.5, 0.6, 2.5}", (400, 500, 600, 2500), "by their size they are micrometres"),
    ("wavelength = {1, 2, 300, 400}", None, "their unit is 'not given'"),
    ("wavelength = {1, 2, 3, 4}\nwavelength units = Index", None, "their unit is 'index'"),
    ("wavelength = {400, 500, 600, 700}\nwavelength units = Nanometers", (400, 500, 600, 700), None),
])
def test_units_of_wavelengths(tmp_path: Path, text: str, wavelengths: tuple[float, ...] | None,
                              note: str | None) -> None:
    cube = read_envi(plant(tmp_path, more=text))
    assert cube.wavelengths == wavelengths
    assert (note is None and cube.notes == ()) or note in cube.notes[0]


@pytest.mark.parametrize(("change", "message"), [
    ({"code": 6}, "'data type' must be one of 1, 2, 3, 4, 5, 12, 13, 14, 15, got 6 (6 and 9 are complex numbers)"),
    ({"more": "wavelength = {1, 2}"}, "'wavelength' has 2 values for 4 bands"),
    ({"more": "bbl = {1, x, 1, 1}"}, "'bbl' must be numbers, got 'x'"),
    ({"more": "wavelength = {400, nan, 600, 700}"}, "'wavelength' must be finite numbers, got nan; correct the header"),
    ({"more": "wavelength = {0.4, 0.5, 0.6, inf}\nwavelength units = um"}, "'wavelength' must be finite numbers, got"),
    ({"more": "fwhm = {1, 2"}, "the braces of 'fwhm' are never closed"),
    ({"more": "lines = 5"}, "'lines' is given twice with two values"),
    ({"more": "file compression = 1"}, "the image is compressed"),
    ({"more": "major frame offsets = {0, 4}"}, "images with frame offsets cannot be read"),
    ({"without": "byte order"}, "the header does not say 'byte order'; add the line 'byte order = ...'"),
    ({"without": "Interleave"}, "'interleave' must be bsq, bil or bip, got (none)"),
    ({"without": "lines"}, "the header does not say 'lines'"),
])
def test_headers_that_cannot_be_read(tmp_path: Path, change: dict[str, object], message: str,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TYPES, 6, "f")
    header = plant(tmp_path, **change)
    with pytest.raises(DataError) as caught:
        open_cube(header)
    assert f"{header}: {message}" in str(caught.value)


@pytest.mark.parametrize(("text", "keys"), [
    ("data gain values = {1, 1, 1, 0.1}", ["data gain values"]),
    ("data gain values = {2, 2, 2, 2}\ndata offset values = {0, 0, 0, 5}", ["data gain values", "data offset values"]),
    ("reflectance scale factor = 10000", ["reflectance scale factor"]),
    ("reflectance scale factor = often", ["reflectance scale factor"]),
    ("data gain values = {1, 1, 1, 1.0}\ndata offset values = {0,0,0,0}\nreflectance scale factor = 1", []),
])
def test_a_scale_in_the_header_is_told_and_not_applied(tmp_path: Path, text: str, keys: list[str]) -> None:
    cube = open_cube(plant(tmp_path, more=text))
    assert np.array_equal(cube.values, EXPECTED)
    assert cube.notes == tuple(f"{key!r} of the header is not applied: the values are as the file holds them"
                               for key in keys)


@pytest.mark.parametrize("length", [47, 49])
def test_a_raw_file_of_another_length(tmp_path: Path, length: int) -> None:
    header = plant(tmp_path)
    (tmp_path / "scene.raw").write_bytes(bytes(length))
    with pytest.raises(DataError, match=f"the file has {length} bytes, its header says 48 "
                                        r"\(2 x 3 x 4 of 2 bytes behind 0\)"):
        read_envi(header)


def test_files_that_miss_each_other(tmp_path: Path) -> None:
    header = plant(tmp_path)
    (tmp_path / "scene.img").write_bytes(b"")
    with pytest.raises(DataError, match=r"several raw files beside the header \(scene.raw, scene.img\)"):
        read_envi(header)
    (tmp_path / "scene.img").unlink()
    (tmp_path / "scene.raw").rename(tmp_path / "other.raw")
    with pytest.raises(DataError, match="there is no raw file beside the header; put scene.raw or scene.img beside it"):
        read_envi(header)
    with pytest.raises(DataError, match=r"no header beside the raw file .*; put other.hdr beside it"):
        read_envi(tmp_path / "other.raw")
    with pytest.raises(DataError, match="the file does not exist"):
        read_envi(tmp_path / "none.hdr")
    (tmp_path / "other.hdr").write_text("samples = 3", encoding="utf-8")
    with pytest.raises(DataError, match=r"must begin with the line ENVI \(it begins with 'samples = 3'\)"):
        read_envi(tmp_path / "other.raw")


def test_header_called_as_the_raw_file_and_one_without_suffix(tmp_path: Path) -> None:
    header = plant(tmp_path, raw="scene.DAT")
    assert np.array_equal(read_envi(header).values, EXPECTED)
    header.rename(tmp_path / "scene.DAT.hdr")
    assert np.array_equal(read_envi(tmp_path / "scene.DAT").values, EXPECTED)
    assert np.array_equal(read_envi(tmp_path / "scene.DAT.hdr").values, EXPECTED)
    plant(tmp_path, raw="scene").rename(tmp_path / "bare.hdr")
    (tmp_path / "scene").rename(tmp_path / "bare")
    assert np.array_equal(open_cube(tmp_path / "bare").values, EXPECTED)


@pytest.mark.parametrize("interleave", ORDERS)
@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "f4", "f8", "u2", "u4", "i8", "u8", ">i2"])
def test_writing_and_reading_again(tmp_path: Path, kind: str, interleave: str) -> None:
    values = np.random.default_rng(0).integers(0, 200, (5, 4, 3)).astype(kind)
    raw = write_envi(tmp_path / "cube.hdr", values, {"wavelength units": "Nanometers", "wavelength": [400, 500.5, 600]},
                     interleave=interleave)
    assert raw == tmp_path / "cube.img"
    cube = read_envi(tmp_path / "cube.hdr")
    assert np.array_equal(cube.values, values) and cube.values.dtype == values.dtype.newbyteorder("<")
    assert cube.wavelengths == (400, 500.5, 600)
    first = {"bsq": values[0, :, 0], "bil": values[0, :, 0], "bip": values[0, 0, :]}[interleave]
    assert raw.read_bytes()[:first.size * values.itemsize] == first.astype(f"<{values.dtype.str[1:]}").tobytes()


def test_what_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="values must be .* got complex128"):
        write_envi(tmp_path / "a.img", np.zeros((2, 2), complex))
    with pytest.raises(UsageError, match="the values decide 'bands'; leave it out of the header"):
        write_envi(tmp_path / "a.img", np.zeros((2, 2)), {"bands": 3})
    with pytest.raises(UsageError, match="interleave must be one of bsq, bil, bip, got 'bps'"):
        write_envi(tmp_path / "a.img", np.zeros((2, 2)), interleave="bps")


def test_class_names_that_are_not_as_many_as_classes(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="'class names' has 2 names, 'classes' says 3"):
        class_names({"classes": "3", "class names": "{a, b}"}, tmp_path)
    assert class_names({"classes": "3", "class names": "{a, , c}"}, tmp_path) == ("a", "", "c")
