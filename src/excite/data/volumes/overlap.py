"""Whether the maps of one patient show the same part of the body, by their headers and by what they show."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import fft, ndimage

from excite.data.volumes.grid import Grid, resampled
from excite.data.volumes.volume import Volume
from excite.errors import UsageError

Numbers = NDArray[np.float32]
DOUBTED, REFUSED = 0.9, 0.1  # shares of the reference's box below which a map is told, and of no use
CENTRES = 15.0    # mm apart from which it is told
TURNED = 10.0     # degrees, likewise
SIZES = 0.75      # of the larger extent, likewise
SAMPLED = 32      # places along each side of a box at which it is looked whether the other box holds them
COARSE = 3.0      # mm, the spacing at which contents are compared
REACH = 30.0      # mm, the farthest shift that is looked for
STEPS = int(REACH / COARSE)
SHARED = 0.5      # of the reference's box that both maps must see after a shift
ENOUGH = 8000     # voxels that both must see: in fewer, edges fit somewhere by chance
LEAST_MM, LEAST_GAIN, LEAST_MATCH = 6.0, 0.1, 0.25  # of a shift that is told: its length, what it gains, its match


class Doubt(NamedTuple):
    """What is odd about a map.

    Args:
        text: A sentence without a full stop.
        refused: Whether the map is of no use beside the reference.
    """

    text: str
    refused: bool = False

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, kw_only=True)
class Shift:
    """How far a map's content lies from where the reference has it.

    Args:
        millimetres: Towards the reference's D, H and W.
        match: Correlation of the edges after the shift is undone.
        match_now: The same as the headers have it.
    """

    millimetres: tuple[float, float, float]
    match: float
    match_now: float

    @property
    def clear(self) -> bool:
        """Return whether the maps fit clearly better when shifted."""
        far = float(np.linalg.norm(self.millimetres)) >= LEAST_MM
        return far and self.match >= LEAST_MATCH and self.match - self.match_now >= LEAST_GAIN


def check_overlap(volumes: Mapping[str, Volume], *, reference: str) -> list[Doubt]:
    """Return what is odd about where the maps of one patient lie; nothing for maps that show the same.

    Args:
        volumes: By name.
        reference: The name of that which the others are compared with.

    Raises:
        UsageError: there is no such name.
    """
    if reference not in volumes:
        raise UsageError(f"reference must be one of {', '.join(volumes)}, got {reference!r}")
    base, doubts = volumes[reference], []
    still = _Edges.of(base, base)
    for name, volume in volumes.items():
        if name == reference:
            continue
        told = _headers(Grid.of(base), Grid.of(volume))
        if not any(doubt.refused for doubt in told) and (shift := found_shift(volume, base, still=still)).clear:
            told.append(Doubt(f"what it shows looks shifted by about ({_rounded(shift.millimetres)}) mm towards the "
                              "head, the front and the right, though the headers agree: did the patient move?"))
        doubts += [Doubt(f"{name} beside {reference}: {doubt.text}", doubt.refused) for doubt in told]
    return doubts


def share_covered(base: Grid, other: Grid) -> float:
    """Return the share of one grid's box that lies in the other's."""
    middle = (np.arange(SAMPLED) + 0.5) / SAMPLED
    places = np.stack(np.meshgrid(*(middle * count - 0.5 for count in base.shape), indexing="ij")).reshape(3, -1)
    moved = np.linalg.inv(other.affine) @ base.affine
    index = moved[:3, :3] @ places + moved[:3, 3:]
    inside = (index >= -0.5) & (index <= np.array(other.shape)[:, None] - 0.5)
    return float(inside.all(axis=0).mean())


def found_shift(volume: Volume, base: Volume, *, still: "_Edges | None" = None) -> Shift:
    """Return by how much a map's edges must have moved to fit those of the reference best.

    Edges are where values change, whatever their unit. Each shift is judged on what both maps see after it.

    Args:
        volume: The map.
        base: The reference.
        still: What `_Edges.of(base, base)` made, where it is known.

    Source: Padfield, Masked object registration in the Fourier domain, IEEE TIP 21(5), 2012.
    """
    match = _masked_correlation(still or _Edges.of(base, base), _Edges.of(volume, base))
    middle = tuple(count // 2 for count in match.shape)
    best = np.unravel_index(np.argmax(match), match.shape) if match.max() > match[middle] else middle
    depth, height, width = (float(at - still) * COARSE for at, still in zip(best, middle, strict=True))
    return Shift(millimetres=(depth, height, width), match=float(match.max()), match_now=float(match[middle]))


def _headers(base: Grid, other: Grid) -> list[Doubt]:
    """Return what the headers alone say."""
    told = []
    share = share_covered(base, other)
    if share < DOUBTED:
        told.append(Doubt(f"it covers {share:.0%} of the reference's box", share < REFUSED))
    apart = float(np.linalg.norm(base.centre - other.centre))
    if apart > CENTRES:
        told.append(Doubt(f"the centres are {apart:.0f} mm apart"))
    turn = base.directions.T @ other.directions
    angle = float(np.degrees(np.arccos(np.clip((np.trace(turn) - 1) / 2, -1, 1))))
    if angle > TURNED:
        told.append(Doubt(f"the slices are turned by {angle:.0f} degrees"))
    if (np.minimum(base.extent, other.extent) / np.maximum(base.extent, other.extent)).min() < SIZES:
        told.append(Doubt(f"it reaches over {_rounded(other.extent, ' x ')} mm, the reference over "
                          f"{_rounded(base.extent, ' x ')} mm (D x H x W)"))
    return told


class _Edges(NamedTuple):
    """Spectra of where a map changes, of its square, and of where it is known, on a coarse grid of the reference."""

    voxels: int
    padded: tuple[int, ...]
    known: NDArray[np.complex64]
    values: NDArray[np.complex64]
    squares: NDArray[np.complex64]

    @classmethod
    def of(cls, volume: Volume, base: Volume) -> "_Edges":
        """Return those of a volume on the grid of a reference."""
        edges, known = _edges(volume, Grid.of(base).centred(spacing=(COARSE,) * 3))
        padded = tuple(fft.next_fast_len(count + 2 * STEPS + 1, real=True) for count in edges.shape)
        return cls(edges.size, padded, *(fft.rfftn(values, padded) for values in (known, edges, edges ** 2)))


def _edges(volume: Volume, grid: Grid) -> tuple[Numbers, Numbers]:
    """Return how much the values change at each voxel of a grid, in units that suit any map, and where it is known."""
    values = resampled(volume, grid)
    known = np.isfinite(values)
    if not known.any():
        return np.zeros(grid.shape, np.float32), np.zeros(grid.shape, np.float32)
    low, high = np.percentile(values[known], (1, 99))
    filled = (np.where(known, np.clip(values, low, high), low) / max(high - low, 1e-12)).astype(np.float32)
    edges = ndimage.gaussian_gradient_magnitude(filled, 1.0, mode="nearest")
    inner = ndimage.binary_erosion(known, iterations=2, border_value=1)
    return np.where(inner, edges, np.float32(0)), inner.astype(np.float32)


def _masked_correlation(base: _Edges, other: _Edges) -> Numbers:
    """Return the correlation of both over what both know, for each shift of the other by up to `STEPS` voxels."""
    steps = np.arange(STEPS, -STEPS - 1, -1)  # what the other must be moved back by

    def correlated(one: NDArray[np.complex64], far: NDArray[np.complex64]) -> Numbers:
        return np.asarray(fft.irfftn(one * np.conj(far), base.padded)[np.ix_(steps, steps, steps)])

    count = correlated(base.known, other.known)
    safe = np.maximum(count, 1)
    mean, far_mean = correlated(base.values, other.known) / safe, correlated(base.known, other.values) / safe
    product = correlated(base.values, other.values) / safe - mean * far_mean
    spread = np.maximum(correlated(base.squares, other.known) / safe - mean ** 2, 1e-9)
    far_spread = np.maximum(correlated(base.known, other.squares) / safe - far_mean ** 2, 1e-9)
    return np.where(count >= max(SHARED * base.voxels, ENOUGH) - 0.5, product / np.sqrt(spread * far_spread), 0)


def _rounded(numbers: tuple[float, ...] | NDArray[np.floating], between: str = ", ") -> str:
    return between.join(f"{number:.0f}" for number in numbers)
