"""What a run on scenes is made of: the scene that its config names, the split that it asks for, and their hashes.

Without torch, so that training and measuring read the same pixels.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.block_split import block_split
from excite.data.scenes.blocks import row_blocks
from excite.data.scenes.cube import BandChoice
from excite.data.scenes.gaps import NoData
from excite.data.scenes.group_split import patient_split, seen_before
from excite.data.scenes.label_files import read_labels
from excite.data.scenes.labels import without_classes
from excite.data.scenes.mosaic import open_mosaic
from excite.data.scenes.scene import Scene, find_scene, open_scene
from excite.data.scenes.split import SceneSplit, given_split, random_split
from excite.errors import UsageError
from excite.jobs.scenes.sections import SceneConfig

UNITS = {"block": "spatial block", "random": "pixel", "given": "connected region", "patient": "patient", "cube": "cube"}

LEAST = {"hybridsn": 9}  # pixels along a window, of which its convolutions take off 8


def read_scene(config: SceneConfig, *, choose: BandChoice | None = None, usual_no_data: NoData = None) -> Scene:
    """Return the scene that a config names: a table, two files, one with abundances, or a cube with labels beside.

    Args:
        config: Its section `scene` is read, and its window.
        choose: See `reading.open_cube`, as for `usual_no_data`.
    """
    section = config.scene
    given = section.model_dump(exclude={"table", "cube", "labels", "drop_classes"}, exclude_defaults=True) | {
        "choose": choose, "usual_no_data": usual_no_data}
    if section.table is not None:
        return open_mosaic(section.table, window=config.window, **given)
    if section.cube is None:
        raise UsageError("no cube is given", fix="excite train CUBE, or scene.cube in the config")
    if section.labels is None:
        return find_scene(section.cube, **given)
    return open_scene(section.cube, section.labels, **given)


def scene_to_learn(config: SceneConfig) -> Scene:
    """Return the scene that a config names, with the classes that are learnt: not the dropped ones, nor empty ones."""
    scene = read_scene(config)
    return replace(scene, labels=without_classes(scene.labels, config.scene.drop_classes))


def split_of(config: SceneConfig, scene: Scene) -> SceneSplit:
    """Return the split that a config asks for."""
    section, labels = config.split, scene.labels.values
    names = {"window": config.window, "classes": scene.labels.classes}
    if section.kind == "given":
        files: Mapping[str, Path | None] = {"train": section.train_map, "val": section.val_map,
                                            "test": section.test_map}
        maps = {part: read_labels(file).values for part, file in files.items() if file is not None}
        return given_split(labels, maps, **names)  # type: ignore[arg-type]
    shares = {"train": section.train, "val": section.val, "seed": section.seed}
    if section.kind == "patient":
        return patient_split(labels, scene.pieces, **shares, **names)  # type: ignore[arg-type]
    if section.kind == "random":
        split = random_split(labels, **shares, **names)  # type: ignore[arg-type]
    else:
        more = {"block": section.block, "guard": section.guard, "least": LEAST.get(config.model.name, 1)}
        split = block_split(labels, **more, **shares, **names)  # type: ignore[arg-type]
    return replace(split, notes=(*seen_before(split, scene.pieces), *split.notes))


def fingerprint_of(scene: Scene) -> dict[str, str]:
    """Return hashes of what is learnt from, by name; of several cubes also of their names, patients and places."""
    found = {"cube": sha256(scene.cube.values), "labels": sha256(scene.labels.values)}
    return found | ({"pieces": hashlib.sha256(repr(scene.pieces).encode()).hexdigest()} if scene.pieces else {})


def sha256(values: NDArray[Any]) -> str:
    """Return the hash of an array's values and shape, block by block, whatever the order of their bytes."""
    kind = values.dtype.newbyteorder("=")
    found = hashlib.sha256(f"{values.shape} {kind}".encode())
    for rows in row_blocks(values):
        found.update(np.ascontiguousarray(values[rows], kind).tobytes())
    return found.hexdigest()
