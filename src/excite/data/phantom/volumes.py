"""Simulated patients with T1, ADC and T2* maps of both kidneys, a table of them, and the truth beside it.

No map shows the grade of fibrosis alone, as oedema, perfusion and iron move its levels as much; all three together do.
Maps have grids of their own, some oblique, some stored mirrored; some are missing, and some patients moved between two
maps, which only `truth.json` says.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from excite.data.phantom.kidneys import CAUSES, MAPS, Patient, draw_patient, paint
from excite.data.volumes.grid import Grid
from excite.errors import UsageError
from excite.progress import Progress, silent

TABLE, TRUTH, FOLDER = "table.csv", "truth.json", "maps"
MASKED, MASKS = "masks.csv", "masks"  # T1 maps with the truth of which tissue is where
HEADER = ("patient", *MAPS, "grade", "age", "egfr", "simulated")
PROTOCOL = {"t1": ((24, 96, 96), (4.0, 1.5, 1.5)), "adc": ((16, 64, 64), (6.0, 2.3, 2.3)),
            "t2star": ((20, 80, 80), (5.0, 1.8, 1.8))}  # voxels and millimetres along D, H and W
OBLIQUE = 0.4        # share of patients whose slices are tilted, up to 12 degrees
MIRRORED = 0.3       # share of maps that are stored with an axis turned round
TWO_MISSING = 0.2    # share of those who lack maps that have one only
MOVED = (12.0, 24.0)  # mm
README = """SIMULATED DATA. Nothing here was measured: kidneys, patients and grades are made up by a program (excite).
They are for trying things out and for tests; numbers on them say nothing about real patients.

table.csv   one row a patient: the maps' files (empty: missing), the grade of fibrosis, age in years, eGFR in
            ml/min/1.73 m2
maps/       NIfTI: T1 in ms, ADC in 1e-6 mm2/s, T2* in ms
masks.csv   with --masks: patients with a T1, and masks/, what is where on its grid: 1 cortex, 2 medulla, 3 pelvis
truth.json  what was planted: the maps that are missing, and by how many millimetres (towards the head, the front and
            the right) the patient had moved when a map was taken; what else than fibrosis moves the levels
"""


@dataclass(frozen=True, kw_only=True)
class Examination:
    """How the maps of one patient were taken.

    Args:
        grids: Of each map, D towards the head, H to the front, W to the right.
        mirrored: Axes (0 D, 1 H, 2 W) that a map's file stores the other way round.
        missing: Maps that there are not.
        moved: The map before which the patient moved, and by how much, mm towards the head, the front and the right.
    """

    grids: dict[str, Grid]
    mirrored: dict[str, tuple[int, ...]]
    missing: tuple[str, ...]
    moved: tuple[str, tuple[float, float, float]] | None


def simulate_volumes(folder: Path, *, patients: int = 60, seed: int = 0, missing: float = 0.3,
                     misregistered: float = 0.05, grades: Sequence[str] = ("none", "mild", "severe"),
                     masks: bool = False, progress: Progress | None = None) -> Path:
    """Write maps under `maps`, a table and `truth.json`; return the table's path.

    A patient depends on (seed, its number) alone, so a larger set begins with a smaller one's patients. Of as many
    patients in a row as there are grades, each has another one.

    Args:
        folder: Made if missing; files of the same names are replaced.
        patients: How many.
        seed: Another seed, other patients.
        missing: Share of patients that lack a map or two.
        misregistered: Share of patients, of those with two maps or more, who moved before one of them.
        grades: Of fibrosis, from none to the worst.
        masks: Write label volumes of the T1 maps too, and `masks.csv`, a table of both.
        progress: Told after each patient.

    Raises:
        UsageError: an argument is out of range.
    """
    for name, value, low, high in (("patients", patients, 1, 9999), ("seed", seed, 0, 2**63),
                                   ("missing", missing, 0, 1), ("misregistered", misregistered, 0, 1),
                                   ("different grades", len(set(grades)), 2, 9)):
        if not low <= value <= high:
            raise UsageError(f"{name} must be from {low} to {high}, got {value}")
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    rows, masked, truth = [], list[tuple[object, ...]](), {}
    for number in range(patients):
        name = f"P{number + 1:03d}"
        grade = grade_of(seed=seed, patient=number, grades=len(grades))
        patient = draw_patient(seed=seed, patient=number, severity=grade / (len(grades) - 1))
        taken = draw_examination(seed=seed, patient=number, missing=missing, misregistered=misregistered)
        files = {map_name: f"{FOLDER}/{name}_{map_name}.nii.gz" for map_name in MAPS if map_name not in taken.missing}
        for map_name, file in files.items():
            values, labels = _values(patient, taken, map_name)
            _write_map(folder / file, values, taken, map_name)
            if masks and map_name == "t1":
                (folder / MASKS).mkdir(exist_ok=True)
                _write_map(folder / f"{MASKS}/{name}_t1.nii.gz", labels, taken, map_name)
                masked.append((name, file, f"{MASKS}/{name}_t1.nii.gz", 1))
        age, rate = _clinical(patient)
        rows.append((name, *(files.get(map_name, "") for map_name in MAPS), grades[grade], age, rate, 1))
        truth[name] = _truth(patient, taken)
        (progress or silent()).step("simulating kidneys", number + 1, patients)
    _write_table(folder / TABLE, HEADER, rows)
    if masks:
        _write_table(folder / MASKED, ("patient", "t1", "mask", "simulated"), masked)
    (folder / TRUTH).write_text(json.dumps(truth, indent=1), encoding="utf-8", newline="\n")
    (folder / "README.txt").write_text(README, encoding="utf-8", newline="\n")
    return folder / TABLE


def grade_of(*, seed: int, patient: int, grades: int) -> int:
    """Return the number of a patient's grade, from 0."""
    block, place = divmod(patient, grades)
    return int(np.random.default_rng([seed, block, 4]).permutation(grades)[place])


