"""Bundles for tests: a linear network whose outputs numpy can compute, made without torch, in milliseconds."""

import hashlib
import json
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

CLASSES = ("benign", "malignant", "normal")
SIZE = 16


def weights(classes: int = 3, *, size: int = SIZE, channels: int = 3, seed: int = 0) -> dict[str, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    return {"weight": rng.normal(0, 0.1, (classes, channels * size * size)).astype(np.float32),
            "bias": rng.normal(0, 0.1, classes).astype(np.float32)}


def linear_onnx(values: dict[str, NDArray[np.float32]], *, size: int = SIZE, channels: int = 3) -> onnx.ModelProto:
    """logits = flat pixels @ weight.T + bias; features = mean of each channel."""
    nodes = [helper.make_node("Flatten", ["images"], ["flat"]),
             helper.make_node("Gemm", ["flat", "weight", "bias"], ["logits"], transB=1),
             helper.make_node("GlobalAveragePool", ["images"], ["pooled"]),
             helper.make_node("Flatten", ["pooled"], ["features"])]
    graph = helper.make_graph(
        nodes, "linear", [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", channels, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", len(values["bias"])]),
         helper.make_tensor_value_info("features", TensorProto.FLOAT, ["batch", channels])],
        [numpy_helper.from_array(value, name) for name, value in values.items()])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def linear_info(classes: tuple[str, ...] = CLASSES, **changes: Any) -> BundleInfo:
    preprocess = Preprocess(PreprocessSection(size=SIZE)).to_json()
    return replace(BundleInfo(name="linear", classes=classes, preprocess=preprocess), **changes)


def linear_bundle(folder: Path, classes: tuple[str, ...] = CLASSES, *, values: dict[str, NDArray[np.float32]]
                  | None = None, **changes: Any) -> Path:
    """Write a bundle of the linear network; `changes` are fields of its info."""
    values = values or weights(len(classes))
    scratch = folder.parent / f"{folder.name}-parts"
    scratch.mkdir(parents=True, exist_ok=True)
    save_file(values, scratch / "weights.safetensors")
    onnx.save(linear_onnx(values), scratch / "model.onnx")
    write_bundle(folder, linear_info(classes, **changes), weights=scratch / "weights.safetensors",
                 onnx=scratch / "model.onnx")
    return folder


def pictures(folder: Path, count: int = 5, *, seed: int = 0) -> list[Path]:
    """Write grey pictures that differ."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    files = [folder / f"scan {place}.png" for place in range(count)]
    for place, file in enumerate(files):
        ramp = np.linspace(0, 150, 40)[None] * rng.random((30, 1)) + rng.integers(0, 100, (30, 40))
        Image.fromarray(np.roll(ramp, 3 * place, axis=1).astype(np.uint8)).save(file)
    return files


def seal(folder: Path) -> None:
    """Make the checksums fit the files: what a careful forger or another version would leave."""
    def digest(name: str) -> str:
        return hashlib.sha256((folder / name).read_bytes()).hexdigest()

    tree = json.loads((folder / "bundle.json").read_text(encoding="utf-8"))
    tree["sha256"] = {name: digest(name) for name in tree["sha256"]}
    (folder / "bundle.json").write_text(json.dumps(tree), encoding="utf-8")
    names = [*tree["sha256"], "bundle.json"]
    (folder / "bundle.sha256").write_text("".join(f"{digest(name)}  {name}\n" for name in names))
