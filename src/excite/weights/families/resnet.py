"""ResNet, ResNeXt and their SE forms, as torchvision, timm, Cadene and MONAI name them."""

import re
from collections.abc import Mapping

from torch import Tensor

from excite.layers.form import written
from excite.weights.families.family import BRICK, FC, Family, say_gates


def rename(key: str) -> str:
    """torchvision's ResNets, timm's SE forms of them (`se`), and Cadene's (`layer0`, `se_module`, `last_linear`)."""
    if match := re.fullmatch(r"(?:fc|last_linear)\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"(?:layer0\.)?(conv|bn)1\.(\w+)", key):
        return f"backbone.stem.{BRICK[match[1]]}.{match[2]}"
    match = re.fullmatch(r"layer([1-4])\.(\d+)\.(.+)\.(\w+)", key)
    if match is None:
        return key
    block, rest, leaf = f"backbone.stages.{int(match[1]) - 1}.{match[2]}", match[3], match[4]
    if inner := re.fullmatch(r"(conv|bn)([123])", rest):
        return f"{block}.branch.{int(inner[2]) - 1}.{BRICK[inner[1]]}.{leaf}"
    if inner := re.fullmatch(r"downsample\.([01])", rest):
        return f"{block}.shortcut.{BRICK[inner[1]]}.{leaf}"
    if inner := re.fullmatch(r"(?:se_module|se)\.fc([12])", rest):
        return f"{block}.attention.{FC[inner[1]]}.{leaf}"
    return key


def complete(found: dict[str, Tensor], state: Mapping[str, Tensor], name: str, layout: str) -> None:
    """Say where the network strides and how it pools: Caffe's forms are known by `layer0` and `se_module`."""
    say_gates(found)
    if any(key.startswith("backbone.") for key in found):
        caffe = any(".se_module." in key or "layer0." in key for key in state)
        first = caffe and re.fullmatch(r"se_resnet\d+", name) is not None
        found["backbone.form"] = written({"ceil_pool": caffe, "stride_in": "conv1" if first else "conv2"})


FAMILY = Family(names=r"(se_)?res(net|next)(18|34|50|101|152)\w*|senet154",
                layouts=dict.fromkeys(("torchvision", "timm", "cadene"), rename), complete=complete)
