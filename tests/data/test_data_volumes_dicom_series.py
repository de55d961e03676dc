"""DICOM series: order, gaps and mixtures of planted files, odd files of pydicom's own, and a real patient."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import EnhancedMRImageStorage, RLELossless

from excite.data.volumes.dicom_files import frames_of
from excite.data.volumes.dicom_series import list_series, read_series
from excite.errors import DataError, EnvironmentFault
from made_up_dicom import AXIAL, CORONAL, SECRETS, STACK, plant, plant_stack


def refused(path: Path, **options: Any) -> str:
    """Return the message, after a look that it names no patient."""
    with pytest.raises(DataError) as caught:
        read_series(path, **options)
    assert_nothing_personal(str(caught.value), repr(caught.value), str(caught.value.__dict__))
    return str(caught.value)


def assert_nothing_personal(*texts: str) -> None:
    for text in texts:
        for secret in (*SECRETS.values(), *re.split(r"\W", " ".join(SECRETS.values()))):
            assert len(secret) < 4 or secret not in text


def test_pictures_are_sorted_by_place_and_turned_to_the_patient(tmp_path: Path) -> None:
    volume = read_series(plant_stack(tmp_path))
    # LPS to RAS: rows run to the left and columns to the back, so both are reversed
    assert np.array_equal(volume.values, STACK[:, ::-1, ::-1])
    assert volume.spacing == (4, 1.5, 0.75) and volume.notes == () and volume.source == tmp_path
    row, column, number = 2, 5, 3
    lps = np.array([-10 + column * 0.75, 20 + row * 1.5, 4.0 * number])
    assert np.allclose(volume.affine @ [number, 5 - row, 6 - column, 1], [*(lps * [-1, -1, 1]), 1])


def test_coronal_pictures(tmp_path: Path) -> None:
    for number, pixels in enumerate(STACK):
        plant(tmp_path / f"{number}", pixels, ImageOrientationPatient=CORONAL,
              ImagePositionPatient=[-10, 20 + 2.0 * number, 30])
    volume = read_series(tmp_path)
    assert np.array_equal(volume.values, STACK.transpose(1, 0, 2)[::-1, ::-1, ::-1])
    assert volume.spacing == (1.5, 2, 0.75)


def test_slope_and_intercept_of_each_picture(tmp_path: Path) -> None:
    pixels = STACK.astype(np.int16) - 1500
    for number in range(5):
        plant(tmp_path / f"{number}.dcm", pixels[number], place=number * 4, RescaleSlope=0.5 + number,
              RescaleIntercept=-number)
    expected = pixels * (0.5 + np.arange(5))[:, None, None] - np.arange(5)[:, None, None]
    assert np.array_equal(read_series(tmp_path).values, expected[:, ::-1, ::-1].astype(np.float32))
    plant_stack(tmp_path / "empty", RescaleSlope="", RescaleIntercept="")  # D3: empty elements
    assert np.array_equal(read_series(tmp_path / "empty").values, STACK[:, ::-1, ::-1])


def test_missing_pictures(tmp_path: Path) -> None:
    assert refused(plant_stack(tmp_path, (0, 4, 8, 16, 24))) == (
        f"{tmp_path}: pictures are missing: none between 8.0 and 16.0 mm, 16.0 and 24.0 mm (the others are 4.00 mm "
        "apart); export the whole series again")


def test_pictures_at_one_place(tmp_path: Path) -> None:
    plant_stack(tmp_path, EchoTime=2.5)
    plant(tmp_path / "second.dcm", place=8, EchoTime=5.0)
    plant(tmp_path / "third.dcm", place=12, EchoTime=5.0)
    assert refused(tmp_path) == (
        f"{tmp_path}: pictures lie at one place: 8.0, 12.0 mm (they differ in EchoTime 2.5, 5); leave one picture a "
        "place in the folder")
    (tmp_path / "third.dcm").unlink()
    damaged = plant(tmp_path / "second.dcm", place=8, EchoTime="1.25")
    damaged.write_bytes(damaged.read_bytes().replace(b"1.25", b"Erik"))  # not to be shown
    assert "(they differ in EchoTime 2.5, ?)" in refused(tmp_path)
    plant(tmp_path / "second.dcm", place=8, EchoTime=2.5)
    assert "pictures lie at one place: 8.0 mm (they may be copies" in refused(tmp_path)
    assert [info.spacing for info in list_series(tmp_path)] == [None]


def test_uneven_distances(tmp_path: Path) -> None:
    assert refused(plant_stack(tmp_path, (0, 4, 8.9, 12, 16))) == (
        f"{tmp_path}: the pictures are unevenly apart: 3.10 to 4.90 mm, up to 0.90 mm off a regular grid, that at 8.9 "
        "mm most; export a series with even distances, or resample it and save it as NIfTI")
    assert read_series(plant_stack(tmp_path, (0, 4.001, 8, 11.999, 16))).spacing[0] == pytest.approx(4)
    assert "up to 0.10 mm off a regular grid" in refused(plant_stack(tmp_path, (0, 4, 8.1, 12, 16)))
    assert read_series(plant_stack(tmp_path, (0, 4, 8.07, 12, 16))).shape == (5, 6, 7)  # 2 % of 4 mm is 0.08
    for number in range(5):  # even, but one picture is shifted within its plane
        plant(tmp_path / f"{number:04}.dcm", ImagePositionPatient=[-10, 20 + (number == 2), number * 4])
    assert "off a regular grid, that at 8.0 mm most" in refused(tmp_path)


def test_tilted_stacks_are_kept(tmp_path: Path) -> None:
    for number in range(5):
        plant(tmp_path / f"{number}.dcm", place=0, ImagePositionPatient=[-10, 20 + number, 4 * number])
    volume = read_series(tmp_path)
    assert "the axes are 14.0 degrees off right angles; they are kept" in volume.notes
    assert np.allclose(volume.affine[:3, 0], [0, -1, 4])


def test_several_series(tmp_path: Path) -> None:
    plant_stack(tmp_path / "b", uid="1.2.1", name="ADC [10^-6 mm2/s]")
    plant_stack(tmp_path / "a", (0, 5, 10), uid="1.2.2", name="T1 map")
    plant_stack(tmp_path / "c", (0, 5), uid="1.2.3", name="T2 map")
    assert [(info.description, info.files, info.shape, info.spacing, info.uid) for info in list_series(tmp_path)] == [
        ("ADC [10^-6 mm2/s]", 5, (5, 6, 7), (4, 1.5, 0.75), "1.2.1"),
        ("T1 map", 3, (3, 6, 7), (5, 1.5, 0.75), "1.2.2"), ("T2 map", 2, (2, 6, 7), (5, 1.5, 0.75), "1.2.3")]
    assert_nothing_personal(repr(list_series(tmp_path)))
    assert refused(tmp_path) == (
        f"{tmp_path}: the folder holds 3 series (there are 'ADC [10^-6 mm2/s]' (5 files, 5 x 6 x 7), 'T1 map' (3 "
        "files, 3 x 6 x 7), 'T2 map' (2 files, 2 x 6 x 7)); choose one by a pattern of its description or its UID: "
        "--set 'volumes.series={MAP: \"T1*\"}', in Python series=\"T1*\"")
    assert read_series(tmp_path, series="adc*").shape[0] == 5 and read_series(tmp_path, series="t1 MAP").shape[0] == 3
    assert read_series(tmp_path, series="ADC [10^-6 mm2/s]").shape[0] == 5  # brackets and all
    assert read_series(tmp_path, series="1.2.3").shape[0] == 2
    assert "2 series fit '*map' (there are 'T1 map'" in refused(tmp_path, series="*map")
    assert "no series fits 'T2star' (there are 'ADC" in refused(tmp_path, series="T2star")


def test_one_series_with_two_grids_or_one_name_twice(tmp_path: Path) -> None:
    plant_stack(tmp_path)
    plant(tmp_path / "scout.dcm", ImageOrientationPatient=CORONAL)
    message = refused(tmp_path)
    assert "the folder holds 2 series (there are 'T1 map' 1.2.3#1 (5 files, 5 x 6 x 7), 'T1 map' 1.2.3#2 (1" in message
    assert read_series(tmp_path, series="1.2.3#1").shape == (5, 6, 7)
    assert "2 series fit '1.2.3'" in refused(tmp_path, series="1.2.3")
    for change in ({"PixelSpacing": [2, 2]}, {"pixels": STACK[0, :5]}, {"ImagePositionPatient": None}):
        plant(tmp_path / "scout.dcm", place=20, **change)
        assert "the folder holds 2 series" in refused(tmp_path)


def test_one_file_is_one_slice(tmp_path: Path) -> None:
    plant_stack(tmp_path)
    volume = read_series(plant(tmp_path / "x.dcm"))
    assert volume.shape == (1, 6, 7) and volume.spacing == (3, 1.5, 0.75)
    assert volume.notes == ("there is one picture: its thickness is the depth of its voxels",)
    assert "does not say how thick it is (SliceThickness)" in refused(plant(tmp_path / "x.dcm", SliceThickness=None))


@pytest.mark.parametrize(("fields", "message"), [
    ({"ImagePositionPatient": None}, "the pictures do not say where they lie: no ImagePositionPatient;"),
    ({"ImagePositionPatient": ""}, "no ImagePositionPatient;"),
    ({"ImageOrientationPatient": None, "PixelSpacing": None}, "no PixelSpacing, ImageOrientationPatient;"),
    ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "ImageOrientationPatient holds no two directions at right"),
    ({"PixelSpacing": [0, 0.75]}, "the affine is singular: voxels of 0.75 x 0 x 4 mm"),
    ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "the picture is in colours (RGB) (it is a screenshot"),
    ({"PhotometricInterpretation": "PALETTE COLOR"}, "the picture is in colours (PALETTE COLOR)"),
    ({"ModalityLUTSequence": Sequence([Dataset()])}, "the values are given by a table (ModalityLUTSequence)"),
    ({"PixelData": None}, "the DICOM file has no pixels"),
    ({"RescaleSlope": 0}, "RescaleSlope must be a number but 0, got 0 (the values are lost by it); export the series"),
    ({"RescaleIntercept": "nan"}, "RescaleIntercept must be a number, got nan"),
    ({"Rows": 65000}, "the DICOM file cannot be read (ValueError)"),  # D9
    ({"Rows": 4}, "the file holds more than the 4 x 7 pixels of its header"),
    ({"NumberOfFrames": 10**9}, "5 of 5 DICOM files cannot be read: 0000.dcm, 0001.dcm"),
    ({"Rows": 0}, "the volume has no voxels: its header says 7 x 0 x 5"),
])
def test_what_is_no_volume(tmp_path: Path, fields: dict[str, Any], message: str) -> None:
    assert message in refused(plant_stack(tmp_path, **fields))


def test_maps_of_floats(tmp_path: Path) -> None:
    values = np.random.default_rng(7).normal(0, 1e-3, (3, 6, 7)).astype(np.float32)
    for number in range(3):
        plant(tmp_path / f"{number}.dcm", values[number], place=number, PixelData=None, BitsAllocated=32,
              FloatPixelData=values[number].tobytes())
    assert np.array_equal(read_series(tmp_path).values, values[:, ::-1, ::-1])
    values[1, 2, :3] = np.nan
    plant(tmp_path / "1.dcm", values[1], place=1, PixelData=None, BitsAllocated=32,
          FloatPixelData=values[1].tobytes())
    assert "3 of 126 voxels are NaN or infinite (one such voxel" in refused(tmp_path)
    assert read_series(tmp_path, fill=0).notes == ("3 of 126 voxels were NaN or infinite and are now 0",)


def test_the_limit_holds_before_pixels_are_read(tmp_path: Path) -> None:
    assert "65000 x 5 voxels, 78.95 GB in memory; the limit is 2.00 GB" in refused(
        plant_stack(tmp_path, Rows=65000, Columns=65213))


@pytest.mark.parametrize(("fields", "note"), [
    ({"PhotometricInterpretation": "MONOCHROME1"}, "MONOCHROME1: low values are shown bright; the values are kept"),
    ({"LossyImageCompression": "01"}, "the files were compressed with loss: values are approximate"),
    ({"RealWorldValueMappingSequence": Sequence([Dataset()])}, "a RealWorldValueMapping is not applied, RescaleSlope"),
])
def test_notes_are_said_once(tmp_path: Path, fields: dict[str, Any], note: str) -> None:
    volume = read_series(plant_stack(tmp_path, **fields))
    assert len(volume.notes) == 1 and volume.notes[0].startswith(note)
    assert np.array_equal(volume.values, STACK[:, ::-1, ::-1])
    assert_nothing_personal(repr(volume))


def test_broken_files_among_good_ones_are_named(tmp_path: Path) -> None:
    plant_stack(tmp_path)
    whole = (tmp_path / "0001.dcm").read_bytes()
    (tmp_path / "notes.txt").write_text("no DICOM")
    assert read_series(tmp_path).shape == (5, 6, 7)
    (tmp_path / "0001.dcm").write_bytes(whole[:600])  # D7: cut in the header
    assert refused(tmp_path) == (
        f"{tmp_path / '0001.dcm'}: the DICOM file is cut, or none: it does not say how large its picture is; the file "
        "was cut or damaged on its way; fetch it again from its source")
    (tmp_path / "0001.dcm").write_bytes(whole[:-30])  # D8: cut in the pixels
    assert refused(tmp_path).startswith(f"{tmp_path / '0001.dcm'}: the DICOM file cannot be read (")
    (tmp_path / "0001.dcm").write_bytes(b"")
    (tmp_path / "0003.dcm").write_text("text")
    assert "2 of 5 DICOM files cannot be read: 0001.dcm, 0003.dcm; fetch them again" in refused(tmp_path)


def test_files_without_preamble(tmp_path: Path) -> None:  # D10
    for file in plant_stack(tmp_path).iterdir():
        file.write_bytes(file.read_bytes()[132:])
        file.rename(file.with_suffix(""))  # known by content alone
    volume = read_series(tmp_path)
    assert volume.notes == ("the files have no preamble",) and np.array_equal(volume.values, STACK[:, ::-1, ::-1])


def test_reports_among_pictures_are_left_out_and_counted(tmp_path: Path) -> None:
    plant(plant_stack(tmp_path) / "report.dcm", SOPClassUID="1.2.840.10008.5.1.4.1.1.88.11", Rows=None, Columns=None,
          PixelData=None)
    (tmp_path / "DICOMDIR").write_bytes(Path(str(get_testdata_file("DICOMDIR"))).read_bytes())
    assert read_series(tmp_path).notes == ("2 DICOM files without pictures were left out",)


def test_no_transfer_syntax(tmp_path: Path) -> None:  # D11
    file = plant(tmp_path / "x.dcm")
    content = file.read_bytes()
    place = content.index(b"\x02\x00\x10\x00UI")
    length = 8 + int.from_bytes(content[place + 6:place + 8], "little")
    group = int.from_bytes(content[140:144], "little") - length
    file.write_bytes(content[:140] + group.to_bytes(4, "little") + content[144:place] + content[place + length:])
    volume = read_series(file)
    assert np.array_equal(volume.values[0], STACK[0, ::-1, ::-1])
    assert "the files do not name their transfer syntax: it was found by their bytes" in volume.notes


def test_nothing_about_the_patient_is_read_or_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # D16
    read, texts = pydicom.dcmread, list[str]()

    def watched(*args: Any, **options: Any) -> Dataset:
        dataset = read(*args, **options)
        texts.append(str(dataset))
        return dataset

    monkeypatch.setattr("excite.data.volumes.dicom_files.dcmread", watched)
    plant_stack(tmp_path)
    frames = [frame for file in tmp_path.iterdir() for frame in frames_of(file)]
    assert_nothing_personal(repr(frames), repr(read_series(tmp_path)), repr(list_series(tmp_path)))
    assert len(texts) == 20 and "T1 map" in texts[0]
    assert_nothing_personal(*(text.replace(SECRETS["PatientID"], "") for text in texts))  # it is hashed at once
    with pytest.raises(AssertionError):
        assert_nothing_personal(str(read(tmp_path / "0000.dcm")))  # they are there to be found


@pytest.mark.parametrize("field", ["PixelSpacing", "RescaleSlope", "BitsStored"])
def test_damage_that_moves_the_patient_into_other_fields_says_nothing(
        tmp_path: Path, field: str, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder) -> None:
    value = 1111 if field == "BitsStored" else "1.111111" if field == "PixelSpacing" else "11.1"
    content = plant(tmp_path / "x.dcm", **{field: value}).read_bytes()
    found = value.encode() if isinstance(value, str) else value.to_bytes(2, "little")
    assert content.count(found) == 1
    (tmp_path / "x.dcm").write_bytes(content.replace(found, b"Muster^Erika"[:len(found)]))
    refused(tmp_path / "x.dcm")
    assert not caplog.records and not recwarn.list


def test_pydicom_warns_of_no_value(tmp_path: Path, caplog: pytest.LogCaptureFixture,
                                   recwarn: pytest.WarningsRecorder) -> None:
    file = plant(tmp_path / "x.dcm", uid="Muster^Erika")
    caplog.clear()
    recwarn.clear()
    read_series(file)
    assert not caplog.records and not recwarn.list
    with pytest.warns(UserWarning, match="Muster"):  # as it would by itself
        str(pydicom.dcmread(file).SeriesInstanceUID)


@pytest.mark.parametrize(("depth", "readable"), [(20, True), (500, False), (5000, False)])
def test_deep_nesting(tmp_path: Path, depth: int, readable: bool) -> None:  # D14
    file = plant(tmp_path / "x.dcm")
    content = file.read_bytes()
    place = content.index(b"\x28\x00\x02\x00US")
    start, end = b"\x20\x00\x11\x91SQ\0\0\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff", b""
    for tag in (b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0"):
        end += tag + bytes(4)
    file.write_bytes(content[:place] + start * depth + end * depth + content[place:])
    if readable:
        assert np.array_equal(read_series(file).values[0], STACK[0, ::-1, ::-1])
    else:
        assert "the DICOM file cannot be read (RecursionError)" in refused(file)


def enhanced(path: Path, *, places: tuple[float, ...] = (8, 0, 16, 4, 12), without: str = "") -> Path:
    def one(sequence: str, **fields: Any) -> Dataset:
        inner, outer = Dataset(), Dataset()
        for keyword, value in fields.items():
            setattr(inner, keyword, value)
        if sequence != without:
            setattr(outer, sequence, Sequence([inner]))
        return outer

    def merged(*parts: Dataset) -> Dataset:
        whole = Dataset()
        for part in parts:
            whole.update(part)
        return whole

    shared = merged(one("PlaneOrientationSequence", ImageOrientationPatient=AXIAL),
                    one("PixelMeasuresSequence", PixelSpacing=[1.5, 0.75], SliceThickness=3))
    frames = [merged(one("PlanePositionSequence", ImagePositionPatient=[-10, 20, place]),
                     one("PixelValueTransformationSequence", RescaleSlope=1 + place, RescaleIntercept=-1))
              for place in places]
    numbers = [int(place // 4) for place in places]
    return plant(path, STACK[numbers], NumberOfFrames=len(places), SOPClassUID=EnhancedMRImageStorage,
                 ImagePositionPatient=None, ImageOrientationPatient=None, PixelSpacing=None, SliceThickness=None,
                 SharedFunctionalGroupsSequence=Sequence([shared]), PerFrameFunctionalGroupsSequence=Sequence(frames))


def test_enhanced_files(tmp_path: Path) -> None:  # D5
    volume = read_series(enhanced(tmp_path / "x.dcm"))
    slopes = (1 + 4 * np.arange(5))[:, None, None]
    assert np.array_equal(volume.values, (STACK * slopes - 1.0)[:, ::-1, ::-1].astype(np.float32))
    assert volume.spacing == (4, 1.5, 0.75) and list_series(tmp_path)[0].files == 1
    assert "pictures lie at one place: 0.0 mm" in refused(enhanced(tmp_path / "x.dcm", places=(0, 4, 8, 0)))
    assert "no ImagePositionPatient" in refused(enhanced(tmp_path / "x.dcm", without="PlanePositionSequence"))
    assert "no PixelSpacing" in refused(enhanced(tmp_path / "x.dcm", without="PixelMeasuresSequence"))


def test_frames_that_do_not_say_where_each_lies(tmp_path: Path) -> None:
    path = plant(tmp_path / "x.dcm", STACK, NumberOfFrames=5)  # one position for five frames
    assert "the pictures do not say where they lie: no ImagePositionPatient" in refused(path)


@pytest.mark.parametrize("name", ["MR_small_RLE", "MR_small_jp2klossless", "MR_small_implicit", "MR_small_bigendian",
                                  "MR_small_expb", "MR_small_padded"])
def test_compressed_and_odd_encodings_of_one_picture_are_equal(name: str) -> None:  # D12
    plain, other = (Path(str(get_testdata_file(f"{file}.dcm"))) for file in ("MR_small", name))
    expected = pydicom.dcmread(plain).pixel_array
    assert np.array_equal(read_series(other).values[0][::-1, ::-1], expected)


def test_what_has_no_decoder_says_so() -> None:
    path = Path(str(get_testdata_file("MR_small_jpeg_ls_lossless.dcm")))
    try:
        volume = read_series(path)
    except EnvironmentFault as fault:
        assert str(fault) == (f"{path}: no decoder for JPEG-LS Lossless Image Compression is installed; unpack the "
                              "files (dcmdjpeg, dcmdjpls or gdcmconv --raw), or pip install pyjpegls for JPEG-LS")
    else:
        plain = pydicom.dcmread(str(get_testdata_file("MR_small.dcm"))).pixel_array
        assert np.array_equal(volume.values[0][::-1, ::-1], plain)


@pytest.mark.parametrize("name", ["image_dfl", "MR_truncated", "badVR", "no_meta", "rtplan", "test-SR"])
def test_odd_files_are_refused_in_one_sentence(name: str) -> None:
    path = Path(str(get_testdata_file(f"{name}.dcm")))
    assert refused(path).startswith(f"{path}: the")


def test_damaged_headers_give_a_volume_or_one_kind_of_error(tmp_path: Path) -> None:
    content, random = plant(tmp_path / "x.dcm").read_bytes(), np.random.default_rng(4)
    end, refusals = content.index(b"\xe0\x7f\x10\x00"), 0
    for _ in range(300):
        damaged = bytearray(content)
        damaged[random.integers(132, end)] ^= 1 << random.integers(8)
        (tmp_path / "x.dcm").write_bytes(damaged)
        try:
            assert np.isfinite(read_series(tmp_path / "x.dcm").values).all()
        except (DataError, EnvironmentFault) as fault:
            refusals += 1
            assert_nothing_personal(str(fault))
    assert refusals > 30


def test_rle_that_lies(tmp_path: Path) -> None:
    data = pydicom.dcmread(plant(tmp_path / "x.dcm"))
    data.compress(RLELossless)
    data.save_as(tmp_path / "x.dcm")
    assert np.array_equal(read_series(tmp_path / "x.dcm").values[0], STACK[0, ::-1, ::-1])
    data.Rows = 60
    data.save_as(tmp_path / "x.dcm")
    assert "the DICOM file cannot be read (" in refused(tmp_path / "x.dcm")


def test_an_empty_folder_and_none(tmp_path: Path) -> None:
    assert refused(tmp_path) == f"{tmp_path}: there is no DICOM picture; name the folder of the series"
    assert refused(tmp_path / "x") == f"{tmp_path / 'x'}: there is no such file or folder; check the path"


def reference(folder: Path) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return the pictures of a folder by their places, and RAS millimetres of each voxel; by pydicom alone."""
    files = [pydicom.dcmread(file) for file in folder.glob("*.dcm")]
    across, down = np.array(files[0].ImageOrientationPatient, float).reshape(2, 3)
    files.sort(key=lambda file: np.array(file.ImagePositionPatient, float) @ np.cross(across, down))
    values = np.stack([file.pixel_array * float(file.get("RescaleSlope", 1)) + float(file.get("RescaleIntercept", 0))
                       for file in files])
    rows, columns = np.mgrid[:values.shape[1], :values.shape[2]] * 1.0
    places = [np.array(file.ImagePositionPatient, float) + columns[..., None] * across * file.PixelSpacing[1]
              + rows[..., None] * down * file.PixelSpacing[0] for file in files]
    return values, np.stack(places) * [-1, -1, 1]


