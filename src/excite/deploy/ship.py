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
from excite.deploy.parity import Parity, parity, same_input
from excite.deploy.parity_maps import MapParity, map_parity
from excite.deploy.runtime import Predictor
from excite.models.inserted_weights import header_of
from excite.outcome.maps import Place
from excite.progress import Progress, silent

Spacings = Sequence[tuple[float, ...] | None]


def export_bundle(model: nn.Module, folder: Path, *, info: BundleInfo, images: NDArray[np.float32],
                  names: Sequence[str] | None = None, files: Sequence[Path] | None = None,
                  spacings: Spacings | None = None, progress: Progress | None = None) -> BundleInfo:
    """Export, prove and write a bundle; nothing is written where the proof fails.

    Args:
        info: Everything but parity and checksums, which are filled here.
        images: (N, C, H, W) real images as the training prepared them.
        names: Of the images, for messages.
        files: Their files: the bundle's own reading and preparing is then compared with `images` too, and masks and
            circumferences are compared in the files' own pixels.
        spacings: Millimetres a pixel of each file, so that circumferences are compared in mm; a file's own counts
            where None is given.

    Raises:
        ParityError: the export, or its way of preparing a file, differs. ModelError: it cannot be exported.
    """
    progress = progress or silent()
    names = names if names is not None or files is None else [str(file) for file in files]
    with tempfile.TemporaryDirectory(prefix="excite-export-") as place:
        scratch = Path(place)
        progress.say("exporting to ONNX")
        size = (int(images.shape[2]), int(images.shape[3]))
        maps = {"maps": True} if info.of_masks else {}
        export(model, scratch / ONNX, size=size, channels=int(images.shape[1]), **maps)
        save_file({key: value.detach().cpu().contiguous().clone() for key, value in model.state_dict().items()},
                  scratch / WEIGHTS, header_of(model))
        places: list[Place] | None = None
        if files is not None:
            write_bundle(scratch / "bundle", info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)
            predictor = Predictor(scratch / "bundle")
            ready = same_input(predictor, files, images)
            places = [Place(predictor.preprocess.inverse(one.shape), one.shape) for one in ready]
            given = spacings or [None] * len(ready)
            spacings = [known or one.spacing for known, one in zip(given, ready, strict=True)]
        found: Parity | MapParity
        if info.of_masks:
            found = map_parity(model, scratch / ONNX, images, level=info.level, heads=info.task == "heads",
                               places=places, spacings=spacings if places else None, names=names, progress=progress)
        else:
            found = parity(model, scratch / ONNX, images, names=names, progress=progress)
        progress.say(f"parity: {found.text()}")
        info = replace(info, parity=found.to_json())
        return write_bundle(folder, info, weights=scratch / WEIGHTS, onnx=scratch / ONNX)
