"""The pictures of a report on label volumes: three planes of a scan with what is true and what was found."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from excite.data.volumes.mask_table import MaskTable
from excite.data.volumes.volume import Volume
from excite.deploy.volume_mask_predictor import VolumeMaskPredictor
from excite.jobs.overlays import edges
from excite.jobs.volume_masks.measured import labelled
from excite.metrics.volume_masks import VolumeMaskRow
from excite.report.volume_mask_pictures import Plane, ScanPicture

SHOWN = 4          # scans as they come, and worst ones
AXES = ("axial", "coronal", "sagittal")  # across D, H and W
CONTRAST = (0.5, 99.5)  # percentiles that become black and white


def pictures(predictor: VolumeMaskPredictor, table: MaskTable, measured: Sequence[VolumeMaskRow]
             ) -> tuple[list[ScanPicture], list[ScanPicture]]:
    """Return scans evenly through the part, and those of the smallest Dice, worst first; each is predicted again."""
    place = {row.line: number for number, row in enumerate(table.manifest.rows)}
    step = max(1, len(measured) // SHOWN)
    poor = sorted((row for row in measured if row.dice is not None), key=lambda row: row.dice or 0.0)[:SHOWN]
    return ([_picture(predictor, table, place[row.line], row) for row in measured[::step][:SHOWN]],
            [_picture(predictor, table, place[row.line], row) for row in poor])


def _picture(predictor: VolumeMaskPredictor, table: MaskTable, row: int, numbers: VolumeMaskRow) -> ScanPicture:
    found, truth = labelled(predictor, table, row)
    grey = _grey(found.volume)
    planes = tuple(_plane(found.volume, grey, truth, found.labels, axis, predictor.classes) for axis in range(3))
    return ScanPicture(row=numbers, planes=planes, classes=tuple(predictor.classes))


def _grey(volume: Volume) -> NDArray[np.uint8]:
    low, high = np.percentile(volume.values, CONTRAST)
    scaled = (volume.values - low) * (255 / max(float(high - low), 1e-12))
    grey: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8)
    return grey


def _plane(volume: Volume, grey: NDArray[np.uint8], truth: NDArray[np.int16], labels: NDArray[np.int16], axis: int,
           classes: dict[str, int]) -> Plane:
    """Return the plane across an axis where most is labelled, seen from the feet, the front or the left."""
    others = tuple(at for at in range(3) if at != axis)
    areas = (truth > 0).sum(axis=others)
    areas = areas if areas.any() else (labels > 0).sum(axis=others)
    place = int(areas.argmax()) if areas.any() else truth.shape[axis] // 2
    down, across = (volume.spacing[at] for at in others)

    def turned(values: NDArray[np.generic]) -> NDArray[np.generic]:
        """Head or front up; the patient's right on the left, the front on the left from the side."""
        return np.ascontiguousarray(np.take(values, place, axis=axis)[::-1, ::-1])

    return Plane(name=AXES[axis], picture=turned(grey).astype(np.uint8), size=(down, across),
                 truth=tuple(tuple(edges(turned(truth) == value)) for value in classes.values()),
                 predicted=tuple(tuple(edges(turned(labels) == value)) for value in classes.values()))
