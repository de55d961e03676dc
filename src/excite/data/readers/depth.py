"""From a decoded Pillow image to an array in the picture's own depth, and what to do about transparency."""

from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile

Alpha = Literal["black", "white", "refuse"]
WHITE_IS_ZERO = 262  # the TIFF tag PhotometricInterpretation; its value 0 says that 0 is white
EXACT = 2**24        # float32 holds every whole number up to this


class Unusable(ValueError):
    """A picture that decodes but cannot be used; the reader adds the file's name."""

    def __init__(self, what: str, fix: str) -> None:
        self.what, self.fix = what, fix
        super().__init__(what)


def pixels_of(image: ImageFile, content: bytes, *, alpha: Alpha) -> tuple[NDArray[Any], list[str]]:
    """Return (H, W) or (H, W, 3) of uint8, uint16 or float32, and notes.

    Args:
        image: Opened, not yet loaded: the layout of its bytes is known only before.
        content: The whole file.
        alpha: What lies behind transparent pixels; "refuse" makes them a fault.
    """
    deep = any(";16" in str(tile.args) for tile in image.tile) and image.mode in ("RGB", "RGBA", "LA", "CMYK")
    white_is_zero = getattr(image, "tag_v2", {}).get(WHITE_IS_ZERO) == 0
    image.load()
    if deep:
        return _composite(_deep(image, content), alpha)
    mode = image.mode
    if mode in ("I", "F") or mode.startswith("I;16"):
        return _single(np.asarray(image), mode, white_is_zero)
    if image.has_transparency_data:
        return _composite(np.asarray(image.convert("RGBA")), alpha)
    if mode in ("1", "L"):
        return np.asarray(image.convert("L")), []
    if mode not in ("RGB", "RGBX", "P", "CMYK", "YCbCr"):
        raise Unusable(f"pictures of mode {mode} have no known conversion", "save it as RGB or grey PNG")
    return np.asarray(image.convert("RGB")), []


def grey_if_equal(array: NDArray[Any]) -> NDArray[Any]:
    """Return (1, H, W) where the picture is grey, also one stored as three equal channels, else (3, H, W)."""
    if array.ndim == 2:
        return np.ascontiguousarray(array[None])
    first = array[..., 0]
    if np.array_equal(first, array[..., 1]) and np.array_equal(first, array[..., 2]):
        return np.ascontiguousarray(first[None])
    return np.ascontiguousarray(np.moveaxis(array, -1, 0))


def turn(array: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Return the picture upright. Source: EXIF 2.3, tag 0x0112, values 1 to 8."""
    if orientation in (5, 6, 7, 8):
        array = np.swapaxes(array, 0, 1)
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    return array


def orientation_of(image: Image.Image) -> tuple[int, list[str]]:
    """Return the EXIF orientation of a loaded image, 1 where it has none, and a note where it cannot be read."""
    try:
        value = image.getexif().get(0x0112, 1)
    except Exception:  # a damaged EXIF block raises whatever its bytes lead to; the pixels are whole all the same
        return 1, ["the EXIF block is damaged: the picture may lie on its side"]
    return (value, []) if isinstance(value, int) and 1 <= value <= 8 else (1, [])


def _single(array: NDArray[Any], mode: str, white_is_zero: bool) -> tuple[NDArray[Any], list[str]]:
    """Return one channel of more than 8 bits: whole numbers of 16 bits as uint16, others as float32."""
    if mode == "F":
        bad = int(np.count_nonzero(~np.isfinite(array)))
        if bad:
            raise Unusable(f"{bad} of {array.size} pixels are NaN or infinite",
                           "replace them by numbers before: one such pixel spoils a whole training")
        return array.astype(np.float32), []
    if mode.startswith("I;16"):
        array = array.astype(np.uint16)
        return (65535 - array, ["white is zero in the file: inverted"]) if white_is_zero else (array, [])
    low, high = int(array.min()), int(array.max())
    if low >= 0 and high <= 65535:
        return array.astype(np.uint16), []
    if max(-low, high) <= EXACT:
        return array.astype(np.float32), []
    raise Unusable(f"pixel values from {low} to {high} fit neither 16 bits nor float32 exactly",
                   "save it as 16-bit grey or as float TIFF")


def _deep(image: Image.Image, content: bytes) -> NDArray[Any]:
    """Return the 16 bits a channel of which Pillow keeps 8, by OpenCV; Pillow's decoding proves the file whole."""
    array = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    if array is None or array.dtype != np.uint16 or array.ndim != 3:
        raise Unusable("its 16 bits a channel cannot be read", "save it as 16-bit grey or as 8-bit RGB")
    order = cv2.COLOR_BGRA2RGBA if array.shape[2] == 4 else cv2.COLOR_BGR2RGB
    colours: NDArray[np.uint16] = cv2.cvtColor(array, order).astype(np.uint16)
    shown = np.asarray(image.convert("RGBA" if array.shape[2] == 4 else "RGB"))
    if shown.shape != colours.shape or not np.array_equal(shown, colours >> 8):
        raise Unusable("its 16 bits a channel read differently by two decoders", "save it as 16-bit grey or 8-bit RGB")
    return colours


def _composite(array: NDArray[Any], alpha: Alpha) -> tuple[NDArray[Any], list[str]]:
    """Return the colours of (H, W, 4) over the policy's background; opaque pictures as they are, without a note."""
    colours, cover = array[..., :3], array[..., 3:]
    full = np.iinfo(array.dtype).max
    if array.shape[2] == 3 or cover.min() == full:
        return colours, []
    if alpha == "refuse":
        raise Unusable("has transparent pixels, which the policy refuses", "save it without an alpha channel")
    share = cover.astype(np.float64) / full
    behind = full if alpha == "white" else 0
    flat = np.rint(colours * share + behind * (1 - share)).astype(array.dtype)
    return flat, [f"transparent pixels were laid over {alpha}"]
