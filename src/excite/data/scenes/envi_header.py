"""The text beside a raw ENVI file: what it says, checked.

Source: the field list of "ENVI header files" in the ENVI documentation.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from excite.errors import DataError

TYPES = {1: "u1", 2: "i2", 3: "i4", 4: "f4", 5: "f8", 12: "u2", 13: "u4", 14: "i8", 15: "u8"}
INTERLEAVES = ("bsq", "bil", "bip")
NANOMETRES = {"nanometers": 1.0, "nanometer": 1.0, "nm": 1.0, "micrometers": 1000.0, "micrometer": 1000.0,
              "microns": 1000.0, "micron": 1000.0, "um": 1000.0, "µm": 1000.0, "μm": 1000.0}
GUESS = ((100.0, 20_000.0, 1.0, "nanometres"), (0.1, 20.0, 1000.0, "micrometres"))
Header = Mapping[str, str]


class Form(NamedTuple):
    """How the raw file is laid out."""

    rows: int
    columns: int
    bands: int
    interleave: str
    dtype: np.dtype[Any]
    offset: int

    @property
    def size(self) -> int:
        """Return the length of the file in bytes."""
        return self.offset + self.rows * self.columns * self.bands * self.dtype.itemsize


def parse_header(text: str, where: Path) -> dict[str, str]:
    """Return the fields of a header: keys in lower case, values as written, lists on one line with their braces.

    Raises:
        DataError: the first line is not ENVI, a brace is left open, or a field is given twice with two values.
    """
    lines = text.lstrip("\ufeff").splitlines()
    if not lines or lines[0].strip() != "ENVI":
        raise DataError("the header must begin with the line ENVI", where=where,
                        why=f"it begins with {lines[0][:40]!r}" if lines else "it is empty",
                        fix="name the .hdr file of an ENVI image")
    fields: dict[str, str] = {}
    rest = iter(lines[1:])
    for line in rest:
        key, equals, value = line.partition("=")
        if line.lstrip().startswith(";") or not equals:
            continue
        key, value = " ".join(key.lower().split()), value.strip()
        while value.startswith("{") and not value.endswith("}"):
            more = next(rest, None)
            if more is None:
                raise DataError(f"the braces of {key!r} are never closed", where=where, fix="the header is cut")
            value = f"{value} {more.strip()}".rstrip()
        if fields.setdefault(key, value) != value:
            raise DataError(f"{key!r} is given twice with two values", where=where, fix="delete the wrong one")
    return fields


def form_of(header: Header, where: Path) -> Form:
    """Return the layout of the raw file.

    Raises:
        DataError: a needed field is missing, or says what cannot be read here.
    """
    rows, columns, bands = (_whole(header, key, where, least=1) for key in ("lines", "samples", "bands"))
    code, offset = _whole(header, "data type", where), _whole(header, "header offset", where, default=0)
    if code not in TYPES:
        raise DataError(f"'data type' must be one of {', '.join(map(str, TYPES))}, got {code}", where=where,
                        why="6 and 9 are complex numbers" if code in (6, 9) else None,
                        fix="convert the image first")
    interleave = header.get("interleave", "bsq" if bands == 1 else "(none)").lower()
    if interleave not in INTERLEAVES:
        raise DataError(f"'interleave' must be bsq, bil or bip, got {interleave}", where=where,
                        fix="correct the header")
    order = _whole(header, "byte order", where, default=0 if TYPES[code] == "u1" else None)
    if order not in (0, 1):
        raise DataError(f"'byte order' must be 0 or 1, got {order}", where=where, fix="correct the header")
    if header.get("file compression", "0") != "0":
        raise DataError("the image is compressed", where=where, fix="save it uncompressed")
    if "library" in header.get("file type", "").lower():
        raise DataError("the file is a spectral library, no image", where=where, fix="name the image")
    frames = [number for key in ("major", "minor") for number in items(header.get(f"{key} frame offsets"))]
    if set(frames) - {"0"}:
        raise DataError("images with frame offsets cannot be read", where=where, fix="save it without them")
    return Form(rows, columns, bands, interleave, np.dtype("<>"[order] + TYPES[code]), offset)


def wavelengths_of(header: Header, where: Path) -> tuple[tuple[float, ...] | None, tuple[str, ...]]:
    """Return wavelengths in nanometres, None where there are none, and what was decided.

    Raises:
        DataError: they are no finite numbers, or not one a band.
    """
    if "wavelength" not in header:
        return None, ()
    numbers = _numbers(header, "wavelength", where)
    unit = header.get("wavelength units", "").strip().lower()
    if unit in NANOMETRES:
        return tuple(_round(number * NANOMETRES[unit]) for number in numbers), ()
    if unit in ("", "unknown"):
        for low, high, factor, name in GUESS:
            if all(low <= number <= high for number in numbers):
                return (tuple(_round(number * factor) for number in numbers),
                        (f"the header gives no unit of the wavelengths: by their size they are {name}",))
    return None, (f"wavelengths are left out: their unit is {unit or 'not given'!r}",)


def bad_bands(header: Header, where: Path) -> tuple[int, ...]:
    """Return the bands that the list `bbl` marks by 0, counted from 0."""
    if "bbl" not in header:
        return ()
    return tuple(band for band, good in enumerate(_numbers(header, "bbl", where)) if good == 0)


def ignored_value(header: Header, where: Path) -> float | None:
    """Return the value that stands for no data; None where the header names none."""
    return _number(header["data ignore value"], "data ignore value", where) if "data ignore value" in header else None


def class_names(header: Header, where: Path) -> tuple[str, ...]:
    """Return the names of all classes of a classification, that of 0 first; empty where there are none.

    Raises:
        DataError: there are not as many as `classes` says.
    """
    names = items(header.get("class names"))
    if names and "classes" in header and len(names) != _whole(header, "classes", where):
        raise DataError(f"'class names' has {len(names)} names, 'classes' says {header['classes']}", where=where,
                        fix="correct the header")
    return names


def items(value: str | None) -> tuple[str, ...]:
    """Return the parts of a list in braces."""
    parts = [part.strip() for part in (value or "").strip().removeprefix("{").removesuffix("}").split(",")]
    return tuple(parts if parts[-1] else parts[:-1])


def format_header(fields: Mapping[str, str | int | Sequence[object]]) -> str:
    """Return the text of a header; sequences become lists in braces."""
    lines = ["ENVI"]
    for key, value in fields.items():
        written = value if isinstance(value, str | int) else "{" + ", ".join(map(str, value)) + "}"
        lines.append(f"{key} = {written}")
    return "\n".join(lines) + "\n"


def _whole(header: Header, key: str, where: Path, *, least: int = 0, default: int | None = None) -> int:
    if key not in header:
        if default is None:
            raise DataError(f"the header does not say {key!r}", where=where, fix=f"add the line '{key} = ...'")
        return default
    value = header[key]
    if not value.isdecimal() or int(value) < least:
        raise DataError(f"{key!r} must be a whole number from {least}, got {value!r}", where=where,
                        fix="correct the header")
    return int(value)


def _numbers(header: Header, key: str, where: Path) -> list[float]:
    numbers = [_number(part, key, where) for part in items(header[key])]
    bands = _whole(header, "bands", where, least=1)
    if len(numbers) != bands:
        raise DataError(f"{key!r} has {len(numbers)} values for {bands} bands", where=where, fix="correct the header")
    if wrong := [number for number in numbers if not math.isfinite(number)]:
        raise DataError(f"{key!r} must be finite numbers, got {wrong[0]}", where=where, fix="correct the header")
    return numbers


def _number(text: str, key: str, where: Path) -> float:
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{key!r} must be numbers, got {text!r}", where=where, fix="correct the header") from None


def _round(nanometres: float) -> float:
    """Return a wavelength without the dust of a change of unit."""
    return round(nanometres, 6)
