"""A small training run on simulated planes, made once for all tests that need a finished one."""

from pathlib import Path

from excite.config import load_config
from excite.data.phantom.planes import simulate_planes
from excite.jobs.sections import TrainConfig

SETTINGS: dict[str, object] = {
    "model.name": "mobilenet_v2", "model.weights": "none", "model.options": {"width": 0.25}, "preprocess.size": 64,
    "loop.epochs": 2, "loop.batch_size": 8, "loop.threads": 1, "loop.precision": "float32", "predict.parity_images": 4,
}


def simulated_table(folder: Path, *, patients: int = 14) -> Path:
    """Return the table of a few simulated images."""
    return simulate_planes(folder, patients=patients, seed=3)


def small_config(table: Path, **changes: object) -> TrainConfig:
    """Return a config that trains in seconds."""
    return load_config(TrainConfig, values=SETTINGS | {"data.table": table} | changes)


def command_line(table: Path, out: Path, *more: str) -> list[str]:
    """Return the arguments of the same training for `excite`."""
    options = [f"--set={key}={str(value).replace(chr(39), '')}" for key, value in SETTINGS.items()]
    return ["train", str(table), "--out", str(out), *options, *more]
