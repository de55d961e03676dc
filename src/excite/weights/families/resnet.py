"""ResNet, ResNeXt and their SE forms, as torchvision, timm, Cadene and MONAI name them.

MONAI's ResNets have torchvision's names, and a bias before the norm of their shortcuts, which goes into the norm. How
their first convolution strides is an argument there that leaves no trace in the weights.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from excite.layers.form import written
from excite.weights.families.family import BRICK, FC, Family, Rename, say_gates

SE_RESNET = r"se_resnet\d+"  # the released ones stride in the first 1x1, as their Caffe originals
BASIC = r"resnet(18|34)"
MONAI = {"conv": "conv", "adn.N": "norm"}


def rename(key: str) -> str:
    """torchvision's ResNets, timm's SE forms of them (`se`), and Cadene's (`layer0`, `se_module`, `last_linear`)."""
    if match := re.fullmatch(r"(?:layer0\.)?(conv|bn)1\.(\w+)", key):
        return f"backbone.stem.{BRICK[match[1]]}.{match[2]}"
    return _in_block(key) or _classifier(key)


def rename_deep(key: str) -> str:
    """Cadene's SENet-154: its stem has three convolutions."""
    if match := re.fullmatch(r"layer0\.(conv|bn)([123])\.(\w+)", key):
        return f"backbone.stem.{int(match[2]) - 1}.{BRICK[match[1]]}.{match[3]}"
    return _in_block(key) or _classifier(key)


def monai(outside: Rename) -> Rename:
    """MONAI's SE networks: stem and classifier as Cadene's, each convolution of a block with its norm in one module."""

    def rename_monai(key: str) -> str:
        match = re.fullmatch(r"(layer[1-4]\.\d+)\.(?:conv([123])|(project))\.(conv|adn\.N)\.(\w+)", key)
        if match is not None:
            place = "shortcut" if match[3] else f"branch.{int(match[2]) - 1}"
            return f"{_block(match[1])}.{place}.{MONAI[match[4]]}.{match[5]}"
        match = re.fullmatch(r"(layer[1-4]\.\d+)\.se_layer\.fc\.([02])\.(weight|bias)", key)
        if match is not None:
            return f"{_block(match[1])}.attention.{'squeeze' if match[2] == '0' else 'excite'}.{match[3]}"
        return outside(key)

    return rename_monai


def _in_block(key: str) -> str | None:
    match = re.fullmatch(r"(layer[1-4]\.\d+)\.(.+)\.(\w+)", key)
    if match is None:
        return None
    block, rest, leaf = _block(match[1]), match[2], match[3]
    if inner := re.fullmatch(r"(conv|bn)([123])", rest):
        return f"{block}.branch.{int(inner[2]) - 1}.{BRICK[inner[1]]}.{leaf}"
    if inner := re.fullmatch(r"downsample\.([01])", rest):
        return f"{block}.shortcut.{BRICK[inner[1]]}.{leaf}"
    if inner := re.fullmatch(r"(?:se_module|se)\.fc([12])", rest):
        return f"{block}.attention.{FC[inner[1]]}.{leaf}"
    return None


def _block(place: str) -> str:
    layer, number = place.removeprefix("layer").split(".")
    return f"backbone.stages.{int(layer) - 1}.{number}"


def _classifier(key: str) -> str:
    match = re.fullmatch(r"(?:fc|last_linear)\.(weight|bias)", key)
    return f"classifier.{match[1]}" if match else key


def complete(found: dict[str, Tensor], state: Mapping[str, Tensor], name: str, layout: str) -> None:
    """Say where the network strides and how it pools: Caffe's forms are known by `layer0`, `se_module`, `se_layer`."""
    axes = max((value.ndim - 2 for value in found.values()), default=2)
    for key in [key for key in found if re.search(r"\.attention\.(squeeze|excite)\.weight$", key)]:
        found[key] = found[key].reshape(*found[key].shape[:2], *[1] * max(2, axes))  # MONAI has linear layers
    _take_in_biases(found)
    say_gates(found)
    if not any(key.startswith("backbone.") for key in found):
        return
    caffe = any(re.search(r"^layer0\.|\.se_module\.|\.se_layer\.", key) for key in state)
    facts: dict[str, object] = {"ceil_pool": caffe}
    if not re.fullmatch(BASIC, name):
        facts["stride_in"] = "conv1" if caffe and re.fullmatch(SE_RESNET, name) else "conv2"
    if layout == "monai" and axes == 3:
        facts["depth_stride"] = 2
    found["backbone.form"] = written(facts)


def _take_in_biases(found: dict[str, Tensor]) -> None:
    """Take the bias of a shortcut's convolution into the mean of the norm that follows: the same outputs."""
    for key in [key for key in found if key.endswith(".shortcut.conv.bias")]:
        mean = key.replace("conv.bias", "norm.running_mean")
        if mean in found:
            found[mean] = found[mean] - found.pop(key)


FAMILY = Family(names=r"(se_|cbam_)?res(net|next)(18|34|50|101|152)\w*", complete=complete,
                layouts={**dict.fromkeys(("torchvision", "timm", "cadene"), rename), "monai": monai(rename)})
SENET154 = Family(names="senet154", complete=complete,
                  layouts={"timm": rename_deep, "cadene": rename_deep, "monai": monai(rename_deep)})
