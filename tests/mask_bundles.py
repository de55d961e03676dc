"""Bundles of networks for masks whose maps are known: a logit is the brightness. Made without torch, at once."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from safetensors.numpy import save_file

from excite.data.preprocess import Preprocess
from excite.data.sections import PreprocessSection
from excite.deploy.bundle import BundleInfo, write_bundle
from excite.ellipse import Ellipse

GAIN = 12.0


def bright_onnx(kernel: NDArray[np.float32] | None = None, bias: tuple[float, ...] = (-GAIN / 2,), *,
                size: tuple[int, int] | None = None, after: str | None = None) -> onnx.ModelProto:
    """logits = convolution of the image (one channel) + bias: by default GAIN * (brightness - 0.5).

    Args:
        kernel: (K, 1, h, w), odd; None: GAIN.
        size: The only size it takes; None: any.
        after: An operator after it, such as "Log".
    """
    kernel = np.full((1, 1, 1, 1), GAIN, np.float32) if kernel is None else kernel
    down, across = kernel.shape[2] // 2, kernel.shape[3] // 2
    axes = list(size) if size else ["height", "width"]
    last = "logits" if after is None else "inner"
    nodes = [helper.make_node("Conv", ["images", "kernel", "bias"], [last], pads=[down, across, down, across])]
    nodes += [helper.make_node(after, ["inner"], ["logits"])] if after else []
    graph = helper.make_graph(
        nodes, "bright", [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, *axes])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(kernel), *axes])],
        [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(np.array(bias, np.float32), "bias")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def mask_info(size: int | tuple[int, int] = (64, 96), mode: str = "letterbox", **changes: Any) -> BundleInfo:
    section = PreprocessSection(size=size, mode=mode, channels=1, mean=(0.0,), std=(1.0,))
    info = BundleInfo(name="bright", task="heads", classes=("head",), preprocess=Preprocess(section).to_json())
    return replace(info, **changes)


def mask_bundle(folder: Path, model: onnx.ModelProto | None = None, *, size: int | tuple[int, int] = (64, 96),
                mode: str = "letterbox", **changes: Any) -> Path:
    """Write a bundle of the network of brightness; `changes` are fields of its info."""
    scratch = folder.parent / f"{folder.name}-parts"
    scratch.mkdir(parents=True, exist_ok=True)
    save_file({"gain": np.ones(1, np.float32)}, scratch / "weights.safetensors")
    onnx.save(model or bright_onnx(), scratch / "model.onnx")
    write_bundle(folder, mask_info(size, mode, **changes), weights=scratch / "weights.safetensors",
                 onnx=scratch / "model.onnx")
    return folder


def bright(ellipse: Ellipse, shape: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture (H, W) of a bright ellipse on black."""
    return np.rint(ellipse.coverage(shape) * 255).astype(np.uint8)


def saved(picture: NDArray[np.uint8], file: Path) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(file)
    return file