@pytest.mark.real
@pytest.mark.parametrize("name", ["T1post", "T1pre_reg", "FLAIR_reg", "T2_reg", "HippoCrop"])
def test_a_real_patient(real_data: Path, name: str) -> None:
    folders = {"T1post": "11-t1post-18670", "T1pre_reg": "26401-t1prereg-52906", "FLAIR_reg": "36468-flairreg-58706",
               "T2_reg": "37830-t2reg-78532", "HippoCrop": "11_hcropvolume"}
    root = real_data / "brain_mm_dicom"
    volume = read_series(root, series=name.upper())
    values, places = reference(root / "pgbm-003" / folders[name])
    assert np.array_equal(volume.values, values[:, ::-1, ::-1])
    index = np.stack([*np.indices(volume.shape), np.ones(volume.shape)], -1)
    assert np.abs((index @ volume.affine.T)[..., :3] - places[:, ::-1, ::-1]).max() < 2e-3
    alone = read_series(root / "pgbm-003" / folders[name])
    assert np.array_equal(alone.values, volume.values) and np.array_equal(alone.affine, volume.affine)


@pytest.mark.real
def test_a_real_patient_in_one_folder(real_data: Path) -> None:
    found = list_series(real_data / "brain_mm_dicom")
    assert [(info.description, info.files, info.shape) for info in found] == [
        ("FLAIR_reg", 22, (22, 320, 280)), ("HippoCrop", 40, (40, 50, 34)), ("T1post", 22, (22, 320, 280)),
        ("T1pre_reg", 22, (22, 320, 280)), ("T2_reg", 22, (22, 320, 280))]
    assert [info.spacing for info in found] == [pytest.approx((1, 1, 1) if info.description == "HippoCrop" else
                                                              (6.5, 0.6875, 0.6875)) for info in found]
    affines = [read_series(real_data / "brain_mm_dicom", series=info.description).affine for info in found
               if info.description != "HippoCrop"]
    assert all(np.allclose(affine, affines[0], atol=1e-3) for affine in affines)
    assert "Dumbledore" not in repr(found) and "1995" not in repr([vars(info) for info in found])
    with pytest.raises(DataError, match=r"the folder holds 5 series \(there are 'FLAIR_reg' \(22 files, 22"):
        read_series(real_data / "brain_mm_dicom")


@pytest.mark.real
def test_a_real_patient_as_simpleitk_reads_it(real_data: Path) -> None:
    itk = pytest.importorskip("SimpleITK", reason="the extra itk is not installed")
    folder = real_data / "brain_mm_dicom" / "pgbm-003" / "37830-t2reg-78532"
    image = itk.ReadImage(itk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)))
    volume = read_series(folder)
    assert np.array_equal(volume.values, itk.GetArrayFromImage(image)[:, ::-1, ::-1])
    depth, height, width = volume.shape
    corner = np.array(image.TransformIndexToPhysicalPoint((0, 0, depth - 1))) * [-1, -1, 1]
    assert np.allclose((volume.affine @ [depth - 1, height - 1, width - 1, 1])[:3], corner, atol=1e-3)
