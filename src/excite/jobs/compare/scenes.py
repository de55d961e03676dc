"""Networks for scenes as they were tested: each test pixel once more through the bundle, with the units of the split.

A run keeps the map of its classes and no probabilities, without which most numbers do not exist.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from excite.data.scenes.sections import SceneSection
from excite.data.sections import DataSection
from excite.deploy.bundle import BundleInfo
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import UsageError
from excite.jobs import run_folder as files
from excite.jobs.compare.tested import Tested, leaks
from excite.jobs.scenes.measured import hashes_of, part_of_run, pixels_of_data
from excite.progress import Progress
from excite.tiling import Tile


def tested_pixels(source: Path, folder: Path, info: BundleInfo, data: DataSection | None, *,
                  progress: Progress) -> Tested:
    """Return a network's answers on the test pixels of its run, or on all labelled pixels of another scene."""
    run = source if (source / files.CONFIG).is_file() else None
    if data is None and run is None:
        raise UsageError("a bundle has no scene of its own", where=source,
                         fix="name a run folder, or a scene for both with --data")
    predictor = ScenePredictor(source)
    if data is None or data.table is None:
        found = part_of_run(source, predictor, "test")
        known = " ".join(str(value) for name, value in hashes_of(source).items() if name in ("cube", "pieces"))
    else:
        found, known = pixels_of_data(data.table, SceneSection(), predictor, block=None, run=run), ""
    wanted = found.truth > 0
    shares = np.zeros((*wanted.shape, len(info.classes)), np.float32)
    for place in found.places:
        cube = found.cube if place == Tile(0, 0, *wanted.shape) else replace(
            found.cube, values=found.cube.values[place.inside],
            valid=None if found.cube.valid is None else found.cube.valid[place.inside])
        progress.say(f"{source}: measuring pixels")
        for part, chances in predictor.predict(cube, where=wanted[place.inside]):
            shares[Tile(place.top + part.top, place.left + part.left, part.height, part.width).inside] = chances
    rows, columns = np.nonzero(wanted)
    names = tuple(f"row {row}, column {column}" for row, column in zip(rows, columns, strict=True))
    return Tested(name=str(source), folder=folder, info=info, sample="pixel", files=names,
                  contents=tuple(f"{known} {name}" for name in names), answers=shares[wanted].astype(np.float64),
                  truth=tuple(info.classes[place - 1] for place in found.truth[wanted]),
                  units=tuple(str(one) for one in found.unit[wanted]), unit_kind=found.unit_kind,
                  notes=leaks(found.notes))
