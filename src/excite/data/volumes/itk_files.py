"""MetaImage and NRRD files, read by SimpleITK where it is installed."""

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from excite.data.volumes.turning import LIMIT, fill_gaps, make_room
from excite.data.volumes.volume import Volume
from excite.errors import DataError, EnvironmentFault

ITK_SUFFIXES = (".mha", ".mhd", ".nrrd", ".nhdr")
BROKEN = "the file was cut or damaged on its way; fetch it again from its source"
UNSURE = "voxels of 1 mm that begin at 0: it is the same where a header says no voxel size, which cannot be told here"


def read_itk(path: Path, *, fill: float | None = None, limit_bytes: int = LIMIT) -> Volume:
    """Return the volume in a MetaImage or NRRD file, its axes turned to the patient.

    Args:
        path: .mha, .mhd, .nrrd or .nhdr.
        fill: Stands in for NaN and infinite voxels; None where they are a fault.
        limit_bytes: Most that the voxels may take as float32.

    Raises:
        DataError: the file is damaged, or holds no volume of one real number a voxel, of known place.
        EnvironmentFault: SimpleITK is not installed.
    """
    itk = _itk(path)
    reader = itk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
        _check(reader, itk, path)
        size, spacing, origin, turn = (np.array(part) for part in (reader.GetSize(), reader.GetSpacing(),
                                                                    reader.GetOrigin(), reader.GetDirection()))
        affine = np.eye(4)
        affine[:3, :3], affine[:3, 3] = turn.reshape(3, 3) * spacing, origin
        room = make_room([int(number) for number in size], np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine, source=path,
                         limit_bytes=limit_bytes)
        image = reader.Execute()  # named, since the array is a view into it
        with np.errstate(over="ignore"):
            room.stored[...] = itk.GetArrayViewFromImage(image).transpose(2, 1, 0)
    except RuntimeError as fault:
        raise DataError("the file cannot be read", where=path, why=_cause(fault), fix=BROKEN) from None
    doubt = (UNSURE,) if np.allclose(affine, np.eye(4)) else ()
    notes = (*doubt, *room.notes, *fill_gaps(room.values, fill=fill, source=path))
    return Volume(values=room.values, affine=room.affine, source=path, notes=notes)


def _itk(path: Path) -> Any:
    try:
        return importlib.import_module("SimpleITK")
    except ImportError:
        raise EnvironmentFault(f"{path.suffix} files need another package", where=path,
                               why="SimpleITK is not installed",
                               fix="pip install 'excite[itk]', or save the volume as .nii.gz") from None


def _check(reader: Any, itk: Any, path: Path) -> None:
    """Refuse what is no volume of one real number a voxel."""
    shape = " x ".join(map(str, reader.GetSize()))
    if reader.GetDimension() != 3:
        raise DataError(f"the file has {reader.GetDimension()} axes ({shape}), not three", where=path,
                        fix="save one volume a file")
    kind = itk.GetPixelIDValueAsString(reader.GetPixelID())
    if reader.GetNumberOfComponents() != 1 or "complex" in kind or "vector" in kind:
        raise DataError(f"the voxels are not one real number each ({kind})", where=path,
                        fix="save the map itself, such as the magnitude, as float32")


def _cause(fault: RuntimeError) -> str:
    """Return what ITK says at the end of its report, without the reason that it makes up for a cut file."""
    lines = [line for line in str(fault).split("\n") if line.strip() and not line.startswith("Reason: No such file")]
    return lines[-1].split("): ")[-1].strip() if lines else type(fault).__name__
