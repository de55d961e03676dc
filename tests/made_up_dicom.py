"""DICOM files of a made-up patient, whose data are there to be kept out of every message."""

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

SECRETS = {"PatientName": "Muster^Erika", "PatientID": "MRN4711", "PatientBirthDate": "19480229",
           "StudyDate": "20240630", "SeriesDate": "20240630", "AccessionNumber": "ACC0815",
           "InstitutionName": "Klinik Musterstadt", "ReferringPhysicianName": "Arzt^Anton",
           "PatientComments": "Frau Muster kam um neun"}
AXIAL, CORONAL = [1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1]
STACK = np.random.default_rng(2).integers(0, 3000, (5, 6, 7)).astype(np.uint16)


def plant(path: Path, pixels: NDArray[Any] = STACK[0], *, place: float = 0.0, uid: str = "1.2.3", name: str = "T1 map",
          **fields: Any) -> Path:
    """Write a picture with a patient's data in it."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MRImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "1.2.9"
    data.Modality, data.SeriesInstanceUID, data.SeriesDescription = "MR", uid, name
    data.ImageOrientationPatient, data.PixelSpacing, data.SliceThickness = AXIAL, [1.5, 0.75], 3
    data.ImagePositionPatient = [-10.0, 20.0, place]
    data.Rows, data.Columns = pixels.shape[-2:]
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, int(pixels.dtype.kind == "i")
    data.PixelData = pixels.tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some fields are wrong on purpose
        for keyword, value in {**SECRETS, **fields}.items():
            if value is None:
                del data[keyword]
            else:
                setattr(data, keyword, value)
        data.save_as(path, enforce_file_format=True)
    return path


def plant_stack(folder: Path, places: tuple[float, ...] = (0, 4, 8, 12, 16), **fields: Any) -> Path:
    """Write pictures whose file names are in another order than their places; SliceThickness is not the distance."""
    order = np.random.default_rng(5).permutation(len(places))
    for name, number in enumerate(order):
        plant(folder / f"{name:04}.dcm", STACK[number], place=places[number], **fields)
    return folder
