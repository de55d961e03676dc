"""Names of published state dicts in excite's: one rule a layout, nothing dropped on the way.

A key that no rule knows keeps its name, so that loading reports it as unexpected. What a layout implies and its keys do
not say is added: form and position of the gates, and where a ResNet strides and how it pools.
"""

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from excite.errors import ModelError

LAYOUTS = ("excite", "torchvision", "timm", "cadene", "tonylins")
# Blocks a stage of MobileNetV2: table 2 of arXiv:1801.04381, column n.
MOBILENET_V2_BLOCKS = (1, 2, 3, 4, 3, 3, 1)
# The first key that matches tells the layout; the order matters.
_MARKS = (
    (r"backbone\..*", "excite"),
    (r"features\.\d+\.conv\.\d+\.\d+\..*", "torchvision"),
    (r"features\.\d+\.conv\.\d+\..*", "tonylins"),
    (r"layer0\..*|.*\.se_module\..*", "cadene"),
    (r"conv_stem\..*|layer\d\.\d+\.se\..*", "timm"),
    (r"layer\d\.\d+\.conv\d\..*", "torchvision"),
)
_BRICK = {"conv": "conv", "bn": "norm", "0": "conv", "1": "norm"}
_FC = {"1": "squeeze", "2": "excite"}


def guess_layout(state: Mapping[str, Tensor]) -> str:
    """Return the layout whose marks `state` has.

    Raises:
        ModelError: it has none of them.
    """
    keys = [key.removeprefix("module.") for key in state]
    for mark, layout in _MARKS:
        if any(re.fullmatch(mark, key) for key in keys):
            return layout
    raise ModelError("the layout of these weights is not known",
                     why=f"their keys begin with {', '.join(keys[:3]) or 'nothing'}",
                     fix=f"name it with --layout: {', '.join(LAYOUTS)}")


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
    rename = _rule(model_name, layout)
    wrapped = bool(state) and all(key.startswith("module.") for key in state)
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        name = rename(key.removeprefix("module.") if wrapped else key)
        if name in found:
            raise ModelError(f"two keys of the weights mean {name}", why=f"one is {key}",
                             fix="name another layout with --layout")
        found[name] = value
    for name in [name for name in found if name.endswith(".attention.excite.weight")]:
        gate = name.removesuffix("excite.weight")
        found[gate + "scale"] = torch.tensor(1.0)  # published gates are plain sigmoids
        found[gate + "position"] = torch.tensor(0)  # after the branch, before the sum
    if rename is _resnet and any(name.startswith("backbone.") for name in found):
        caffe = any(".se_module." in key or "layer0." in key for key in state)
        found["backbone.form"] = torch.tensor([int(caffe and "resnext" not in model_name), int(caffe)])
    return found


def _rule(model_name: str, layout: str) -> Callable[[str], str]:
    if model_name == "mobilenet_v2":
        rules = {"torchvision": _mobilenet, "tonylins": _mobilenet_flat, "timm": _mobilenet_timm}
    elif re.fullmatch(r"(se_)?res(net|next)\w+", model_name):
        rules = dict.fromkeys(("torchvision", "timm", "cadene"), _resnet)
    else:
        rules = {}
    if layout not in rules:
        known = ", ".join(["excite", *rules])
        raise ModelError(f"no rule turns layout {layout!r} into {model_name}", fix=f"its layouts: {known}")
    return rules[layout]


def _mobilenet(key: str) -> str:
    """torchvision: `features.I` is stem, blocks and head in one row; a block's last convolution is not in a pair."""
    match = re.fullmatch(r"features\.(\d+)\.conv\.(\d)(?:\.([01]))?\.(\w+)", key)
    place = _place(int(match[1])) if match else None
    if match is None or place is None:
        return _mobilenet_ends(key)
    last = _last(place)
    number, brick = int(match[2]), match[3]
    if brick is not None and number < last:
        return _in_block(place, number, brick, match[4])
    if brick is None and number - last in (0, 1):
        return _in_block(place, last, str(number - last), match[4])
    return key


