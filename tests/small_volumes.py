"""A few patients with small maps, of which the first tells the class, and a training that takes seconds."""

import csv

import nibabel
import numpy as np

from excite.config import load_config
from excite.jobs.volumes.sections import VolumeConfig

SETTINGS = {"volumes.shape": (4, 16, 16), "volumes.spacing": (4.0, 2.0, 2.0), "loop.epochs": 1, "loop.batch_size": 4,
            "loop.threads": 1, "loop.precision": "float32", "model.options": {"trunk_options": {"width": 0.25},
                                                                              "width": 16}}
CLASSES = ("low", "high")


def write_map(file, level, *, seed, shape=(8, 8, 4), spacing=(4.0, 4.0, 4.0), shift=(0, 0, 0)):
    """Write a map of noise around a level as NIfTI; its middle lies at `shift` mm."""
    values = np.random.default_rng(seed).normal(level, level / 20, shape).astype(np.float32)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = np.array(shift) - (np.array(shape) - 1) / 2 * spacing
    nibabel.save(nibabel.Nifti1Image(values, affine), file)


def small_table(folder, *, patients=16, missing=(3, 8)):
    """Write maps and a table (patient, t1, adc, grade, note); patients in `missing` lack the ADC."""
    rows = []
    for number in range(patients):
        label = CLASSES[number % 2]
        row = {"patient": f"P{number:02}", "t1": f"maps/{number}_t1.nii.gz", "adc": f"maps/{number}_adc.nii.gz",
               "grade": label, "note": "x"}
        (folder / "maps").mkdir(parents=True, exist_ok=True)
        write_map(folder / row["t1"], 1000 if label == "low" else 1500, seed=number)
        write_map(folder / row["adc"], 2000, seed=100 + number, shape=(10, 10, 3), spacing=(3.5, 3.5, 5.0))
        rows.append(row | ({"adc": ""} if number in missing else {}))
    return write_rows(folder / "patients.csv", rows)


def write_rows(file, rows):
    """Write a table and return its path."""
    with file.open("w", newline="", encoding="utf-8") as stream:
        table = csv.DictWriter(stream, list(rows[0]))
        table.writeheader()
        table.writerows(rows)
    return file


def read_rows(file):
    """Return the lines of a table."""
    with file.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def volume_config(table, **changes):
    """Return a config that trains in seconds."""
    return load_config(VolumeConfig, values=SETTINGS | {"volumes.table": table} | changes)
