"""A cut through a body on the scan lines of a probe: reflectivity and attenuation, painted shape by shape."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.phantom.speckle import Plane, Probe

Mask = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Tissue:
    """What a tissue does to sound: reflectivity (1 is bright tissue), attenuation in dB a cm and MHz."""

    echo: float
    attenuation: float = 0.5


FLUID = Tissue(echo=0.004, attenuation=0.02)
BONE = Tissue(echo=6.0, attenuation=10.0)


@dataclass(kw_only=True)
class Scene:
    """Reflectivity and attenuation of each cell of a probe's grid.

    Args:
        probe: Whose scan lines it lies on.
        random: Draws what is drawn while painting.
    """

    probe: Probe
    random: np.random.Generator
    x: Plane = field(init=False)
    z: Plane = field(init=False)
    echo: Plane = field(init=False)
    attenuation: Plane = field(init=False)

    def __post_init__(self) -> None:
        self.x, self.z = self.probe.grid()
        self.echo = np.full(self.x.shape, 0.3, np.float32)
        self.attenuation = np.full(self.x.shape, 0.5, np.float32)

    def paint(self, where: Mask, tissue: Tissue) -> None:
        """Fill `where` with `tissue`."""
        self.echo[where] = tissue.echo
        self.attenuation[where] = tissue.attenuation

    def texture(self, *, grain: float, strength: float) -> Plane:
        """Return a smooth random factor around 1 whose bumps are about `grain` mm wide."""
        rows = max(4, round(self.probe.depth / grain))
        columns = max(4, round(2 * self.probe.angle * (self.probe.radius + self.probe.depth / 2) / grain))
        coarse = self.random.standard_normal((rows, columns), dtype=np.float32)
        samples, lines = self.x.shape
        smooth = cv2.resize(coarse, (lines, samples), interpolation=cv2.INTER_CUBIC)
        factor: Plane = np.exp(np.float32(strength) * smooth).astype(np.float32)
        return factor

    def interface(self, shape: "Oval", tissue: Tissue, *, thickness: float, floor: float = 0.1,
                  gaps: float = 0.0) -> None:
        """Paint the outline of `shape`: bright where it faces the beam, faint where it runs along it.

        Args:
            shape: Whose outline.
            tissue: Of the outline.
            thickness: mm.
            floor: Share of the reflectivity that is left where the outline runs along the beam.
            gaps: Share of the outline that drops out.
        """
        where = shape.rim(self.x, self.z, thickness)
        facing = shape.facing(self, where)
        if gaps > 0:
            knots = self.random.random(12).astype(np.float32)
            bearing = np.arctan2(self.z[where] - shape.z, self.x[where] - shape.x)
            open_ = np.interp(bearing, np.linspace(-np.pi, np.pi, 13), np.append(knots, knots[0])) < gaps
            facing = np.where(open_, 0.05, facing)
        self.echo[where] = tissue.echo * (floor + (1 - floor) * facing ** 2)
        self.attenuation[where] = tissue.attenuation * (0.4 + 0.6 * facing)


@dataclass(frozen=True, kw_only=True)
class Oval:
    """An ellipse with centre, half axes (mm) and turn (radians)."""

    x: float
    z: float
    a: float
    b: float
    turn: float = 0.0

    def local(self, x: Plane, z: Plane) -> tuple[Plane, Plane]:
        """Return coordinates along the two axes, mm."""
        c, s = np.float32(np.cos(self.turn)), np.float32(np.sin(self.turn))
        dx, dz = x - np.float32(self.x), z - np.float32(self.z)
        return c * dx + s * dz, c * dz - s * dx

    def level(self, x: Plane, z: Plane) -> Plane:
        """Return 1 on the outline, less inside."""
        u, v = self.local(x, z)
        u, v = u / np.float32(self.a), v / np.float32(self.b)
        level: Plane = np.sqrt(u * u + v * v)
        return level

    def inside(self, x: Plane, z: Plane) -> Mask:
        """Return where the ellipse is."""
        return self.level(x, z) < 1

    def rim(self, x: Plane, z: Plane, thickness: float) -> Mask:
        """Return where the outline is, `thickness` mm wide."""
        u, v = self.local(x, z)
        a, b = np.float32(self.a), np.float32(self.b)
        level = np.sqrt((u / a) ** 2 + (v / b) ** 2)
        slope = np.sqrt((u / a ** 2) ** 2 + (v / b ** 2) ** 2) / np.maximum(level, np.float32(1e-3))
        rim: Mask = np.abs(level - 1) < 0.5 * thickness * slope
        return rim

    def facing(self, scene: Scene, where: Mask) -> Plane:
        """Return |cosine| between the outline's normal and the beam, at the cells `where`."""
        x, z = scene.x[where], scene.z[where]
        u, v = self.local(x, z)
        nu, nv = u / self.a ** 2, v / self.b ** 2
        c, s = np.cos(self.turn), np.sin(self.turn)
        nx, nz = c * nu - s * nv, s * nu + c * nv
        bx, bz = x, z + scene.probe.radius
        lengths = np.maximum(np.hypot(nx, nz) * np.hypot(bx, bz), 1e-6)
        cosine: Plane = (np.abs(nx * bx + nz * bz) / lengths).astype(np.float32)
        return cosine

    def at(self, u: float, v: float) -> tuple[float, float]:
        """Return the place (x, z) of a point given in half axes: (1, 0) is the end of the first axis."""
        c, s = float(np.cos(self.turn)), float(np.sin(self.turn))
        return self.x + c * u * self.a - s * v * self.b, self.z + s * u * self.a + c * v * self.b