def _mobilenet_flat(key: str) -> str:
    """tonylins: in a block, convolution, norm and activation lie in one row."""
    match = re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(\w+)", key)
    place = _place(int(match[1])) if match else None
    if match is None or place is None:
        return _mobilenet_ends(key)
    layer, brick = divmod(int(match[2]), 3)
    return key if brick > 1 or layer > _last(place) else _in_block(place, layer, str(brick), match[3])


def _mobilenet_ends(key: str) -> str:
    """Stem, head and classifier, as torchvision and tonylins (in two versions) have them."""
    if match := re.fullmatch(r"classifier(?:\.1)?\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", key):
        return f"backbone.{'stem' if match[1] == '0' else 'head'}.{_BRICK[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"conv\.([01])\.(\w+)", key):
        return f"backbone.head.{_BRICK[match[1]]}.{match[2]}"
    return key


def _mobilenet_timm(key: str) -> str:
    """timm: stages and blocks are numbered as here; each layer of a block has a name."""
    if key.startswith("classifier."):
        return key
    if match := re.fullmatch(r"(conv_stem|bn1|conv_head|bn2)\.(\w+)", key):
        part = "stem" if match[1] in ("conv_stem", "bn1") else "head"
        return f"backbone.{part}.{'norm' if match[1].startswith('bn') else 'conv'}.{match[2]}"
    match = re.fullmatch(r"blocks\.(\d)\.(\d)\.(\w+)\.(\w+)", key)
    if match is None:
        return key
    layers = ("conv_pw bn1 conv_dw bn2 conv_pwl bn3" if match[1] != "0" else "conv_dw bn1 conv_pw bn2").split()
    if match[3] not in layers:
        return key
    layer, brick = divmod(layers.index(match[3]), 2)
    return _in_block((int(match[1]), int(match[2])), layer, str(brick), match[4])


def _place(index: int) -> tuple[int, int] | None:
    """Return (stage, block) of `features.index`, counted from 1."""
    left = index - 1
    for stage, blocks in enumerate(MOBILENET_V2_BLOCKS):
        if 0 <= left < blocks:
            return stage, left
        left -= blocks
    return None


def _last(place: tuple[int, int]) -> int:
    """Return the index of a block's last layer: the first block has no expansion."""
    return 1 if place[0] == 0 else 2


def _in_block(place: tuple[int, int], layer: int, brick: str, leaf: str) -> str:
    return f"backbone.stages.{place[0]}.{place[1]}.branch.{layer}.{_BRICK[brick]}.{leaf}"


def _resnet(key: str) -> str:
    """torchvision's ResNets, timm's SE forms of them (`se`), and Cadene's (`layer0`, `se_module`, `last_linear`)."""
    if match := re.fullmatch(r"(?:fc|last_linear)\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"(?:layer0\.)?(conv|bn)1\.(\w+)", key):
        return f"backbone.stem.{_BRICK[match[1]]}.{match[2]}"
    match = re.fullmatch(r"layer([1-4])\.(\d+)\.(.+)\.(\w+)", key)
    if match is None:
        return key
    block, rest, leaf = f"backbone.stages.{int(match[1]) - 1}.{match[2]}", match[3], match[4]
    if inner := re.fullmatch(r"(conv|bn)([123])", rest):
        return f"{block}.branch.{int(inner[2]) - 1}.{_BRICK[inner[1]]}.{leaf}"
    if inner := re.fullmatch(r"downsample\.([01])", rest):
        return f"{block}.shortcut.{_BRICK[inner[1]]}.{leaf}"
    if inner := re.fullmatch(r"(?:se_module|se)\.fc([12])", rest):
        return f"{block}.attention.{_FC[inner[1]]}.{leaf}"
    return key
