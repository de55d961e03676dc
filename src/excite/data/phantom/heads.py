"""Simulated fetal heads in the file format of HC18: pictures, ellipse outlines, pixel sizes, known circumferences.

The truth is the ellipse around the outside of the skull. Nothing is taken from real pictures: sizes, pixel sizes and
the look (a zoomed fan, a grey bar, blackened corners, calipers at times) follow what the data set's paper describes
(van den Heuvel et al., PLoS ONE 13(8) e0200412, 2018).
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from excite.data.phantom.anatomy import Patient, surroundings
from excite.data.phantom.scene import BONE, FLUID, Oval, Scene, Tissue
from excite.data.phantom.speckle import Plane, Probe, compress, envelope
from excite.ellipse import Ellipse
from excite.errors import UsageError
from excite.progress import Progress, silent

TABLE, FOLDER = "training_set_pixel_size_and_HC.csv", "training_set"
HEADER = ("filename", "pixel size(mm)", "head circumference (mm)", "simulated")  # the last is no column of HC18
STROKE = 1.45  # pixels, half the width of the drawn outline
COARSEST = 0.32  # mm a pixel of a picture 540 high
CUT = 0.03     # share of pictures whose head reaches over the upper border


@dataclass(frozen=True, kw_only=True)
class Examination:
    """What the pictures of one examination share.

    Args:
        patient: Mother and fetus.
        biparietal: Half the skull's shorter diameter, mm, to its outside.
        skull: Thickness of the bone as it looks, mm.
        frequency: Of the probe, MHz.
        looks: Compounded pictures.
        calipers: Whether marks are burnt in.
    """

    patient: Patient
    biparietal: float
    skull: float
    frequency: float
    looks: int
    calipers: bool


def simulate_heads(folder: Path, *, patients: int = 40, images: int = 3, size: tuple[int, int] = (540, 800),
                   seed: int = 0, progress: Progress | None = None) -> Path:
    """Write pictures and outlines under `training_set`, HC18's table, and `truth.csv`; return the table's path.

    Every picture depends on (seed, patient, its number) alone, so a larger set begins with a smaller one's pictures.

    Args:
        folder: Made if missing; files of the same names are replaced.
        patients: How many examinations.
        images: Most pictures an examination; half of them have one.
        size: Height and width in pixels.
        seed: Another seed, other heads.
        progress: Told after each examination.

    Raises:
        UsageError: an argument is out of range.
    """
    for name, value, low, high in (("patients", patients, 1, 9999), ("images", images, 1, 9), ("seed", seed, 0, 2**63),
                                   ("height", size[0], 64, 4096), ("width", size[1], 64, 4096)):
        if not low <= value <= high:
            raise UsageError(f"{name} must be from {low} to {high}, got {value}")
    (folder / FOLDER).mkdir(parents=True, exist_ok=True)
    rows, truths = [], []
    for patient in range(patients):
        for number in range(_count(seed, patient, images)):
            name = f"{patient + 1:03d}_{number + 1 if number else ''}HC"
            picture, ellipse, scale = simulate_head(seed=seed, patient=patient, number=number, size=size)
            Image.fromarray(picture).save(folder / FOLDER / f"{name}.png", compress_level=3)
            Image.fromarray(draw_outline(ellipse, size)).save(folder / FOLDER / f"{name}_Annotation.png")
            rows.append((f"{name}.png", f"{scale:.9g}", f"{ellipse.circumference * scale:.2f}", "yes"))
            truths.append((f"{name}.png", *(f"{value:.5f}" for value in ellipse)))
        (progress or silent()).step("simulating heads", patient + 1, patients)
    _write(folder / "truth.csv", ("filename", *(f"{name}_px" for name in "xyab"), "angle_rad"), truths)
    _write(folder / TABLE, HEADER, rows)
    return folder / TABLE


def simulate_head(*, seed: int, patient: int, number: int, size: tuple[int, int] = (540, 800)
                  ) -> tuple[NDArray[np.uint8], Ellipse, float]:
    """Return one picture (H, W), the true ellipse in its pixels, and millimetres a pixel."""
    examination = draw_examination(seed, patient)
    random = np.random.default_rng([seed, patient, 7, number + 1])
    long = examination.biparietal * random.uniform(1.18, 1.36)
    short = examination.biparietal * random.uniform(0.98, 1.02)
    turn = random.normal(0, 0.3) + (np.pi / 2 if random.random() < 0.04 else 0)
    below = 1.35 * examination.patient.wall + examination.patient.fluid * random.uniform(0.5, 2) + 2
    skull = Oval(x=random.normal(0, 0.12 * long), z=below + np.hypot(long * np.sin(turn), short * np.cos(turn)),
                 a=long, b=short, turn=turn)
    probe = _probe(examination, skull, random)
    scene = Scene(probe=probe, random=random)
    _paint(scene, examination, skull)
    echoes = envelope(scene.echo, scene.attenuation, probe, random, gain_slope=random.uniform(0.42, 0.52),
                      noise=10 ** random.uniform(-4.6, -3.8), looks=examination.looks)
    grey = compress(echoes, dynamic_range=random.uniform(42, 54), gain=random.uniform(-19, -11))
    picture, ellipse, scale = _zoomed(grey, probe, skull, size, random)
    if examination.calipers:
        _calipers(picture, ellipse)
    return _dressed(picture, random), ellipse, scale


def draw_outline(ellipse: Ellipse, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return the outline as HC18 has it: 255 within a stroke whose centre line is the ellipse, cut by the border."""
    rows, columns = np.indices(size)
    points = np.stack([columns.ravel(), rows.ravel()], axis=1)
    drawn = np.abs(ellipse.distances(points)).reshape(size) <= STROKE
    return np.where(drawn, 255, 0).astype(np.uint8)


