"""Which pixels of a scene are measured: those of a part of a run, or all labelled ones of another scene."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.config import load_config
from excite.data.scenes.cube import Cube
from excite.data.scenes.labels import LabelMap
from excite.data.scenes.scene import Scene
from excite.data.scenes.sections import SceneSection
from excite.data.scenes.split import CODES, SceneSplit
from excite.data.table import TABLE_SUFFIXES
from excite.deploy.scene_fit import BEWARE, choice_of
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import DataError, EnvironmentFault
from excite.jobs import run_folder as files
from excite.jobs.scenes.classes import truth_of
from excite.jobs.scenes.data import UNITS, fingerprint_of, read_scene, scene_to_learn, sha256, split_of
from excite.jobs.scenes.sections import SceneConfig, with_defaults
from excite.tiling import Tile

BLOCKS = 100  # that a scene is cut into for intervals, where its size allows
PARTS = "parts.npy"
OWN = {"train": "the network was trained on these pixels: the numbers say how well it remembers",
       "val": "this part chose the best epoch and fitted the temperature: the numbers are too good"}


@dataclass(frozen=True, kw_only=True, eq=False)
class MeasuredPixels:
    """Pixels with a label, and what has to be known about them.

    Args:
        name: Of the part.
        cube: As the network takes it.
        labels: All that are known of the scene.
        truth: Classes of the network from 1 on; 0 where nothing is measured.
        unit: Number of what a pixel is not independent of.
        unit_kind: What a unit is.
        places: What is predicted by itself, with a border of its own: the scene, or each of several cubes.
        notes: What to beware of, each a sentence.

    Shape:
        truth and unit (H, W)
    """

    name: str
    cube: Cube
    labels: LabelMap
    truth: NDArray[np.int32]
    unit: NDArray[np.int32]
    unit_kind: str
    places: tuple[Tile, ...]
    notes: tuple[str, ...]


def part_of_run(run: Path, predictor: ScenePredictor, part: str) -> MeasuredPixels:
    """Return the pixels of a part of a run's own scene, which must be as it was.

    Raises:
        DataError: cube, labels or class names are not those that the run was trained on, or the part is empty.
        EnvironmentFault: the split is not made again as it was.
    """
    config = with_defaults(load_config(SceneConfig, run / files.CONFIG))
    try:
        scene = scene_to_learn(config)
    except DataError as fault:
        raise DataError(fault.what, where=fault.where, why=fault.why, fix="start excite where the training was "
                        f"started, or correct the paths in {run / files.CONFIG}") from None
    _check_same(scene, hashes_of(run), predictor.info.classes)
    split = split_of(config, scene)
    _check_parts(run / PARTS, split)
    truth = np.where(split.parts == CODES[part], scene.labels.values, 0).astype(np.int32)
    if not truth.any():
        raise DataError(f"the run has no {part} part", where=run, fix="measure another: --split, or --data CUBE")
    told, what = [f"{BEWARE}{OWN[part]}"] if part in OWN else [], "cubes were" if scene.pieces else "scene was"
    return MeasuredPixels(name=part, cube=scene.cube, labels=scene.labels, truth=truth, unit=split.unit,
                          unit_kind=UNITS[split.kind], places=(Tile(0, 0, *scene.cube.shape),),
                          notes=(*told, f"the {what} split by {UNITS[split.kind]}", *split.notes))


def pixels_of_data(data: Path, section: SceneSection, predictor: ScenePredictor, *, block: int | None,
                   run: Path | None) -> MeasuredPixels:
    """Return all labelled pixels of another scene, or of a table of cubes.

    Args:
        data: A cube, a folder with one and its labels, or a table.
        section: How to read it.
        block: Pixels along a block, whose pixels are a unit; None: see `blocks`.
        run: Of the network, where it is known: whether it has seen these cubes.

    Raises:
        DataError: they cannot be read, or have not the bands or the classes of the network.
    """
    key = "table" if data.suffix.lower() in TABLE_SUFFIXES else "cube"
    scene = read_scene(SceneConfig(window=predictor.window, scene=section.model_copy(update={key: data})),
                       choose=choice_of(predictor.info, predictor.reduction),
                       usual_no_data=predictor.told.get("no_data"))
    truth, notes = truth_of(scene.labels, predictor.info.classes)
    cube = predictor.fitted(scene.cube)
    unit, kind, more = _units(scene, predictor.window, block)
    places = tuple(piece.place for piece in scene.pieces) or (Tile(0, 0, *cube.shape),)
    return MeasuredPixels(name=f"{scene.name} scene" if scene.name in CODES else scene.name, cube=cube,
                          labels=scene.labels, truth=truth, unit=unit, unit_kind=kind, places=places,
                          notes=tuple(dict.fromkeys([*seen(scene, run), *notes, *more, *cube.notes,
                                                     *scene.labels.notes])))


def blocks(shape: tuple[int, int], *, window: int, block: int | None = None) -> tuple[NDArray[np.int32], int]:
    """Return the number of each pixel's block, from 1 on, and the pixels along a block, at least.

    Args:
        shape: (H, W) of the scene.
        window: Of the network: nearer pixels see much the same.
        block: Pixels along a block, at least; None: a window, and as many as make about 100 blocks.
    """
    side = block or max(window, int(np.ceil((shape[0] * shape[1] / BLOCKS) ** 0.5)))
    down, across = (max(1, length // side) for length in shape)
    rows, columns = (np.arange(length, dtype=np.int32) * count // length
                     for length, count in zip(shape, (down, across), strict=True))
    numbers: NDArray[np.int32] = rows[:, None] * np.int32(across) + columns + np.int32(1)
    return numbers, side


def hashes_of(run: Path) -> dict[str, Any]:
    """Return the hashes of what a run was trained on.

    Raises:
        EnvironmentFault: the file is missing or damaged.
    """
    try:
        return dict(json.loads((run / files.HASHES).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as fault:
        raise EnvironmentFault("a file of the run is missing or damaged", where=run / files.HASHES, why=str(fault),
                               fix="train again in a new folder") from None


def _check_same(scene: Scene, known: dict[str, Any], classes: tuple[str, ...]) -> None:
    """Raise where a scene is not the one that a run was trained on."""
    for name, value in fingerprint_of(scene).items():
        if known.get(name) != value:
            raise DataError(f"{name} changed since the training", why=f"the sha256 is not that in {files.HASHES}",
                            where=scene.labels.source if name == "labels" else scene.cube.source,
                            fix="put the old file back, or measure the new one with --data")
    if scene.labels.classes != classes:
        raise DataError("the names of the classes changed since the training", where=scene.labels.source,
                        why=f"they were {', '.join(classes)}", fix="put the old file back")


def _check_parts(file: Path, split: SceneSplit) -> None:
    """Raise where a split is not the one whose map lies in a file."""
    try:
        same = np.array_equal(np.load(file), split.parts)
    except (OSError, ValueError, EOFError) as fault:
        raise EnvironmentFault("a file of the run is missing or damaged", where=file, why=str(fault),
                               fix="train again in a new folder") from None
    if not same:
        raise EnvironmentFault("the split of the run cannot be made again as it was", where=file,
                               why="the file, the config or excite changed since the training",
                               fix="use the excite that trained it, or train again in a new folder")


def _units(scene: Scene, window: int, block: int | None) -> tuple[NDArray[np.int32], str, list[str]]:
    """Return the unit of each pixel, what a unit is, and what has to be known about it."""
    if not scene.pieces:
        unit, side = blocks(scene.cube.shape, window=window, block=block)
        return unit, "spatial block", [
            f"units are blocks of at least {side} x {side} pixels, with windows of {window}: pixels of one resemble "
            "each other; where fields or organs are larger than a block the intervals are too narrow"]
    numbers = {name: place for place, name in enumerate(sorted({one.unit for one in scene.pieces}), start=1)}
    unit = np.zeros(scene.cube.shape, np.int32)
    for piece in scene.pieces:
        unit[piece.place.inside] = numbers[piece.unit]
    named = all(piece.patient is not None for piece in scene.pieces)
    return unit, "patient" if named else "cube", [] if named else [
        "no patients are known: each cube counts as a unit; the intervals are too narrow where a patient has several"]


def seen(scene: Scene, run: Path | None) -> list[str]:
    """Return whether a network was trained on a scene, or chosen by it, as far as that is known."""
    if run is None:
        return ["the bundle does not say what it was trained on: whether it has seen these pixels is not known"]
    config = load_config(SceneConfig, run / files.CONFIG)
    known = {str(hashes_of(run).get("cube"))}
    if config.scene.table is not None:
        try:
            known = _trained(read_scene(config), np.load(run / PARTS))
        except (OSError, ValueError):  # an ExciteError on files that are gone is a ValueError
            return ["the cubes of the training cannot be read: whether the network has seen these is not known"]
    seen = [name for name, _, values in _cubes(scene) if sha256(values) in known]
    return [f"LEAK: the network was trained on pixels of {', '.join(seen)}, or chosen by them: the numbers are too "
            "good; leave them out"] if seen else []


def _trained(scene: Scene, parts: NDArray[np.uint8]) -> set[str]:
    """Return the hashes of the cubes of a run that it was trained on or chosen by."""
    return {sha256(values) for _, place, values in _cubes(scene)
            if np.isin(parts[place.inside], (CODES["train"], CODES["val"])).any()}


def _cubes(scene: Scene) -> list[tuple[str, Tile, NDArray[Any]]]:
    """Return name, place and values of each cube of a scene."""
    values, whole = scene.cube.values, Tile(0, 0, *scene.cube.shape)
    return [(one.name, one.place, values[one.place.inside]) for one in scene.pieces] or [(scene.name, whole, values)]
