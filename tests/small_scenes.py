"""Small simulated scenes, configs that train on them in seconds, and windows cut by numpy alone."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from excite.config import load_config
from excite.data.phantom.hyperspectral import simulate_scene
from excite.jobs.scenes.sections import SceneConfig

WINDOW = 9
SETTINGS: dict[str, object] = {
    "window": WINDOW, "reduction.components": 13, "split.train": 0.4, "split.block": 8, "baselines": [],
    "loop.epochs": 3, "loop.batch_size": 64, "loop.threads": 1, "loop.precision": "float32", "loop.ema": 0.8}


def small_scene(folder: Path, **changes: Any) -> Path:
    """Return the cube of a simulated scene of three materials."""
    options: dict[str, Any] = {"height": 40, "width": 44, "bands": 24, "classes": 3, "seed": 4}
    return simulate_scene(folder, **options | changes)


def scene_config(cube: Path | None, **changes: object) -> SceneConfig:
    """Return a config that trains in a second or two; keys are dotted."""
    return load_config(SceneConfig, values=SETTINGS | {"scene.cube": cube} | changes)


def windows_of(values: NDArray[np.float32], window: int, border: Literal["reflect", "zero"] = "reflect"
               ) -> NDArray[np.float32]:
    """Return the window of every pixel, (H, W, bands) -> (H, W, bands, window, window), padded by numpy."""
    sides = ((window - 1) // 2, window // 2)
    padded = np.pad(values, (sides, sides, (0, 0)), mode="reflect" if border == "reflect" else "constant")
    return sliding_window_view(padded, (window, window), axis=(0, 1))