def draw_examination(seed: int, patient: int) -> Examination:
    """Return a fetus of 12 to 40 weeks, most of 18 to 24, and how it was scanned."""
    random = np.random.default_rng([seed, patient, 7, 0])
    biparietal = float(np.clip(random.choice((random.normal(26, 3), random.normal(25, 2), random.uniform(11, 48))),
                               10, 50))
    body = Patient(growth=biparietal / 37, wall=random.uniform(9, 22), fat=random.uniform(0.45, 0.75),
                   fluid=random.uniform(2, 12), calcified=random.uniform(0.5, 1.1))
    return Examination(patient=body, biparietal=biparietal, skull=0.8 + 0.04 * biparietal * random.uniform(0.7, 1.2),
                       frequency=random.uniform(3.2, 5.5), looks=int(random.integers(2, 6)),
                       calipers=bool(random.random() < 0.15))


def _count(seed: int, patient: int, images: int) -> int:
    random = np.random.default_rng([seed, patient, 7])
    return 1 if random.random() < 0.5 else int(random.integers(1, images + 1))


def _probe(examination: Examination, skull: Oval, random: np.random.Generator) -> Probe:
    low = skull.z + np.hypot(skull.a * np.sin(skull.turn), skull.b * np.cos(skull.turn))
    depth = float(low + random.uniform(0.25, 0.8) * skull.b + 8)
    return Probe(frequency=examination.frequency, radius=random.uniform(40, 60), angle=random.uniform(0.55, 0.75),
                 depth=depth, focus=depth * random.uniform(0.45, 0.7), aperture=random.uniform(13, 20), samples=640,
                 lines=256)


