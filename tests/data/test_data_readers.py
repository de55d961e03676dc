"""Pictures good and bad: what Pillow and numpy wrote comes back, what is broken is named. Cases I1 to I16."""

import io
import struct
import subprocess
import sys
import warnings
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageFile

from excite.data.readers.image import decode_image, read_image
from excite.errors import DataError, EnvironmentFault

RNG = np.random.default_rng(0)
GREY = RNG.integers(0, 256, (48, 64), dtype=np.uint8)
COLOUR = RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8)
SOURCE = Path("scan.png")


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def decoded(content: bytes, name: str = "scan.png", **options: object) -> np.ndarray:
    return decode_image(content, source=Path(name), **options).image


def smooth() -> Image.Image:
    ramp = np.add.outer(np.arange(48) * 2, np.arange(64)).astype(np.uint8)
    return Image.fromarray(np.stack([ramp, ramp[::-1], ramp[:, ::-1]], -1))


def png(width: int, height: int, data: bytes, *, bits: int = 8, kind: int = 0) -> bytes:
    """Return a PNG that says what it is told to, checksums right."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data, 9)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "BMP", "GIF"])
def test_grey_comes_back(kind: str) -> None:
    assert np.array_equal(decoded(encoded(Image.fromarray(GREY), kind), f"a.{kind.lower()}"), GREY[None])


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("TIFF", {}), ("TIFF", {"compression": "tiff_lzw"}),
                                               ("BMP", {}), ("WEBP", {"lossless": True})])
def test_colour_comes_back_channels_first(kind: str, options: dict[str, object]) -> None:
    content = encoded(Image.fromarray(COLOUR), kind, **options)
    assert np.array_equal(decoded(content, f"a.{kind.lower()}"), COLOUR.transpose(2, 0, 1))


def test_grey_stored_as_three_equal_channels_is_one_channel() -> None:
    assert np.array_equal(decoded(encoded(Image.fromarray(np.stack([GREY] * 3, -1)))), GREY[None])
    nearly = np.stack([GREY] * 3, -1)
    nearly[0, 0, 2] ^= 1
    assert decoded(encoded(Image.fromarray(nearly))).shape == (3, 48, 64)


def test_printer_resolution_is_no_spacing() -> None:
    content = encoded(Image.fromarray(GREY), dpi=(300, 300))
    assert decode_image(content, source=SOURCE).spacing is None


# I1 to I3, I5, I6, I9: broken files.


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.999])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"])
def test_cut_files_are_refused_by_name(kind: str, share: float) -> None:
    image = smooth() if kind != "GIF" else Image.fromarray(GREY)
    content = encoded(image, kind)
    with pytest.raises(DataError) as caught:
        decode_image(content[:int(len(content) * share)], source=Path("patient.img"))
    assert str(caught.value).startswith("patient.img: ") and caught.value.fix


def test_a_cut_jpeg_is_read_when_asked_for_and_says_so() -> None:
    content = encoded(smooth().resize((640, 480)), "JPEG")
    sample = decode_image(content[:len(content) // 2], source=Path("a.jpg"), strict=False)
    assert sample.image.shape == (3, 480, 640) and "cut" in sample.notes[0]
    assert decode_image(content, source=Path("a.jpg"), strict=False).notes == ()


def test_each_flipped_byte_of_a_png_is_noticed_or_harmless() -> None:
    content = encoded(smooth())
    for place in range(len(content)):
        flipped = bytearray(content)
        flipped[place] ^= 0x10
        with pytest.raises(DataError):
            decode_image(bytes(flipped), source=SOURCE)


def test_zero_bytes_and_text_are_named_for_what_they_are() -> None:
    with pytest.raises(DataError, match="empty"):
        decode_image(b"", source=SOURCE)
    with pytest.raises(DataError, match="it is text"):
        decode_image("Größe;1\n".encode(), source=SOURCE)
    with pytest.raises(DataError, match="no format"):
        decode_image(bytes(RNG.integers(128, 256, 999, dtype=np.uint8)), source=SOURCE)
    with pytest.raises(DataError, match="no picture"):
        decode_image(b"%!PS-Adobe-3.0 EPSF-3.0\n\x80", source=Path("a.eps"))


def test_a_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_image(tmp_path / "none.png")


def test_a_name_that_does_not_fit_is_said() -> None:
    assert "JPEG file in spite" in decode_image(encoded(smooth(), "JPEG"), source=SOURCE).notes[0]


@pytest.mark.parametrize("size", [(60_000, 60_000), (13_300, 13_300)])
def test_large_pictures_are_refused_from_the_header(size: tuple[int, int], tmp_path: Path) -> None:
    code = ("import resource, sys\nfrom pathlib import Path\nfrom excite.data.readers.image import read_image\n"
            "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\nbefore = peak()\n"
            "try:\n    read_image(Path(sys.argv[1]))\nexcept ValueError as fault:\n    print(fault)\n"
            "print('grew', (peak() - before) // 1024)")
    file = tmp_path / "bomb.png"
    file.write_bytes(png(*size, bytes(13_300 * (1 + 13_300 // 8)), bits=1))
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    told, _, grown = done.stdout.partition("grew")
    assert "bomb.png" in told and "the limit is 100 million" in told and "max_pixels=" in told, done.stderr
    assert int(grown) < 20, "megabytes were spent on a picture that is refused"


def test_the_limit_can_be_moved_and_holds_nothing_of_pillow() -> None:
    before = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    side = 10_100
    content = png(side, side, bytes(side * (1 + (side + 7) // 8)), bits=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert decoded(content, max_pixels=side * side).shape == (1, side, side)
    after = Image.MAX_IMAGE_PIXELS, ImageFile.LOAD_TRUNCATED_IMAGES
    assert after == before
    with pytest.raises(DataError, match="limit is 0 million"):
        decode_image(encoded(Image.fromarray(GREY)), source=SOURCE, max_pixels=100)


def test_a_header_that_lies_is_refused() -> None:
    row = b"\0" + bytes(64)
    with pytest.raises(DataError, match="cannot hold"):
        decode_image(png(9000, 9000, row * 64), source=SOURCE)
    for size, word in (((64, 65), "less"), ((64, 63), "more"), ((65, 64), "less")):
        with pytest.raises(DataError, match=f"holds {word} data"):
            decode_image(png(*size, row * 64), source=SOURCE)
    assert decoded(png(64, 64, row * 64)).shape == (1, 64, 64)
    jpeg = bytearray(encoded(Image.fromarray(GREY), "JPEG"))
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place:place + 4] = struct.pack(">HH", 9000, 9000)
    with pytest.raises(DataError, match="cannot hold"):
        decode_image(bytes(jpeg), source=Path("a.jpg"))


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("height", [56, 96, 128])
def test_a_jpeg_that_ends_before_its_picture_is_refused(height: int, progressive: bool) -> None:
    content = bytearray(encoded(Image.fromarray(GREY), "JPEG", progressive=progressive))
    assert decoded(bytes(content), "a.jpg").shape == (1, 48, 64)
    place = content.index(b"\xff\xc2" if progressive else b"\xff\xc0") + 5
    content[place:place + 2] = struct.pack(">H", height)
    with pytest.raises(DataError, match="end before the picture"):
        decode_image(bytes(content), source=Path("a.jpg"))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_grey_jpeg_is_no_cut_one(mode: str) -> None:
    flat = encoded(Image.new("L", (70, 50), 128).convert(mode), "JPEG")
    assert (np.abs(decoded(flat, "a.jpg").astype(int) - 128) <= 1).all()


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (9, 7), (64, 48)])
@pytest.mark.parametrize("kind", [(0, 1), (0, 2), (0, 4), (0, 8), (0, 16), (2, 8), (4, 8), (6, 8)])
def test_the_length_of_png_rows_is_what_encoders_write(size: tuple[int, int], kind: tuple[int, int]) -> None:
    colour, bits = kind
    rows = size[1] * (1 + -(-size[0] * bits * {0: 1, 2: 3, 4: 2, 6: 4}[colour] // 8))
    assert decoded(png(*size, bytes(rows), bits=bits, kind=colour)).shape[1:] == size[::-1]


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (33, 17)])
def test_interlaced_png_is_read(size: tuple[int, int]) -> None:
    """Adam7: the rows of seven small pictures, one after the other; here the first pixel of each 8 x 8 is bright."""
    width, height = size
    rows = b""
    for left, top, step_x, step_y in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                                      (1, 0, 2, 2), (0, 1, 1, 2)):
        for _ in range(top, height, step_y):
            columns = len(range(left, width, step_x))
            rows += b"\0" + bytes([200 if (left, top) == (0, 0) else 10] * columns) if columns else b""
    content = bytearray(png(width, height, rows))
    content[28] = 1
    content[29:33] = struct.pack(">I", zlib.crc32(bytes(content[12:29])))
    expected = np.full((height, width), 10)
    expected[::8, ::8] = 200
    assert np.array_equal(decoded(bytes(content))[0], expected)
    with pytest.raises(DataError, match="less data"):
        short = bytearray(png(width, height + 1, rows))
        short[28] = 1
        short[29:33] = struct.pack(">I", zlib.crc32(bytes(short[12:29])))
        decoded(bytes(short))


def test_a_png_in_many_parts_is_one_picture() -> None:
    """Pixels in several IDAT parts, some empty, words before and behind them, a palette, transparency."""
    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    paletted = Image.fromarray(COLOUR).quantize(64)
    paletted.info["transparency"] = 3
    for image in (Image.fromarray(COLOUR), Image.fromarray(GREY), paletted):
        content = encoded(image)
        start = content.index(b"IDAT") - 4
        body = content[start + 8:start + 8 + int.from_bytes(content[start:start + 4], "big")]
        behind = content[start + 12 + len(body):]
        parts = [body[:7], b"", body[7:200], body[200:], b""]
        taken = content[:start] + chunk(b"tEXt", b"a\0IDAT") + b"".join(chunk(b"IDAT", one) for one in parts)
        assert np.array_equal(decoded(taken + chunk(b"tEXt", b"b\0IDAT") + behind), decoded(content))
        with pytest.raises(DataError, match="holds less data"):
            decoded(content[:start] + b"".join(chunk(b"IDAT", one) for one in parts[:3]) + behind)


def test_webp_is_measured_before_its_decoder_makes_room() -> None:
    content = bytearray(encoded(Image.fromarray(COLOUR), "WEBP", lossless=True))
    place = content.index(b"VP8L") + 9
    content[place:place + 4] = ((15999 | 15999 << 14) | (content[place + 3] & 0xF0) << 24).to_bytes(4, "little")
    with pytest.raises(DataError, match="16000 x 16000"):
        decode_image(bytes(content), source=Path("a.webp"))


def test_other_code_that_made_pillow_lenient_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(EnvironmentFault, match="LOAD_TRUNCATED_IMAGES"):
        decode_image(encoded(smooth(), "JPEG")[:-200], source=Path("a.jpg"))


# I10: depth.


def test_sixteen_bits_keep_their_levels() -> None:
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    for content, name in ((encoded(Image.fromarray(deep)), "a.png"), (encoded(Image.fromarray(deep), "TIFF"), "a.tif"),
                          (encoded(Image.fromarray(deep), "TIFF", compression="tiff_lzw"), "a.tif")):
        array = decoded(content, name)
        assert array.dtype == np.uint16 and np.array_equal(array[0], deep) and np.unique(array).size == 65536
    ints = Image.fromarray(deep.astype(np.int32))
    assert ints.mode == "I" and np.array_equal(decoded(encoded(ints, "TIFF"), "a.tif")[0], deep)


def test_big_endian_tiff_of_sixteen_bits() -> None:
    deep = RNG.integers(0, 65536, (4, 5), dtype=np.uint16)
    tags = [(256, 5), (257, 4), (258, 16), (259, 1), (262, 1), (273, 8), (277, 1), (278, 4), (279, 40)]

    def tiff(tags: list[tuple[int, int]]) -> bytes:
        directory = b"".join(struct.pack(">HHIHH", tag, 3, 1, value, 0) for tag, value in tags)
        return b"MM\0*" + struct.pack(">I", 48) + deep.astype(">u2").tobytes() + struct.pack(
            ">H", len(tags)) + directory + bytes(4)

    assert np.array_equal(decoded(tiff(tags), "a.tif")[0], deep)


def test_white_is_zero_is_inverted() -> None:
    deep = RNG.integers(0, 65536, (6, 5), dtype=np.uint16)
    content = encoded(Image.fromarray(deep), "TIFF", tiffinfo={262: 0})
    sample = decode_image(content, source=Path("a.tif"))
    assert np.array_equal(sample.image[0], 65535 - deep) and "inverted" in sample.notes[0]


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_sixteen_bits_a_channel_keep_their_levels(suffix: str, channels: int) -> None:
    deep = RNG.integers(0, 65536, (30, 40, channels), dtype=np.uint16)
    if channels == 4:
        deep[..., 3] = 65535
    content = cv2.imencode(suffix, deep[..., [2, 1, 0, 3][:channels] if channels == 4 else [2, 1, 0]])[1].tobytes()
    array = decoded(content, f"a{suffix}")
    assert array.dtype == np.uint16 and np.array_equal(array, deep[..., :3].transpose(2, 0, 1))


def test_integers_beyond_sixteen_bits_stay_exact_or_are_refused() -> None:
    signed = np.array([[-1000, 0], [70000, 3]], np.int32)
    array = decoded(encoded(Image.fromarray(signed), "TIFF"), "a.tif")
    assert array.dtype == np.float32 and np.array_equal(array[0], signed)
    with pytest.raises(DataError, match="fit neither"):
        decode_image(encoded(Image.fromarray(signed + 2**28), "TIFF"), source=Path("a.tif"))


def test_float_is_kept_and_nan_refused_with_its_count() -> None:
    values = RNG.normal(size=(7, 5)).astype(np.float32)
    array = decoded(encoded(Image.fromarray(values), "TIFF"), "a.tif")
    assert array.dtype == np.float32 and np.array_equal(array[0], values)
    values[2, 3], values[0, 0] = np.nan, np.inf
    with pytest.raises(DataError, match="2 of 35 pixels are NaN or infinite"):
        decode_image(encoded(Image.fromarray(values), "TIFF"), source=Path("a.tif"))


def test_one_bit_is_black_and_white() -> None:
    bits = GREY > 127
    assert np.array_equal(decoded(encoded(Image.fromarray(bits)))[0], bits * np.uint8(255))


# I11 to I13: colours.


def test_a_palette_gives_its_colours_not_its_indices() -> None:
    image = Image.fromarray(COLOUR).quantize(17)
    assert np.array_equal(decoded(encoded(image)), np.asarray(image.convert("RGB")).transpose(2, 0, 1))
    grey = Image.fromarray(GREY // 16)
    grey.putpalette([level for index in range(256) for level in [255 - index] * 3])
    assert grey.mode == "P" and np.array_equal(decoded(encoded(grey)), (255 - GREY // 16)[None])


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_laid_over_what_the_policy_says(mode: str) -> None:
    cover = RNG.integers(0, 256, (48, 64, 1), dtype=np.uint8)
    colour = COLOUR if mode == "RGBA" else GREY[..., None]
    content = encoded(Image.fromarray(np.concatenate([colour, cover], -1), mode))
    for policy, behind in (("black", 0.0), ("white", 255.0)):
        sample = decode_image(content, source=SOURCE, alpha=policy)  # type: ignore[arg-type]
        expected = np.rint(colour * (cover / 255) + behind * (1 - cover / 255)).transpose(2, 0, 1)
        assert np.array_equal(sample.image, expected) and policy in sample.notes[0]
    with pytest.raises(DataError, match="transparent pixels"):
        decode_image(content, source=SOURCE, alpha="refuse")


def test_opaque_alpha_goes_without_a_word() -> None:
    content = encoded(Image.fromarray(np.dstack([COLOUR, np.full((48, 64), 255, np.uint8)])))
    sample = decode_image(content, source=SOURCE, alpha="refuse")
    assert np.array_equal(sample.image, COLOUR.transpose(2, 0, 1)) and sample.notes == ()


def test_a_transparent_colour_is_alpha_too() -> None:
    content = encoded(Image.fromarray(GREY), transparency=int(GREY[0, 0]))
    array = decoded(content)[0]
    assert array[0, 0] == 0 and np.array_equal(array, np.where(GREY[0, 0] == GREY, 0, GREY))


def test_cmyk_becomes_rgb() -> None:
    image = smooth().convert("CMYK")
    content = encoded(image, "JPEG", quality=98)
    array = decoded(content, "a.jpg")
    assert array.shape == (3, 48, 64)
    assert np.abs(array.astype(int) - np.asarray(smooth()).transpose(2, 0, 1).astype(int)).mean() < 3


# I14: orientation.


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_eight_orientations_come_out_equal(orientation: int) -> None:
    undo = {2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180, 4: Image.Transpose.FLIP_TOP_BOTTOM,
            5: Image.Transpose.TRANSPOSE, 6: Image.Transpose.ROTATE_90, 7: Image.Transpose.TRANSVERSE,
            8: Image.Transpose.ROTATE_270}
    stored = Image.fromarray(COLOUR)
    if orientation in undo:
        stored = stored.transpose(undo[orientation])
    exif = Image.Exif()
    exif[0x0112] = orientation
    for kind, name in (("PNG", "a.png"), ("TIFF", "a.tif")):
        assert np.array_equal(decoded(encoded(stored, kind, exif=exif), name), COLOUR.transpose(2, 0, 1)), kind
    turned = decoded(encoded(stored, "JPEG", exif=exif, quality=100, subsampling=0), "a.jpg")
    assert turned.shape == (3, 48, 64) and np.abs(turned - COLOUR.transpose(2, 0, 1).astype(int)).max() < 12


def test_a_damaged_exif_block_is_said_and_the_picture_kept() -> None:
    exif = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(range(40))
    sample = decode_image(encoded(smooth(), "JPEG", exif=exif), source=Path("a.jpg"))
    assert sample.image.shape == (3, 48, 64)


# I15, I16.


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP"])
def test_several_pictures_in_a_file_need_a_choice(kind: str) -> None:
    pages = [Image.fromarray(np.full((8, 9), level, np.uint8)) for level in (10, 120, 250)]
    content = encoded(pages[0], kind, save_all=True, append_images=pages[1:], **(
        {"lossless": True} if kind == "WEBP" else {}))
    name = Path(f"a.{kind.lower()}")
    with pytest.raises(DataError, match=r"holds 3 pictures.*#page=1 to #page=3"):
        decode_image(content, source=name)
    for page, level in enumerate((10, 120, 250), start=1):
        assert (decode_image(content, source=name, page=page).image == level).all()
    with pytest.raises(DataError, match="no page 4"):
        decode_image(content, source=name, page=4)


def test_tiny_and_constant_pictures_are_read() -> None:
    assert decoded(encoded(Image.fromarray(GREY[:1, :1]))).shape == (1, 1, 1)
    assert np.ptp(decoded(encoded(Image.new("L", (9, 9), 7)))) == 0


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow's own words about tags it cannot read
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP"])
def test_random_damage_never_leaks_another_exception(kind: str) -> None:
    content = encoded(smooth() if kind != "GIF" else Image.fromarray(GREY), kind)
    rng = np.random.default_rng(5)
    for _ in range(400):
        damaged = bytearray(content)
        for place in rng.integers(0, min(len(content), 600), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        try:
            array = decode_image(bytes(damaged), source=Path("a.img"), max_pixels=10**6).image
        except DataError:
            continue
        assert array.ndim == 3 and array.shape[0] in (1, 3)
