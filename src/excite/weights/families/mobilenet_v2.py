"""MobileNetV2, as torchvision, timm and tonylins name it."""

import re
from collections.abc import Mapping

from torch import Tensor

from excite.layers.form import written
from excite.weights.families.family import BRICK, Family

# Blocks a stage: table 2 of arXiv:1801.04381, column n.
MOBILENET_V2_BLOCKS = (1, 2, 3, 4, 3, 3, 1)


def torchvision(key: str) -> str:
    """torchvision: `features.I` is stem, blocks and head in one row; a block's last convolution is not in a pair."""
    match = re.fullmatch(r"features\.(\d+)\.conv\.(\d)(?:\.([01]))?\.(\w+)", key)
    place = _place(int(match[1])) if match else None
    if match is None or place is None:
        return _ends(key)
    last = _last(place)
    number, brick = int(match[2]), match[3]
    if brick is not None and number < last:
        return _in_block(place, number, brick, match[4])
    if brick is None and number - last in (0, 1):
        return _in_block(place, last, str(number - last), match[4])
    return key


def tonylins(key: str) -> str:
    """tonylins: in a block, convolution, norm and activation lie in one row."""
    match = re.fullmatch(r"features\.(\d+)\.conv\.(\d)\.(\w+)", key)
    place = _place(int(match[1])) if match else None
    if match is None or place is None:
        return _ends(key)
    layer, brick = divmod(int(match[2]), 3)
    return key if brick > 1 or layer > _last(place) else _in_block(place, layer, str(brick), match[3])


def _ends(key: str) -> str:
    """Stem, head and classifier, as torchvision and tonylins (in two versions) have them."""
    if match := re.fullmatch(r"classifier(?:\.1)?\.(weight|bias)", key):
        return f"classifier.{match[1]}"
    if match := re.fullmatch(r"features\.(0|18)\.([01])\.(\w+)", key):
        return f"backbone.{'stem' if match[1] == '0' else 'head'}.{BRICK[match[2]]}.{match[3]}"
    if match := re.fullmatch(r"conv\.([01])\.(\w+)", key):
        return f"backbone.head.{BRICK[match[1]]}.{match[2]}"
    return key


def timm(key: str) -> str:
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
    return f"backbone.stages.{place[0]}.{place[1]}.branch.{layer}.{BRICK[brick]}.{leaf}"


def complete(found: dict[str, Tensor], _: Mapping[str, Tensor], __: str, ___: str) -> None:
    """Say the padding: PyTorch's, but of weights that come from TensorFlow with folded norms nothing is known."""
    if any(key.startswith("backbone.") for key in found):
        found["backbone.form"] = written({} if folded(found, 1e-5) else {"padding": "symmetric"})


def folded(found: Mapping[str, Tensor], eps: float) -> bool:
    """Return whether every norm is the identity and a bias: weight = sqrt(running variance + eps)."""
    pairs = [(value.double(), found[key.removesuffix("weight") + "running_var"].double())
             for key, value in found.items() if key.removesuffix("weight") + "running_var" in found]
    return bool(pairs) and all(bool(((var + eps).sqrt() - weight).abs().le(2e-6 * weight.abs()).all())
                               for weight, var in pairs)


FAMILY = Family(names="mobilenet_v2(_se)?", layouts={"torchvision": torchvision, "tonylins": tonylins, "timm": timm},
                complete=complete)
