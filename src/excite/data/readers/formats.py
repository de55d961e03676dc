"""Opening a picture without decoding it: which format, how large, whole or not. Nothing global of Pillow is touched.

`PIL.Image.open` tries every format it knows, among them some that start other programs, and warns or raises by a limit
that is global to the process. Here the first bytes choose one of six decoders and the caller's limit holds.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    ImageFile,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from excite.errors import DataError


class Format(NamedTuple):
    """A file format."""

    name: str
    suffixes: tuple[str, ...]
    starts: tuple[bytes, ...]
    plugin: type[ImageFile.ImageFile]
    densest: int  # pixels that one byte can stand for at most; 0: no bound worth the name


# PNG: deflate makes at most 1,032 bytes of one, a byte holds 8 pixels. JPEG: a block of 64 pixels takes a bit or more.
FORMATS = (
    Format("PNG", (".png",), (b"\x89PNG\r\n\x1a\n",), PngImagePlugin.PngImageFile, 8 * 1032),
    Format("JPEG", (".jpg", ".jpeg", ".jpe"), (b"\xff\xd8\xff",), JpegImagePlugin.JpegImageFile, 512),
    Format("TIFF", (".tif", ".tiff"), (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), TiffImagePlugin.TiffImageFile, 0),
    Format("BMP", (".bmp",), (b"BM",), BmpImagePlugin.BmpImageFile, 0),
    Format("GIF", (".gif",), (b"GIF87a", b"GIF89a"), GifImagePlugin.GifImageFile, 0),
    Format("WebP", (".webp",), (b"RIFF",), WebPImagePlugin.WebPImageFile, 0),
)
IMAGE_SUFFIXES = tuple(suffix for form in FORMATS for suffix in form.suffixes)
ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
END_OF_JPEG = b"\xff\xd9"
BROKEN = "the file was cut or damaged on its way; fetch it again from its source"


def identify(content: bytes, source: Path) -> Format:
    """Return the format that the first bytes tell.

    Raises:
        DataError: the file is empty, or holds none of the formats.
    """
    if not content:
        raise DataError("the file is empty (0 bytes)", where=source, fix="fetch it again from its source")
    for form in FORMATS:
        if content.startswith(form.starts) and (form.name != "WebP" or content[8:12] == b"WEBP"):
            return form
    kind = "it is text" if _is_text(content[:512]) else "its first bytes are those of no format known here"
    raise DataError("the file is no picture", where=source, why=kind,
                    fix=f"known: {', '.join(form.name for form in FORMATS)}; save it as PNG")


def open_image(content: bytes, form: Format, *, source: Path, max_pixels: int) -> ImageFile.ImageFile:
    """Return Pillow's image with its header read and nothing decoded.

    Raises:
        DataError: the picture is larger than the limit, or its header cannot be true.
    """
    if form.name == "WebP":  # its decoder makes room for the picture as soon as it is opened
        check_size(webp_size(content), content, form, source=source, max_pixels=max_pixels)
    if form.name == "PNG":
        size = struct.unpack(">II", content[16:24].ljust(8, b"\0"))
        check_size(size, content, form, source=source, max_pixels=max_pixels)
        content = checked_png(content, source)
    image = form.plugin(io.BytesIO(content), str(source))
    check_size(image.size, content, form, source=source, max_pixels=max_pixels)
    return image


def check_size(size: tuple[int, ...], content: bytes, form: Format, *, source: Path, max_pixels: int) -> None:
    """Refuse a picture that is too large for the limit, or for the bytes it comes in."""
    width, height = size
    if width < 1 or height < 1:
        raise DataError(f"the picture has {width} x {height} pixels", where=source, fix=BROKEN)
    if width * height > max_pixels:
        raise DataError(f"the picture has {width} x {height} = {width * height / 1e6:.0f} million pixels, the limit is "
                        f"{max_pixels / 1e6:.0f} million", where=source, why="decoding it could fill the memory",
                        fix="scale it down, or raise the limit: read_image(..., max_pixels=...)")
    if form.densest and width * height > form.densest * len(content):
        raise DataError(f"the header says {width} x {height} pixels, which {len(content)} bytes of {form.name} cannot "
                        "hold", where=source, fix=BROKEN)


def checked_png(content: bytes, source: Path) -> bytes:
    """Return a PNG whose pixels are no longer packed, after a look at all that decoders pass over.

    That is the checksum of every chunk, the last one, and the length of the rows: for it they have to be unpacked,
    which takes as long as the rest of the decoding, so the decoder is not let do it again.
    """
    kind, packed, others = b"", list[memoryview](), (list[memoryview](), list[memoryview]())
    for chunk in _chunks(content):
        kind = bytes(chunk[4:8])
        if zlib.crc32(chunk[4:-4]) != int.from_bytes(chunk[-4:], "big"):
            raise DataError(f"the PNG is damaged: the checksum of its {kind.decode('ascii', 'replace')} part is wrong",
                            where=source, fix=BROKEN)
        (packed if kind == b"IDAT" else others[bool(packed)]).append(chunk)
    if kind != b"IEND":
        raise DataError("the PNG is cut: its end is missing", where=source, fix=BROKEN)
    needed = png_length(content)
    rows = _inflated([chunk[8:-4] for chunk in packed], limit=needed)
    if len(rows) != needed:
        raise DataError(f"the PNG holds {'more' if len(rows) > needed else 'less'} data than its header says",
                        where=source, why="the size in the header is wrong, or the data are cut", fix=BROKEN)
    return b"".join([content[:8], *others[0], _chunk(b"IDAT", zlib.compress(rows, 0)), *others[1]])


def png_length(content: bytes) -> int:
    """Return how many bytes the rows of a PNG have. Source: PNG specification, third edition, 7.2 and 8.1."""
    width, height, bits, kind, _, _, interlaced = struct.unpack(">IIBBBBB", content[16:29])
    depth = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}.get(kind, 1)
    total = 0
    for left, top, step_x, step_y in ADAM7 if interlaced else ((0, 0, 1, 1),):
        columns, rows = -((left - width) // step_x), -((top - height) // step_y)
        total += rows * (1 + (columns * depth + 7) // 8) if columns > 0 and rows > 0 else 0
    return total


def check_jpeg(image: ImageFile.ImageFile, content: bytes, source: Path) -> None:
    """Refuse a JPEG that ends before its picture does; its decoder fills the rest with grey and says nothing.

    A corner of that very grey raises the doubt. Then other bytes are put behind the data: a whole picture does not
    change by them, since its decoder is done before.
    """
    corner = image.getpixel((image.width - 1, image.height - 1))
    end = content.rfind(END_OF_JPEG)
    values = corner if isinstance(corner, tuple) else (corner or 0,)
    if end < 0 or any(abs(value - 128) > 1 for value in values):
        return
    other = JpegImagePlugin.JpegImageFile(io.BytesIO(content[:end] + b"\x5a\xa5" * 64 + END_OF_JPEG))
    if other.tobytes() != image.tobytes():
        raise DataError("the JPEG is cut: its data end before the picture does", where=source, fix=BROKEN)


def webp_size(content: bytes) -> tuple[int, int]:
    """Return width and height from the first chunk of a WebP file; (0, 0) where there is none."""
    kind, body = content[12:16], content[20:30]
    if len(body) < 10:
        return 0, 0
    if kind == b"VP8X":
        return int.from_bytes(body[4:7], "little") + 1, int.from_bytes(body[7:10], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(body[6:8], "little") & 0x3FFF, int.from_bytes(body[8:10], "little") & 0x3FFF
    return 0, 0


def _chunks(content: bytes) -> Iterator[memoryview]:
    """Yield the whole chunks of a PNG: length, kind, body, checksum."""
    view, place = memoryview(content), 8
    while place + 12 <= len(content):
        end = place + 12 + int.from_bytes(view[place:place + 4], "big")
        if end > len(content):
            return
        yield view[place:end]
        if bytes(view[place + 4:place + 8]) == b"IEND":
            return
        place = end


def _chunk(kind: bytes, body: bytes) -> bytes:
    return b"".join([struct.pack(">I", len(body)), kind, body, struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))])


def _inflated(packed: list[memoryview], *, limit: int) -> bytes:
    """Return deflated data as they were, but no more of them than just beyond the limit."""
    stream, pieces, length = zlib.decompressobj(), [], 0
    for body in packed:
        rest: bytes | memoryview = body
        while rest and length <= limit and not stream.eof:
            pieces.append(stream.decompress(rest, 2**20))
            length, rest = length + len(pieces[-1]), stream.unconsumed_tail
    return b"".join([*pieces, stream.flush() if length <= limit else b""])


def _is_text(head: bytes) -> bool:
    try:
        return "\0" not in head.decode("utf-8")
    except UnicodeDecodeError as fault:
        return fault.start > len(head) - 4
