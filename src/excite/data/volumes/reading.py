"""A volume from a file or folder of any known kind."""

import zlib
from collections.abc import Callable
from pathlib import Path

from excite.data.volumes.archives import is_address, read_member
from excite.data.volumes.dicom_files import DICOM_SUFFIXES, is_dicom
from excite.data.volumes.dicom_series import read_series
from excite.data.volumes.itk_files import ITK_SUFFIXES, read_itk
from excite.data.volumes.nifti import GZIP, NIFTI_SUFFIXES, is_nifti, read_nifti
from excite.data.volumes.turning import LIMIT
from excite.data.volumes.volume import Volume
from excite.errors import DataError

KNOWN = (*NIFTI_SUFFIXES, *DICOM_SUFFIXES, "folders of DICOM files", ".npz#key[index]", *ITK_SUFFIXES)


def read_volume(path: Path, *, series: str | None = None, fill: float | None = None,
                limit_bytes: int = LIMIT) -> Volume:
    """Return the volume at a path, its axes turned to the patient.

    Args:
        path: A NIfTI or DICOM file by its content, a folder of DICOM files, `file.npz#key[index]`, or a MetaImage or
            NRRD file by its suffix.
        series: Which series of a DICOM folder: a pattern of its description, or its UID. Other files hold one volume,
            so that one pattern serves a table of both.
        fill: Stands in for NaN and infinite voxels; None where they are a fault.
        limit_bytes: Most that the voxels may take in memory.

    Raises:
        DataError: there is no such file, it is of no known kind, damaged, or no volume.
        UsageError: `fill` is not finite.
        EnvironmentFault: reading it needs a package that is not installed.
    """
    reader = _reader(path)
    if reader is read_series:
        return read_series(path, series=series, fill=fill, limit_bytes=limit_bytes)
    return reader(path, fill=fill, limit_bytes=limit_bytes)


def _reader(path: Path) -> Callable[..., Volume]:
    """Return what reads a path, by content where that tells, else by suffix."""
    if path.is_dir():
        return read_series
    if not path.exists():
        if is_address(path):
            return read_member
        raise DataError("there is no such file or folder", where=path, fix="check the path")
    name = path.name.lower()
    if is_nifti(_head(path)) or name.endswith(NIFTI_SUFFIXES):
        return read_nifti
    if name.endswith(ITK_SUFFIXES):
        return read_itk
    if is_dicom(path):
        return read_series
    hint = "name the array, FILE.npz#KEY[INDEX]" if name.endswith(".npz") else f"known: {', '.join(KNOWN)}"
    raise DataError(f"volumes of kind {path.suffix or '(no suffix)'!r} cannot be read", where=path, fix=hint)


def _head(path: Path) -> bytes:
    """Return the first bytes of a file, unpacked where it is gzipped."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        return zlib.decompressobj(31).decompress(head, 540) if head.startswith(GZIP) else head[:540]
    except zlib.error:
        return b""
    except OSError as fault:
        raise DataError("the file cannot be read", where=path, why=fault.strerror,
                        fix="check its permissions") from None
