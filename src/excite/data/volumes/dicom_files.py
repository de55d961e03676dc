"""What DICOM files say about the pictures in them, and their values; no name and no date of a patient is read.

The id alone is, to notice pictures of two patients in one series, and kept as a hash that means nothing elsewhere.
"""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import isfinite
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.filereader import read_file_meta_info
from pydicom.pixels.utils import pixel_array
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from excite.data.volumes.dicom_frames import Frame, Picture, hidden
from excite.data.volumes.dicom_values import MAPPING, TAGS, UNKNOWN, mapped_of, padding_of
from excite.errors import DataError, EnvironmentFault

DICOM_SUFFIXES = (".dcm", ".ima")
STARTS = (b"\x02\x00", b"\x08\x00")              # groups that files without a preamble begin with
PICTURES = ("Image", "Map", "Segmentation", "Dose")  # in the names of the SOP classes that hold some
PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
DIFFER = ("EchoTime", "InversionTime", "FlipAngle", "DiffusionBValue", "TriggerTime", "TemporalPositionIdentifier",
          "AcquisitionNumber")
# Each element that is read is named here: what is not named, names and dates foremost, never enters the memory.
PLACE = ["SOPClassUID", "Modality", "PatientID", "SeriesInstanceUID", "SeriesDescription", "FrameOfReferenceUID",
         "Rows", "Columns", "NumberOfFrames", "PixelSpacing", "ImagePositionPatient", "ImageOrientationPatient",
         "SliceThickness", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *DIFFER]
VALUES = ["Rows", "Columns", "NumberOfFrames", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration",
          "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "ExtendedOffsetTable",
          "ExtendedOffsetTableLengths", "RescaleSlope", "RescaleIntercept", "ModalityLUTSequence",
          MAPPING, "LossyImageCompression", "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", *TAGS,
          *PIXELS]
FRAMES = 2**16  # most that a file is believed to hold
SYNTAXES = {(True, True): ImplicitVRLittleEndian, (False, True): ExplicitVRLittleEndian,
            (False, False): ExplicitVRBigEndian}
BROKEN = "the file was cut or damaged on its way; fetch it again from its source"


def is_dicom(path: Path) -> bool:
    """Return whether a file is DICOM by its first bytes, or means to be by its name; an empty file may have been."""
    with path.open("rb") as file:
        head = file.read(132)
    return not head or path.suffix.lower() in DICOM_SUFFIXES or head[128:] == b"DICM" or (
        head[:2] in STARTS and head[3:4] == b"\0")


def frames_of(path: Path) -> list[Frame]:
    """Return the pictures of a DICOM file; none where it is a report, a plan or the like.

    Raises:
        DataError: the file cannot be read, or is cut before it says how large its pictures are.
    """
    try:
        with _quiet():
            dataset = _dataset(path, PLACE, stop_before_pixels=True)
            if "Rows" in dataset and "Columns" in dataset:
                return [_frame(path, dataset, number) for number in range(_count(dataset, path))]
            kind = dataset.get("SOPClassUID") or dataset.file_meta.get("MediaStorageSOPClassUID")
            if kind is not None and not any(word in kind.name for word in PICTURES):
                return []
    except DataError:
        raise
    except Exception as fault:  # pydicom raises whatever damaged bytes lead it to, and quotes them
        raise _unreadable(path, fault) from None
    raise DataError("the DICOM file is cut, or none: it does not say how large its picture is", where=path, fix=BROKEN)


def values_of(frames: Sequence[Frame]) -> Iterator[Picture]:
    """Yield the values of pictures of one file.

    Raises:
        DataError: the file is cut or damaged, in colours, or its values need a table.
        EnvironmentFault: no decoder for its compression is installed.
    """
    path = frames[0].file
    try:
        with _quiet():
            dataset = _dataset(path, VALUES)
            notes = _check(dataset, path)
        for frame in frames:
            with _quiet():
                scale = _scale(dataset, frame, "RescaleSlope"), _scale(dataset, frame, "RescaleIntercept")
                slope, intercept = 1.0 if scale[0] is None else scale[0], scale[1] or 0.0
                stored = _decoded(dataset, frame)
                mapped, odd = mapped_of([*_groups(dataset, frame.number), dataset], slope=slope, intercept=intercept)
                padding = padding_of(dataset, stored)
            yield Picture(values=stored.astype(np.float64) * slope + intercept, padding=padding, scale=scale,
                          mapped=mapped, notes=(*notes, UNKNOWN) if odd and mapped is None else notes)
    except (DataError, EnvironmentFault):
        raise
    except Exception as fault:
        raise _unreadable(path, fault) from None


