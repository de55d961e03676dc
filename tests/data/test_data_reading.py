"""Addresses: files, zip members, pages, and what is wrong with them."""

import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from excite.data import reading
from excite.data.reading import exists, read, read_bytes, split_address
from excite.errors import DataError

PICTURE = np.arange(48, dtype=np.uint8).reshape(6, 8)


def png(array: np.ndarray = PICTURE) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    file = tmp_path / "scans.zip"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as stream:
        stream.writestr("ward a/näher #1.png", png())
        stream.writestr("../../outside.png", png(PICTURE + 1))
        stream.writestr("notes.txt", "none")
        stream.writestr("bomb.png", bytes(30 * 2**20))
    return file


def test_a_member_of_a_zip_is_read_and_nothing_is_unpacked(archive: Path) -> None:
    before = sorted(archive.parent.rglob("*"))
    assert np.array_equal(read(Path(f"{archive}#ward a/näher #1.png")).image[0], PICTURE)
    assert np.array_equal(read(Path(f"{archive}#../../outside.png")).image[0], PICTURE + 1)
    assert sorted(archive.parent.rglob("*")) == before


def test_faults_of_a_zip_are_named(archive: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match="no such member; did you mean 'bomb.png'"):
        read(Path(f"{archive}#bomb1.png"))
    with pytest.raises(DataError, match="cannot be read; known: .png"):
        read(Path(f"{archive}#notes.txt"))
    monkeypatch.setattr(reading, "MAX_BYTES", 20 * 2**20)
    with pytest.raises(DataError, match="30 MB, the limit of one file is 20 MB"):
        read(Path(f"{archive}#bomb.png"))
    content = bytearray(archive.read_bytes())
    content[content.index(b".png") + 20] ^= 0xFF  # inside the first member's data
    archive.write_bytes(content)
    with pytest.raises(DataError, match="cannot be read"):
        read(Path(f"{archive}#ward a/näher #1.png"))
    (archive.parent / "none.zip").write_bytes(b"PK no archive")
    with pytest.raises(DataError, match="not a zip file"):
        read(archive.parent / "none.zip#a.png")
    with pytest.raises(DataError, match="does not exist"):
        read(archive.parent / "nowhere.zip#a.png")


def test_a_zip_that_changed_is_read_anew(archive: Path) -> None:
    address = Path(f"{archive}#../../outside.png")
    read(address)
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("../../outside.png", png(PICTURE + 9))
    assert np.array_equal(read(address).image[0], PICTURE + 9)


def test_existence_of_addresses(archive: Path, tmp_path: Path) -> None:
    assert exists(Path(f"{archive}#notes.txt")) and exists(archive)
    assert not exists(Path(f"{archive}#absent.png")) and not exists(tmp_path) and not exists(tmp_path / "x.zip#a.png")
    assert not exists(Path("bad\0name.png"))


def test_a_page_is_chosen(tmp_path: Path) -> None:
    pages = [Image.fromarray(PICTURE + step) for step in (0, 100)]
    pages[0].save(tmp_path / "two.tif", save_all=True, append_images=pages[1:])
    assert np.array_equal(read(tmp_path / "two.tif#page=2").image[0], PICTURE + 100)
    with pytest.raises(DataError, match="holds 2 pictures"):
        read(tmp_path / "two.tif")
    for wrong in ("0", "two", "-1"):
        with pytest.raises(DataError, match="names no page"):
            read(tmp_path / f"two.tif#page={wrong}")


def test_a_file_with_a_hash_in_its_name_is_that_file(tmp_path: Path) -> None:
    file = tmp_path / "case#7.png"
    file.write_bytes(png())
    assert np.array_equal(read(file).image[0], PICTURE)
    assert split_address(file) == (file, None, None)
    assert split_address(tmp_path / "A.ZIP#b#c.png#page=3") == (tmp_path / "A.ZIP", "b#c.png", 3)


def test_what_is_no_readable_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_bytes(b"x")
    with pytest.raises(DataError, match=r"'.dcm' cannot be read; known: .png"):
        read(tmp_path / "a.dcm")
    with pytest.raises(DataError, match="folder"):
        read_bytes(tmp_path)
    with pytest.raises(DataError, match="does not exist"):
        read(tmp_path / "none.png")
