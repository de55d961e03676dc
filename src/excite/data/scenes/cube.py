"""The cube of spectra of one scene, in the file's own depth."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.blocks import by_rows
from excite.errors import DataError, UsageError

Valid = NDArray[np.bool_]
# of a cube as its file holds it, and the numbers of its bands that are left: those to take, and notes on why
BandChoice = Callable[["Cube", Sequence[int]], tuple[list[int], list[str]]]


@dataclass(frozen=True, kw_only=True, eq=False)
class Cube:
    """Spectra of a scene.

    Args:
        values: Whole or real numbers in the file's own depth and byte order; mapped from it where possible.
        source: Where it came from, for messages.
        wavelengths: Middle of each band in nanometres; None where unknown.
        valid: True where a pixel holds data; None where every pixel does.
        header: The header of an ENVI file, as written: keys in lower case, lists with their braces.
        notes: What was decided on the way, each a sentence.

    Shape:
        values (H, W, bands), wavelengths bands, valid (H, W).

    Raises:
        DataError: the shapes do not fit, there is nothing in the cube, or its type is none to measure in.
    """

    values: NDArray[Any]
    source: str
    wavelengths: tuple[float, ...] | None = None
    valid: Valid | None = None
    header: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        shape = self.values.shape
        if self.values.ndim != 3 or 0 in shape:
            raise DataError(f"a cube must be (rows, columns, bands), got shape {shape}", where=self.source,
                            fix="reshape it first, for example pixels of MATLAB by reshape(..., order='F')")
        if self.values.dtype.kind not in "iuf":
            raise DataError(f"a cube must hold whole or real numbers, got {self.values.dtype}", where=self.source,
                            fix="convert it first, for example to float32")
        if self.wavelengths is not None and len(self.wavelengths) != shape[2]:
            raise DataError(f"wavelengths must be one a band, got {len(self.wavelengths)} for {shape[2]} bands",
                            where=self.source, fix="give those of the bands that the file holds")
        if self.valid is not None and (self.valid.shape != shape[:2] or self.valid.dtype != np.bool_):
            raise DataError(f"valid must be a bool for each of {shape[0]} x {shape[1]} pixels, got {self.valid.dtype} "
                            f"{self.valid.shape}", where=self.source)

    @property
    def shape(self) -> tuple[int, int]:
        """Return rows and columns."""
        return self.values.shape[0], self.values.shape[1]

    @property
    def bands(self) -> int:
        """Return the number of bands."""
        return int(self.values.shape[2])

    def with_bands(self, kept: Sequence[int]) -> "Cube":
        """Return the cube with these bands, in this order; neighbouring ones stay a view.

        Args:
            kept: Numbers of bands, from 0.

        Raises:
            UsageError: a band is not there, is named twice, or none is named.
        """
        kept = [int(band) for band in kept]
        if not kept or len(set(kept)) < len(kept) or not all(0 <= band < self.bands for band in kept):
            raise UsageError(f"bands to keep must be different numbers from 0 to {self.bands - 1}, got "
                             f"{shortened(kept) or 'none'}")
        first, last = kept[0], kept[-1]
        if kept == list(range(first, last + 1)):
            values = self.values[:, :, first:last + 1]
        else:
            values = by_rows(self.values, lambda block: block[:, :, kept], bands=len(kept), dtype=self.values.dtype)
        wavelengths = self.wavelengths and tuple(self.wavelengths[band] for band in kept)
        return replace(self, values=values, wavelengths=wavelengths)

    def calibrated(self, white: "Cube | NDArray[Any]", dark: "Cube | NDArray[Any]") -> "Cube":
        """Return the reflectance (raw - dark) / (white - dark), as float32 (float64 where the depth asks for it).

        Args:
            white: A white reference: recorded lines, whose mean counts, or one value a column and band, or one a band.
            dark: The same with the shutter closed.

        Shape:
            white and dark (lines, W, bands), (W, bands) or (bands,).

        Raises:
            DataError: they do not fit the cube, or white is not above dark somewhere.
        """
        low, high = self._reference(dark, "dark"), self._reference(white, "white")
        span = high - low
        bad = ~(span > 0)
        if bad.any():
            bands = np.flatnonzero(bad.any(axis=0))
            raise DataError(f"the white reference must be above the dark one, is not in {bad.sum()} of {bad.size} "
                            "values", where=self.source, why=f"in bands {shortened(bands.tolist())}",
                            fix="white and dark may be swapped or over-exposed; or drop these bands")
        dtype = np.result_type(self.values.dtype.newbyteorder("="), np.float32)

        def reflectance(block: NDArray[Any]) -> NDArray[Any]:
            changed: NDArray[Any] = ((block - low) / span).astype(dtype)
            return changed

        return replace(self, values=by_rows(self.values, reflectance, bands=self.bands, dtype=dtype),
                       notes=(*self.notes, "calibrated to reflectance by a white and a dark reference"))

    def _reference(self, given: "Cube | NDArray[Any]", name: str) -> NDArray[np.float64]:
        """Return a reference as (W or 1, bands)."""
        values = np.asarray(given.values if isinstance(given, Cube) else given)
        mean = values.mean(axis=0, dtype=np.float64) if values.ndim == 3 else np.asarray(values, np.float64)
        columns = self.shape[1]
        if mean.shape not in ((self.bands,), (1, self.bands), (columns, self.bands)):
            raise DataError(f"the {name} reference must have {columns} columns and {self.bands} bands as the cube, got "
                            f"shape {values.shape}", where=self.source, fix="record it with the same settings")
        return np.atleast_2d(mean)


def shortened(numbers: Sequence[int], *, shown: int = 8) -> str:
    """Return numbers as text, runs as "3 to 9", no more than `shown` parts."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    parts = [str(first) if first == last else f"{first} to {last}" if last > first + 1 else f"{first}, {last}"
             for first, last in runs]
    rest = f" and {len(parts) - shown} more" if len(parts) > shown else ""
    return ", ".join(parts[:shown]) + rest
