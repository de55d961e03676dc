"""DICOM series: pictures of many files sorted by where they lie, and never stacked with those of another series."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.dicom_files import frames_of, is_dicom, values_of
from excite.data.volumes.dicom_frames import Frame, Picture
from excite.data.volumes.dicom_mixtures import mapped_told, refuse_mixed, refuse_mixed_scales
from excite.data.volumes.turning import LIMIT, fill_gaps, make_room
from excite.data.volumes.volume import Volume
from excite.errors import DataError

SAME = 0.01     # millimetres: pictures that are nearer lie at one place
UNEVEN = 0.02   # of the distance of slices: what they may lie off it
TURNED = 1e-3   # of a direction: orientations that differ by more are two
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
SHOWN = 8       # of what is listed in one message


@dataclass(frozen=True, kw_only=True)
class SeriesInfo:
    """One stack of pictures in a folder, without a word about the patient.

    Args:
        uid: SeriesInstanceUID, with #1, #2 ... where pictures of one series fit no common grid.
        description: SeriesDescription.
        modality: Such as MR.
        files: Number of files.
        shape: Pictures, rows and columns, as stored.
        spacing: Millimetres between pictures, rows and columns; None where they form no volume.
    """

    uid: str
    description: str
    modality: str
    files: int
    shape: tuple[int, int, int]
    spacing: tuple[float, float, float] | None


def list_series(folder: Path) -> list[SeriesInfo]:
    """Return what series a folder and those below hold, by description.

    Raises:
        DataError: there is none, or a file cannot be read.
    """
    return [info for info, _ in _stacks(folder)[0]]


def read_series(path: Path, *, series: str | None = None, fill: float | None = None,
                limit_bytes: int = LIMIT) -> Volume:
    """Return the volume of one series, RescaleSlope and RescaleIntercept applied.

    Pictures are sorted along their normal by ImagePositionPatient; file names and SliceThickness play no part. Padding
    becomes NaN: not seen.

    Args:
        path: A folder, searched with those below, or one file: then that file alone.
        series: Which, where there are several: a pattern (*, ?) of its description in any case, or its UID.
        fill: Stands in for NaN and infinite voxels; None where they are a fault.
        limit_bytes: Most that the voxels may take as float32.

    Raises:
        DataError: a file is broken; none or several series could be meant; pictures are missing, at one place,
            unevenly apart, in colours, or do not say where they lie; they are of several patients, frames of reference
            or scales; all is padding; a RealWorldValueMapping gives each picture another scale.
        EnvironmentFault: no decoder for their compression is installed.

    Source: DICOM PS3.3, C.7.6.2 (image plane), C.7.6.16 (functional groups), C.11.1 (rescale).
    """
    stacks, notes = _stacks(path)
    frames, affine, more = _placed(_chosen(stacks, series, path), path)
    room = make_room((frames[0].columns, frames[0].rows, len(frames)), affine, source=path, limit_bytes=limit_bytes)
    padded, said = _read_pictures(frames, room.stored, path)
    filled = fill_gaps(room.values, fill=fill, source=path)
    for number, padding in padded.items():
        room.stored[:, :, number][padding.T] = np.nan
    return Volume(values=room.values, affine=room.affine, source=path,
                  notes=(*notes, *more, *room.notes, *said, *filled, *_padding_told(padded, room.values, path)))


def _read_pictures(frames: Sequence[Frame], stored: NDArray[np.float32], where: Path
                   ) -> tuple[dict[int, NDArray[np.bool_]], dict[str, None]]:
    """Write the values of each picture to its place; return which of them are padding, and what there is to note."""
    files: dict[Path, list[int]] = {}
    for number, frame in enumerate(frames):
        files.setdefault(frame.file, []).append(number)
    said, padded, pictures = dict[str, None](), dict[int, NDArray[np.bool_]](), list[Picture]()
    for numbers in files.values():
        for number, one in zip(numbers, values_of([frames[number] for number in numbers]), strict=True):
            with np.errstate(over="ignore"):  # what overflows float32 is infinite, and counted as such
                stored[:, :, number] = one.values.T
            if one.padding is not None:
                padded[number] = one.padding
                stored[:, :, number][one.padding.T] = 0  # until gaps are looked for: padding is none
            said |= dict.fromkeys(one.notes)
            pictures.append(replace(one, values=np.empty((0, 0)), padding=None))
    refuse_mixed_scales(pictures, where)
    return padded, said | dict.fromkeys(mapped_told(pictures, where))


def _padding_told(padded: Mapping[int, NDArray[np.bool_]], values: NDArray[np.float32], where: Path) -> list[str]:
    """Return a note where voxels are padding."""
    count = sum(int(one.sum()) for one in padded.values())
    if count == values.size:
        raise DataError("every voxel is padding (PixelPaddingValue): the series shows nothing", where=where,
                        fix="export it again, or leave the map of this patient out")
    return [f"{count} of {values.size} voxels are padding (PixelPaddingValue) and count as not seen"] if count else []


def _stacks(path: Path) -> tuple[list[tuple[SeriesInfo, list[Frame]]], tuple[str, ...]]:
    """Return the stacks of pictures below a path, and a note about files without pictures."""
    files = _files(path)
    frames, empty, broken = list[Frame](), 0, list[DataError]()
    for file in files:
        try:
            found = frames_of(file)
            frames += found
            empty += not found
        except DataError as fault:
            broken.append(fault)
    if len(broken) == 1:
        raise broken[0]
    if broken:
        names = _listed([str(Path(fault.where or "").relative_to(path)) for fault in broken])
        raise DataError(f"{len(broken)} of {len(files)} DICOM files cannot be read: {names}", where=path,
                        fix="fetch them again from their source, or move them elsewhere if they belong to no series")
    if not frames:
        raise DataError("there is no DICOM picture", where=path, fix="name the folder of the series")
    stacks = [(_info(stack, name), stack) for stack, name in _grouped(frames)]
    notes = (f"{empty} DICOM files without pictures were left out",) if empty else ()
    return sorted(stacks, key=lambda pair: (pair[0].description.casefold(), pair[0].uid)), notes


def _files(path: Path) -> list[Path]:
    """Return the DICOM files at or below a path."""
    if not path.exists():
        raise DataError("there is no such file or folder", where=path, fix="check the path")
    try:
        files = [path] if path.is_file() else [file for file in sorted(path.rglob("*")) if file.is_file()]
        return [file for file in files if not file.name.startswith(".") and is_dicom(file)]
    except OSError as fault:
        raise DataError("the file cannot be read", where=fault.filename or path, why=fault.strerror,
                        fix="check its permissions") from None


def _grouped(frames: Sequence[Frame]) -> list[tuple[list[Frame], str]]:
    """Return pictures of one series and one grid together, each stack with its name."""
    series: dict[str, list[list[Frame]]] = {}
    for frame in frames:
        stacks = series.setdefault(frame.series, [])
        fitting = next((stack for stack in stacks if _one_grid(stack[0], frame)), None)
        fitting.append(frame) if fitting else stacks.append([frame])
    return [(stack, f"{uid}#{number}" if len(stacks) > 1 else uid)
            for uid, stacks in series.items() for number, stack in enumerate(stacks, start=1)]


def _one_grid(one: Frame, other: Frame) -> bool:
    """Return whether two pictures have the same size, orientation and pixel spacing."""
    if (one.rows, one.columns) != (other.rows, other.columns):
        return False
    if (one.position is None) != (other.position is None):
        return False
    pairs = ((one.orientation, other.orientation, TURNED), (one.spacing, other.spacing, 1e-4))
    return all(a == b or (a is not None and b is not None and np.allclose(a, b, rtol=0, atol=near))
               for a, b, near in pairs)


def _info(stack: Sequence[Frame], uid: str) -> SeriesInfo:
    first = stack[0]
    shape = len(stack), first.rows, first.columns
    info = SeriesInfo(uid=uid, description=first.description, modality=first.modality, shape=shape, spacing=None,
                      files=len({frame.file for frame in stack}))
    try:
        _, affine, _ = _placed(stack, first.file)
    except DataError:
        return info
    width, height, depth = np.linalg.norm(affine[:3, :3], axis=0)
    return replace(info, spacing=(float(depth), float(height), float(width)))


def _chosen(stacks: Sequence[tuple[SeriesInfo, list[Frame]]], series: str | None, where: Path
            ) -> list[Frame]:
    """Return the pictures of the one stack that is meant."""
    fitting = [pair for pair in stacks if series is None or _fits(pair[0], series)]
    if len(fitting) == 1:
        return fitting[0][1]
    shown = [info for info, _ in fitting or stacks]
    what = f"no series fits {series!r}" if not fitting else f"{len(fitting)} series fit {series!r}" if series \
        else f"the folder holds {len(fitting)} series"
    twice = len({info.description for info in shown}) < len(shown)
    listed = _listed([f"{info.description!r}{f' {info.uid}' if twice else ''} ({info.files} files, "
                      f"{' x '.join(map(str, info.shape))})" for info in shown])
    raise DataError(what, where=where, why=f"there are {listed}",
                    fix="choose one by a pattern of its description or its UID: --set 'volumes.series={MAP: \"T1*\"}', "
                        "in Python series=\"T1*\"")


def _fits(info: SeriesInfo, series: str) -> bool:
    description, pattern = info.description.casefold(), series.casefold()
    return series in (info.uid, info.uid.split("#")[0]) or description == pattern or fnmatchcase(description, pattern)


def _placed(stack: Sequence[Frame], where: Path) -> tuple[list[Frame], NDArray[np.float64], tuple[str, ...]]:
    """Return pictures in the order in which they lie, and the affine of (column, row, picture) to RAS millimetres."""
    first = stack[0]
    missing = [name for name, value in (("ImagePositionPatient", first.position), ("PixelSpacing", first.spacing),
                                        ("ImageOrientationPatient", first.orientation)) if value is None]
    if missing or first.position is None or first.spacing is None or first.orientation is None:
        raise DataError(f"the pictures do not say where they lie: no {', '.join(missing)}", where=where,
                        fix="export the original series, enhanced ones with their functional groups; or NIfTI")
    directions = np.array(first.orientation).reshape(2, 3)
    if not np.allclose(directions @ directions.T, np.eye(2), atol=TURNED):
        raise DataError("ImageOrientationPatient holds no two directions at right angles", where=where,
                        fix="export the series again")
    refuse_mixed(stack, where)
    normal = np.cross(*directions)
    frames = sorted(stack, key=lambda frame: float(np.dot(frame.position or (), normal)))
    positions = np.array([frame.position for frame in frames])
    step, notes = _step(frames, positions, normal, where)
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([directions[0] * first.spacing[1], directions[1] * first.spacing[0], step])
    affine[:3, 3] = positions[0]
    return frames, LPS_TO_RAS @ affine, notes


def _step(frames: Sequence[Frame], positions: NDArray[np.float64], normal: NDArray[np.float64], where: Path
          ) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the way from one picture to the next, the same for all."""
    if len(frames) == 1:
        if not frames[0].thickness:
            raise DataError("there is one picture, which does not say how thick it is (SliceThickness)", where=where,
                            fix="name the folder of the whole series")
        return normal * frames[0].thickness[0], ("there is one picture: its thickness is the depth of its voxels",)
    places = positions @ normal
    apart = np.diff(places)
    if apart.min() < SAME:
        raise DataError(f"pictures lie at one place: {_millimetres(places[1:][apart < SAME])}", where=where,
                        why=_differences(frames), fix="leave one picture a place in the folder")
    usual = float(np.sort(apart)[(len(apart) - 1) // 2])
    wide = apart > 1.5 * usual
    if wide.any():
        gaps = [f"{start:.1f} and {end:.1f} mm" for start, end in zip(places[:-1][wide], places[1:][wide], strict=True)]
        raise DataError(f"pictures are missing: none between {_listed(gaps)}", where=where,
                        why=f"the others are {usual:.2f} mm apart", fix="export the whole series again")
    step = (positions[-1] - positions[0]) / (len(frames) - 1)
    off = np.linalg.norm(positions - positions[0] - np.arange(len(frames))[:, None] * step, axis=1)
    if off.max() > max(UNEVEN * usual, SAME):
        raise DataError(f"the pictures are unevenly apart: {apart.min():.2f} to {apart.max():.2f} mm, up to "
                        f"{off.max():.2f} mm off a regular grid, that at {places[off.argmax()]:.1f} mm most",
                        where=where, fix="export a series with even distances, or resample it and save it as NIfTI")
    return step, ()


def _differences(frames: Sequence[Frame]) -> str:
    """Return what tells pictures of one place apart."""
    found = {name: sorted({dict(frame.differ).get(name, "none") for frame in frames})
             for name in dict.fromkeys(name for frame in frames for name, _ in frame.differ)}
    several = [f"{name} {_listed(values)}" for name, values in found.items() if len(values) > 1]
    return f"they differ in {'; '.join(several)}" if several else "they may be copies, or several frames of one place"


def _millimetres(places: NDArray[np.float64]) -> str:
    return f"{_listed([f'{place:.1f}' for place in dict.fromkeys(places.round(1).tolist())])} mm"


def _listed(words: Sequence[str]) -> str:
    more = f" and {len(words) - SHOWN} more" if len(words) > SHOWN else ""
    return ", ".join(words[:SHOWN]) + more
