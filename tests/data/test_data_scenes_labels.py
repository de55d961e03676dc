"""Label maps: numbers that are no classes, names, abundances, and every kind of file there and back."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import loadmat

from excite.data.scenes.cube import Cube
from excite.data.scenes.envi import read_envi, write_envi
from excite.data.scenes.label_files import read_labels, write_labels
from excite.data.scenes.labels import LabelMap, check_pair, from_abundances, make_labels, without_classes
from excite.data.scenes.palette import palette
from excite.data.scenes.scene import Scene
from excite.errors import DataError, UsageError

VALUES = np.array([[0, 1, 2, 3], [3, 3, 0, 1], [2, 2, 2, 0]], np.int32)
COLOURS = np.concatenate([np.zeros((1, 3), np.uint8), palette(3)])
NAMES = ("Corn-notill", "Wheat é", "Woods")


def labels(values: np.ndarray = VALUES, classes: tuple[str, ...] = NAMES) -> LabelMap:
    return LabelMap(values=values, classes=classes, source="map")


@pytest.mark.parametrize("kind", ["u1", "i2", ">i4", "f4", "f8", "u8", "i8"])
def test_numbers_of_any_type(kind: str) -> None:
    done = make_labels(VALUES.astype(kind)[..., None], source="map", classes=NAMES)
    assert done.values.dtype == np.int32 and np.array_equal(done.values, VALUES)
    assert done.counts.tolist() == [2, 4, 3] and done.notes == ()
    assert make_labels(VALUES.astype(kind), source="map").classes == ("class 1", "class 2", "class 3")


@pytest.mark.parametrize(("change", "message"), [
    (lambda v: v - 1, "3 of 12 labels are negative, -1 the least; 0 is unlabelled, classes count from 1"),
    (lambda v: np.where(v == 3, 2.5, v), "labels must be whole numbers, 3 of 12 are not, 2.5 first"),
    (lambda v: np.where(v == 0, np.nan, v), "3 of 12 labels are NaN or infinite; 0 is unlabelled"),
    (lambda v: v * 30_000, "labels must be at most 65535, got 90000"),
    (lambda v: v * 85, "252 of the label numbers 1 to 255 are of no pixel (unused are 1 to 84, 86 to 169, 171 to 254)"),
    (lambda v: np.stack([v, v], 2), "labels must be a map (rows, columns), got shape (3, 4, 2); give one number"),
    (lambda v: np.stack([v, v], 2) / 3, "got shape (3, 4, 2); abundances become labels by from_abundances"),
    (lambda v: v.astype(str), "labels must be whole numbers, got <U"),
    (lambda v: v[:0], "labels must be an int32 map (rows, columns), got int32 (0, 4)"),
])
def test_numbers_that_are_no_labels(change: object, message: str) -> None:
    with pytest.raises(DataError) as caught:
        make_labels(change(VALUES), source="map")  # type: ignore[operator]
    assert f"map: {message}" in str(caught.value) or message in str(caught.value)


def test_names_and_gaps() -> None:
    with pytest.raises(DataError, match="labels must be from 0 to 2, the number of classes, got 0 to 3; name every"):
        make_labels(VALUES, source="map", classes=NAMES[:2])
    with pytest.raises(DataError, match="class names must be different, got 'a' twice"):
        labels(classes=("a", "b", "a"))
    gap = np.where(VALUES == 2, 0, VALUES)
    assert make_labels(gap, source="map").notes == ("no pixel has label 2",)
    assert make_labels(VALUES, source="map", classes=(*NAMES, "Oats")).notes == ("no pixel has label 4",)
    assert make_labels(VALUES * 85, source="map", classes=[str(n) for n in range(255)]).counts[84] == 2


@pytest.mark.parametrize(("change", "message"), [
    (lambda v: v > 5, "labels must have pixels of two classes or more, have 0 (0 is unlabelled and no class)"),
    (lambda v: v.clip(0, 1), "labels must have pixels of two classes or more, have 1"),
])
def test_a_scene_to_learn_from_has_two_classes(change: object, message: str) -> None:
    one = make_labels(change(VALUES), source="map")  # type: ignore[operator]
    assert np.count_nonzero(one.counts) < 2  # a prediction, or the pixels of one part, may be so
    with pytest.raises(DataError) as caught:
        Scene(name="x", cube=Cube(values=np.ones((*VALUES.shape, 2), np.float32), source="cube"), labels=one)
    assert message in str(caught.value)


def test_abundances() -> None:
    shares = np.array([[[0.2, 0.8, 0], [0.9, 0.1, 0]], [[0, 0, 0], [0.3, 0.3, 0.4]]])
    done = from_abundances(shares, NAMES)
    assert done.values.tolist() == [[2, 1], [0, 3]] and done.values.dtype == np.int32
    pure = from_abundances(shares, NAMES, purest=0.8)
    assert pure.values.tolist() == [[2, 1], [0, 0]]
    assert pure.notes[1] == "2 of 4 pixels hold less than 0.8 of one class: unlabelled"
    assert from_abundances(shares, NAMES, purest=0.9).values.tolist() == [[0, 1], [0, 0]]
    for bad, count in ((np.nan, 1), (-0.1, 1)):
        wrong = shares.copy()
        wrong[0, 0, 0] = bad
        with pytest.raises(DataError, match=f"abundances must be numbers from 0, {count} of 12 are not"):
            from_abundances(wrong, NAMES)
    with pytest.raises(UsageError, match=r"abundances must be \(rows, columns, 2\) for 2 names, got \(2, 2, 3\)"):
        from_abundances(shares, NAMES[:2])
    with pytest.raises(UsageError, match="purest must be above 0 and at most 1, got 90"):
        from_abundances(shares, NAMES, purest=90)


def test_a_pair_must_be_of_one_size() -> None:
    check_pair(Cube(values=np.zeros((3, 4, 9)), source="cube"), labels())
    for shape, fix in (((4, 3, 9), "the labels' transpose would fit"),
                       ((9, 3, 4), "save it by np.moveaxis(cube, 0, -1)"),
                       ((3, 5, 9), "name the label map of this scene")):
        with pytest.raises(DataError) as caught:
            check_pair(Cube(values=np.zeros(shape), source="cube"), labels())
        said = f"the cube has {shape[0]} x {shape[1]} pixels, the labels 3 x 4 (the cube is cube); "
        assert said in str(caught.value)
        assert fix in str(caught.value)


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.mat", "a.hdr", "a.dat"])
def test_there_and_back(tmp_path: Path, name: str) -> None:
    path = write_labels(tmp_path / name, labels())
    assert path == tmp_path / name.replace("hdr", "img")
    again = read_labels(tmp_path / name)
    assert np.array_equal(again.values, VALUES)
    kept = name.endswith(("mat", "hdr", "dat"))
    assert again.classes == (NAMES if kept else ("class 1", "class 2", "class 3"))
    assert read_labels(tmp_path / name, classes=("x", "y", "z")).classes == ("x", "y", "z")


def test_what_others_read_in_them(tmp_path: Path) -> None:
    with Image.open(write_labels(tmp_path / "a.png", labels())) as image:
        assert image.mode == "P" and np.array_equal(np.asarray(image), VALUES)
        assert np.array_equal(np.asarray(image.convert("RGB")), COLOURS[VALUES])
    assert loadmat(write_labels(tmp_path / "a.mat", labels()))["class_names"][0, 1][0] == NAMES[1]
    assert np.load(write_labels(tmp_path / "a.npy", labels())).dtype == np.int32


def test_more_classes_than_a_palette_has(tmp_path: Path) -> None:
    values, names = np.arange(300, dtype=np.int32).reshape(15, 20), tuple(map(str, range(299)))
    for name in ("a.png", "a.hdr"):
        write_labels(tmp_path / name, labels(values, names))
        assert np.array_equal(read_labels(tmp_path / name, classes=names).values, values)


def test_colours_are_all_different() -> None:
    assert len({tuple(colour) for colour in palette(60).tolist()}) == 60


def test_envi_says_where_on_earth_it_lies(tmp_path: Path) -> None:
    place = "{UTM, 1, 1, 500000, 4600000, 30, 30, 33, North, WGS-84}"
    write_envi(tmp_path / "cube.hdr", np.ones((3, 4, 2)), {"map info": place, "sensor type": "AVIRIS"})
    cube = read_envi(tmp_path / "cube.hdr")
    write_labels(tmp_path / "map.hdr", labels(), like=cube)
    header = read_envi(tmp_path / "map.hdr").header
    assert header["map info"] == place and "sensor type" not in header
    assert header["file type"] == "ENVI Classification" and header["classes"] == "4"
    assert header["class names"] == "{Unclassified, Corn-notill, Wheat é, Woods}"
    assert len(header["class lookup"].split(",")) == 12
    assert read_labels(tmp_path / "map.hdr").notes == (
        "pixels of class 'Unclassified', number 0, are taken for unlabelled",)
    with pytest.raises(DataError, match="the cube has 3 x 4 pixels, the labels 4 x 3"):
        write_labels(tmp_path / "b.hdr", labels(VALUES.T.copy()), like=cube)
    with pytest.raises(UsageError, match="class names of an ENVI file must be without .* got 'a, b'; rename the class"):
        write_labels(tmp_path / "b.hdr", labels(classes=("a, b", "c", "d")))
    with pytest.raises(UsageError, match="labels must be written as .png, .npy, .mat or .hdr, .* got '.jpg'"):
        write_labels(tmp_path / "a.jpg", labels())


def png(values: np.ndarray, *, bits: int, colour: int) -> bytes:
    """Return a PNG written by hand, its numbers packed into `bits`."""
    rows = b"".join(b"\0" + bytes(np.packbits(np.unpackbits(row[:, None].astype(np.uint8), axis=1)[:, 8 - bits:]))
                    for row in values)
    parts = [(b"IHDR", struct.pack(">IIBBBBB", values.shape[1], values.shape[0], bits, colour, 0, 0, 0)),
             *([(b"PLTE", bytes(range(3 * 2**bits)))] if colour == 3 else []), (b"IDAT", zlib.compress(rows)),
             (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(struct.pack(">I", len(body)) + kind + body
                                           + struct.pack(">I", zlib.crc32(kind + body)) for kind, body in parts)


@pytest.mark.parametrize("colour", [0, 3])
@pytest.mark.parametrize("bits", [2, 4])
def test_pictures_of_few_bits_keep_their_numbers(tmp_path: Path, bits: int, colour: int) -> None:
    (tmp_path / "a.png").write_bytes(png(VALUES, bits=bits, colour=colour))
    assert np.array_equal(read_labels(tmp_path / "a.png").values, VALUES)


def test_grey_pictures_and_colours(tmp_path: Path) -> None:
    Image.fromarray(VALUES.astype(np.uint16)).save(tmp_path / "a.png")
    Image.fromarray(VALUES.astype(np.uint8)).save(tmp_path / "a.bmp")
    Image.fromarray(COLOURS[VALUES]).save(tmp_path / "c.png")
    for name in ("a.png", "a.bmp"):
        assert np.array_equal(read_labels(tmp_path / name).values, VALUES)
    with pytest.raises(DataError, match=r"with a palette or in grey, got RGB \(colours do not say the numbers"):
        read_labels(tmp_path / "c.png")
    frames = [Image.fromarray(VALUES.astype(np.uint8))] * 2
    frames[0].save(tmp_path / "d.tif", save_all=True, append_images=frames[1:])
    with pytest.raises(DataError, match="the TIFF file holds 2 pictures; take it apart"):
        read_labels(tmp_path / "d.tif")


def test_files_that_are_no_labels(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"1")
    with pytest.raises(DataError, match="labels of kind '.jpg' cannot be read; known: .mat, .npy, .npz, .png"):
        read_labels(tmp_path / "a.jpg")
    with pytest.raises(DataError, match="the file does not exist; name the file of the labels"):
        read_labels(tmp_path / "a.png")
    write_envi(tmp_path / "c.hdr", np.zeros((3, 4, 5), np.uint8))
    with pytest.raises(DataError, match=r"labels must be a map \(rows, columns\), got shape \(3, 4, 5\)"):
        read_labels(tmp_path / "c.hdr")


def test_classes_that_are_dropped_or_empty_leave_no_gap_in_the_numbers() -> None:
    labels = LabelMap(values=VALUES, classes=("a", "b", "c", "nowhere"), source="x", notes=("before",))
    found = without_classes(labels, ["b"])
    assert found.classes == ("a", "c") and list(found.counts) == [2, 3]
    assert np.array_equal(found.values, [[0, 1, 0, 2], [2, 2, 0, 1], [0, 0, 0, 0]]) and found.values.dtype == np.int32
    assert found.notes == ("before", "left out: b (4 pixels), nowhere (0 pixels); the other classes are numbered anew, "
                                     "1 to 2")
    whole = LabelMap(values=VALUES, classes=("a", "b", "c"), source="x")
    assert without_classes(whole, ()) is whole
    with pytest.raises(UsageError, match="x: scene.drop_classes must be classes of the labels, got d, e; its"):
        without_classes(whole, ["d", "a", "e"])
