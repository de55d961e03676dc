"""The class of every pixel of a hyperspectral scene, tile by tile."""

from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.errors import DataError, ModelError, UsageError
from excite.layers.options import check_choice
from excite.models.measure import using_threads
from excite.models.whole_scene import Precision, WholeScene, in_eval_mode
from excite.progress import Progress, silent
from excite.tiling import Border, Cover, Tile, tiles

Method = Literal["whole", "windows"]
Cube = NDArray[np.floating[Any]]  # (H, W, bands)
TILE = 160  # pixels a side: half a gigabyte of memory for HybridSN on 30 bands


def predict_scene(model: nn.Module, cube: Cube, *, window: int | None = None, method: Method = "whole",
                  tile: int | None = None, border: Border = "reflect", precision: Precision = "float32",
                  batch: int = 128, threads: int | None = None,
                  progress: Progress | None = None) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Return the class of every pixel of a scene, and the probabilities of all classes.

    Args:
        model: Takes windows (N, bands, window, window) and gives logits (N, K); it is used in eval mode.
        cube: (H, W, bands), as the model was trained on it: reduced and scaled. It may be a memory map.
        window: Side of the windows; None: `model.window`.
        method: "whole" computes each layer once for all windows, the same logits to 1e-6 of their scale and hundreds of
            times as fast, where the model's layers allow it (HybridSN; the error says why not); "windows" takes any
            model and cuts out a window for each pixel.
        tile: Pixels a side that are computed at once; None: 160. Results do not depend on it, memory does.
        border: What lies beyond the scene, which has to be what the training windows had there: it reaches every pixel
            within half a window of the edge, 30 % of Indian Pines. "reflect", a mirror image, is what excite trains
            with, because its spectra are of the scene; "zero" is the published one, the mean of principal components.
        precision: Of the convolutions of "whole", "float32" or "bfloat16".
        batch: Windows at a time, method "windows".
        threads: Of torch; None: all usable cores.
        progress: Told of the pixels that are done.

    Shape:
        labels (H, W), counted from 0; probabilities (H, W, K). A window's pixel is at (window - 1) // 2.

    Raises:
        UsageError: an argument is wrong, or "whole" would not be exact. DataError: the cube is not a scene for this
            model. ModelError: it does not give logits.
    """
    progress, done = progress or silent(), 0
    with using_threads(threads):
        scene = TiledScene(model, cube, window=window, method=method, tile=tile, border=border, precision=precision,
                           batch=batch)
        labels, probabilities = np.empty(scene.sizes, np.int32), np.empty((*scene.sizes, 0), np.float32)
        for part in scene.tiles:
            classes, shares = scene.predict(part)
            if not done:
                probabilities = np.empty((*scene.sizes, shares.shape[2]), np.float32)
            labels[part.inside], probabilities[part.inside] = classes, shares
            done += part.height * part.width
            progress.step("predicting pixels", done, labels.size)
    return labels, probabilities


class TiledScene:
    """A model and a scene, ready to be computed tile by tile; the arguments are predict_scene's.

    Attributes:
        sizes: (H, W) of the scene.
        tiles: What it is cut into, of nearly equal sides.
    """

    def __init__(self, model: nn.Module, cube: Cube, *, window: int | None = None, method: Method = "whole",
                 tile: int | None = None, border: Border = "reflect", precision: Precision = "float32",
                 batch: int = 128) -> None:
        check_choice("method", method, Method)
        check_choice("border", border, Border, fix="it has to be that of the training")
        check_choice("precision", precision, Precision)
        if method == "windows" and precision != "float32":
            raise UsageError("precision is for method='whole'", fix="cast the model, or leave precision out")
        for name, value in (("tile", TILE if tile is None else tile), ("batch", batch)):
            if type(value) is not int or value < 1:
                raise UsageError(f"{name} must be a whole number of at least 1, got {value!r}")
        self.model, self.cube, self.border, self.batch = model, cube, border, batch
        self.window = _window(model, window)
        _check_cube(cube, getattr(model, "in_channels", None))
        self.sizes: tuple[int, int] = cube.shape[:2]
        self.tiles = tiles(self.sizes, TILE if tile is None else tile)
        first = next(model.parameters(), None)
        self.like = torch.empty(0) if first is None else first
        self.whole = None
        if method == "whole":
            self.whole = WholeScene(model, places=max(self.tiles[0][2:]), precision=precision)

    def logits(self, part: Tile) -> Tensor:
        """Return the logits of the pixels of a tile, (height, width, K)."""
        cover = Cover(part, self.sizes, window=self.window, border=self.border)
        block = cover.blank(cover.read(self.cube))
        if not np.isfinite(block).all():
            raise DataError(f"the cube holds values that are not finite within {self.window} pixels of rows "
                            f"{part.top} to {part.top + part.height - 1}, columns {part.left} to "
                            f"{part.left + part.width - 1}", fix="mask or fill them before the reduction")
        x = torch.from_numpy(block).to(self.like)
        return by_windows(self.model, x, window=self.window, batch=self.batch) if self.whole is None else self.whole(x)

    def predict(self, part: Tile) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return labels and probabilities of the pixels of a tile."""
        logits = self.logits(part).float()
        labels, shares = logits.argmax(2), logits.softmax(2)
        return labels.cpu().numpy().astype(np.int32), shares.cpu().numpy()


@torch.inference_mode()
def by_windows(model: nn.Module, block: Tensor, *, window: int, batch: int) -> Tensor:
    """Return the logits of all windows of a block, (H + window - 1, W + window - 1, bands) -> (H, W, K).

    Raises:
        ModelError: the model does not give one vector a window.
    """
    every = block.permute(2, 0, 1).unfold(1, window, 1).unfold(2, window, 1)  # (bands, H, W, window, window)
    height, width = every.shape[1:3]
    found, every_place = [], torch.arange(height * width, device=block.device)
    with in_eval_mode(model):
        for first in range(0, height * width, batch):
            places = every_place[first:first + batch]
            windows = every[:, places // width, places % width].transpose(0, 1).contiguous()
            logits = model(windows)
            if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[0] != len(places):
                shape = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
                raise ModelError(f"the model must give logits ({len(places)}, classes), got {shape}")
            found.append(logits)
    return torch.cat(found).view(height, width, -1)


def _window(model: nn.Module, given: int | None) -> int:
    """Return the side of the windows that a model takes."""
    own = getattr(model, "window", None)
    window = own if given is None else given
    if type(window) is not int or window < 1:
        raise UsageError(f"window must be a whole number of at least 1, got {window!r}",
                         fix="the side of the windows that the model was trained on")
    if own is not None and window != own:
        raise UsageError(f"window must be {own}, which the model was built for, got {window}", fix="leave window out")
    return window


def _check_cube(cube: object, bands: int | None) -> None:
    """Raise a DataError where an array is no scene for a model of so many bands."""
    if not isinstance(cube, np.ndarray) or cube.ndim != 3 or 0 in cube.shape or cube.dtype.kind != "f":
        told = f"{cube.dtype} {cube.shape}" if isinstance(cube, np.ndarray) else type(cube).__name__
        raise DataError(f"the cube must be an array (H, W, bands) of float32, got {told}",
                        fix="reduce and scale the scene as for the training")
    if bands is not None and cube.shape[2] != bands:
        raise DataError(f"the model takes {bands} bands, the cube has {cube.shape[2]}",
                        fix="bands are the last axis; reduce the scene as for the training")
