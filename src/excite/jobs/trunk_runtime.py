"""Ways to run a frozen trunk, and the fastest of them: chosen by a measurement of a few images, said aloud."""

import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.deploy.export import evaluating, export
from excite.deploy.session import open_session
from excite.engine.precision import autocast
from excite.engine.state import arrange
from excite.errors import ModelError, UsageError
from excite.models.prediction import has_bfloat16

Float = NDArray[np.float32]
Run = Callable[[Tensor], Float]

RUNTIMES = ("onnxruntime", "float32", "bfloat16")  # the first two compute what the bundle computes
EXACT = 1e-4     # limit of ||a - b|| / ||b|| of an image's vector, b the network's own in float32
ROUNDED = 1e-2   # the same for bfloat16, above which it is not used
MARGIN = 1.25    # bfloat16 must be faster by this much
EXPORT_S = 12.0  # seconds of float32 from which an export (5 to 6 s) can pay
ROUNDS = 3       # measured runs of each runtime, after one of each that warms up


@dataclass(frozen=True, kw_only=True)
class Choice:
    """How vectors are made for training, and for validation, where only float32 will do; and why.

    Args:
        milliseconds: An image, of each runtime that was measured.
        errors: The largest ||a - b|| / ||b|| of a measured image.
    """

    train: str
    val: str
    reason: str
    milliseconds: Mapping[str, float]
    errors: Mapping[str, float]


class TrunkRuntimes:
    """A network's `forward_features` by several runtimes; the network is in eval mode and no gradient is kept.

    Args:
        network: With `forward_features`.
        shape: Of its input, (C, H, W).
        threads: CPU threads.
        channels_last: Memory layout in which torch computes; `close` takes it back.
    """

    def __init__(self, network: nn.Module, *, shape: tuple[int, int, int], threads: int, channels_last: bool) -> None:
        self.network, self.shape, self.threads = network, shape, threads
        self._layout = torch.channels_last if channels_last else torch.contiguous_format
        arrange(network, channels_last=channels_last)
        self._made: dict[str, Run] = {}

    def __enter__(self) -> "TrunkRuntimes":
        return self

    def __exit__(self, *_: object) -> None:
        arrange(self.network, channels_last=False)

    def run(self, name: str) -> Run:
        """Return a runtime: images (N, C, H, W) -> vectors (N, F).

        Raises:
            ModelError: the network cannot be exported. UsageError: there is no such runtime here.
        """
        if name not in RUNTIMES or (name == "bfloat16" and not has_bfloat16()):
            raise UsageError(f"the run's vectors were made by {name!r}, which this machine does not have",
                             fix="go on where it began, or start a new run with --out")
        if name not in self._made:
            self._made[name] = self._exported() if name == "onnxruntime" else self._in_torch(name)
        return self._made[name]

    def choose(self, images: Tensor, *, total: int) -> Choice:
        """Measure on a few images which runtime is the fastest for `total` of them."""
        own = self.run("float32")(images)
        runs = {name: self.run(name) for name in ("float32", *(["bfloat16"] if has_bfloat16() else []))}
        taken = _measured(runs, images)
        words = []
        if taken["float32"] * total / 1e3 > EXPORT_S:
            try:
                runs["onnxruntime"] = self.run("onnxruntime")
                taken = _measured(runs, images)  # side by side
            except ModelError as fault:
                words.append(f"onnxruntime is left out: {fault}")
        else:
            words.append(f"onnxruntime is left out: an export takes longer than it can save on {total} images")
        errors = {name: worst(run(images), own) for name, run in runs.items()}
        exact = [name for name in ("onnxruntime", "float32") if name in runs and errors[name] <= EXACT]
        val = min(exact, key=lambda name: taken[name])
        rounded = "bfloat16" in runs and errors["bfloat16"] <= ROUNDED and taken[val] >= MARGIN * taken["bfloat16"]
        chosen = "bfloat16" if rounded else val
        told = ", ".join(f"{name} {taken[name]:.1f} ms (error {errors[name]:.1g})" for name in runs)
        return Choice(train=chosen, val=val, milliseconds=taken, errors=errors, reason="; ".join([
            f"{chosen}, the fastest within its limit ({EXACT:g}, bfloat16 {ROUNDED:g}, validation in float32): "
            f"measured on {len(images)} images, one takes {told}", *words]))

    def _in_torch(self, name: str) -> Run:
        def run(images: Tensor) -> Float:
            with evaluating(self.network), torch.no_grad(), autocast(name):
                found: Tensor = self.network.forward_features(  # type: ignore[operator]
                    images.contiguous(memory_format=self._layout))
            return np.ascontiguousarray(found.float().numpy())

        return run

    def _exported(self) -> Run:
        channels, height, width = self.shape
        with tempfile.TemporaryDirectory(prefix="excite-") as folder:
            file = export(self.network, Path(folder) / "trunk.onnx", size=(height, width), channels=channels)
            session = open_session(file, threads=self.threads)

        def run(images: Tensor) -> Float:
            found: Float = session.run(["features"], {"images": np.ascontiguousarray(images.numpy())})[0]
            return found

        return run


def worst(found: Float, own: Float) -> float:
    """Return the largest ||found - own|| / ||own|| of an image; not finite counts as infinite."""
    size = np.maximum(np.linalg.norm(own, axis=1), np.finfo(np.float32).tiny)
    value = float((np.linalg.norm(found - own, axis=1) / size).max())
    return value if np.isfinite(value) else float("inf")


def _measured(runs: Mapping[str, Run], images: Tensor) -> dict[str, float]:
    """Return the milliseconds an image of each runtime's fastest run, the runtimes taking turns."""
    taken: dict[str, list[float]] = {name: [] for name in runs}
    for round_ in range(ROUNDS + 1):
        for name, run in runs.items():
            began = time.perf_counter()
            run(images)
            if round_:
                taken[name].append((time.perf_counter() - began) * 1e3 / len(images))
    return {name: min(times) for name, times in taken.items()}
