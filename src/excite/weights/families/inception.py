"""BN-Inception, as Cadene's pretrainedmodels names it: Caffe's names, and biases in the convolutions before norms."""

import re
from collections.abc import Mapping

from torch import Tensor

from excite.weights.families.family import Family

# Stage and block of each module: figure 5 of arXiv:1502.03167.
_MODULES = {"3a": "1.0", "3b": "1.1", "3c": "2.0", "4a": "2.1", "4b": "2.2", "4c": "2.3", "4d": "2.4", "4e": "3.0",
            "5a": "3.1", "5b": "3.2"}
_LAYERS = {"1x1": "one", "3x3_reduce": "three.0", "3x3": "three.1", "double_3x3_reduce": "doubled.0",
           "double_3x3_1": "doubled.1", "double_3x3_2": "doubled.2", "pool_proj": "pool.1"}
_FIRST = {"conv1_7x7_s2": "stem", "conv2_3x3_reduce": "stages.0.1", "conv2_3x3": "stages.0.2"}


def cadene(key: str) -> str:
    """pretrainedmodels: every layer has Caffe's name, that of its norm ends in `_bn`."""
    if match := re.fullmatch(r"last_linear\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    match = re.fullmatch(r"(\w+?)(_bn)?\.(\w+)", key)
    if match is None:
        return key
    brick, place = "norm" if match[2] else "conv", _FIRST.get(match[1])
    if inner := re.fullmatch(r"inception_(\d\w)_(\w+)", match[1]):
        module, layer = _MODULES.get(inner[1]), _LAYERS.get(inner[2])
        place = f"stages.{module}.branch.ways.{layer}" if module and layer else None
    return key if place is None else f"backbone.{place}.{brick}.{match[3]}"


def complete(found: dict[str, Tensor], state: Mapping[str, Tensor], name: str, layout: str) -> None:
    """Take each convolution's bias off the mean that its norm has measured, which is exact."""
    for key in [key for key in found if key.endswith(".conv.bias")]:
        mean = f"{key.removesuffix('conv.bias')}norm.running_mean"
        if mean in found:
            found[mean] = found[mean] - found.pop(key)


FAMILY = Family(names="(bn|se)_inception", layouts={"cadene": cadene}, complete=complete)
