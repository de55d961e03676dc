"""Bundles of untrained networks for scenes, whose every number torch and numpy can say again."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from excite.data.scenes.reduction import BandReduction, fit_reduction
from excite.deploy.bundle import BundleInfo, write_bundle
from excite.deploy.export import evaluating
from excite.deploy.scene_network import export_scene
from excite.models.classifier import create_model
from small_scenes import windows_of

BANDS, KEPT, CLASSES = 16, 13, ("soil", "tree", "water")


def network(window: int, **options: Any) -> nn.Module:
    """Return HybridSN with all its values drawn at random, those of normalisation too, and answers that differ."""
    made: nn.Module = create_model("hybridsn", in_channels=KEPT, num_classes=len(CLASSES), window=window, **options)
    with torch.no_grad():
        for name, value in made.state_dict().items():
            if name.endswith(("norm.weight", "running_var")):
                value.copy_(torch.rand(value.shape) + 0.5)
            elif name.endswith(("bias", "running_mean")):
                value.copy_(torch.randn(value.shape) / 10)
        with evaluating(made):
            logits = made(torch.randn(200, KEPT, window, window, generator=torch.Generator().manual_seed(3)))
        last: Any = made.classifier
        last.weight.mul_(2 / logits.std(0)[:, None])
        last.bias.copy_(2 * (last.bias - logits.mean(0)) / logits.std(0))
    return made


def cube(height: int = 21, width: int = 17, *, seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(3, 2, (height, width, BANDS)).astype(np.float32)


def reduction() -> BandReduction:
    """Return one that was learnt elsewhere."""
    return fit_reduction(cube(seed=9).reshape(-1, BANDS), components=KEPT)


def scene_bundle(folder: Path, model: nn.Module, *, window: int, border: str = "reflect", **changes: Any) -> Path:
    """Write a bundle; `changes` are fields of its info."""
    scratch = folder.parent / f"{folder.name}-parts"
    scratch.mkdir(parents=True)
    examples = np.random.default_rng(1).standard_normal((8, KEPT, window, window)).astype(np.float32)
    export_scene(model, scratch / "model.onnx", examples)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, scratch / "weights.safetensors")
    info = BundleInfo(name="random", classes=CLASSES, task="scene", preprocess={
        "reduction": reduction().to_json(), "window": window, "border": border})
    write_bundle(folder, BundleInfo(**asdict(info) | {"classes": CLASSES} | changes),
                 weights=scratch / "weights.safetensors", onnx=scratch / "model.onnx")
    return folder


def logits_of(model: nn.Module, reduced: NDArray[np.float32], window: int, border: Any = "reflect"
              ) -> NDArray[np.float32]:
    """Return what the network says of the window of every pixel, (H, W, K)."""
    view = windows_of(reduced, window, border)
    flat = torch.from_numpy(view.reshape(-1, *view.shape[2:]).copy())
    with evaluating(model), torch.inference_mode():
        found: NDArray[np.float32] = model(flat).numpy()
    return found.reshape(*reduced.shape[:2], -1)
