"""Pictures of a few test patients: the middle slice of each map as the network saw it, with answer and truth."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.preprocess import VolumePreprocess
from excite.report.volume_page import Pane, PatientPicture

SIDE = 200          # pixels of a slice's longer side
RIGHT = WRONG = 4   # patients shown, at most


def patient_pictures(stored: Sequence[NDArray[np.float32]], preprocess: VolumePreprocess, names: Sequence[str],
                     truth: Sequence[int], probabilities: NDArray[np.float64], classes: Sequence[str]
                     ) -> list[PatientPicture]:
    """Return the surest mistakes, then right answers spread over the part.

    Args:
        stored: Of each patient the maps on the grid, in their own units.
        names: What to call the patients; no patient's name.
    """
    predicted, sure = probabilities.argmax(axis=1), probabilities.max(axis=1)
    wrong = sorted((place for place in range(len(names)) if predicted[place] != truth[place]),
                   key=lambda place: (-sure[place], place))[:WRONG]
    right = [place for place in range(len(names)) if predicted[place] == truth[place]]
    return [PatientPicture(name=names[place], truth=classes[truth[place]], label=classes[int(predicted[place])],
                           probability=float(sure[place]), panes=_panes(np.asarray(stored[place]), preprocess))
            for place in [*wrong, *right[::max(1, -(-len(right) // RIGHT))][:RIGHT]]]


def _panes(stored: NDArray[np.float32], preprocess: VolumePreprocess) -> list[Pane]:
    """Return the middle slice of each map, the patient's front above and the right on the left, as usual."""
    found = []
    for place, (name, level) in enumerate(zip(preprocess.maps, preprocess.levels, strict=True)):
        plane = stored[place, preprocess.shape[0] // 2, ::-1, ::-1]
        seen = ~np.isnan(plane)
        if np.isnan(stored[place]).all():
            found.append(Pane(name=name, pixels=None, window=""))
            continue
        low, high = (level.low, level.high) if level.kind == "map" else _ends(plane[seen])
        bright = np.clip((np.where(seen, plane, low) - low) / max(high - low, 1e-12), 0, 1) * 255
        found.append(Pane(name=name, pixels=_square(bright.astype(np.uint8), preprocess.spacing[1:]),
                          window=f"{low:.4g} to {high:.4g}"))
    return found


def _ends(values: NDArray[np.float32]) -> tuple[float, float]:
    if not values.size:
        return 0.0, 1.0
    low, high = np.percentile(values, (0.5, 99.5))
    return float(low), float(high)


def _square(pixels: NDArray[np.uint8], spacing: tuple[float, float]) -> NDArray[np.uint8]:
    """Return a slice with square pixels, its longer side `SIDE`."""
    height, width = pixels.shape[0] * spacing[0], pixels.shape[1] * spacing[1]
    scale = SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_LINEAR), np.uint8)
