"""A test image beside its truth and its prediction: lines over one picture, in the page's own vectors."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.metrics.mask_image import MaskRow
from excite.report.html import jpeg

SIDE = 480   # pixels of a picture's longer side at most
Line = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Overlay:
    """A test image.

    Args:
        picture: Of 8 bits, in original pixels.
        row: Its numbers.
        truth: Closed lines of x and y, (N, 2) each, pixel centres at whole numbers: what is true.
        predicted: Likewise, what is measured: the ellipse of a head, the edge of a region.
        region: Likewise, the edge of the pixels predicted as inside; filled.

    Shape:
        picture (H, W) or (H, W, 3)
    """

    picture: NDArray[np.uint8]
    row: MaskRow
    truth: Sequence[Line] = ()
    predicted: Sequence[Line] = ()
    region: Sequence[Line] = field(default=())


def shown(one: Overlay, name: str) -> dict[str, Any]:
    """Return an overlay as the template takes it.

    Args:
        name: Of the picture inside the page, unique.
    """
    source, (width, height) = jpeg(one.picture, side=SIDE)
    scale = (width / one.picture.shape[1], height / one.picture.shape[0])
    file = one.row.file
    verdict, words = told(one.row)
    return {"name": name, "source": source, "width": width, "height": height, "file": file,
            "short": "/".join(re.split(r"[/\\]", file)[-2:]), "truth": path(one.truth, scale),
            "predicted": path(one.predicted, scale), "region": path(one.region, scale), "kind": verdict[0],
            "verdict": verdict[1], "words": words, "notes": [note for note in one.row.notes if note]}


def told(row: MaskRow) -> tuple[tuple[str, str], list[str]]:
    """Return the kind (right, wrong, plain) and verdict of an image's interval, and its numbers in words."""
    head, dice = row.head, row.scores.get("dice")
    known = [f"Dice {dice:.3f}"] if dice is not None else []
    distance = next(((key, row.scores[key]) for key in ("hd95_mm", "hd95_px") if row.scores.get(key) is not None), None)
    if head is None:
        if distance is not None:
            known.append(f"HD95 {distance[1]:.1f} {'mm' if distance[0].endswith('mm') else 'pixels'}")
        empty = "" if row.sizes.truth else "nothing is there"
        return ("plain", empty if empty or row.sizes.predicted else "nothing was found"), known
    if head.ellipse is None:
        return ("wrong", "no head was found"), known
    if head.hc_mm is None or head.true_hc_mm is None:
        return ("plain", "no pixel size is known"), known
    said = [f"HC {head.hc_mm:.1f} mm, truth {head.true_hc_mm:.1f}: {head.hc_mm - head.true_hc_mm:+.1f} mm"]
    if head.interval_mm is None:
        return ("plain", ""), [*said, *known]
    said.append(f"interval {head.interval_mm[0]:.1f} to {head.interval_mm[1]:.1f} mm")
    verdict = ("right", "✓ inside its interval") if head.inside else ("wrong", "✗ outside its interval")
    return verdict, [*said, *known]


def path(lines: Sequence[Line], scale: tuple[float, float]) -> str:
    """Return closed lines as the d of an SVG path, in pixels of the shrunk picture: their corner is at 0, 0."""
    parts = []
    for line in lines:
        if len(line) > 1:
            points = (np.asarray(line, np.float64) + 0.5) * scale
            parts.append("M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points) + "Z")
    return "".join(parts)
