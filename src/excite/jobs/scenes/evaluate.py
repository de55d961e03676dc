"""Measure a network for scenes: a run on its own pixels once more, or a bundle on all labels of another scene.

Without torch, by the bundle that ships.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from excite.data.scenes.label_files import write_labels
from excite.data.scenes.labels import LabelMap
from excite.data.scenes.sections import SceneSection
from excite.data.scenes.split import CODES
from excite.deploy.scene_fit import BEWARE
from excite.deploy.scene_predictor import ScenePredictor, labelled
from excite.errors import UsageError
from excite.jobs import run_folder as files
from excite.jobs.evaluation_files import names
from excite.jobs.run_folder import is_unfinished, written
from excite.jobs.scenes.measured import MeasuredPixels, part_of_run, pixels_of_data
from excite.metrics.evaluation import Evaluation, evaluate
from excite.progress import Progress, silent
from excite.registry import nearest
from excite.report.scene_figures import error_map
from excite.tiling import Tile


def evaluate_scene(run_or_bundle: str | Path, data: str | Path | None = None, split: str | None = None, *,
                   scene: SceneSection | None = None, block: int | None = None, out: str | Path | None = None,
                   maps: bool = False, threads: int | None = None, resamples: int = 1000, seed: int = 0,
                   progress: Progress | None = None) -> Evaluation:
    """Return how good a network for scenes is, every number with a 95 % interval from a bootstrap over units.

    Without `data` a run is measured on a part of its own scene, which must be as it was; units are those of its split.
    With `data` all labelled pixels of another scene count; units are its blocks, or the patients of a table of cubes.
    Its classes are those of the network with the same name, or number where its labels have no names.

    Args:
        run_or_bundle: A run folder, or a bundle folder (then `data` is needed).
        data: A cube, a folder with one and its labels, or a table of cubes.
        split: "train", "val" or "test" of a run; test otherwise.
        scene: How to read `data`: labels, class names, variables, bands, references.
        block: Pixels along a block of `data`; None: at least a window, and about 100 blocks.
        out: Folder for evaluation.json; the run folder otherwise. A bundle alone is left as it is.
        maps: Write the map of the scene and that of its errors too: prediction.png and errors.png.
        threads: CPU threads; all usable cores otherwise.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        UsageError: there is no such part, or a bundle comes without data. ModelError: the bundle cannot be used.
        DataError: cube or labels are others than the run's, or do not fit the network.
        EnvironmentFault: a file of the run is damaged, or the folder cannot be written.
    """
    source, progress = Path(run_or_bundle), progress or silent()
    run = source if (source / files.CONFIG).is_file() else None
    _check(source, data, split, block, maps=maps, own=run is not None, out=out)
    predictor = ScenePredictor(source, threads=threads)
    found = (part_of_run(source, predictor, split or "test") if data is None else
             pixels_of_data(Path(data), scene or SceneSection(), predictor, block=block, run=run))
    notes = [*found.notes, *([f"{BEWARE}the run has not ended (it has no report): its temperature may be missing"]
                             if is_unfinished(source) else [])]
    labels, shares = _answers(predictor, found, whole=maps, progress=progress)
    places = found.truth > 0
    evaluation = evaluate(found.truth[places].astype(np.int64) - 1, shares, predictor.info.classes,
                          [str(one) for one in found.unit[places]], part=found.name, unit_kind=found.unit_kind,
                          notes=notes, sample="pixel", resamples=resamples, seed=seed, progress=progress)
    if out is not None or run is not None:
        _write(source if out is None else Path(out), evaluation, found, labels if maps else None, own=out is None,
               progress=progress)
    return evaluation


def _check(source: Path, data: object, split: str | None, block: int | None, *, maps: bool, own: bool,
           out: object) -> None:
    """Raise where the arguments do not go together."""
    if data is None and not own:
        raise UsageError("a bundle has no scene of its own", where=source,
                         fix="name a cube with --data, or the run folder")
    if split is not None and data is not None:
        raise UsageError("split is for a run's own scene", why="of other data all labelled pixels are measured",
                         fix="leave it out")
    if split is not None and split not in CODES:
        raise UsageError(f"split must be {', '.join(CODES)}, got {split!r}", fix=nearest(split, list(CODES)).strip())
    if block is not None and data is None:
        raise UsageError("block is for other data", why="a run has the units of its split", fix="leave it out")
    if block is not None and block < 1:
        raise UsageError(f"block must be at least 1 pixel, got {block}")
    if maps and out is None and not own:
        raise UsageError("maps must have a folder", fix="name one with --out")


def _answers(predictor: ScenePredictor, found: MeasuredPixels, *, whole: bool, progress: Progress
             ) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the labels of what was predicted, and the probabilities of the measured pixels, (N, K).

    Args:
        whole: Predict the tiles without measured pixels too.
    """
    wanted = found.truth > 0
    row = np.cumsum(wanted).reshape(wanted.shape) - 1
    labels = np.zeros(wanted.shape, np.int32)
    shares = np.zeros((np.count_nonzero(wanted), len(predictor.info.classes)), np.float32)
    done = 0
    for place in found.places:
        cube = found.cube if place == Tile(0, 0, *wanted.shape) else replace(
            found.cube, values=found.cube.values[place.inside],
            valid=None if found.cube.valid is None else found.cube.valid[place.inside])
        for part, chances in predictor.predict(cube, where=None if whole else wanted[place.inside]):
            tile = Tile(place.top + part.top, place.left + part.left, part.height, part.width).inside
            labels[tile] = labelled(chances)[0]
            shares[row[tile][wanted[tile]]] = chances[wanted[tile]]
            done += int(wanted[tile].sum())
            progress.step("measuring pixels", done, len(shares))
    return labels, shares


def _write(folder: Path, evaluation: Evaluation, found: MeasuredPixels, labels: NDArray[np.int32] | None, *, own: bool,
           progress: Progress) -> None:
    """Write the numbers, and the maps where there are some."""
    numbers = folder / names(evaluation.part, own=own)[0]
    ending = numbers.stem.removeprefix("evaluation")
    said = [numbers]
    with written(folder, what="the evaluation"):
        folder.mkdir(parents=True, exist_ok=True)
        if labels is not None:
            said += [folder / f"prediction{ending}.png", folder / f"errors{ending}.png"]
            write_labels(said[1], LabelMap(values=labels, classes=evaluation.classes, source=evaluation.part))
            Image.fromarray(_errors(found, labels)).save(said[2])
        aside = numbers.with_name(f".{numbers.name}.tmp")
        aside.write_text(json.dumps(evaluation.to_json(), indent=1, ensure_ascii=False, allow_nan=False) + "\n",
                         encoding="utf-8", newline="\n")
        aside.replace(numbers)
    progress.say(f"written: {', '.join(map(str, said))}")


def _errors(found: MeasuredPixels, labels: NDArray[np.int32]) -> NDArray[np.uint8]:
    """Return where the measured pixels are right (blue) and wrong (orange); others with a label are grey."""
    measured = found.truth > 0
    return error_map(np.where(measured, found.truth, found.labels.values), labels, np.where(measured, CODES["test"], 0))
