"""NIfTI files, plain or gzipped, read plane by plane: no more is unpacked than the header says and a limit allows."""

import gzip
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.nifti2 import Nifti2Header
from numpy.typing import NDArray

from excite.data.volumes.turning import LIMIT, fill_gaps, make_room
from excite.data.volumes.volume import Volume
from excite.errors import DataError, UsageError

NIFTI_SUFFIXES = (".nii", ".nii.gz")
GZIP = b"\x1f\x8b"
SIZES = {348: (Nifti1Header, slice(344, 348), b"n+1\0"), 540: (Nifti2Header, slice(4, 8), b"n+2\0")}
MILLIMETRES = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}  # xyzt_units: unknown, metre, millimetre, micrometre
SPACES = {1: "scanner", 2: "aligned", 3: "Talairach", 4: "MNI", 5: "template"}
EXACT = 2**24     # float32 holds every whole number up to this
APART = 0.1       # of the smallest voxel: qform and sform that differ by more disagree
CHUNK = 2**20
BROKEN = "the file was cut or damaged on its way; fetch it again from its source"


class Stream(Protocol):
    """Bytes that come one after the other."""

    def read(self, size: int, /) -> bytes:
        """Return so many bytes, fewer at the end."""


def is_nifti(head: bytes) -> bool:
    """Return whether the first 540 bytes of a file, unpacked, are those of a NIfTI file or of half a pair."""
    return head[344:348] in (b"n+1\0", b"ni1\0") or head[4:8] in (b"n+2\0", b"ni2\0")


def read_nifti(path: Path, *, fill: float | None = None, limit_bytes: int = LIMIT) -> Volume:
    """Return the volume in a NIfTI file, its axes turned to the patient, `scl_slope` and `scl_inter` applied.

    The sform places the voxels where it is set, else the qform; where they disagree, a note says so.

    Args:
        path: .nii or .nii.gz, NIfTI-1 or NIfTI-2.
        fill: Stands in for NaN and infinite voxels; None where they are a fault.
        limit_bytes: Most that the voxels may take as float32; a header that lies does not lift it.

    Raises:
        DataError: the file is cut, damaged, or larger than its header says; it holds several volumes or none, 2-D
            pictures, complex numbers or colours; its affine is singular or not finite; voxels are not finite.
        UsageError: `fill` is not finite.

    Source: NIfTI-1.1, nifti1.h, methods 1 to 3 of orientation; NIfTI-2, nifti2.h.
    """
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            return _read(gzip.GzipFile(fileobj=raw) if packed else raw, path, fill, limit_bytes)
    except (DataError, UsageError):
        raise
    except EOFError:
        raise _cut(path) from None
    except OSError as fault:  # gzip's own has no number
        raise DataError("the file cannot be read", where=path, why=fault.strerror or str(fault),
                        fix="check the path and its permissions" if fault.errno else BROKEN) from None
    except Exception as fault:  # nibabel and zlib raise whatever damaged bytes lead them to
        raise DataError("the NIfTI file cannot be read", where=path, why=str(fault).split("\n")[0],
                        fix=BROKEN) from None


def placed(path: Path) -> tuple[Any, tuple[int, int, int], NDArray[np.float64]] | None:
    """Return nibabel's header of a NIfTI file, its shape and the affine that `read_nifti` goes by; None of others."""
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == GZIP
            raw.seek(0)
            header = _header(gzip.GzipFile(fileobj=raw) if packed else raw, path)
    except (DataError, OSError, EOFError):
        return None
    shape, _ = _shape(header, path)
    header.set_data_shape(shape)
    return header, shape, _affine(header, shape)[0]


def _read(stream: Stream, path: Path, fill: float | None, limit_bytes: int) -> Volume:
    header = _header(stream, path)
    shape, squeezed = _shape(header, path)
    with np.errstate(all="ignore"):  # what is infinite is refused below
        affine, placed = _affine(header, shape)
    room = make_room(shape, affine, source=path, limit_bytes=limit_bytes)
    _skip(stream, header, path, limit_bytes)
    rounded = _read_planes(stream, header, room.stored, path)
    if stream.read(1):  # at the end of a gzip file this also compares its checksum
        raise DataError("the file holds more than its header says", where=path,
                        why=f"the header says {' x '.join(map(str, shape))} voxels of {header.get_data_dtype()}",
                        fix=BROKEN)
    notes = (*squeezed, *placed, *room.notes, *rounded, *fill_gaps(room.values, fill=fill, source=path))
    return Volume(values=room.values, affine=room.affine, source=path, notes=notes)


def _header(stream: Stream, path: Path) -> Any:
    """Return nibabel's header of a file that holds both header and voxels."""
    head = stream.read(348)
    if not is_nifti(head.ljust(540)):
        raise DataError("the file is no NIfTI file" if head else "the file is empty (0 bytes)", where=path,
                        why="its first bytes are not those of one" if head else None, fix=BROKEN)
    size = 540 if head[4:6] == b"ni" or head[4:6] == b"n+" else 348
    kind, place, single = SIZES[size]
    head += stream.read(size - 348)
    if head[place] != single:
        raise DataError("the file is one of a pair (.hdr and .img)", where=path,
                        fix="save both as one .nii.gz: nibabel.save(nibabel.load('x.hdr'), 'x.nii.gz')")
    if len(head) < size:
        raise _cut(path)
    return kind(head, check=False)  # type: ignore[no-untyped-call]


