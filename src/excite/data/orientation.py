"""Pictures that their EXIF orientation turns while their masks lie as they were drawn: two that keep the size alike.

A camera or an exporter writes the orientation into the picture; a program that draws masks over the turned or the
unturned picture writes none. Nothing but a look at both tells which it was.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from excite.data.fault import Fault
from excite.data.readers.depth import orientation_of
from excite.data.readers.formats import identify, open_image
from excite.data.readers.image import MAX_PIXELS
from excite.data.reading import read_bytes
from excite.data.row import Row
from excite.errors import DataError

MARKS = (b"Exif", b"eXIf", b"EXIF", b"exif", b"XMP", b"xmp", b"/xap/")  # without one only a TIFF has an orientation
UPRIGHT = 1


def turned_apart(rows: Sequence[Row], root: Path) -> list[Fault]:
    """Return a warning where pictures are turned and their masks are not, and one where masks are and pictures are not.

    Args:
        rows: With masks; files that cannot be read are passed over.
        root: Folder that their paths start from.
    """
    with ThreadPoolExecutor() as pool:
        apart = list(pool.map(lambda row: _apart(row, root), rows))
    found = []
    for what, turned, other in (("picture", "are turned by their EXIF orientation and their masks are not", True),
                                ("mask", "are turned by their EXIF orientation and their pictures are not", False)):
        named = [row for row, picture in zip(rows, apart, strict=True) if picture is other]
        if named:
            first = named[0]
            found.append(Fault(kind="turned-apart", row=first.line, file=first.image, severity="warning", message=(
                f"{len(named)} {what}s {turned}: look at the overlays (excite predict RUN TABLE --overlays PICTURES); "
                f"the first is {first.image}")))
    return found


def _apart(row: Row, root: Path) -> bool | None:
    """Return True where the picture is turned and a mask is not so, False where only a mask is; None: they agree."""
    try:
        picture, *masks = [orientation(root / name) for name in (row.image, *row.masks)]
    except DataError:  # told of by who reads the pixels
        return None
    return picture != UPRIGHT if any(mask != picture for mask in masks) else None


def orientation(path: Path) -> int:
    """Return the EXIF orientation of a picture, 1 where it has none; the pixels are not decoded.

    Raises:
        DataError: the file cannot be read, or is no picture.
    """
    content = read_bytes(path)
    form = identify(content, path)
    if form.name != "TIFF" and not any(mark in content for mark in MARKS):
        return UPRIGHT
    try:
        return orientation_of(open_image(content, form, source=path, max_pixels=MAX_PIXELS))[0]
    except DataError:
        raise
    except Exception:  # decoders raise whatever damaged bytes lead them to
        return UPRIGHT
