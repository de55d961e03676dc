"""Importance of volumes in files: NIfTI on a grid of one's own or on a scan's, and slices as one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
from nibabel.nifti1 import Nifti1Header, Nifti1Image
from numpy.typing import NDArray

from excite.data.volumes.grid import Grid
from excite.data.volumes.nifti import placed
from excite.data.volumes.turning import make_room
from excite.data.volumes.volume import Volume
from excite.errors import EnvironmentFault
from excite.jobs.explain.heat import overlaid

Floats = NDArray[np.float32]
SLICES, SIDE, GAP = 5, 180, 4  # of a row; pixels of a slice's longer side, and between two
CONTRAST = (0.5, 99.5)         # percentiles that become black and white


def write_on_grid(file: Path, values: Floats, grid: Grid) -> Path:
    """Write values (D, H, W) of a grid as NIfTI, and return the path.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    header: Any = Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_xyzt_units("mm")
    return _save(file, Nifti1Image(np.ascontiguousarray(values.T), grid.affine[:, [2, 1, 0, 3]],  # type: ignore[no-untyped-call]
                                   _described(header)))


def write_like(file: Path, values: Floats, like: Volume) -> Path:
    """Write values (D, H, W) on a scan's own grid: of one in NIfTI with its axes, affine and codes.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    known = placed(like.source)
    if known is None:
        return write_on_grid(file, values, Grid.of(like))
    header, shape, where = known
    room = make_room(shape, where, source=like.source)
    room.values[...] = values
    kind = Nifti1Image if type(header) is Nifti1Header else nibabel.Nifti2Image
    made = kind(np.ascontiguousarray(room.stored), None, _described(header))  # type: ignore[no-untyped-call]
    return _save(file, made)


def montage(stored: Floats, importance: Floats, spacing: Sequence[float],
            region: NDArray[np.bool_] | None = None) -> NDArray[np.uint8]:
    """Return slices of maps side by side, importance over them; front above, the patient's right on the left.

    Args:
        stored: Maps in their own units, NaN where nothing was seen; one that is missing has no row.
        importance: 0 to 1, of each map, or one for all, (1, D, H, W).
        spacing: Millimetres along D, H and W.
        region: (D, H, W) outlined; the slices are then spread through it.

    Shape:
        stored (M, D, H, W) -> (rows, columns, 3)
    """
    depth = stored.shape[1]
    levels = np.flatnonzero(region.any(axis=(1, 2))) if region is not None and region.any() else np.arange(depth)
    inner = levels[np.rint(np.linspace(0, len(levels) - 1, min(SLICES, len(levels)) + 2)[1:-1]).astype(int)]
    there = [place for place in range(len(stored)) if not np.isnan(stored[place]).all()]
    rows = [np.hstack([_slice(stored[place], importance[place % len(importance)], int(level), spacing, region)
                       for level in inner]) for place in there]
    return np.ascontiguousarray(np.vstack(rows))


def _slice(values: Floats, importance: Floats, level: int, spacing: Sequence[float],
           region: NDArray[np.bool_] | None) -> NDArray[np.uint8]:
    height, width = values.shape[1] * spacing[1], values.shape[2] * spacing[2]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    low, high = np.nanpercentile(values, CONTRAST)

    def turned(plane: NDArray[Any]) -> Floats:
        flipped = np.ascontiguousarray(plane[::-1, ::-1], np.float32)
        return np.asarray(cv2.resize(flipped, size, interpolation=cv2.INTER_LINEAR), np.float32)

    grey = turned(np.nan_to_num(values[level], nan=float(low)))[None]
    outlined = None if region is None else turned(region[level]) >= 0.5
    drawn = overlaid(grey, turned(importance[level]), value_range=(float(low), max(float(high), float(low) + 1e-6)),
                     region=outlined)
    return np.pad(drawn, ((0, GAP), (0, GAP), (0, 0)))


def _described(header: Any) -> Any:
    header.set_data_dtype(np.float32)
    header.set_slope_inter(1, 0)
    header["cal_min"], header["cal_max"], header["descrip"] = 0, 1, b"importance by excite"
    return header


def _save(file: Path, image: Any) -> Path:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(image, file)
    except OSError as fault:
        raise EnvironmentFault("a volume cannot be written", where=file, why=str(fault),
                               fix="check the folder and the space on the disk") from None
    return file
