"""Label maps in files: PNG with a palette, .npy, .mat and ENVI classifications; reading and writing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.io import savemat

from excite.data.readers.formats import identify, open_image
from excite.data.readers.image import MAX_PIXELS
from excite.data.scenes.array import read_npy, read_npz
from excite.data.scenes.cube import Cube
from excite.data.scenes.envi import ENVI_SUFFIXES, read_envi, write_envi
from excite.data.scenes.envi_header import class_names
from excite.data.scenes.labels import LabelMap, check_pair, make_labels
from excite.data.scenes.matlab import read_array, read_names
from excite.data.scenes.palette import palette
from excite.errors import DataError, UsageError

PICTURES = (".png", ".tif", ".tiff", ".bmp")
LABEL_SUFFIXES = (".mat", ".npy", ".npz", *PICTURES, *ENVI_SUFFIXES)
PLACE = ("map info", "coordinate system string", "projection info", "geo points", "pixel size", "x start", "y start")
UNLABELLED = "Unclassified"
VARIABLE, NAMES = "labels", "class_names"
MODES = ("1", "L", "P", "I", "I;16", "I;16B")


def read_labels(path: Path, *, variable: str | None = None, classes: Sequence[str] | None = None) -> LabelMap:
    """Return the map of classes in a file.

    Of pictures with a palette the numbers count, not the colours. Names come from `classes`, else from the file (ENVI,
    and .mat as `write_labels` makes it), else they are "class 1", ...

    Args:
        path: .mat, .npy, .npz, a picture with a palette or in grey, or an ENVI image of one band.
        variable: Which array of a .mat or .npz file; None where only one has two axes.
        classes: Names of 1, 2, ...

    Raises:
        DataError: the file cannot be read, holds colours, or numbers that are no classes; see `labels.make_labels`.
        UsageError: there is no such variable.
        EnvironmentFault: MATLAB files of version 7.3 need the extra `matlab`.
    """
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError("is a folder, no file" if path.is_dir() else "the file does not exist", where=path,
                        fix="name the file of the labels")
    names: Sequence[str] = ()
    notes: list[str] = []
    if suffix == ".mat":
        array, names = read_array(path, variable, axes=2), read_names(path, NAMES)
    elif suffix == ".npy":
        array = read_npy(path)
    elif suffix == ".npz":
        array = read_npz(path, variable, axes=2)
    elif suffix in ENVI_SUFFIXES or not suffix:
        cube = read_envi(path)
        array, found = cube.values, class_names(cube.header, path)
        names = found[1:]
        notes += [f"pixels of class {found[0]!r}, number 0, are taken for unlabelled"] if found else []
    elif suffix in PICTURES:
        array = _numbers_of(path)
    else:
        raise DataError(f"labels of kind {suffix!r} cannot be read", where=path,
                        fix=f"known: {', '.join(LABEL_SUFFIXES)}")
    return make_labels(np.asarray(array), source=str(path), classes=classes or names or None, notes=notes)


def write_labels(path: Path, labels: LabelMap, *, like: Cube | None = None) -> Path:
    """Write a map of classes, its kind by the suffix, and return the path of the file with the numbers.

    A PNG has a palette, or 16 bits of grey for more than 255 classes; .mat and ENVI files hold the names too.

    Args:
        path: .png, .npy, .mat, or an ENVI file.
        labels: What to write.
        like: The cube that it belongs to: where its header says where on earth it lies, an ENVI file says so too.

    Raises:
        UsageError: another suffix, or a class name that an ENVI header cannot hold.
        DataError: the labels have another size than `like`.
    """
    if like is not None:
        check_pair(like, labels)
    suffix, count = path.suffix.lower(), len(labels.classes)
    if suffix == ".png":
        _picture(labels.values, count).save(path)
    elif suffix == ".npy":
        np.save(path, labels.values)
    elif suffix == ".mat":
        savemat(str(path), {VARIABLE: labels.values, NAMES: np.array(labels.classes, object)}, do_compression=True)
    elif suffix in ENVI_SUFFIXES:
        return write_envi(path, labels.values.astype(_least(count)), _header(labels, like))
    else:
        raise UsageError(f"labels must be written as .png, .npy, .mat or {', '.join(ENVI_SUFFIXES)}, got {suffix!r}",
                         where=path)
    return path


def _numbers_of(path: Path) -> NDArray[Any]:
    """Return the numbers of a picture: places in its palette, or its grey values as stored."""
    content = path.read_bytes()
    form = identify(content, path)
    image = open_image(content, form, source=path, max_pixels=MAX_PIXELS)
    pictures = getattr(image, "n_frames", 1)
    if pictures > 1:
        raise DataError(f"the {form.name} file holds {pictures} pictures", where=path, fix="take it apart")
    if image.mode not in MODES:
        raise DataError(f"labels must be a picture with a palette or in grey, got {image.mode}", where=path,
                        why="colours do not say the numbers of classes", fix="save the numbers, as PNG with a palette")
    try:
        numbers: NDArray[Any] = np.asarray(image).astype(np.int64)
    except Exception as fault:  # decoders raise whatever damaged bytes lead them to
        raise DataError(f"the {form.name} file cannot be decoded", where=path, why=str(fault).split("\n")[0],
                        fix="fetch it again from its source") from None
    bits, colour = content[24:26]
    if form.name == "PNG" and colour == 0 and bits in (2, 4):
        numbers //= 255 // (2**bits - 1)  # Pillow spreads grey of few bits over 0 to 255
    return numbers


def _picture(values: NDArray[np.int32], count: int) -> Image.Image:
    if count > 255:
        return Image.fromarray(values.astype(np.uint16))
    image = Image.fromarray(values.astype(np.uint8))
    image.putpalette(_colours(count).tobytes())
    return image


def _header(labels: LabelMap, like: Cube | None) -> dict[str, str | int | Sequence[object]]:
    names = (UNLABELLED, *labels.classes)
    bad = [name for name in names if set(name) & set(",{}\n") or name != name.strip() or not name]
    if bad:
        raise UsageError(f"class names of an ENVI file must be without , {{ }} and blanks around them, got {bad[0]!r}",
                         fix="rename the class, or write .mat")
    place = {key: like.header[key] for key in PLACE if key in like.header} if like is not None else {}
    return {"file type": "ENVI Classification", "classes": len(names), "class names": names,
            "class lookup": _colours(len(labels.classes)).ravel().tolist(), **place}


def _colours(count: int) -> NDArray[np.uint8]:
    """Return colours for 0, which is black, to `count`, (count + 1, 3)."""
    return np.concatenate([np.zeros((1, 3), np.uint8), palette(count)])


def _least(count: int) -> type[np.unsignedinteger[Any]]:
    return np.uint8 if count <= 255 else np.uint16
