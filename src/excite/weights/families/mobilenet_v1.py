"""MobileNetV1, as timm names it."""

import re
from collections.abc import Mapping

from torch import Tensor

from excite.layers.form import written
from excite.weights.families.family import Family

LAYERS = {"conv_dw": "0.conv", "bn1": "0.norm", "conv_pw": "1.conv", "bn2": "1.norm"}


def timm(key: str) -> str:
    """timm: stages and blocks are numbered as here; each layer of a block has a name."""
    if match := re.fullmatch(r"(conv_stem|bn1)\.(\w+)", key):
        return f"backbone.stem.{'norm' if match[1] == 'bn1' else 'conv'}.{match[2]}"
    match = re.fullmatch(r"blocks\.([0-4])\.(\d)\.(\w+)\.(\w+)", key)
    if match is None or match[3] not in LAYERS:
        return key  # the classifier has its name here, too
    return f"backbone.stages.{match[1]}.{match[2]}.branch.{LAYERS[match[3]]}.{match[4]}"


def complete(found: dict[str, Tensor], _: Mapping[str, Tensor], __: str, ___: str) -> None:
    """Say the activation and the padding of timm's network."""
    if any(key.startswith("backbone.") for key in found):
        found["backbone.form"] = written({"activation": "relu6", "padding": "symmetric"})


FAMILY = Family(names="mobilenet_v1", layouts={"timm": timm}, complete=complete)
