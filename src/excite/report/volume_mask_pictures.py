"""A scan beside its truth and its prediction: three planes, an outline a class, in the page's own vectors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.metrics.volume_masks import VolumeMaskRow
from excite.report.html import jpeg
from excite.report.overlay import Line, path

SIDE = 300  # pixels of a plane's longer side at most
COLOURS = ("#2fd4f0", "#ff8a3d", "#b39dfa", "#74d18b", "#ff8ab5", "#e5bd5b", "#7fb2ff", "#aab6c8")


@dataclass(frozen=True, kw_only=True, eq=False)
class Plane:
    """One plane of a scan.

    Args:
        name: Which.
        picture: Of 8 bits, (rows, columns).
        size: Millimetres, or units, of a pixel down and across.
        truth: Of each class, closed lines of x and y in pixels.
        predicted: Likewise.
    """

    name: str
    picture: NDArray[np.uint8]
    size: tuple[float, float]
    truth: tuple[tuple[Line, ...], ...]
    predicted: tuple[tuple[Line, ...], ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class ScanPicture:
    """A scan's numbers and planes; `classes` names what has outlines."""

    row: VolumeMaskRow
    planes: tuple[Plane, ...]
    classes: tuple[str, ...]


def legend(classes: Sequence[str]) -> list[tuple[str, str]]:
    """Return the name and colour of each class."""
    return [(name, COLOURS[place % len(COLOURS)]) for place, name in enumerate(classes)]


def shown(one: ScanPicture, name: str) -> dict[str, Any]:
    """Return a scan as the template takes it; `name` is unique on the page."""
    file = one.row.file
    words = [f"{label}: Dice {_said(of.scores['dice'])}{_distance(of.scores)}" for label, of in one.row.classes.items()]
    return {"name": name, "file": file, "short": "/".join(re.split(r"[/\\]", file)[-1:]), "words": words,
            "notes": list(one.row.notes), "planes": [_plane(plane, f"{name}-{place}")
                                                     for place, plane in enumerate(one.planes)]}


def _plane(plane: Plane, name: str) -> dict[str, Any]:
    """Return a plane in millimetres, so that voxels of any shape look as they are."""
    source, _ = jpeg(plane.picture, side=SIDE)
    (rows, columns), (down, across) = plane.picture.shape, plane.size
    lines = {kind: [(path(of, (across, down)), COLOURS[place % len(COLOURS)]) for place, of in enumerate(found)]
             for kind, found in (("truth", plane.truth), ("predicted", plane.predicted))}
    return {"id": name, "name": plane.name, "source": source, "width": f"{columns * across:.2f}",
            "height": f"{rows * down:.2f}", **lines}


def _said(value: float | None) -> str:
    return "not defined" if value is None else f"{value:.3f}"


def _distance(scores: dict[str, float | None]) -> str:
    for unit in ("mm", "voxels"):
        if (found := scores.get(f"hd95_{unit}")) is not None:
            return f", HD95 {found:.1f} {unit}"
    return ""
