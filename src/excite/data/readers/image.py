"""Pictures (PNG, JPEG, TIFF, BMP, GIF, WebP) to Samples: strict, in their own depth, the right way up."""

from pathlib import Path

from PIL import ImageFile

from excite.data.readers.depth import Alpha, Unusable, grey_if_equal, orientation_of, pixels_of, turn
from excite.data.readers.formats import (
    BROKEN,
    END_OF_JPEG,
    IMAGE_SUFFIXES,
    Format,
    check_jpeg,
    check_size,
    identify,
    open_image,
)
from excite.data.sample import Sample
from excite.errors import DataError, EnvironmentFault

__all__ = ["IMAGE_SUFFIXES", "MAX_PIXELS", "decode_image", "read_image"]

MAX_PIXELS = 100_000_000


def read_image(path: Path, *, alpha: Alpha = "black", strict: bool = True, page: int | None = None,
               max_pixels: int = MAX_PIXELS) -> Sample:
    """Return the picture in a file; see `decode_image`.

    Raises:
        DataError: as `decode_image`, or there is no such file.
    """
    try:
        content = path.read_bytes()
    except OSError as fault:
        raise DataError("the file cannot be read", where=path, why=fault.strerror or str(fault),
                        fix="check the path and its permissions") from None
    return decode_image(content, source=path, alpha=alpha, strict=strict, page=page, max_pixels=max_pixels)


def decode_image(content: bytes, *, source: Path, alpha: Alpha = "black", strict: bool = True,
                 page: int | None = None, max_pixels: int = MAX_PIXELS) -> Sample:
    """Return the picture in the bytes of a file.

    Grey pictures of 8 bits and black-and-white ones become uint8, deeper ones uint16, float ones float32; palettes and
    CMYK become RGB; a picture with three equal channels becomes one channel; EXIF orientations are turned upright.
    The spacing is None: the dots per inch that PNG and JPEG state are those of a printer, not of a scanner.

    Args:
        content: The whole file.
        source: Where it came from, for messages.
        alpha: What lies behind transparent pixels; "refuse" makes them a fault.
        strict: A cut JPEG is a fault; False fills what is missing and says so in a note.
        page: Which picture of a file with several, from 1.
        max_pixels: Limit that the header is held against before anything is decoded.

    Shape:
        (1 or 3, H, W).

    Raises:
        DataError: the file is no picture, cut, damaged, too large, has several pages, or NaN pixels.
        EnvironmentFault: another part of the program made Pillow accept cut files.
    """
    form = identify(content, source)
    notes = []
    if source.suffix.lower() in IMAGE_SUFFIXES and source.suffix.lower() not in form.suffixes:
        notes.append(f"is a {form.name} file in spite of its name")
    if ImageFile.LOAD_TRUNCATED_IMAGES and strict:
        raise EnvironmentFault("Pillow was told to accept cut pictures", where="PIL.ImageFile.LOAD_TRUNCATED_IMAGES",
                               why="they would pass for whole ones", fix="set it to False, its default")
    if not strict and form.name == "JPEG":
        content, cut = _completed(content)
        notes += ["the file is cut: what is missing was filled"] if cut else []
    try:
        image = open_image(content, form, source=source, max_pixels=max_pixels)
        _turn_to(image, form, page, source)
        check_size(image.size, content, form, source=source, max_pixels=max_pixels)
        array, said = pixels_of(image, content, alpha=alpha)
        if strict and form.name == "JPEG":
            check_jpeg(image, content, source)
        orientation, doubt = orientation_of(image)
    except DataError:
        raise
    except Unusable as fault:
        raise DataError(fault.what, where=source, fix=fault.fix) from None
    except Exception as fault:  # decoders raise whatever damaged bytes lead them to
        raise DataError(f"the {form.name} file cannot be decoded", where=source, why=_cause(fault),
                        fix=BROKEN) from None
    pixels = grey_if_equal(turn(array, orientation))
    return Sample(image=pixels, source=source, notes=(*notes, *said, *doubt))


def _turn_to(image: ImageFile.ImageFile, form: Format, page: int | None, source: Path) -> None:
    """Choose a page; several without a choice are a fault, and so is one that is not there."""
    count = getattr(image, "n_frames", 1)
    if page is None and count > 1:
        raise DataError(f"the {form.name} file holds {count} pictures", where=source,
                        why="the first may not be the one that is meant",
                        fix=f"choose one, {source.name}#page=1 to #page={count}, or take it apart")
    if page is not None and not 1 <= page <= count:
        raise DataError(f"there is no page {page}", where=source, why=f"the file holds {count}",
                        fix="pages count from 1")
    if page is not None and count > 1:
        image.seek(page - 1)


def _completed(content: bytes) -> tuple[bytes, bool]:
    """Return a JPEG with its end mark, and whether it had none."""
    return (content, False) if END_OF_JPEG in content[-1024:] else (content + END_OF_JPEG, True)


def _cause(fault: Exception) -> str:
    return str(fault).split("\n")[0] or type(fault).__name__
