"""Whether a cube is of the kind that a network has learned from: its bands, their wavelengths, its level."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from excite.data.scenes.cube import Cube
from excite.data.scenes.reduction import BandReduction
from excite.deploy.info import BundleInfo
from excite.errors import DataError

APART = 5.0     # times that the mean level may differ from that of the training pixels
SAMPLED = 64    # rows and columns at most whose pixels tell the level
BEWARE = "WARNING: "


def fitted(cube: Cube, info: BundleInfo, reduction: BandReduction) -> Cube:
    """Return a cube with the bands that a network was trained on, and notes on what is odd about it.

    Where the cube has more, the bands are those of the training's wavelengths, or the file's without those that the
    training dropped.

    Args:
        cube: Of another scene.
        info: Of the bundle: wavelengths, and what training was told of its cube, are in its provenance.
        reduction: Of the bundle.

    Raises:
        DataError: it has not the bands of the training.
    """
    wavelengths = _numbers(info.provenance.get("wavelengths"))
    told = told_of_cube(info)
    cube, notes = _with_bands(cube, reduction.bands, wavelengths, told.get("drop_bands", ()))
    if told.get("calibrated") and not any("calibrated" in note for note in cube.notes):
        notes.append(f"{BEWARE}the network was trained on reflectance, and this cube is taken as it is: name its white "
                     "and dark references unless it holds reflectance")
    level = _level(cube, reduction)
    if reduction.level > 0 and not reduction.level / APART <= level <= reduction.level * APART:
        notes.append(f"{BEWARE}the mean value of the cube is {level:.4g}, that of the training pixels "
                     f"{reduction.level:.4g}: it may be on another scale, such as counts beside reflectance")
    return replace(cube, notes=(*cube.notes, *notes)) if notes else cube


def told_of_cube(info: BundleInfo) -> dict[str, Any]:
    """Return what training was told of its cube: `drop_bands`, `no_data`, and whether it was `calibrated`."""
    found = info.provenance.get("cube")
    return found if isinstance(found, dict) else {}


def _with_bands(cube: Cube, bands: int, wavelengths: Sequence[float], dropped: Sequence[int]
                ) -> tuple[Cube, list[str]]:
    """Return the cube with the bands of the training, and how they were chosen."""
    known = cube.wavelengths is not None and len(wavelengths) == bands
    if cube.bands == bands:
        gap = float(np.abs(np.array(cube.wavelengths) - np.array(wavelengths)).max()) if known else 0.0
        return cube, [f"{BEWARE}the bands lie up to {gap:.0f} nm from those of the training: another sensor?"
                      ] if known and gap > _step(wavelengths) else []
    if cube.bands > bands and known:
        away = np.abs(np.subtract.outer(np.array(wavelengths), np.array(cube.wavelengths)))
        kept = away.argmin(axis=1).tolist()
        if len(set(kept)) == bands and away.min(axis=1).max() <= _step(wavelengths) / 2:
            return cube.with_bands(kept), [f"of the cube's {cube.bands} bands those {bands} were taken whose "
                                           "wavelengths the network was trained on"]
    if dropped and max(dropped) < cube.bands and cube.bands - len(set(dropped)) == bands:
        kept = [band for band in range(cube.bands) if band not in set(dropped)]
        return cube.with_bands(kept), [f"{len(set(dropped))} of the cube's {cube.bands} bands were dropped, as in "
                                       "training"]
    raise DataError(f"the network was trained on {bands} bands, the cube has {cube.bands}", where=cube.source or None,
                    why=_why(cube, wavelengths) if known else None,
                    fix="drop the same bands as in training, or train on this sensor")


def _why(cube: Cube, wavelengths: Sequence[float]) -> str:
    own = cube.wavelengths or ()
    return (f"trained from {min(wavelengths):g} to {max(wavelengths):g} nm, the cube has {min(own):g} to "
            f"{max(own):g} nm")


def _step(wavelengths: Sequence[float]) -> float:
    """Return how far a band is from the next, usually."""
    steps = np.diff(np.sort(np.array(wavelengths)))
    return float(np.median(steps)) if len(steps) else 1.0


def _level(cube: Cube, reduction: BandReduction) -> float:
    """Return the mean of the bands that are used, over pixels on a grid that hold data."""
    rows, columns = (slice(None, None, max(1, -(-length // SAMPLED))) for length in cube.shape)
    values = np.asarray(cube.values[rows, columns], np.float64)[..., list(reduction.chosen)]
    if cube.valid is not None and cube.valid[rows, columns].any():
        values = values[cube.valid[rows, columns]]
    return float(values.mean())


def _numbers(values: Any) -> tuple[float, ...]:
    """Return numbers as a bundle holds them; none where it holds something else."""
    if not isinstance(values, list | tuple) or not all(isinstance(one, int | float) for one in values):
        return ()
    return tuple(float(one) for one in values)
