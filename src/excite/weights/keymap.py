"""Names of published state dicts in excite's: one file a family of networks, nothing dropped on the way.

A key that no rule knows keeps its name, so that loading reports it as unexpected. What a layout implies and its keys do
not say is added: form and position of the gates, where a ResNet strides and how it pools.
"""

import re
from collections.abc import Mapping

from torch import Tensor

from excite.errors import ModelError
from excite.weights.families import (
    inception,
    mobilenet_v1,
    mobilenet_v2,
    mobilenet_v3,
    resnet,
    shufflenet_v1,
    shufflenet_v2,
)
from excite.weights.families.family import Family

FAMILIES: tuple[Family, ...] = (
    inception.FAMILY, mobilenet_v1.FAMILY, mobilenet_v2.FAMILY, mobilenet_v3.LARGE, mobilenet_v3.SMALL, resnet.FAMILY,
    resnet.SENET154, shufflenet_v1.FAMILY, shufflenet_v2.FAMILY)

LAYOUTS = ("excite", "torchvision", "timm", "timm_tf", "cadene", "monai", "tonylins", "megvii")
# The first key that matches tells the layout; the order matters.
_MARKS = (
    (r"backbone\..*", "excite"),
    (r"features\.\d+\.block\.\d+\..*", "torchvision"),
    (r"features\.\d+\.conv\.\d+\.\d+\..*", "torchvision"),
    (r"features\.\d+\.conv\.\d+\..*", "tonylins"),
    (r"layer\d\.\d+\.(conv\d|project)\.(conv|adn)\..*|.*\.se_layer\..*", "monai"),
    (r"layer0\..*|.*\.se_module\..*", "cadene"),
    (r"conv_stem\..*|layer\d\.\d+\.se\..*", "timm"),
    (r"layer\d\.\d+\.conv\d\..*", "torchvision"),
    (r"features\.\d+\.branch_main_[12]\..*", "megvii"),
    (r"stage[234]\.\d+\.branch2\..*", "torchvision"),
    (r"inception_\d\w_.*", "cadene"),
)


def guess_layout(state: Mapping[str, Tensor]) -> str:
    """Return the layout whose marks `state` has.

    Raises:
        ModelError: it has none of them, or those of two.
    """
    keys = [key.removeprefix("module.") for key in state]
    for mark, layout in _MARKS:
        if any(re.fullmatch(mark, key) for key in keys):
            if layout == "timm" and "conv_head.bias" in keys:
                raise ModelError("timm names two sorts of MobileNetV3 alike", why="their padding and epsilon differ",
                                 fix="name the layout: timm_tf for weights of a tf_ network, else timm")
            return layout
    raise ModelError("the layout of these weights is not known",
                     why=f"their keys begin with {', '.join(keys[:3]) or 'nothing'}",
                     fix=f"name it, layout=... (--layout): {', '.join(LAYOUTS)}")


def to_excite(state: Mapping[str, Tensor], *, model_name: str, layout: str) -> dict[str, Tensor]:
    """Return `state` under excite's names.

    Args:
        state: Tensors by the names of `layout`; a `module.` before all of them is taken off.
        model_name: The network that it is for; networks of one family share their rule.
        layout: One of LAYOUTS; timm's legacy_se* networks have cadene's too.

    Raises:
        ModelError: there is no rule for this network and layout, or two keys mean the same.
    """
    if layout == "excite":
        return dict(state)
    family = _family(model_name, layout)
    wrapped = bool(state) and all(key.startswith("module.") for key in state)
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name = family.layouts[layout](key.removeprefix("module.") if wrapped else key)
        if name in found:
            raise ModelError(f"two keys of the weights mean {name}", why=f"one is {key}",
                             fix="name another layout with --layout")
        found[name] = value
    if family.complete is not None:
        family.complete(found, state, model_name, layout)
    return found


def _family(model_name: str, layout: str) -> Family:
    family = next((one for one in FAMILIES if re.fullmatch(one.names, model_name)), None)
    layouts = family.layouts if family else {}
    if family is None or layout not in layouts:
        raise ModelError(f"no rule turns layout {layout!r} into {model_name}",
                         fix=f"its layouts: {', '.join(['excite', *layouts])}")
    return family


def cautions_of(state: Mapping[str, Tensor], layout: str) -> list[str]:
    """Return what published weights leave no trace of, and should be told."""
    shortcut = r"layer[1-4]\.0\.downsample\.0\.bias"
    if layout != "excite" and any(re.fullmatch(shortcut, key) for key in state):
        return ["a MONAI ResNet strides first by conv1_t_stride, of which its weights say nothing: it must be 2, "
                "and in 3-D (1, 2, 2), or 2 with depth_stride=2; MONAI's default is 1"]
    return []
