"""ENVI images: a raw file, mapped, and a header beside it; reading and writing."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.blocks import row_blocks
from excite.data.scenes.cube import Cube
from excite.data.scenes.envi_header import TYPES, Form, form_of, format_header, items, parse_header, wavelengths_of
from excite.errors import DataError, UsageError

DATA_SUFFIXES = (".raw", ".dat", ".img", ".bsq", ".bil", ".bip")
ENVI_SUFFIXES = (".hdr", *DATA_SUFFIXES)
CODES = {kind: code for code, kind in TYPES.items()}
ORDER = {"bsq": ("bands", "rows", "columns"), "bil": ("rows", "bands", "columns"), "bip": ("rows", "columns", "bands")}
# What would turn stored numbers into others; the value that changes nothing.
SCALING = {"data gain values": 1.0, "data offset values": 0.0, "reflectance scale factor": 1.0}
OWN = ("samples", "lines", "bands", "header offset", "data type", "interleave", "byte order")


def read_envi(path: Path) -> Cube:
    """Return the image as a cube that is a view into its file.

    Bad bands, no-data values and the scale are left as they are; the header in the cube says which they are.

    Args:
        path: The .hdr file or the raw file beside it.

    Raises:
        DataError: one of the two is missing, several could be meant, the header cannot be true, or the raw file has
            not the length that it says.
    """
    header_file, data_file = find_pair(path)
    try:
        header = parse_header(header_file.read_text(encoding="utf-8", errors="replace"), header_file)
        length = data_file.stat().st_size
    except OSError as fault:
        raise DataError("the file cannot be read", where=fault.filename, why=fault.strerror,
                        fix="check the path and its permissions") from None
    form = form_of(header, header_file)
    if length != form.size:
        raise DataError(f"the file has {length} bytes, its header says {form.size}", where=data_file,
                        why=f"{form.rows} x {form.columns} x {form.bands} of {form.dtype.itemsize} bytes behind "
                            f"{form.offset}",
                        fix="the file is cut or the header is that of another one; fetch both again")
    wavelengths, notes = wavelengths_of(header, header_file)
    notes += tuple(f"{key!r} of the header is not applied: the values are as the file holds them"
                   for key, neutral in SCALING.items() if key in header and not _says(header[key], neutral))
    return Cube(values=_mapped(data_file, form), source=str(path), wavelengths=wavelengths, header=header, notes=notes)


def write_envi(path: Path, values: NDArray[Any], header: Mapping[str, str | int | Sequence[object]] | None = None, *,
               interleave: str = "bsq") -> Path:
    """Write an image and its header, and return the path of the raw file.

    Args:
        path: The raw file, or its .hdr file: then the raw one ends in .img.
        values: A label map or a cube of a type that ENVI knows; bool becomes bytes.
        header: Further fields, such as "map info" as another header says it, or "class names" as a sequence.
        interleave: bsq, bil or bip.

    Shape:
        (H, W) or (H, W, bands).

    Raises:
        UsageError: the shape, type or interleave is none of these, or a field is one that the values decide.
    """
    values = values.astype(np.uint8) if values.dtype == np.bool_ else values
    kind = values.dtype.str[1:]
    if values.ndim not in (2, 3) or 0 in values.shape or kind not in CODES:
        raise UsageError(f"values must be (H, W) or (H, W, bands) of {', '.join(CODES)}, got {values.dtype} "
                         f"{values.shape}")
    if interleave not in ORDER:
        raise UsageError(f"interleave must be one of {', '.join(ORDER)}, got {interleave!r}")
    extra = dict(header or {})
    taken = [key for key in extra if key in OWN]
    if taken:
        raise UsageError(f"the values decide {taken[0]!r}", fix="leave it out of the header")
    cube = values if values.ndim == 3 else values[..., None]
    rows, columns, bands = cube.shape
    data_file = path.with_suffix(".img") if path.suffix.lower() == ".hdr" else path
    with data_file.open("wb") as file:
        for block in _in_order(cube, interleave):
            file.write(block.astype(f"<{kind}").tobytes())
    fields = {"samples": columns, "lines": rows, "bands": bands, "header offset": 0, "file type": "ENVI Standard",
              "data type": CODES[kind], "interleave": interleave, "byte order": 0, **extra}
    data_file.with_suffix(".hdr").write_text(format_header(fields), encoding="utf-8", newline="\n")
    return data_file


def find_pair(path: Path) -> tuple[Path, Path]:
    """Return the header and the raw file that belong together, for the path of either.

    Raises:
        DataError: one of the two is not there, or several raw files could be meant.
    """
    if not path.is_file():
        raise DataError("the file does not exist", where=path, fix="check the path")
    beside = {file.name.lower(): file for file in sorted(path.parent.iterdir()) if file.is_file()}
    if path.suffix.lower() != ".hdr":
        names = (f"{path.name}.hdr".lower(), f"{path.stem}.hdr".lower())
        found = next((beside[name] for name in names if name in beside), None)
        if found is None:
            raise DataError("there is no header beside the raw file", where=path,
                            why="without it nothing says how many rows, columns and bands there are",
                            fix=f"put {path.stem}.hdr beside it")
        return found, path
    stem = path.stem.lower()
    raw = [beside[name] for name in (stem, *(stem + suffix for suffix in DATA_SUFFIXES)) if name in beside]
    if len(raw) != 1:
        raise DataError(f"there {'are several raw files' if raw else 'is no raw file'} beside the header", where=path,
                        why=", ".join(file.name for file in raw) if raw else None,
                        fix="name the one that is meant instead of the header" if raw
                        else f"put {path.stem}{DATA_SUFFIXES[0]} or {path.stem}{DATA_SUFFIXES[2]} beside it")
    return path, raw[0]


def _says(value: str, neutral: float) -> bool:
    """Return whether a number or list of numbers is this one throughout."""
    try:
        return all(float(part) == neutral for part in items(value))
    except ValueError:
        return False


def _mapped(file: Path, form: Form) -> NDArray[Any]:
    """Return (rows, columns, bands) as a view into the file."""
    stored = ORDER[form.interleave]
    lengths = {"rows": form.rows, "columns": form.columns, "bands": form.bands}
    raw = np.memmap(file, form.dtype, "r", form.offset, tuple(lengths[axis] for axis in stored))
    return raw.transpose([stored.index(axis) for axis in ("rows", "columns", "bands")])


def _in_order(cube: NDArray[Any], interleave: str) -> Iterator[NDArray[Any]]:
    """Return parts of the cube in the order in which they are written."""
    if interleave == "bsq":
        return (cube[rows, :, band] for band in range(cube.shape[2]) for rows in row_blocks(cube))
    parts = (np.asarray(cube[rows]) for rows in row_blocks(cube))
    return parts if interleave == "bip" else (part.transpose(0, 2, 1) for part in parts)
