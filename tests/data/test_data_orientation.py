"""Orientations as Pillow writes them, in every format that holds one; pictures and masks that are turned apart."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from excite.data.orientation import orientation, turned_apart
from excite.data.row import Row
from excite.errors import DataError

PIXELS = np.arange(48 * 64, dtype=np.uint32).reshape(48, 64).astype(np.uint8)


def put(file: Path, value: int | None = None) -> Path:
    exif = Image.Exif()
    if value is not None:
        exif[0x0112] = value
    Image.fromarray(PIXELS).save(file, **({} if value is None else {"exif": exif.tobytes()}))
    return file


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp"])
@pytest.mark.parametrize("value", [1, 2, 3, 4, 6, 8])
def test_the_orientation_is_the_one_that_was_written(tmp_path: Path, suffix: str, value: int) -> None:
    assert orientation(put(tmp_path / f"a.{suffix}", value)) == value


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif", "webp", "bmp"])
def test_without_one_a_picture_lies_as_it_is(tmp_path: Path, suffix: str) -> None:
    assert orientation(put(tmp_path / f"a.{suffix}")) == 1


def test_a_damaged_block_and_no_picture(tmp_path: Path) -> None:
    whole = put(tmp_path / "a.jpg", 3).read_bytes()
    place = whole.index(b"Exif\0\0") + 6
    (tmp_path / "b.jpg").write_bytes(whole[:place] + b"\xff" * 8 + whole[place + 8:])
    assert orientation(tmp_path / "b.jpg") == 1
    (tmp_path / "c.png").write_text("no picture")
    with pytest.raises(DataError, match="no picture"):
        orientation(tmp_path / "c.png")
    with pytest.raises(DataError, match="does not exist"):
        orientation(tmp_path / "gone.png")


def test_pictures_and_masks_that_are_turned_apart_are_told(tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.fromarray(PIXELS).save(stream, "PNG")
    (tmp_path / "plain.png").write_bytes(stream.getvalue())
    for value in (1, 3, 4):
        put(tmp_path / f"{value}.png", value)
    (tmp_path / "text.png").write_text("no picture")
    names = [("plain.png", "plain.png"), ("3.png", "3.png"), ("1.png", "plain.png"), ("plain.png", "text.png"),
             ("3.png", "plain.png"), ("4.png", "plain.png"), ("3.png", "3.png|plain.png"), ("plain.png", "4.png")]
    rows = [Row(image=image, line=line, mask=mask) for line, (image, mask) in enumerate(names, start=2)]
    assert not turned_apart(rows[:4], tmp_path)
    pictures, masks = turned_apart(rows, tmp_path)
    assert (pictures.kind, pictures.severity, pictures.row, pictures.file) == ("turned-apart", "warning", 6, "3.png")
    assert pictures.message.startswith("3 pictures are turned by their EXIF orientation and their masks are not: look")
    assert masks.message.startswith("1 masks are turned by their EXIF orientation and their pictures are not: look")
    assert masks.row == 9
