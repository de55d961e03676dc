"""Volumes of labels: read as whole numbers on the grid of their image, and written on the grid of a scan."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from numpy.typing import NDArray

from excite.data.volumes.nifti import placed
from excite.data.volumes.reading import read_volume
from excite.data.volumes.turning import make_room
from excite.data.volumes.volume import Volume
from excite.errors import DataError, EnvironmentFault

Labels = NDArray[np.int16]
LARGEST = 32767
APART = 0.1  # of the smallest voxel: grids whose corners differ by more are two


def read_labels(path: Path, *, image: Volume) -> tuple[Labels, tuple[str, ...]]:
    """Return the labels of an image's voxels, and what the reader had to decide.

    Args:
        path: A volume of any kind that is read.
        image: What it must lie on.

    Shape:
        (D, H, W)

    Raises:
        DataError: it is no volume, holds other values than whole numbers from 0, or lies on another grid.
    """
    found = read_volume(path)
    if found.shape != image.shape:
        raise DataError(f"the mask has {_sides(found)} voxels, its image {_sides(image)}", where=path,
                        why="depth, height and width, turned to the patient", fix="draw or resample the mask on the "
                        "image's own grid, labels by the nearest voxel")
    far = _apart(found, image)
    if image.spacing_known and found.spacing_known and far > APART * min(image.spacing):
        raise DataError(f"the mask lies on another grid than its image: corners are up to {far:.2g} mm apart",
                        where=path, fix="resample the mask onto the image's grid, labels by the nearest voxel; where "
                        "only the header is wrong, write the image's affine into it")
    values = found.values
    wrong = (values != np.rint(values)) | (values < 0) | (values > LARGEST)
    if wrong.any():
        raise DataError(f"a mask must have whole numbers from 0 to {LARGEST}, got {values[wrong].flat[0]:g} and "
                        f"{np.count_nonzero(wrong) - 1} more such voxels", where=path,
                        why="labels that were interpolated look like this",
                        fix="write the labels again, by the nearest voxel where they are resampled")
    return values.astype(np.int16), found.notes


def write_labels(file: Path, labels: NDArray[Any], *, like: Volume) -> Path:
    """Write labels as NIfTI on a scan's own grid, and return the path.

    Of a scan in NIfTI the file has the same axes, affine and codes; of others those of the volume that was read.

    Args:
        file: Ends in .nii or .nii.gz.
        labels: On the grid of `like`, as it was read. Shape (D, H, W).
        like: The scan.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    kind = np.uint8 if int(labels.max(initial=0)) < 256 else np.int16
    known = placed(like.source)
    if known is None:
        header: Any = Nifti1Header()  # type: ignore[no-untyped-call]
        header.set_xyzt_units("mm")
        values, affine = labels.T, like.affine[:, [2, 1, 0, 3]]
    else:
        header, shape, where = known
        room = make_room(shape, where, source=like.source)
        room.values[...] = labels
        values, affine = room.stored, None
    header.set_data_dtype(kind)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"], header["descrip"] = 0, 0, b"labels by excite"
    made = (Nifti1Image if known is None or type(header) is Nifti1Header else nibabel.Nifti2Image)(
        np.ascontiguousarray(values.astype(kind)), affine, header)  # type: ignore[no-untyped-call]
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(made, file)
    except OSError as fault:
        raise EnvironmentFault("the labels cannot be written", where=file, why=str(fault),
                               fix="check the folder and the space on the disk") from None
    return file


def _apart(first: Volume, second: Volume) -> float:
    """Return how far corners of two volumes of one shape lie apart at most, in mm."""
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)]).T * [[side - 1] for side in
                                                                             (*first.shape, 2)]
    return float(np.linalg.norm(((first.affine - second.affine) @ corners)[:3], axis=0).max())


def _sides(volume: Volume) -> str:
    return " x ".join(map(str, volume.shape))