def _paint(scene: Scene, examination: Examination, skull: Oval) -> None:
    """Paint mother, fluid, brain and skull; the skull's outside is the oval."""
    random, patient = scene.random, examination.patient
    around = Oval(x=skull.x + random.normal(0, 0.25 * skull.a), z=skull.z + random.normal(0, 0.12 * skull.b),
                  a=skull.a * random.uniform(0.6, 1.35), b=skull.b * random.uniform(0.6, 1.15), turn=skull.turn)
    surroundings(scene, patient, around)
    scene.echo *= random.uniform(0.3, 0.9)
    inside = skull.inside(scene.x, scene.z)
    scene.paint(inside, Tissue(echo=random.uniform(0.04, 0.1), attenuation=0.4))
    scene.echo[inside] *= (scene.texture(grain=0.35 * skull.b, strength=0.5)
                           * scene.texture(grain=0.07 * skull.b + 1, strength=0.45))[inside]
    _brain(scene, skull)
    _bone(scene, examination, skull)


def _bone(scene: Scene, examination: Examination, skull: Oval) -> None:
    """Paint the skull: bright across the beam, lost along it, with sutures, and not quite an ellipse."""
    random = scene.random
    u, v = skull.local(scene.x, scene.z)
    bearing = np.arctan2(v / skull.b, u / skull.a)
    thick = examination.skull * (1 + 0.25 * np.cos(bearing - random.uniform(0, 2 * np.pi)))
    dent = sum(random.normal(0, 0.02 / order) * np.cos(order * (bearing - random.uniform(0, 2 * np.pi)))
               for order in (3, 4, 5))
    level = skull.level(scene.x, scene.z)
    slope = np.hypot(u / skull.a**2, v / skull.b**2) / np.maximum(level, np.float32(1e-3))
    depth = (1 + np.float32(0.3) * dent - level) / slope / thick  # 0 at the outside, 1 at the inside
    where = np.abs(depth - 0.5) < 1.1
    facing = skull.facing(scene, where)
    knots = random.random(14)
    ring = np.interp(bearing[where], np.linspace(-np.pi, np.pi, 15), np.append(knots, knots[0]))
    closed = 1 / (1 + np.exp((random.uniform(0.0, 0.35) - ring) / 0.03))
    seen = (0.02 + 0.98 * facing**3) * (0.05 + 0.95 * closed) * scene.texture(grain=9.0, strength=0.45)[where]
    strength = 0.5 * BONE.echo * examination.patient.calcified * np.exp(-2.2 * (depth[where] - 0.5) ** 2)
    scene.echo[where] = np.maximum(scene.echo[where] * np.exp(-3 * closed), strength * seen)
    scene.attenuation[where] = 0.4 + random.uniform(0.8, 2.8) * (0.3 + 0.7 * facing) * closed


def _brain(scene: Scene, skull: Oval) -> None:
    """Paint the falx, the cavum, the ventricles with their bright choroid plexus, and folds."""
    random = scene.random
    visible = random.uniform(0.3, 1.0)
    u, v = skull.local(scene.x, scene.z)
    wave = v - np.float32(0.02 * skull.b) * np.sin(u / np.float32(skull.a) * 5)
    line = (np.abs(wave) < 0.25 + 0.009 * skull.b) & (np.abs(u) < 0.85 * skull.a)
    scene.echo[line] = 0.55 * visible * scene.texture(grain=0.25 * skull.b, strength=0.7)[line]
    front = random.choice((-1.0, 1.0))
    if random.random() < 0.7:
        x, z = skull.at(0.42 * front, 0)
        cavum = Oval(x=x, z=z, a=0.13 * skull.a, b=0.08 * skull.b, turn=skull.turn)
        scene.paint(cavum.inside(scene.x, scene.z), FLUID)
        scene.interface(cavum, Tissue(echo=0.6 * visible), thickness=0.02 * skull.b + 0.3)
    for side in (-1, 1):
        if random.random() < 0.75:
            x, z = skull.at(-0.3 * front, random.uniform(0.33, 0.42) * side)
            horn = Oval(x=x, z=z, a=random.uniform(0.28, 0.4) * skull.a, b=random.uniform(0.1, 0.17) * skull.b,
                        turn=skull.turn + 0.2 * side * front)
            scene.paint(horn.inside(scene.x, scene.z), Tissue(echo=0.015, attenuation=0.2))
            scene.interface(horn, Tissue(echo=0.4 * visible), thickness=0.02 * skull.b + 0.3, gaps=0.3)
            x, z = horn.at(-0.2 * front, 0)
            plexus = Oval(x=x, z=z, a=0.55 * horn.a, b=0.7 * horn.b, turn=horn.turn)
            scene.paint(plexus.inside(scene.x, scene.z), Tissue(echo=random.uniform(0.2, 0.5) * visible))
    for _ in range(random.integers(3, 9)):
        bearing, reach = random.uniform(0, 2 * np.pi), random.uniform(0.2, 0.8)
        x, z = skull.at(reach * np.cos(bearing), reach * np.sin(bearing))
        fold = Oval(x=x, z=z, a=random.uniform(0.05, 0.2) * skull.a, b=random.uniform(0.01, 0.03) * skull.b + 0.2,
                    turn=skull.turn + random.normal(0, 0.5))
        scene.paint(fold.inside(scene.x, scene.z), Tissue(echo=random.uniform(0.2, 0.6) * visible))


