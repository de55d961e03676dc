"""MobileNetV3, as torchvision and timm name it.

timm has two sorts of the same names and shapes, which only their origin tells apart: its own ("timm": norms of epsilon
1e-5, PyTorch's padding) and those of its tf_ networks ("timm_tf": 0.001, TensorFlow's padding).
"""

import re
from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor

from excite.layers.form import written
from excite.weights.families.family import BRICK, FC, Family, Rename, say_gates
from excite.weights.families.mobilenet_v2 import folded


class Table(NamedTuple):
    """What of tables 1 and 2 of arXiv:1905.02244 the names depend on; the first block never expands."""

    blocks: tuple[int, ...]  # a stage
    gated: tuple[int, ...]   # stages with SE


TABLES = {
    "large": Table((1, 2, 3, 4, 2, 3), (2, 4, 5)),
    "small": Table((1, 2, 3, 2, 3), (0, 2, 3, 4)),
}
SE_LAYERS = {f"fc{number}": name for number, name in FC.items()}
TIMM_LAYERS = {"conv_pw": "0.conv", "bn1": "0.norm", "conv_dw": "1.conv", "bn2": "1.norm", "conv_pwl": "2.conv",
               "bn3": "2.norm", "se.conv_reduce": "squeeze", "se.conv_expand": "excite"}
TIMM_FIRST = {"conv_dw": "0.conv", "bn1": "0.norm", "conv_pw": "1.conv", "bn2": "1.norm",
              "se.conv_reduce": "squeeze", "se.conv_expand": "excite"}


def torchvision(table: Table) -> Rename:
    """torchvision: `features.I` is stem, blocks and head in one row; in a block SE has a number of its own."""
    places = [(stage, block) for stage, blocks in enumerate(table.blocks) for block in range(blocks)]

    def rename(key: str) -> str:
        if match := re.fullmatch(r"classifier\.([03])\.(weight|bias)", key):
            return f"{'backbone.embedding.0' if match[1] == '0' else 'classifier'}.{match[2]}"
        if match := re.fullmatch(rf"features\.(0|{len(places) + 1})\.([01])\.(\w+)", key):
            return f"backbone.{'stem' if match[1] == '0' else 'head'}.{BRICK[match[2]]}.{match[3]}"
        match = re.fullmatch(r"features\.(\d+)\.block\.(\d)\.(\w+)\.(\w+)", key)
        if match is None or not 1 <= int(match[1]) <= len(places):
            return key
        stage, block = places[int(match[1]) - 1]
        layers = [0, 1] if stage == 0 else [0, 1, 2]
        names = [f"branch.{layer}" for layer in layers]
        if stage in table.gated:
            names.insert(len(names) - 1, "attention")
        number = int(match[2])
        inside = {} if number >= len(names) else SE_LAYERS if names[number] == "attention" else BRICK
        if match[3] not in inside:
            return key
        return f"backbone.stages.{stage}.{block}.{names[number]}.{inside[match[3]]}.{match[4]}"

    return rename


def timm(table: Table) -> Rename:
    """timm: stages and blocks are numbered as here, the head is one stage more; each layer of a block has a name."""

    def rename(key: str) -> str:
        if match := re.fullmatch(r"(conv_stem|bn1)\.(\w+)", key):
            return f"backbone.stem.{'norm' if match[1] == 'bn1' else 'conv'}.{match[2]}"
        if match := re.fullmatch(rf"blocks\.{len(table.blocks)}\.0\.(conv|bn1)\.(\w+)", key):
            return f"backbone.head.{'norm' if match[1] == 'bn1' else 'conv'}.{match[2]}"
        if match := re.fullmatch(r"conv_head\.(weight|bias)", key):
            return f"backbone.embedding.0.{match[1]}"
        match = re.fullmatch(r"blocks\.(\d)\.(\d)\.([\w.]+)\.(\w+)", key)
        if match is None or int(match[1]) >= len(table.blocks):
            return key
        stage = int(match[1])
        layer = (TIMM_LAYERS if stage else TIMM_FIRST).get(match[3])
        if layer is None or (match[3].startswith("se.") and stage not in table.gated):
            return key
        part = "attention" if match[3].startswith("se.") else "branch"
        return f"backbone.stages.{stage}.{match[2]}.{part}.{layer}.{match[4]}"

    return rename


def complete(found: dict[str, Tensor], _: Mapping[str, Tensor], name: str, layout: str) -> None:
    """Say the gates' form, the norms' epsilon and the padding, which of folded TensorFlow weights is not known."""
    say_gates(found, position="inner", gate="hard_sigmoid")
    wide = found.get("backbone.embedding.0.weight")
    if wide is not None and wide.ndim == 4:  # timm has the layer after the pooling as a 1x1 convolution
        found["backbone.embedding.0.weight"] = wide.flatten(1)
    if any(key.startswith("backbone.") for key in found):
        told = {"norm_eps": 1e-5 if layout == "timm" else 1e-3,
                "padding": "tf_same" if layout == "timm_tf" else "symmetric"}
        found["backbone.form"] = written({} if folded(found, 1e-3) else told)


def _family(size: str) -> Family:
    table = TABLES[size]
    return Family(names=f"mobilenet_v3_{size}", complete=complete,
                  layouts={"torchvision": torchvision(table), "timm": timm(table), "timm_tf": timm(table)})


LARGE, SMALL = _family("large"), _family("small")
