"""One picture of a DICOM file: what the file says of it, and its values."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.dicom_values import Mapped

SALT = os.urandom(16)  # of this process: within no other is a hash of an id the same


@dataclass(frozen=True, kw_only=True)
class Frame:
    """One picture of a DICOM file.

    Args:
        file: The file.
        number: Which of its pictures, from 0.
        series: SeriesInstanceUID.
        patient: A hash of the PatientID, with this process's salt; None where the file has none.
        origin: FrameOfReferenceUID.
        description: SeriesDescription.
        modality: Such as MR.
        rows: Its height in pixels.
        columns: Its width in pixels.
        position: LPS millimetres of its first pixel; None where the file does not say.
        orientation: Directions along a row and down a column in LPS, six numbers.
        spacing: Millimetres between rows and between columns.
        thickness: SliceThickness in millimetres.
        differ: What tells pictures of one place apart, such as the echo time.
    """

    file: Path
    number: int
    series: str
    patient: str | None
    origin: str
    description: str
    modality: str
    rows: int
    columns: int
    position: tuple[float, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, ...] | None
    thickness: tuple[float, ...] | None
    differ: tuple[tuple[str, str], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Picture:
    """The values of one picture.

    Args:
        values: Rescaled, (rows, columns) float64.
        padding: Which of them show nothing; None where all do.
        scale: RescaleSlope and RescaleIntercept; None where the file does not say one.
        mapped: What a RealWorldValueMapping would make of the values; None where there is none.
        notes: What was decided.
    """

    values: NDArray[np.float64]
    padding: NDArray[np.bool_] | None
    scale: tuple[float | None, float | None]
    mapped: Mapped | None
    notes: tuple[str, ...]


def hidden(value: object) -> str | None:
    """Return a hash of an id that nobody can look up; None where there is none."""
    bare = str(value or "").strip().encode("utf-8", "surrogatepass")
    return hashlib.blake2b(bare, key=SALT, digest_size=16).hexdigest() if bare else None
