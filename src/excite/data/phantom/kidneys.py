"""What is inside a simulated patient around the kidneys: tissues with T1, ADC and T2*, and what fibrosis does to them.

Levels follow published ranges at 3 T; sizes are about three quarters of an adult's, so that both kidneys fit the maps.
How much fibrosis changes a map, and what else does, is made up: see `CAUSES`.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Numbers = NDArray[np.float64]
MAPS = ("t1", "adc", "t2star")
LABELS = {"cortex": 1, "medulla": 2, "pelvis": 3}  # of the truth; 0 is what is no kidney


class Levels(NamedTuple):
    """Level of a tissue, or a change of it, in each map: ms, 1e-6 mm2/s, ms."""

    t1: float
    adc: float
    t2star: float


TISSUES = {
    "muscle": Levels(1050, 1450, 32), "fat": Levels(380, 350, 24), "liver": Levels(800, 1150, 25),
    "spleen": Levels(1250, 900, 45), "vertebra": Levels(620, 550, 18), "cortex": Levels(1280, 2180, 58),
    "medulla": Levels(1520, 2030, 44), "pelvis": Levels(2400, 2700, 95)}
# What moves the levels of cortex and medulla: fibrosis from none to severe, the others for one standard deviation. Each
# map shows fibrosis through something else as large; what that is shows in another map, where it points elsewhere.
CAUSES = {
    "fibrosis": Levels(105, -200, -7.5), "oedema": Levels(110, 95, 0), "perfusion": Levels(0, 210, -3.8),
    "iron": Levels(-48, 0, -7.5)}
IN_MEDULLA = np.float32(0.65)  # of the change in the cortex
NOISE = Levels(35, 90, 2.2)  # standard deviation in a voxel
GRAIN = 15.0       # mm, about the length of the waves of the texture
SOFT = 1.6         # mm over which one tissue gives way to the next


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What all maps of one patient share.

    Args:
        severity: Of the fibrosis: about 0 for the first grade to 1 for the last.
        causes: Oedema, perfusion and iron, in standard deviations over patients.
        size: Of the kidneys against the middle one.
        patchy: Share of the level by which the cortex varies; more with fibrosis.
        key: What everything else is drawn from.
    """

    severity: float
    causes: tuple[float, float, float]
    size: float
    patchy: float
    key: tuple[int, ...]

    def shift(self, name: str) -> float:
        """Return by how much the cortex of this patient differs from `TISSUES` in one map."""
        amounts = (self.severity, *self.causes)
        changes = [float(getattr(levels, name)) for levels in CAUSES.values()]
        return float(np.dot(amounts, changes))


def draw_patient(*, seed: int, patient: int, severity: float) -> Patient:
    """Return the patient of this number; what grade it has changes nothing but the fibrosis."""
    random = np.random.default_rng([seed, patient, 1])
    oedema, perfusion, iron, size, patchy, stage = random.standard_normal(6)
    extent = severity + 0.1 * stage
    return Patient(severity=float(extent), causes=(float(oedema), float(perfusion), float(iron)),
                   size=float(np.clip(1 - 0.03 * extent + 0.06 * size, 0.8, 1.15)),
                   patchy=float(max(0.02, 0.04 + 0.015 * extent + 0.015 * patchy)), key=(seed, patient))