def _zoomed(lines: Plane, probe: Probe, skull: Oval, size: tuple[int, int], random: np.random.Generator
            ) -> tuple[NDArray[np.uint8], Ellipse, float]:
    """Return the part of the fan around the head as a picture, the ellipse in it, and millimetres a pixel."""
    height, width = size
    across = np.hypot(skull.a * np.cos(skull.turn), skull.b * np.sin(skull.turn))
    down = np.hypot(skull.a * np.sin(skull.turn), skull.b * np.cos(skull.turn))
    wanted = min(2 * across / (width * random.uniform(0.35, 0.75)), COARSEST * 540 / height)
    scale = float(f"{max(wanted, 2 * down / (0.88 * height)):.9g}")  # as the table writes it
    middle = (height - 1) / 2 + random.uniform(-0.6, 0.6) * (height / 2 - down / scale - 4)
    if random.random() < CUT:
        middle = down / scale * random.uniform(0.9, 0.97)
    place = (width - 1) / 2 + random.uniform(-0.5, 0.5) * (width / 2 - across / scale - 4)
    x = (np.arange(width) - place)[None, :] * scale + skull.x
    z = (np.arange(height) - middle)[:, None] * scale + skull.z
    reach = np.hypot(x, z + probe.radius)
    row = (reach - probe.radius) / probe.step - 0.5
    column = (np.arctan2(x, z + probe.radius) + probe.angle) * ((probe.lines - 1) / (2 * probe.angle))
    picture = cv2.remap(lines, column.astype(np.float32), row.astype(np.float32), cv2.INTER_CUBIC,
                        borderMode=cv2.BORDER_CONSTANT, borderValue=0)
    ellipse = Ellipse(place, middle, skull.a / scale, skull.b / scale, skull.turn % np.pi)
    return np.clip(np.rint(picture), 0, 255).astype(np.uint8), ellipse, scale


def _calipers(picture: NDArray[np.uint8], ellipse: Ellipse) -> None:
    """Burn crosses into the ends of the two diameters."""
    arm = max(2, round(picture.shape[0] / 90))
    for x, y in ellipse.points(4):
        if arm < x < picture.shape[1] - arm and arm < y < picture.shape[0] - arm:
            cv2.drawMarker(picture, (round(x), round(y)), (220,), cv2.MARKER_CROSS, 2 * arm, 1)


def _dressed(picture: NDArray[np.uint8], random: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture with the scale of greys at its left and corners blackened as names are."""
    height, width = picture.shape
    ramp = np.linspace(255, 0, height // 3).astype(np.uint8)
    picture[height // 20: height // 20 + len(ramp), : max(1, width // 100)] = ramp[:, None]
    picture[-round(height * random.uniform(0.1, 0.2)):, -round(width * random.uniform(0.15, 0.25)):] = 0
    if random.random() < 0.3:
        picture[: round(0.18 * height), -round(0.12 * width):] = 0
    return picture


def _write(file: Path, header: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
