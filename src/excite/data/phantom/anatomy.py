"""What is cut through in each class of plane: head, abdomen, femur, thorax of a fetus, each with its known truth.

Sizes follow the second and third trimester (a skull of 55 to 95 mm); they are plausible, not a growth chart.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from excite.data.phantom.scene import BONE, FLUID, Oval, Scene, Tissue

Truth = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Patient:
    """What all pictures of one patient share.

    Args:
        growth: Size of the fetus, 1 is the middle of the range.
        wall: Thickness of the mother's abdominal wall, mm.
        fat: Attenuation of that wall, dB a cm and MHz.
        fluid: Amniotic fluid around the fetus, mm.
        calcified: Reflectivity of bone against the usual.
    """

    growth: float
    wall: float
    fat: float
    fluid: float
    calcified: float


def surroundings(scene: Scene, patient: Patient, body: Oval) -> None:
    """Paint the mother's wall, the uterus and the fluid pocket around `body`."""
    random = scene.random
    ripple = scene.texture(grain=30.0, strength=0.12)
    depth = scene.probe.depths() * ripple
    scene.echo *= scene.texture(grain=9.0, strength=0.35)
    fat = depth < patient.wall
    scene.echo[fat] = 0.22
    scene.attenuation[fat] = patient.fat
    for share in (0.06, 0.45 + 0.2 * random.random(), 0.97):  # skin and fasciae
        fascia = np.abs(depth - share * patient.wall) < random.uniform(0.5, 0.9)
        scene.echo[fascia] = random.uniform(0.7, 1.4)
    muscle = (depth >= patient.wall) & (depth < 1.35 * patient.wall)
    scene.echo[muscle] *= 1.3
    _neighbours(scene, patient)
    pocket = Oval(x=body.x + random.normal(0, 4), z=body.z + random.normal(0, 3),
                  a=body.a + patient.fluid * random.uniform(0.4, 1.8),
                  b=body.b + patient.fluid * random.uniform(0.3, 1.2), turn=body.turn)
    scene.paint(pocket.inside(scene.x, scene.z) & ~muscle & ~fat, FLUID)


def head(scene: Scene, patient: Patient) -> Truth:
    """Paint an axial cut through the head: skull, midline with the cavum, ventricle walls."""
    random = scene.random
    biparietal = 37.0 * patient.growth * random.uniform(0.94, 1.06)
    body = _place(scene, patient, a=biparietal * random.uniform(1.2, 1.36), b=biparietal, turn=0.5)
    surroundings(scene, patient, body)
    scene.paint(body.inside(scene.x, scene.z), Tissue(echo=random.uniform(0.07, 0.13), attenuation=0.35))
    _modulate(scene, body, grain=7.0, strength=0.35)
    u, v = body.local(scene.x, scene.z)
    ripple = v - 0.03 * body.b * np.sin(u / body.a * 5)
    visible = random.uniform(0.35, 1.0)
    line = (np.abs(ripple) < 0.7) & (np.abs(u) < 0.86 * body.a)
    scene.echo[line] = 0.9 * visible
    cavum = Oval(x=body.at(0.42, 0)[0], z=body.at(0.42, 0)[1], a=0.13 * body.a, b=0.09 * body.b, turn=body.turn)
    if random.random() < 0.75:
        scene.paint(cavum.inside(scene.x, scene.z), FLUID)
        scene.interface(cavum, Tissue(echo=0.5 * visible), thickness=0.9)
    for side in (-1, 1):  # walls of the lateral ventricles
        if random.random() < 0.6:
            cx, cz = body.at(-0.35, 0.36 * side)
            wall = Oval(x=cx, z=cz, a=0.34 * body.a, b=0.13 * body.b, turn=body.turn + 0.15 * side)
            scene.paint(wall.inside(scene.x, scene.z), Tissue(echo=0.03, attenuation=0.2))
            scene.interface(wall, Tissue(echo=0.35 * visible), thickness=0.8)
    scene.interface(body, Tissue(echo=BONE.echo * patient.calcified, attenuation=2.2), thickness=3.0,
                    gaps=random.uniform(0.0, 0.3))
    return _truth(body)


