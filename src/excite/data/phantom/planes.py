"""A simulated table of fetal ultrasound planes: four classes that differ by structure, several pictures a patient."""

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from excite.data.phantom.anatomy import PLANES, Patient, Truth
from excite.data.phantom.scene import Scene
from excite.data.phantom.speckle import Probe, compress, envelope, scan_convert
from excite.errors import UsageError
from excite.progress import Progress, silent


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How one patient was scanned."""

    probe: Probe
    gain: float
    dynamic_range: float
    gain_slope: float
    noise: float
    looks: int


def simulate_planes(folder: Path, *, patients: int = 40, images: int = 4, classes: int = 4,
                    size: tuple[int, int] = (240, 320), seed: int = 0, progress: Progress | None = None) -> Path:
    """Write PNG pictures, `planes.csv` (image, label, patient, simulated) and `truth.csv`; return the former's path.

    Every picture depends on (seed, patient, its number) alone, so a larger table begins with a smaller one's pictures.

    Args:
        folder: Made if missing; files of the same names are replaced.
        patients: How many.
        images: Most pictures a patient; each has between half of it and all of it.
        classes: The first so many of abdomen, femur, head, thorax.
        size: Height and width in pixels.
        seed: Another seed, other patients.
        progress: Told after each patient.

    Raises:
        UsageError: an argument is out of range.
    """
    _check(patients=patients, images=images, classes=classes, size=size, seed=seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    truths: list[dict[str, object]] = []
    for patient in range(patients):
        for number, label in enumerate(_labels(seed, patient, images, classes)):
            name = f"images/p{patient + 1:04d}_{number + 1}.png"
            picture, truth = simulate_plane(label, seed=seed, patient=patient, number=number, size=size)
            Image.fromarray(picture).save(folder / name, compress_level=3)
            rows.append({"image": name, "label": label, "patient": f"P{patient + 1:04d}", "simulated": "yes"})
            truths.append({"image": name, "label": label, **{key: f"{value:.4f}" for key, value in truth.items()}})
        (progress or silent()).step("simulating patients", patient + 1, patients)
    _write(folder / "truth.csv", truths)
    _write(folder / "planes.csv", rows)
    return folder / "planes.csv"


def simulate_plane(label: str, *, seed: int, patient: int, number: int,
                   size: tuple[int, int] = (240, 320)) -> tuple[NDArray[np.uint8], Truth]:
    """Return one picture (H, W) and the parameters of its structure, millimetres a pixel among them."""
    body, settings = draw_patient(seed, patient)
    random = np.random.default_rng([seed, patient, number + 1])
    scene = Scene(probe=settings.probe, random=random)
    truth = PLANES[label](scene, body)
    echoes = envelope(scene.echo, scene.attenuation, settings.probe, random, gain_slope=settings.gain_slope,
                      noise=settings.noise, looks=settings.looks)
    grey = compress(echoes, dynamic_range=settings.dynamic_range, gain=settings.gain + random.normal(0, 1.5))
    picture, scale = scan_convert(grey, settings.probe, height=size[0], width=size[1])
    return picture, {**truth, "mm_per_pixel": scale}


def draw_patient(seed: int, patient: int) -> tuple[Patient, Settings]:
    """Return the anatomy of a patient and how she was scanned."""
    random = np.random.default_rng([seed, patient, 0])
    body = Patient(growth=random.uniform(0.75, 1.2), wall=random.uniform(9, 24), fat=random.uniform(0.5, 0.85),
                   fluid=random.uniform(2, 14), calcified=random.uniform(0.5, 1.1))
    depth = 1.4 * body.wall + 88 * body.growth * random.uniform(0.95, 1.25)
    probe = Probe(frequency=random.uniform(2.8, 4.2), radius=random.uniform(40, 60), angle=random.uniform(0.52, 0.68),
                  depth=depth, focus=depth * random.uniform(0.4, 0.7), aperture=random.uniform(11, 17))
    settings = Settings(probe=probe, gain=random.uniform(-25, -15), dynamic_range=random.uniform(46, 58),
                        gain_slope=random.uniform(0.4, 0.55), noise=10 ** random.uniform(-4.2, -3.3),
                        looks=int(random.integers(1, 4)))
    return body, settings


def _labels(seed: int, patient: int, images: int, classes: int) -> list[str]:
    """Return the classes of a patient's pictures, evenly drawn: each round of all classes in its own order."""
    random = np.random.default_rng([seed, patient, 0, 1])
    count = int(random.integers((images + 1) // 2, images + 1))
    names = list(PLANES)[:classes]
    order = [names[k] for _ in range(0, count, classes) for k in random.permutation(classes)]
    return order[:count]


def _write(file: Path, rows: list[dict[str, object]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def _check(*, patients: int, images: int, classes: int, size: tuple[int, int], seed: int) -> None:
    for name, value, low, high in (("patients", patients, 1, 9999), ("images", images, 1, 1000),
                                   ("classes", classes, 2, len(PLANES)), ("seed", seed, 0, 2**63 - 1),
                                   ("height", size[0], 32, 4096), ("width", size[1], 32, 4096)):
        if not low <= value <= high:
            raise UsageError(f"{name} must be from {low} to {high}, got {value}")
