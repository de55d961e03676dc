"""What the pictures of one stack must have in common besides their grid: the patient, the place of 0 mm, the scale."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from excite.data.volumes.dicom_frames import Frame, Picture
from excite.errors import DataError

UNSCALED = {"RescaleSlope": 1.0, "RescaleIntercept": 0.0}  # what leaves the stored numbers as they are


def refuse_mixed(frames: Sequence[Frame], where: Path) -> None:
    """Raise where pictures are of several patients, or count their millimetres from several places.

    Raises:
        DataError: how many there are; who they are is not told.
    """
    patients = {frame.patient for frame in frames} - {None}
    if len(patients) > 1:
        raise DataError(f"pictures of {len(patients)} patients (PatientID) are in one series", where=where,
                        why="their SeriesInstanceUID is the same",
                        fix="put each patient's files into a folder of its own")
    origins = {frame.origin for frame in frames} - {""}
    if len(origins) > 1:
        raise DataError(f"the pictures lie in {len(origins)} frames of reference (FrameOfReferenceUID)", where=where,
                        why="their places in millimetres do not count from one point",
                        fix="leave those of one frame of reference in the folder, or export the series again")


def refuse_mixed_scales(pictures: Sequence[Picture], where: Path) -> None:
    """Raise where some pictures are rescaled and others do not say how.

    Raises:
        DataError: which element some of them lack.
    """
    for place, (keyword, neutral) in enumerate(UNSCALED.items()):
        said = [picture.scale[place] for picture in pictures]
        others = [value for value in said if value is not None and value != neutral]
        lacking = sum(value is None for value in said)
        if lacking and others:
            raise DataError(f"{lacking} of {len(said)} pictures have no {keyword}, others have {others[0]:g}",
                            where=where, why="their values are on different scales",
                            fix="export the whole series again, or as NIfTI")


def mapped_told(pictures: Sequence[Picture], where: Path) -> list[str]:
    """Return a note where a RealWorldValueMapping says other values than RescaleSlope and RescaleIntercept.

    Raises:
        DataError: it says so of each picture in another way: then these are on different scales.
    """
    mapped = [picture.mapped for picture in pictures]
    first = mapped[0]
    for one in mapped[1:]:
        if (one is None) != (first is None) or (one and first and not np.allclose(one, first, rtol=1e-6)):
            raise DataError("the RealWorldValueMappings of the pictures differ from one to the next, and not as "
                            "RescaleSlope and RescaleIntercept do", where=where,
                            why=f"{first.told() if first else 'the first has none'}; another: "
                                f"{one.told() if one else 'none'}",
                            fix="export the map with RescaleSlope and RescaleIntercept that give its values, or as "
                                "NIfTI")
    return [first.told()] if first is not None and first.differs else []