def abdomen(scene: Scene, patient: Patient) -> Truth:
    """Paint an axial cut through the abdomen: liver, stomach bubble, umbilical vein, spine with its shadow."""
    random = scene.random
    body = _trunk(scene, patient, size=36.0)
    scene.paint(body.inside(scene.x, scene.z), Tissue(echo=random.uniform(0.2, 0.32), attenuation=0.5))
    _modulate(scene, body, grain=6.0, strength=0.3)
    side = random.choice((-1.0, 1.0))
    if random.random() < 0.85:
        cx, cz = body.at(0.45 * side, random.uniform(-0.1, 0.35))
        bubble = Oval(x=cx, z=cz, a=body.a * random.uniform(0.13, 0.26), b=body.a * random.uniform(0.1, 0.17),
                      turn=random.uniform(-0.8, 0.8))
        scene.paint(bubble.inside(scene.x, scene.z), FLUID)
    if random.random() < 0.8:
        cx, cz = body.at(-0.15 * side, -0.3)
        vein = Oval(x=cx, z=cz, a=body.a * random.uniform(0.2, 0.32), b=random.uniform(1.6, 2.6),
                    turn=body.turn + np.pi / 2 + random.uniform(-0.5, 0.5))
        scene.paint(vein.inside(scene.x, scene.z), FLUID)
        scene.interface(vein, Tissue(echo=0.7), thickness=0.8)
    _spine(scene, patient, body)
    scene.interface(body, Tissue(echo=0.8, attenuation=0.9), thickness=1.6, gaps=0.25)
    return _truth(body)


def thorax(scene: Scene, patient: Patient) -> Truth:
    """Paint an axial cut through the chest: lungs, a heart with its chambers, ribs and spine with their shadows."""
    random = scene.random
    body = _trunk(scene, patient, size=33.0)
    scene.paint(body.inside(scene.x, scene.z), Tissue(echo=random.uniform(0.24, 0.4), attenuation=0.5))
    _modulate(scene, body, grain=6.0, strength=0.25)
    cx, cz = body.at(random.uniform(-0.3, 0.3), random.uniform(-0.25, 0.1))
    size = body.a * random.uniform(0.36, 0.48)
    heart = Oval(x=cx, z=cz, a=size * 1.15, b=size * 0.9, turn=random.uniform(-np.pi, np.pi))
    scene.paint(heart.inside(scene.x, scene.z), Tissue(echo=random.uniform(0.12, 0.2)))
    for u in (-0.42, 0.4):
        for v in (-0.42, 0.42):
            if random.random() < 0.9:
                px, pz = heart.at(u, v)
                chamber = Oval(x=px, z=pz, a=heart.a * random.uniform(0.26, 0.38),
                               b=heart.b * random.uniform(0.22, 0.34), turn=heart.turn)
                scene.paint(chamber.inside(scene.x, scene.z), FLUID)
    _spine(scene, patient, body)
    for bearing in random.uniform(-np.pi, np.pi, random.integers(2, 6)):
        px, pz = body.at(0.93 * np.cos(bearing), 0.93 * np.sin(bearing))
        rib = Oval(x=px, z=pz, a=random.uniform(3, 6), b=1.1, turn=body.turn + bearing + np.pi / 2)
        scene.paint(rib.inside(scene.x, scene.z), Tissue(echo=0.5 * BONE.echo * patient.calcified, attenuation=6.0))
    scene.interface(body, Tissue(echo=0.8, attenuation=0.9), thickness=1.6, gaps=0.25)
    return _truth(body)


