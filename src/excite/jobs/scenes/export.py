"""Export a network for scenes again: its weights to ONNX with this version of torch, proved on windows of a cube."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import nn

from excite.config import load_config
from excite.data.scenes.cube import Cube
from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, write_bundle
from excite.deploy.scene_network import export_scene
from excite.deploy.scene_predictor import ScenePredictor
from excite.errors import UsageError
from excite.jobs import run_folder as files
from excite.jobs.scenes.data import read_scene
from excite.jobs.scenes.files import cubes_of
from excite.jobs.scenes.predict import read_for
from excite.jobs.scenes.sections import SceneConfig, with_defaults
from excite.progress import Progress
from excite.tiling import Tile


def export_scene_again(model: nn.Module, info: BundleInfo, bundle: Path, out: Path, *, data: Sequence[Path],
                       windows: int, progress: Progress) -> BundleInfo:
    """Write a bundle with the network exported anew, proved on windows from all over a cube.

    Args:
        model: With the weights of `bundle`, in eval mode.
        info: Becomes that of the new bundle, but for the proof.
        bundle: The old one.
        out: A new or empty folder, or a bundle to replace.
        data: One cube; the run's own where none is given.
        windows: How many.

    Raises:
        ParityError: the export does not compute what the network does; nothing is written.
        UsageError: no cube is known, or several. DataError: the cube cannot be read.
    """
    predictor = ScenePredictor(bundle)
    some = _windows(predictor, _cube(predictor, data), windows)
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        onnx = Path(place) / ONNX
        progress.say("exporting to ONNX")
        proof = export_scene(model, onnx, some)
        progress.say(f"parity: {proof.text()}")
        return write_bundle(out, replace(info, parity=proof.to_json()), weights=bundle / WEIGHTS, onnx=onnx)


def _cube(predictor: ScenePredictor, data: Sequence[Path]) -> Cube:
    """Return the cube that is named, or that of the run."""
    if data:
        cubes = cubes_of(data)
        if len(cubes) > 1:
            raise UsageError(f"one cube proves the export, got {len(cubes)}", fix=f"--data {cubes[0]}")
        return read_for(predictor, cubes[0])
    config = predictor.folder.parent / files.CONFIG
    if not config.is_file():
        raise UsageError("a bundle alone has no cube to prove the export on", where=predictor.folder,
                         fix="name one with --data CUBE, or export from the run folder")
    return read_scene(with_defaults(load_config(SceneConfig, config))).cube


def _windows(predictor: ScenePredictor, cube: Cube, count: int) -> NDArray[np.float32]:
    """Return windows of pixels with data, as far apart as can be, (N, components, window, window)."""
    places = np.argwhere(np.ones(cube.shape, np.bool_) if cube.valid is None else cube.valid)
    chosen = places[np.unique(np.linspace(0, len(places) - 1, count).round().astype(int))].tolist()
    return np.stack([predictor.block(cube, Tile(row, column, 1, 1)).transpose(2, 0, 1) for row, column in chosen])
