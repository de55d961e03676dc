"""From the axes of a file to those of the patient, without a second copy of the voxels."""

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import NamedTuple

import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation
from numpy.typing import NDArray

from excite.errors import DataError, UsageError

LIMIT = 2 * 2**30  # bytes of voxels in memory
FLAT = 1e-6        # share of the box of its edges that a voxel has to fill
OFF = 0.1          # degrees off the patient's axes, or off right angles, that are worth a note


class Room(NamedTuple):
    """Room for a volume: `stored` is a view of `values` along the axes of the file, so that writing there turns."""

    stored: NDArray[np.float32]
    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    notes: tuple[str, ...]


def make_room(shape: Sequence[int], affine: NDArray[np.float64], *, source: Path, limit_bytes: int = LIMIT) -> Room:
    """Return empty room for a volume whose axes are the nearest ones to head, front and right, never resampled.

    Args:
        shape: Voxels along the axes of the file, three of them.
        affine: Voxel index of the file, in the order of `shape`, to RAS millimetres.
        source: The file, for messages.
        limit_bytes: Most that the voxels may take as float32.

    Raises:
        DataError: an axis has no voxels, they are too many, or the affine places them nowhere.
    """
    check_shape(shape, source=source, limit_bytes=limit_bytes)
    check_affine(affine, source=source)
    turn = io_orientation(affine).astype(int)  # type: ignore[no-untyped-call]  # of each axis: that of RAS, 1 or -1
    towards, steps = list(turn[:, 0]), turn[:, 1]
    values = np.empty([shape[towards.index(axis)] for axis in (2, 1, 0)], np.float32)
    stored = values.T.transpose(towards)[tuple(slice(None, None, step) for step in steps)]
    turned = (affine @ inv_ornt_aff(turn, shape))[:, [2, 1, 0, 3]]  # type: ignore[no-untyped-call]
    return Room(stored, values, turned, _notes(turned))


def check_shape(shape: Sequence[int], *, source: Path, limit_bytes: int) -> None:
    """Raise where an axis has no voxels, or all take more memory than they may.

    Raises:
        DataError: they do.
    """
    listed = " x ".join(map(str, shape))
    if min(shape) < 1:
        raise DataError(f"the volume has no voxels: its header says {listed}", where=source,
                        fix="fetch it again from its source")
    if 4 * prod(shape) > limit_bytes:
        raise DataError(f"the volume has {listed} voxels, {4 * prod(shape) / 2**30:,.2f} GB in memory; the limit is "
                        f"{limit_bytes / 2**30:,.2f} GB", where=source, why="or its header is wrong",
                        fix="crop or resample it, or read it with a larger limit_bytes")


def check_affine(affine: NDArray[np.float64], *, source: Path) -> None:
    """Raise where an affine is not finite, or voxels have no size.

    Raises:
        DataError: it is so.
    """
    fix = "write the file again with the right affine and voxel size, from its source"
    if not np.isfinite(affine).all():
        raise DataError("the affine holds NaN or infinite numbers", where=source, why="nothing says where voxels lie",
                        fix=fix)
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if not abs(np.linalg.det(affine[:3, :3])) > FLAT * prod(lengths):
        raise DataError(f"the affine is singular: voxels of {' x '.join(f'{size:g}' for size in lengths)} mm",
                        where=source, why="a size is zero, or two axes are parallel", fix=fix)


def fill_gaps(values: NDArray[np.float32], *, fill: float | None, source: Path) -> tuple[str, ...]:
    """Replace NaN and infinite voxels in place, and return a note where there were any.

    Args:
        values: The voxels.
        fill: What stands in for them; NaN where they count as not seen; None where they are a fault.
        source: The file, for messages.

    Raises:
        DataError: there are some, and no value to fill them with. UsageError: `fill` is infinite.
    """
    if fill is not None and np.isinf(fill):
        raise UsageError(f"fill must be a number or NaN, got {fill}")
    bad = ~np.isfinite(values)
    count = f"{np.count_nonzero(bad)} of {values.size} voxels"
    if not bad.any():
        return ()
    if fill is None:
        raise DataError(f"{count} are NaN or infinite", where=source, why="one such voxel spoils a whole training",
                        fix="give a value for them where they lie outside the organ, such as fill=nan, which counts as "
                            "not seen (in a training: volumes.gaps=unseen); or mend the map")
    values[bad] = fill
    return (f"{count} were NaN or infinite and {'count as not seen' if np.isnan(fill) else f'are now {fill:g}'}",)


def _notes(affine: NDArray[np.float64]) -> tuple[str, ...]:
    """Return what is odd about the axes of a turned affine."""
    units = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    oblique = np.degrees(np.arccos(np.clip(np.diagonal(units[::-1]), -1, 1))).max()
    cosines = np.abs(units.T @ units)[np.triu_indices(3, 1)]
    shear = np.degrees(np.arcsin(np.clip(cosines, 0, 1))).max()
    notes = [f"the axes are up to {oblique:.1f} degrees off the patient's; they are kept"] if oblique > OFF else []
    return (*notes, f"the axes are {shear:.1f} degrees off right angles; they are kept") if shear > OFF else (*notes,)