def femur(scene: Scene, patient: Patient) -> Truth:
    """Paint a cut along the thigh: a bright, slightly bowed rod with a clean shadow, in muscle."""
    random = scene.random
    length = 23.0 * patient.growth * random.uniform(0.85, 1.12)
    thigh = _place(scene, patient, a=length * random.uniform(1.35, 1.8), b=length * random.uniform(0.75, 1.0),
                   turn=0.35)
    surroundings(scene, patient, thigh)
    scene.paint(thigh.inside(scene.x, scene.z), Tissue(echo=random.uniform(0.16, 0.3), attenuation=0.5))
    _modulate(scene, thigh, grain=5.0, strength=0.35)
    rod = Oval(x=thigh.x, z=thigh.z + random.uniform(-0.3, 0.3) * thigh.b, a=length, b=random.uniform(1.5, 2.4),
               turn=thigh.turn + random.uniform(-0.3, 0.3))
    u, v = rod.local(scene.x, scene.z)
    bow = random.uniform(-0.10, 0.10) * length
    v = v - np.float32(bow) * (1 - (u / rod.a) ** 2)
    bone = (np.abs(u) < rod.a) & (np.abs(v) < rod.b * (1 + 0.5 * (u / rod.a) ** 4))
    scene.paint(bone, Tissue(echo=BONE.echo * patient.calcified * 0.8, attenuation=BONE.attenuation))
    scene.interface(thigh, Tissue(echo=0.7, attenuation=0.8), thickness=1.4, gaps=0.3)
    return _truth(rod)


PLANES: dict[str, Callable[[Scene, Patient], Truth]] = {
    "abdomen": abdomen, "femur": femur, "head": head, "thorax": thorax}


def _place(scene: Scene, patient: Patient, *, a: float, b: float, turn: float) -> Oval:
    """Return a body of this size somewhere below the wall."""
    random = scene.random
    top = 1.35 * patient.wall + 0.5 * patient.fluid
    z = top + b + random.uniform(0, max(4.0, 0.6 * (scene.probe.depth - top - 2 * b)))
    return Oval(x=random.normal(0, 9), z=z, a=a, b=b, turn=random.normal(0, turn))


def _neighbours(scene: Scene, patient: Patient) -> None:
    """Paint what else lies in the fan: placenta, limbs, bowel, and lines where the probe has no contact."""
    random = scene.random
    for _ in range(random.integers(2, 6)):
        shape = Oval(x=random.uniform(-60, 60), z=random.uniform(1.4 * patient.wall, scene.probe.depth),
                     a=random.uniform(6, 28), b=random.uniform(4, 14), turn=random.uniform(-np.pi, np.pi))
        where = shape.inside(scene.x, scene.z)
        scene.echo[where] *= random.choice((0.05, 0.4, 0.6, 1.6, 2.2))
        if random.random() < 0.6:
            scene.interface(shape, Tissue(echo=random.uniform(0.6, 1.5)), thickness=1.0, gaps=0.3)
    if random.random() < 0.35:
        line = random.uniform(-1, 1) * scene.probe.angle
        lost = np.exp(-0.5 * ((scene.probe.angles() - line) / random.uniform(0.02, 0.07)) ** 2)
        scene.attenuation[:8] += (lost * random.uniform(5, 25)).astype(np.float32)


def _trunk(scene: Scene, patient: Patient, *, size: float) -> Oval:
    """Return the outline of a trunk turned any way, its surroundings painted."""
    random = scene.random
    half = size * patient.growth * random.uniform(0.9, 1.1)
    body = _place(scene, patient, a=half, b=half * random.uniform(0.86, 1.0), turn=0.0)
    surroundings(scene, patient, body)
    return Oval(x=body.x, z=body.z, a=body.a, b=body.b, turn=random.uniform(-np.pi, np.pi))


def _spine(scene: Scene, patient: Patient, body: Oval) -> None:
    """Paint the three bright points of a vertebra at the end of the second axis."""
    if scene.random.random() < 0.2:  # out of the plane
        return
    for u, v in ((0.0, 0.8), (-0.09, 0.66), (0.09, 0.66)):
        px, pz = body.at(u, v)
        centre = Oval(x=px, z=pz, a=2.6, b=1.7, turn=body.turn)
        scene.paint(centre.inside(scene.x, scene.z), Tissue(echo=BONE.echo * patient.calcified * 0.7, attenuation=7.0))


def _modulate(scene: Scene, body: Oval, *, grain: float, strength: float) -> None:
    where = body.inside(scene.x, scene.z)
    scene.echo[where] *= scene.texture(grain=grain, strength=strength)[where]


def _truth(shape: Oval) -> Truth:
    return {"x_mm": shape.x, "z_mm": shape.z, "half_axis_a_mm": shape.a, "half_axis_b_mm": shape.b,
            "turn_rad": shape.turn}