def _shape(header: Any, path: Path) -> tuple[tuple[int, int, int], tuple[str, ...]]:
    """Return the voxels along three axes, and a note where more axes of length 1 were dropped."""
    shape = tuple(int(number) for number in header.get_data_shape())
    listed, kind = " x ".join(map(str, shape)), header.get_data_dtype()
    if len(shape) < 3:
        raise DataError(f"the file holds a picture of {listed} pixels, no volume", where=path,
                        fix="give its axes a third of length 1 if it is one slice of known place")
    more = [number for number in shape[3:] if number != 1]
    if more:
        raise DataError(f"the file holds {max(int(np.prod(more)), 0)} volumes ({listed}), not one", where=path,
                        why="times, echoes, b-values and directions all look like this",
                        fix="take them apart (nibabel.four_to_three) and name the one that is meant")
    if kind.kind not in "iuf":
        what = "complex numbers" if kind.kind == "c" else "colours"
        raise DataError(f"the voxels are {what}, not one real number each", where=path,
                        fix="save the map itself, such as the magnitude, as float32")
    return (shape[0], shape[1], shape[2]), ("a fourth axis of length 1 was dropped",) if len(shape) > 3 else ()


def _affine(header: Any, shape: tuple[int, ...]) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Return the affine in millimetres, and notes about how it was found."""
    scale = MILLIMETRES.get(int(header["xyzt_units"]) & 7, 1.0)
    to_mm = np.diag([scale, scale, scale, 1])
    notes = () if scale == 1 else (f"lengths in the header were multiplied by {scale:g} to give millimetres",)
    sform_code, qform_code = int(header["sform_code"]), int(header["qform_code"])
    if sform_code > 0:
        sform = to_mm @ header.get_sform()
        return sform, (*notes, *_disagreement(header, sform, to_mm, shape, (sform_code, qform_code)))
    if qform_code > 0:
        return to_mm @ header.get_qform(), notes
    return to_mm @ header.get_base_affine(), (
        *notes, "the header has neither qform nor sform: the axes are taken as left, front and head, as nibabel does")


def _disagreement(header: Any, sform: NDArray[np.float64], to_mm: NDArray[np.float64], shape: tuple[int, ...],
                  codes: tuple[int, int]) -> tuple[str, ...]:
    """Return a note where the qform places corners of the volume elsewhere than the sform."""
    if codes[1] <= 0:
        return ()
    try:
        qform = to_mm @ header.get_qform()
    except Exception:  # as damaged bytes have it
        return ("the qform cannot be used; the sform was",)
    corners = np.array([(*corner, 1) for corner in np.ndindex(2, 2, 2)]).T * [[n - 1] for n in (*shape, 2)]
    apart = np.linalg.norm(((sform - qform) @ corners)[:3], axis=0).max()
    if apart <= APART * np.linalg.norm(sform[:3, :3], axis=0).min():
        return ()
    names = [SPACES.get(code, f"code {code}") for code in codes]
    return (f"the qform ({names[1]}) places corners up to {apart:.1f} mm off the sform ({names[0]}), which was used",)


def _skip(stream: Stream, header: Any, path: Path, limit_bytes: int) -> None:
    """Move on to the first voxel."""
    place = float(header["vox_offset"]) or int(header["sizeof_hdr"]) + 4
    rest = place - int(header["sizeof_hdr"])
    if not 4 <= rest <= limit_bytes:
        raise DataError(f"the header says that the voxels begin at byte {place:g}", where=path, fix=BROKEN)
    left = int(rest)
    while left:
        got = len(stream.read(min(left, CHUNK)))
        if not got:
            raise _cut(path)
        left -= got


def _read_planes(stream: Stream, header: Any, stored: NDArray[np.float32], path: Path) -> tuple[str, ...]:
    """Write the voxels to their places, scaled, and return a note where whole numbers were rounded."""
    slope, inter = header.get_slope_inter()
    as_is, kind, large = slope is None or (slope, inter) == (1, 0), header.get_data_dtype(), 0
    length = stored.shape[0] * stored.shape[1] * kind.itemsize
    for plane in range(stored.shape[2]):
        content = stream.read(length)
        if len(content) < length:
            raise _cut(path)
        numbers = np.frombuffer(content, kind).reshape(stored.shape[:2], order="F")
        with np.errstate(all="ignore"):  # what overflows float32 is infinite, and counted as such
            stored[:, :, plane] = numbers if as_is else numbers.astype(np.float64) * slope + inter
        if as_is and kind.kind in "iu" and kind.itemsize > 2:
            large += int(np.count_nonzero(np.abs(numbers.astype(np.float64)) > EXACT))
    return (f"{large} voxels are whole numbers beyond {EXACT:,}, which float32 rounds",) if large else ()


def _cut(path: Path) -> DataError:
    return DataError("the NIfTI file is cut: it ends before its last voxel", where=path, fix=BROKEN)
