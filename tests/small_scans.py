"""Made-up scans with two structures in them, and tables of these, small enough to train on in seconds."""

import csv

import nibabel
import numpy as np

from excite.config import load_config
from excite.jobs.volume_masks.sections import MaskedVolumeConfig

AFFINE = np.array([[-1.0, 0, 0, 30], [0, 1.0, 0, -20], [0, 0, 1.5, 5], [0, 0, 0, 1]])  # left, front, head
SETTINGS = {"volumes.patch": (8, 16, 16), "model.options": {"encoder": "resnet20"}, "loop.epochs": 1,
            "loop.batch_size": 2, "loop.threads": 1, "loop.precision": "float32"}


def scan_of(number, *, shape=(18, 16, 9)):
    """Return an image along x, y, z and its labels: a box 1 with a box 2 in it, bright and brighter, in noise."""
    random = np.random.default_rng(number)
    image, labels = random.normal(100, 5, shape), np.zeros(shape, np.uint8)
    corner = random.integers(2, 5, 3) * (1, 1, 0) + (0, 0, 2)
    outer = tuple(slice(first, first + side) for first, side in zip(corner, (9, 8, 5), strict=True))
    inner = tuple(slice(first + 2, first + side) for first, side in zip(corner, (5, 5, 4), strict=True))
    labels[outer], labels[inner] = 1, 2
    return (image + 60.0 * labels).astype(np.float32), labels


def write_scan(file, values, affine=AFFINE):
    """Write values along x, y, z as NIfTI."""
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(values, affine), file)


def small_scans(folder, *, scans=10, patients=True):
    """Write scans, masks and a table (patient, scan, mask), and return the table."""
    rows = []
    for number in range(scans):
        row = {"patient": f"P{number:02}"} if patients else {}
        row |= {"scan": f"scans/s{number}.nii.gz", "mask": f"masks/s{number}.nii.gz"}
        image, labels = scan_of(number)
        write_scan(folder / row["scan"], image)
        write_scan(folder / row["mask"], labels)
        rows.append(row)
    return write_table(folder / "scans.csv", rows)


def write_table(file, rows):
    """Write a table and return its path."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return file


def scan_config(table, **changes):
    """Return a config that trains in seconds."""
    return load_config(MaskedVolumeConfig, values=SETTINGS | {"volumes.table": table} | changes)