def paint(patient: Patient, *, name: str, shape: tuple[int, int, int], affine: Numbers,
          moved: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> tuple[Floats, NDArray[np.uint8]]:
    """Return one map on a grid, and the truth of which tissue is where.

    Args:
        patient: What is painted.
        name: "t1", "adc" or "t2star".
        shape: Voxels along D, H and W.
        affine: Voxel index (d, h, w) to RAS millimetres.
        moved: Where the patient has moved since the other maps, RAS millimetres.

    Shape:
        values (D, H, W) in ms or 1e-6 mm2/s; truth (D, H, W), the numbers of `LABELS`
    """
    random = np.random.default_rng([*patient.key, 2])  # the same anatomy in each map
    level = {tissue: np.float32(getattr(levels, name)) for tissue, levels in TISSUES.items()}
    change = np.float32(patient.shift(name))
    place = _Place(shape, affine[:3, :3], affine[:3, 3] - moved)
    values, truth = np.full(shape, level["fat"], np.float32), np.zeros(shape, np.uint8)
    for tissue, centre, axes in _surroundings(random):
        box, part = place.around(centre, axes)
        _blend(values[box], part.cover(centre, axes), level[tissue])
    waves = random.standard_normal((4, 3)) * 2 * np.pi / GRAIN, random.uniform(0, 2 * np.pi, 4)
    for side in (-1, 1):
        centre, axes = _kidney(random, patient.size, side)
        box, part = place.around(centre, axes)
        inside, pyramid, sinus = _parts(part, centre, axes, side)
        texture = 1 + part.texture(*waves) * np.float32(patient.patchy)
        for tissue, cover, painted in (("cortex", inside, (level["cortex"] + change) * texture),
                                       ("medulla", pyramid, (level["medulla"] + IN_MEDULLA * change) * texture),
                                       ("pelvis", sinus, level["pelvis"])):
            _blend(values[box], cover, painted)
            truth[box][cover > 0.5] = LABELS[tissue]
    noise = np.random.default_rng([*patient.key, 3, MAPS.index(name)]).standard_normal(shape, np.float32)
    values += noise * np.float32(getattr(NOISE, name))
    return np.maximum(values, 1), truth


class _Place(NamedTuple):
    """The voxels of a box and how their index becomes RAS millimetres of the patient."""

    shape: tuple[int, ...]
    matrix: Numbers
    start: Numbers

    def around(self, centre: Numbers, axes: Numbers) -> tuple[tuple[slice, ...], "_Place"]:
        """Return the box that holds an ellipsoid of these half axes (rows) with its soft edge."""
        inverse = np.linalg.inv(self.matrix)
        reach = np.linalg.norm(axes @ inverse.T, axis=0) * 1.1 + SOFT * np.linalg.norm(inverse, axis=1)
        middle = inverse @ (centre - self.start)
        low = np.clip(np.floor(middle - reach).astype(int), 0, self.shape)
        high = np.clip(np.ceil(middle + reach).astype(int) + 1, low, self.shape)
        box = tuple(slice(first, last) for first, last in zip(low.tolist(), high.tolist(), strict=True))
        return box, _Place(tuple((high - low).tolist()), self.matrix, self.start + self.matrix @ low)

    def along(self, direction: Numbers, origin: Numbers | float = 0.0) -> Floats:
        """Return where each voxel lies along a direction from an origin."""
        d, h, w = (np.arange(count, dtype=np.float32) * np.float32(step)
                   for count, step in zip(self.shape, direction @ self.matrix, strict=True))
        plane = d[:, None] + (h + np.float32(direction @ (self.start - origin)))
        return np.asarray(plane[..., None] + w)

    def local(self, centre: Numbers, axes: Numbers) -> tuple[Floats, Floats, Floats]:
        """Return coordinates in units of an ellipsoid's half axes (rows)."""
        u, v, w = (self.along(axis / (axis @ axis), centre) for axis in axes)
        return u, v, w

    def cover(self, centre: Numbers, axes: Numbers) -> Floats:
        """Return how much of each voxel an ellipsoid covers."""
        u, v, w = self.local(centre, axes)
        return _ramp(1 - np.sqrt(u * u + v * v + w * w), axes)

    def texture(self, directions: Numbers, phases: Numbers) -> Floats:
        """Return a sum of waves, standard deviation 1."""
        total = np.zeros(self.shape, np.float32)
        for direction, phase in zip(directions, phases, strict=True):
            total += np.sin(self.along(direction) + np.float32(phase))
        return total * np.float32(np.sqrt(2 / len(phases)))


def _parts(place: _Place, centre: Numbers, axes: Numbers, side: int) -> tuple[Floats, Floats, Floats]:
    """Return how much of each voxel is kidney, pyramid of the medulla, and pelvis on the side of the spine."""
    u, v, w = place.local(centre, axes)
    radius = np.sqrt(u * u + v * v + w * w)
    inside = _ramp(1 - radius, axes)
    out = w + np.float32(0.45 * side)  # from the hilum
    between = np.cos(6 * np.arctan2(u, out) + 4 * v) + np.float32(0.6)
    pyramid = _ramp(np.minimum(np.float32(0.8) - radius, between * np.float32(0.3)), axes)
    sinus = _ramp(np.float32(0.34) - np.sqrt(u * u * np.float32(0.7) + v * v + out * out), axes)
    return inside, inside * pyramid, inside * sinus


def _ramp(inwards: Floats, axes: Numbers) -> Floats:
    """Return the share from how far inwards a voxel lies, in half axes."""
    edge = np.float32(np.linalg.norm(axes, axis=1).min() / SOFT)
    return np.asarray(np.clip(inwards * edge + np.float32(0.5), 0, 1))


def _blend(values: Floats, cover: Floats, level: np.float32 | Floats) -> None:
    values += cover * (level - values)


def _surroundings(random: np.random.Generator) -> list[tuple[str, Numbers, Numbers]]:
    """Return tissue, centre and half axes (rows) of what lies around the kidneys; x right, y front, z head."""
    jitter = random.normal(0, 1.5, (6, 3))
    shapes = (("muscle", (-38, -42, -10), (22, 17, 80)), ("muscle", (38, -42, -10), (22, 17, 80)),
              ("liver", (46, 40, 32), (46, 38, 42)), ("spleen", (-62, -8, 38), (16, 24, 26)),
              ("muscle", (0, 64, 0), (80, 16, 90)), ("vertebra", (0, -34, 0), (17, 16, 120)))
    return [(tissue, np.array(centre) + moved, np.diag(np.array(axes, np.float64)))
            for (tissue, centre, axes), moved in zip(shapes, jitter, strict=True)]


def _kidney(random: np.random.Generator, size: float, side: int) -> tuple[Numbers, Numbers]:
    """Return centre and half axes (rows: along, thick, across) of the kidney on one side, its upper pole inwards."""
    lean, tip = np.radians(random.normal(14, 4)), np.radians(random.normal(10, 4))
    along = np.array([-side * np.sin(lean), -np.sin(tip), np.cos(lean) * np.cos(tip)])
    along /= np.linalg.norm(along)
    across = np.cross([0.0, 1.0, 0.0], along)
    across /= np.linalg.norm(across)
    thick = np.cross(along, across)
    half = np.array([38.0, 20.0, 22.0]) * size * random.normal(1, 0.03, 3)
    centre = np.array([side * random.normal(40, 2), random.normal(-4, 2), random.normal(-side * 3, 2)])
    return centre, np.stack([along, thick, across]) * half[:, None]
