"""What a network costs: parameters and multiply-adds, in all and by part."""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from excite.models.groups import attentions


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Counts of a network for one input.

    Args:
        parameters: Values that training may change, frozen ones too.
        trainable: Those with a gradient.
        macs: Multiply-adds of convolutions and matrix products for one sample: half of what
            torch.utils.flop_counter counts.
        by_part: (parameters, macs) of each part: children, or the stages of a backbone; all attention is a part of
            its own. They add up to the whole, but for what the network itself computes between its children.
    """

    parameters: int
    trainable: int
    macs: int
    by_part: dict[str, tuple[int, int]]


def count(model: nn.Module, input_size: Sequence[int]) -> Cost:
    """Count `model` for one input of `input_size` (C, *S); nothing is computed, the network stays as it is."""
    shadow = deepcopy(model).to("meta").eval()
    kind = next((one.dtype for one in shadow.parameters()), torch.float32)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        shadow(torch.empty(1, *input_size, device="meta", dtype=kind))
    flops = counter.get_flop_counts()
    return Cost(parameters=sum(one.numel() for one in model.parameters()),
                trainable=sum(one.numel() for one in model.parameters() if one.requires_grad),
                macs=counter.get_total_flops() // 2, by_part=_by_part(shadow, flops))


def _by_part(model: nn.Module, flops: Mapping[str, Mapping[Any, int]]) -> dict[str, tuple[int, int]]:
    """Return parameters and multiply-adds of the parts; a gate's are taken off the part that it sits in."""
    gates = [(name, *_own(model, name, flops)) for name, _ in attentions(model)]
    parts = {}
    for name in _parts(model):
        inside = [gate for gate in gates if gate[0].startswith(f"{name}.")]
        parameters, macs = _own(model, name, flops)
        parts[name.removeprefix("backbone.")] = (parameters - sum(gate[1] for gate in inside),
                                                 macs - sum(gate[2] for gate in inside))
    if gates:
        parts["attention"] = (sum(gate[1] for gate in gates), sum(gate[2] for gate in gates))
    return {name: part for name, part in parts.items() if any(part)}


def _parts(model: nn.Module) -> list[str]:
    """Return the names of the children, a backbone's children and a backbone's stages in their place."""
    names = []
    for name, child in model.named_children():
        if name in ("backbone", "stages"):
            names += [f"{name}.{inner}" for inner in _parts(child)]
        else:
            names.append(name)
    return names


def _own(model: nn.Module, name: str, flops: Mapping[str, Mapping[Any, int]]) -> tuple[int, int]:
    parameters = sum(one.numel() for one in model.get_submodule(name).parameters())
    return parameters, sum(flops.get(f"{type(model).__name__}.{name}", {}).values()) // 2
