"""Real photos, real weights in torchvision's networks, and attention put into those."""

import copy
import csv
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor, nn

import peers  # noqa: F401
from excite.attention.insertion.insert import insert

NETWORKS = {"mobilenet_v2": "mobilenet_v2-imagenet-dequantised",
            "mobilenet_v3_small": "mobilenet_v3_small-imagenet-dequantised"}


def photos(folder: Path) -> tuple[Tensor, Tensor]:
    """Return (N, 3, 224, 224) and their classes."""
    with (folder / "imagenet_sample.csv").open(encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    pixels = []
    for row in rows:
        photo = Image.open(folder / row["image"]).convert("RGB")
        photo = photo.resize([int(256 * side / min(photo.size)) for side in photo.size], Image.Resampling.BILINEAR)
        left, top = (round((side - 224) / 2) for side in photo.size)
        pixels.append(np.asarray(photo.crop((left, top, left + 224, top + 224))))
    images = torch.from_numpy(np.stack(pixels)).permute(0, 3, 1, 2).float().div(127.5).sub(1)
    return images, torch.tensor([int(row["class_index"]) for row in rows])


def pretrained(name: str, weights: Path) -> nn.Module:
    """Return torchvision's network with real weights."""
    import torchvision

    model = getattr(torchvision.models, name)()
    model.load_state_dict(load_file(weights / f"{NETWORKS[name]}.safetensors"))
    return model.eval()


def logits(model: nn.Module, images: Tensor) -> Tensor:
    """Return (N, 1000)."""
    with torch.inference_mode():
        return torch.cat([model(batch) for batch in images.split(50)])


def with_attention(model: nn.Module, plan: str, seed: int = 0) -> nn.Module:
    """Return a copy with the attention."""
    torch.manual_seed(seed)
    model = copy.deepcopy(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        insert(model, plan)
    return model.eval()
