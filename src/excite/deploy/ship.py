"""From a trained network to a bundle that is proved on real images before anything is written."""

import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import nn

from excite.deploy.bundle import ONNX, WEIGHTS, BundleInfo, write_bundle
from excite.deploy.export import export
from excite.deploy.parity import parity, same_input
from excite.deploy.runtime import Predictor
from excite.progress import Progress, silent


def export_bundle(model: nn.Module, folder: Path, *, info: BundleInfo, images: NDArray[np.float32],
                  names: Sequence[str] | None = None, files: Sequence[Path] | None = None,
                  progress: Progress | None = None) -> BundleInfo:
    """Export, prove and write a bundle; nothing is written where the proof fails.

    Args:
        info: Everything but parity and checksums, which are filled here.
        images: (N, C, S, S) real images as the training prepared them.
        names: Of the images, for messages.
        files: Their files: the bundle's own reading and preparing is then compared with `images` too.

    Raises:
        ParityError: the export, or its way of preparing a file, differs. ModelError: it cannot be exported.
    """
    progress = progress or silent()
    names = names if names is not None or files is None else [str(file) for file in files]
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        scratch = Path(place)
        progress.say("exporting to ONNX")
        export(model, scratch / ONNX, size=int(images.shape[-1]), channels=int(images.shape[1]))
        found = parity(model, scratch / ONNX, images, names=names, progress=progress)
        progress.say(f"parity: {found.text()}")
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()},
                  scratch / WEIGHTS)
        info = replace(info, parity=found.to_json())
        if files is not None:
            write_bundle(scratch / "bundle", info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)
            same_input(Predictor(scratch / "bundle"), files, images)
        return write_bundle(folder, info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)
