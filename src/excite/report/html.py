"""From templates to a page in one file: filled, its pictures inside, written whole or not at all."""

import base64
import io
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from excite.errors import EnvironmentFault

LARGEST = 5_000_000  # bytes of a page
QUALITY = 82         # of JPEG


def filled(template: str, **values: Any) -> str:
    """Return a template of this folder, filled; every value from outside is escaped, none may be missing."""
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined,
                              loader=FunctionLoader(_text))
    return environment.get_template(template).render(style=Markup(_text("style.css")), **values)


def write_page(file: Path, render: Callable[[bool, str], str], *, images: bool) -> Path:
    """Write what `render(images, why it goes without)` gives, and return its path.

    A page that would exceed 5 MB goes without pictures and says so.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    text = render(images, "" if images else "The pictures were left out as asked.")
    if images and len(text.encode()) > LARGEST:
        text = render(False, f"The pictures were left out: the page would exceed {LARGEST / 1e6:g} MB.")
    aside = file.with_name(f".{file.name}.tmp")
    try:
        aside.write_text(text, encoding="utf-8", newline="\n")
        aside.replace(file)
    except OSError as fault:
        raise EnvironmentFault("the report cannot be written", where=file, why=str(fault),
                               fix="check the folder and the space on the disk") from None
    return file


def jpeg(pixels: NDArray[np.uint8], *, side: int) -> tuple[str, tuple[int, int]]:
    """Return a picture as an address with the JPEG inside, and its width and height.

    Args:
        pixels: Of 8 bits.
        side: Of its longer side at most; larger pictures are shrunk.

    Shape:
        (H, W), (H, W, 1) or (H, W, 3)
    """
    plane = pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    image, stream = Image.fromarray(np.ascontiguousarray(plane)), io.BytesIO()
    image.thumbnail((side, side))
    image.save(stream, "JPEG", quality=QUALITY)
    return "data:image/jpeg;base64," + base64.b64encode(stream.getvalue()).decode(), image.size


def png(pixels: NDArray[np.uint8], *, side: int) -> tuple[str, tuple[int, int]]:
    """Return a map as an address with the PNG inside, and its width and height; no colour is ever mixed.

    Args:
        side: Pixels of its longer side at most; of larger maps every so many pixels are shown.

    Shape:
        (H, W, 3)
    """
    scale = min(1.0, side / max(pixels.shape[:2]))
    rows, columns = (((np.arange(count := max(1, round(size * scale))) + 0.5) * size / count).astype(int)
                     for size in pixels.shape[:2])
    image, stream = _indexed(pixels[np.ix_(rows, columns)]), io.BytesIO()
    image.save(stream, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(stream.getvalue()).decode(), image.size


def _indexed(pixels: NDArray[np.uint8]) -> Image.Image:
    """Return a picture of up to 256 colours as numbers of these, a third of the size; others as they are."""
    packed = pixels.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], np.uint32)
    colours, place = np.unique(packed, return_inverse=True)
    if len(colours) > 256:
        return Image.fromarray(np.ascontiguousarray(pixels))
    image = Image.fromarray(place.reshape(packed.shape).astype(np.uint8), "P")
    image.putpalette(colours.astype(">u4").view(np.uint8).reshape(-1, 4)[:, 1:].tobytes())
    return image


def _text(name: str) -> str:
    return files("excite.report").joinpath(name).read_text(encoding="utf-8")
