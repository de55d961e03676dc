"""Whether a cube is of the kind that a network has learned from: its bands, their wavelengths, its level."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from excite.data.scenes.cube import BandChoice, Cube
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
    kept, notes = choice_of(info, reduction)(cube, range(cube.bands))
    cube = cube if kept == list(range(cube.bands)) else cube.with_bands(kept)
    if cube.wavelengths is not None and len(wavelengths) == cube.bands:
        gap = float(np.abs(np.array(cube.wavelengths) - np.array(wavelengths)).max())
        notes += [f"{BEWARE}the bands lie up to {gap:.0f} nm from those of the training: another sensor?"
                  ] if gap > _step(wavelengths) / 2 else []
    if told_of_cube(info).get("calibrated") and not any("calibrated" in note for note in cube.notes):
        notes.append(f"{BEWARE}the network was trained on reflectance, and this cube is taken as it is: name its white "
                     "and dark references unless it holds reflectance")
    level = _level(cube, reduction)
    if reduction.level > 0 and not reduction.level / APART <= level <= reduction.level * APART:
        notes.append(f"{BEWARE}the mean value of the cube is {level:.4g}, that of the training pixels "
                     f"{reduction.level:.4g}: it may be on another scale, such as counts beside reflectance")
    return replace(cube, notes=(*cube.notes, *notes)) if notes else cube


def choice_of(info: BundleInfo, reduction: BandReduction) -> BandChoice:
    """Return what chooses the bands of the training in a cube as its file holds it, as `fitted` says.

    It takes the cube and the numbers of the bands that are left of it, returns those to take and how they were chosen,
    and raises DataError where the cube has not the bands of the training.
    """
    bands, wavelengths = reduction.bands, _numbers(info.provenance.get("wavelengths"))
    dropped = set(told_of_cube(info).get("drop_bands", ()))

    def choose(cube: Cube, left: Sequence[int]) -> tuple[list[int], list[str]]:
        own = None if cube.wavelengths is None else np.array(cube.wavelengths)[list(left)]
        known = own is not None and len(wavelengths) == bands
        if own is not None and len(own) >= bands == len(wavelengths):
            away = np.abs(np.subtract.outer(np.array(wavelengths), own))
            nearest = away.argmin(axis=1).tolist()
            if len(set(nearest)) == bands and away.min(axis=1).max() <= _step(wavelengths) / 2:
                if nearest == list(range(len(left))):
                    return list(left), []
                return [left[place] for place in nearest], [
                    f"the cube's {bands} bands were brought into the order of the training's wavelengths"
                    if len(left) == bands else
                    f"of the cube's {len(left)} bands those {bands} were taken whose wavelengths the network was "
                    "trained on"]
        if len(left) == bands:
            return list(left), []
        rest = [band for band in left if band not in dropped]
        if dropped and max(dropped) < cube.bands and len(rest) == bands:
            return rest, [f"{len(left) - bands} of the cube's {len(left)} bands were dropped, as in training"] + (
                [f"{BEWARE}by their numbers: their wavelengths are not those of the training"] if known else [])
        raise DataError(f"the network was trained on {bands} bands, the cube has {len(left)}",
                        where=cube.source or None, why=_why(own.tolist(), wavelengths)
                        if own is not None and len(wavelengths) == bands else None,
                        fix="drop the same bands as in training, or train on this sensor")

    return choose


def told_of_cube(info: BundleInfo) -> dict[str, Any]:
    """Return what training was told of its cube: `drop_bands`, `no_data`, and whether it was `calibrated`."""
    found = info.provenance.get("cube")
    return found if isinstance(found, dict) else {}


def _why(own: Sequence[float], wavelengths: Sequence[float]) -> str:
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
