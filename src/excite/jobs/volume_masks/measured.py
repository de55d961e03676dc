"""Scans through a bundle, against their true labels."""

import math
from collections.abc import Sequence

import numpy as np

from excite.data.row import Row
from excite.data.volumes.label_files import Labels, read_labels
from excite.data.volumes.mask_table import MaskTable
from excite.deploy.volume_mask_predictor import LabelledScan, VolumeMaskPredictor
from excite.errors import DataError
from excite.metrics.volume_masks import VolumeMaskRow, label_scores
from excite.progress import Progress


def labelled(predictor: VolumeMaskPredictor, table: MaskTable, row: int) -> tuple[LabelledScan, Labels]:
    """Return what a bundle finds in a row's files, and the true labels, both on the scan's own grid.

    Raises:
        DataError: a file cannot be used, or the mask has labels that the network does not know.
    """
    found = predictor(dict(zip(table.maps, table.files[row], strict=True)))
    truth, _ = read_labels(table.masks[row], image=found.volume)
    unknown = set(np.unique(truth).tolist()) - set(predictor.preprocess.values)
    if unknown:
        raise DataError(f"the mask has labels that the network does not know: {', '.join(map(str, sorted(unknown)))}",
                        where=table.masks[row], fix="write the mask with the labels that the network was trained on")
    return found, truth


def measured(predictor: VolumeMaskPredictor, table: MaskTable, rows: Sequence[int], units: Sequence[str], *,
             progress: Progress) -> tuple[list[VolumeMaskRow], list[dict[str, str]]]:
    """Return the numbers of each row, and {"file", "error"} of those that cannot be used.

    Args:
        units: Of all rows of the table.
    """
    found, failed = list[VolumeMaskRow](), list[dict[str, str]]()
    for done, row in enumerate(rows, start=1):
        one = table.manifest.rows[row]
        try:
            found.append(_row(predictor, *labelled(predictor, table, row), one, units[row]))
        except DataError as fault:
            failed.append({"file": one.image, "error": fault.message()})
        progress.step("measuring scans", done, len(rows))
    return found, failed


def _row(predictor: VolumeMaskPredictor, found: LabelledScan, truth: Labels, row: Row, unit: str) -> VolumeMaskRow:
    volume = found.volume
    scores = label_scores(found.labels, truth, predictor.classes, where=row.image,
                          spacing=volume.spacing if volume.spacing_known else None)
    return VolumeMaskRow(file=row.image, line=row.line, unit=unit, voxels=truth.size, classes=scores,
                         voxel_ml=math.prod(volume.spacing) / 1000 if volume.spacing_known else None,
                         notes=found.notes)