def draw_examination(*, seed: int, patient: int, missing: float = 0.0, misregistered: float = 0.0) -> Examination:
    """Return how the maps of the patient of this number were taken; the shares change nothing but what they say."""
    random = np.random.default_rng([seed, patient, 5])
    tilt = random.uniform(-12, 12, 3) * (1.0, 0.4, 0.4) * (random.random() < OBLIQUE)
    middle = random.normal(0, 2, 3)
    grids, mirrored = {}, {}
    for name, (shape, spacing) in PROTOCOL.items():
        turn = Rotation.from_euler("xyz", tilt + random.uniform(-1.5, 1.5, 3) * (random.random() < 0.3), degrees=True)
        affine = np.eye(4)
        affine[:3, :3] = turn.as_matrix() @ np.eye(3)[::-1] * spacing
        affine[:3, 3] = middle + random.uniform(-1, 1, 3) - affine[:3, :3] @ ((np.array(shape) - 1) / 2)
        grids[name] = Grid(shape, affine)
        mirrored[name] = tuple(axis for axis in range(3) if random.random() < MIRRORED)
    order = [MAPS[place] for place in random.permutation(3)]
    count = (2 if random.random() < TWO_MISSING else 1) if random.random() < missing else 0
    gone, left = order[:count], order[count:]
    chance, far, way = random.random(), random.uniform(*MOVED), random.standard_normal(3)
    depth, height, width = (way * far / np.linalg.norm(way)).tolist()
    moves = chance < misregistered and len(left) > 1
    moved = (next(name for name in left if name != "t1"), (depth, height, width)) if moves else None
    return Examination(grids=grids, mirrored=mirrored, missing=tuple(sorted(gone)), moved=moved)


def _values(patient: Patient, taken: Examination, name: str) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Return a map (D, H, W) before it is stored, and which tissue is where."""
    moved = taken.moved[1] if taken.moved and taken.moved[0] == name else (0.0, 0.0, 0.0)
    grid = taken.grids[name]
    return paint(patient, name=name, shape=grid.shape, affine=grid.affine, moved=(moved[2], moved[1], moved[0]))


def _write_map(file: Path, values: NDArray[Any], taken: Examination, name: str) -> None:
    """Write a map as 16-bit NIfTI, some of its axes turned round with their affine."""
    affine = taken.grids[name].affine.copy()
    for axis in taken.mirrored[name]:
        values = np.flip(values, axis)
        affine[:3, 3] += affine[:3, axis] * (values.shape[axis] - 1)
        affine[:3, axis] *= -1
    header = nibabel.Nifti1Header()  # type: ignore[no-untyped-call]
    header.set_data_dtype(np.int16)  # type: ignore[no-untyped-call]
    header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    header["descrip"] = "SIMULATED by excite: nothing was measured"
    image = nibabel.Nifti1Image(values.T, affine[:, [2, 1, 0, 3]], header)  # type: ignore[no-untyped-call]
    nibabel.save(image, file)


def _clinical(patient: Patient) -> tuple[int, int]:
    """Return age and glomerular filtration rate."""
    random = np.random.default_rng([*patient.key, 6])
    age = float(np.clip(random.normal(52, 14), 18, 85))
    rate = 96 - 45 * patient.severity - 0.35 * (age - 52) + random.normal(0, 15)
    return round(age), round(float(np.clip(rate, 8, 130)))


def _truth(patient: Patient, taken: Examination) -> dict[str, Any]:
    moved = {taken.moved[0]: [round(step, 2) for step in taken.moved[1]]} if taken.moved else {}
    amounts = (patient.severity, *patient.causes)
    return {"missing": list(taken.missing), "moved_mm": moved,
            "causes": {cause: round(amount, 4) for cause, amount in zip(CAUSES, amounts, strict=True)}}


def _write_table(file: Path, header: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        csv.writer(stream, lineterminator="\n").writerows([header, *rows])