def _dataset(path: Path, tags: list[str], *, stop_before_pixels: bool = False) -> Dataset:
    """Return the named elements of a file."""
    with path.open("rb") as file:
        begins = file.read(132)[128:] == b"DICM"
    if begins and read_file_meta_info(path).get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
        raise DataError("the DICOM file is deflated as a whole", where=path,
                        why="its length is not known before it is unpacked", fix="convert it: dcmconv +te IN OUT")
    return dcmread(path, force=True, specific_tags=list(tags), stop_before_pixels=stop_before_pixels)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep pydicom from warnings and its log: they quote values."""
    log = logging.getLogger("pydicom")
    before, log.disabled = log.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.disabled = before


def _count(dataset: Dataset, path: Path) -> int:
    """Return how many pictures a file holds."""
    count = int(dataset.get("NumberOfFrames") or 1)
    if not 1 <= count <= FRAMES:
        raise DataError(f"the header says that the file holds {count} pictures", where=path, fix=BROKEN)
    return count


def _frame(path: Path, dataset: Dataset, number: int) -> Frame:
    """Return what the file says about one of its pictures."""
    def numbers(sequence: str, keyword: str, count: int) -> tuple[float, ...] | None:
        value = _found(dataset, number, sequence, keyword)
        found = tuple(float(part) for part in np.atleast_1d(value)) if value not in (None, "") else ()
        return found if len(found) == count and np.isfinite(found).all() else None

    return Frame(
        file=path, number=number, series=str(dataset.get("SeriesInstanceUID") or ""),
        patient=hidden(dataset.get("PatientID")), origin=str(dataset.get("FrameOfReferenceUID") or ""),
        description=str(dataset.get("SeriesDescription") or ""), modality=str(dataset.get("Modality") or ""),
        rows=int(dataset.Rows), columns=int(dataset.Columns),
        position=numbers("PlanePositionSequence", "ImagePositionPatient", 3),
        orientation=numbers("PlaneOrientationSequence", "ImageOrientationPatient", 6),
        spacing=numbers("PixelMeasuresSequence", "PixelSpacing", 2),
        thickness=numbers("PixelMeasuresSequence", "SliceThickness", 1),
        differ=tuple((name, _shown(dataset[name].value)) for name in DIFFER if name in dataset))


def _shown(value: Any) -> str:
    """Return a number, or ? for what is none: damage may have put anything there."""
    try:
        return f"{float(value):g}"
    except (TypeError, ValueError):
        return "?"


def _found(dataset: Dataset, number: int, sequence: str, keyword: str) -> Any:
    """Return an element: that of the frame, else that of all frames, else that of a file with one picture."""
    for group in _groups(dataset, number):
        for item in (group.get(sequence) or ())[:1]:
            if item.get(keyword) is not None:
                return item.get(keyword)
    alone = int(dataset.get("NumberOfFrames") or 1) == 1 or sequence == "PixelValueTransformationSequence"
    return dataset.get(keyword) if alone else None  # else all frames would lie at one place


def _groups(dataset: Dataset, number: int) -> list[Dataset]:
    """Return the functional groups of one picture, then those of all."""
    return [*(dataset.get("PerFrameFunctionalGroupsSequence") or ())[number:number + 1],
            *(dataset.get("SharedFunctionalGroupsSequence") or ())[:1]]


def _scale(dataset: Dataset, frame: Frame, keyword: str) -> float | None:
    value = _found(dataset, frame.number, "PixelValueTransformationSequence", keyword)
    if value is None or value == "":
        return None
    number = float(value)
    if not isfinite(number) or keyword == "RescaleSlope" and number == 0:
        raise DataError(f"{keyword} must be a number{' but 0' if number == 0 else ''}, got {number:g}",
                        where=frame.file, why="the values are lost by it", fix="export the series again")
    return number


def _check(dataset: Dataset, path: Path) -> tuple[str, ...]:
    """Refuse what are no measured values, and return notes."""
    kind = str(dataset.get("PhotometricInterpretation"))
    if int(dataset.get("SamplesPerPixel") or 1) != 1 or not kind.startswith("MONOCHROME"):
        raise DataError(f"the picture is in colours ({kind})", where=path,
                        why="it is a screenshot or a drawn map, no values", fix="export the map itself, as numbers")
    if dataset.get("ModalityLUTSequence"):
        raise DataError("the values are given by a table (ModalityLUTSequence)", where=path,
                        fix="export the map with RescaleSlope and RescaleIntercept")
    if not any(name in dataset for name in PIXELS):
        raise DataError("the DICOM file has no pixels", where=path, fix=BROKEN)
    said = {
        "the files have no preamble": dataset.preamble is None,
        "MONOCHROME1: low values are shown bright; the values are kept as they are": kind == "MONOCHROME1",
        "the files were compressed with loss: values are approximate": dataset.get("LossyImageCompression") == "01",
        "the files do not name their transfer syntax: it was found by their bytes": _syntax_missing(dataset)}
    return tuple(note for note, true in said.items() if true)


def _syntax_missing(dataset: Dataset) -> bool:
    """Return whether the file says no transfer syntax, and set the one by which its header could be read."""
    if dataset.file_meta.get("TransferSyntaxUID"):
        return False
    implicit, little = dataset.original_encoding
    dataset.file_meta.TransferSyntaxUID = SYNTAXES[bool(implicit), bool(little)]
    return True


def _decoded(dataset: Dataset, frame: Frame) -> NDArray[Any]:
    """Return the stored numbers of one picture."""
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated and "PixelData" in dataset:
        bits = int(dataset.BitsAllocated) * frame.rows * frame.columns * int(dataset.get("NumberOfFrames") or 1)
        if dataset.PixelData[(bits + 7) // 8:].strip(b"\0"):  # more than padding
            raise DataError(f"the file holds more than the {frame.rows} x {frame.columns} pixels of its header",
                            where=frame.file, fix=BROKEN)
    try:
        pixels = np.asarray(pixel_array(dataset, index=frame.number, raw=True))
    except (RuntimeError, NotImplementedError) as fault:
        if "dependencies" in str(fault) or "plugin" in str(fault) and "missing" in str(fault):
            raise EnvironmentFault(f"no decoder for {syntax.name} is installed", where=frame.file,
                                   fix="unpack the files (dcmdjpeg, dcmdjpls or gdcmconv --raw), or pip install "
                                       "pyjpegls for JPEG-LS") from None
        raise
    if pixels.shape != (frame.rows, frame.columns):
        raise DataError(f"the picture has {' x '.join(map(str, pixels.shape))} pixels, its header says "
                        f"{frame.rows} x {frame.columns}", where=frame.file, fix=BROKEN)
    return pixels


def _unreadable(path: Path, fault: Exception) -> DataError:
    return DataError("the DICOM file cannot be read", where=path, why=type(fault).__name__, fix=BROKEN)
