"""Predict whole scenes with a bundle: onnxruntime and numpy, no torch; tile by tile, in memory that does not grow."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.data.scenes.cube import Cube
from excite.data.scenes.reduction import BandReduction
from excite.deploy.bundle import ONNX, find_bundle, read_bundle
from excite.deploy.scene_fit import fitted, told_of_cube
from excite.deploy.session import first_line, open_session
from excite.errors import DataError, ModelError, UsageError
from excite.machine import usable_cores
from excite.outcome.decode import decode
from excite.progress import Progress, silent
from excite.tiling import Cover, Tile, tiles

Floats = NDArray[np.float32]
TILE = 192   # pixels along a tile
BATCH = 256  # windows at once, where they are computed one by one


@dataclass(frozen=True, kw_only=True, eq=False)
class ScenePrediction:
    """The class of every pixel of a scene.

    Args:
        classes: Names; label k is that of place k - 1.
        labels: 0 where the scene holds no data.
        confidence: Probability of the label, 0 there.
        probabilities: Of every class, where they were asked for.

    Shape:
        labels (H, W) int32, confidence (H, W) float32, probabilities (H, W, K) float32
    """

    classes: tuple[str, ...]
    labels: NDArray[np.int32]
    confidence: Floats
    probabilities: Floats | None = None


class ScenePredictor:
    """A bundle for scenes at work.

    Where the bundle's network takes a whole scene each of its layers is computed once for all windows (exactly the
    same numbers); otherwise window by window.

    Args:
        bundle: A bundle folder, or a run folder with a bundle in it.
        threads: CPU threads; all usable cores otherwise.

    Raises:
        ModelError: the bundle is damaged, not one for scenes, or its network does not fit what bundle.json says.
    """

    def __init__(self, bundle: str | Path, *, threads: int | None = None) -> None:
        if threads is not None and threads < 1:
            raise UsageError(f"threads must be at least 1, got {threads}")
        self.folder = find_bundle(Path(bundle))
        self.info = read_bundle(self.folder)
        if self.info.task != "scene":
            raise ModelError(f"the bundle must be one for scenes, this one is for {self.info.task}", where=self.folder,
                             fix="excite predict takes images with it")
        self.threads = threads or usable_cores()
        self.reduction = BandReduction.from_json(self.info.preprocess["reduction"])
        self.told: Mapping[str, Any] = told_of_cube(self.info)
        self.window, self.border = int(self.info.preprocess["window"]), self.info.preprocess["border"]
        self._session = open_session(self.folder / ONNX, threads=self.threads)
        outputs = {one.name: one for one in self._session.get_outputs()}
        logits = outputs.get("logits")
        if logits is None or logits.shape[1] != len(self.info.classes):
            raise ModelError("the network does not fit the bundle", where=self.folder / ONNX,
                             why=f"its outputs are {', '.join(outputs)}, not {len(self.info.classes)} logits",
                             fix="export the bundle again")
        self.method = "whole" if len(logits.shape) == 4 else "windows"

    def __call__(self, cube: Cube | NDArray[Any], *, probabilities: bool = False, tile: int = TILE,
                 progress: Progress | None = None) -> ScenePrediction:
        """Return the class of every pixel.

        Args:
            cube: With the bands of the training scene, or more; on its scale. See `fitted`.
            probabilities: Give those of every class too: 4 K bytes a pixel.
            tile: Pixels along a tile.

        Raises:
            DataError: other bands, or values that are not finite where there should be data.
        """
        scene = self.fitted(as_cube(cube))
        sizes, count = scene.shape, len(self.info.classes)
        labels, confidence = np.zeros(sizes, np.int32), np.zeros(sizes, np.float32)
        every = np.zeros((*sizes, count), np.float32) if probabilities else None
        progress, done = progress or silent(), 0
        for part, shares in self.predict(scene, tile=tile):
            labels[part.inside], confidence[part.inside] = labelled(shares)
            if every is not None:
                every[part.inside] = shares
            done += part.height * part.width
            progress.step("predicting pixels", done, labels.size)
        return ScenePrediction(classes=self.info.classes, labels=labels, confidence=confidence, probabilities=every)

    def fitted(self, cube: Cube) -> Cube:
        """Return a cube with the bands of the training; its notes say what was taken, and what is odd about it.

        Raises:
            DataError: it has not the bands of the training.
        """
        return fitted(cube, self.info, self.reduction)

    def predict(self, cube: Cube, *, tile: int = TILE, where: NDArray[np.bool_] | None = None
                ) -> Iterator[tuple[Tile, Floats]]:
        """Yield tiles of the scene with the probabilities of their pixels, (height, width, K), 0 where no data are.

        Args:
            cube: With the bands of the training.
            tile: Pixels along a tile.
            where: (H, W); tiles without such a pixel are left out.
        """
        for part in tiles(cube.shape, tile):
            if where is not None and not where[part.inside].any():
                continue
            logits = self.logits(self.block(cube, part))
            shares = decode(logits.reshape(1, -1, logits.shape[2]), classes=self.info.classes,
                            temperature=self.info.temperature).reshape(logits.shape).astype(np.float32)
            if cube.valid is not None:
                shares[~cube.valid[part.inside]] = 0
            yield part, shares

    def block(self, cube: Cube, part: Tile) -> Floats:
        """Return what the windows of a tile cover, reduced: (height + window - 1, width + window - 1, components).

        A pixel without data is 0, the training mean, as in training.
        """
        cover = Cover(part, cube.shape, window=self.window, border=self.border)
        block = self.reduction.apply(cover.read(cube.values))
        if cube.valid is not None:
            block[~cover.read(cube.valid)] = 0
        if not np.isfinite(block).all():
            raise DataError("the cube holds values that are not finite", fix="name them with no_data",
                            where=f"near row {part.top}, column {part.left}")
        return cover.blank(block)

    def logits(self, block: Floats) -> Floats:
        """Return the logits of all windows of a block, (H + window - 1, W + window - 1, bands) -> (H, W, K)."""
        image = np.ascontiguousarray(block.transpose(2, 0, 1))
        if self.method == "whole":
            logits: Floats = self._run(image[None])[0].transpose(1, 2, 0)
            if logits.shape[:2] != tuple(length - self.window + 1 for length in block.shape[:2]):
                raise ModelError("the network does not fit the bundle", where=self.folder / ONNX,
                                 why=f"its windows are not of {self.window} pixels", fix="export the bundle again")
            return logits
        view = np.lib.stride_tricks.sliding_window_view(image, (self.window, self.window), axis=(1, 2))
        height, width = view.shape[1:3]
        rows, columns = (place.ravel() for place in np.mgrid[:height, :width])
        found = [self._run(np.ascontiguousarray(view[:, rows[start:start + BATCH], columns[start:start + BATCH]]
                                                .transpose(1, 0, 2, 3))) for start in range(0, len(rows), BATCH)]
        return np.concatenate(found).reshape(height, width, -1)

    def _run(self, images: Floats) -> Floats:
        try:
            found: Floats = self._session.run(["logits"], {"images": images})[0]
        except Exception as fault:  # onnxruntime's own kinds share no base class
            raise ModelError("the network cannot be run", where=self.folder / ONNX, why=first_line(fault),
                             fix="export the bundle again") from None
        return found


def labelled(shares: Floats) -> tuple[NDArray[np.int32], Floats]:
    """Return labels from 1 on, 0 where there are no data, and the probability of each."""
    best = shares.max(axis=-1)
    return np.where(best > 0, shares.argmax(axis=-1) + 1, 0).astype(np.int32), best


def as_cube(cube: Cube | NDArray[Any]) -> Cube:
    """Return a cube as it is, and an array (H, W, bands) as one."""
    if isinstance(cube, Cube):
        return cube
    values = np.asarray(cube)
    if values.ndim != 3:
        raise DataError(f"a cube must have rows, columns and bands, got shape {values.shape}")
    return Cube(values=values, source="an array")
