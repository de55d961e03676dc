"""What a network costs for one input: parameters, multiply-adds, sizes and memory of its maps, in all and by part."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from excite.errors import ModelError, UsageError
from excite.models.groups import attentions
from excite.models.macs import MacCounter
from excite.models.memory import MapMemory

ITSELF = "itself"  # the part that stands for what a network holds or does between its children


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Counts of a network for one input.

    Args:
        parameters: Values that training may change, frozen ones too.
        trainable: Those with a gradient.
        macs: Multiply-adds of convolutions and matrix products for one sample: the textbook's count of the layers that
            it knows, torch's of the rest. Half of what is called FLOPs where both are counted. Normalisation,
            activation, pooling and the product with a gate are none.
        by_part: (parameters, macs) of each part: children, or the stages of a backbone; all attention is a part of
            its own, and so is what the network does "itself". They add up to the whole.
        outputs: {part: (channels, *sizes)} of what each part gives.
        parameter_bytes: Of the parameters, as they are stored.
        activation_bytes: Of the maps that the largest operation reads and writes: MapMemory.largest, for one sample.
        kept_bytes: Of what training keeps for the backward pass of one sample: maps and the statistics of norms, each
            once; the masks of dropout are not in it, and a frozen trunk keeps nothing.
        notes: What the counts do not know, or know from one counter only, as sentences.
    """

    parameters: int
    trainable: int
    macs: int
    by_part: dict[str, tuple[int, int]]
    outputs: dict[str, tuple[int, ...]] = field(default_factory=dict)
    parameter_bytes: int = 0
    activation_bytes: int = 0
    kept_bytes: int = 0
    notes: tuple[str, ...] = ()


def count(model: nn.Module, input_size: Sequence[int]) -> Cost:
    """Count `model` for one input of `input_size` (C, *S); nothing is computed, the network stays as it is.

    Raises:
        UsageError: `input_size` is none, or the network cannot take it. ModelError: it does what cannot be followed
            without computing.
    """
    shadow = on_meta(model)
    outputs: dict[str, tuple[int, ...]] = {}
    for name in _parts(shadow):
        shadow.get_submodule(name).register_forward_hook(partial(_note_size, outputs, _short(name)))
    with MacCounter(shadow) as counter, MapMemory(chain(shadow.parameters(), shadow.buffers())) as memory:
        _run(shadow, input_size)
    by_part = _by_part(shadow, counter.macs)
    return Cost(parameters=sum(one.numel() for one in model.parameters()),
                trainable=sum(one.numel() for one in model.parameters() if one.requires_grad),
                macs=sum(counter.macs.values()), by_part=by_part,
                outputs={name: outputs[name] for name in by_part if name in outputs},
                parameter_bytes=sum(one.numel() * one.element_size() for one in model.parameters()),
                activation_bytes=memory.largest, kept_bytes=memory.kept, notes=tuple(counter.notes))


def on_meta(model: nn.Module) -> nn.Module:
    """Return a copy of `model` that has shapes and no values, in evaluation mode; no weight is copied on the way."""
    empty: dict[int, Any] = {}
    for one in chain(model.parameters(), model.buffers()):
        like = torch.empty_like(one, device="meta")
        empty[id(one)] = nn.Parameter(like, requires_grad=one.requires_grad) if isinstance(one, nn.Parameter) else like
    return deepcopy(model, empty).eval()


def _run(shadow: nn.Module, input_size: Sequence[int]) -> None:
    """Give the shadow one sample, with gradients on, so that it tells what training would keep."""
    if not input_size or any(not isinstance(side, int) or isinstance(side, bool) or side < 1 for side in input_size):
        raise UsageError(f"input_size must be (channels, *sizes) of whole numbers of at least 1, got {input_size!r}",
                         fix="for example (3, 224, 224)")
    kind = next((one.dtype for one in shadow.parameters() if one.is_floating_point()), torch.float32)
    shown = " x ".join(map(str, input_size))
    try:
        with torch.enable_grad():
            shadow(torch.empty(1, *input_size, device="meta", dtype=kind))
    except NotImplementedError as fault:
        raise ModelError(f"{_called(shadow)} cannot be counted", why=_first_line(fault),
                         fix="its operations need a form for shapes alone (torch's meta device)") from fault
    except RuntimeError as fault:
        raise UsageError(f"{_called(shadow)} cannot take an input of {shown}", why=_first_line(fault),
                         fix="give it other channels, or larger sizes") from fault


def _by_part(model: nn.Module, macs: dict[str, int]) -> dict[str, tuple[int, int]]:
    """Return parameters and multiply-adds of the parts; every module's own belong to one of them."""
    gates, parts = [name for name, _ in attentions(model)], _parts(model)
    found = {_short(name): [0, 0] for name in parts} | {"attention": [0, 0], ITSELF: [0, 0]}
    counted: set[int] = set()
    for name, module in model.named_modules():
        gate = any(_inside(name, one) for one in gates)
        part = "attention" if gate else next((_short(one) for one in parts if _inside(name, one)), ITSELF)
        own = {id(one): one.numel() for one in module.parameters(recurse=False) if id(one) not in counted}
        counted |= own.keys()
        found[part][0] += sum(own.values())
        found[part][1] += macs.get(name, 0)
    return {name: (parameters, own) for name, (parameters, own) in found.items() if parameters or own}


def _parts(model: nn.Module) -> list[str]:
    """Return the names of the children, a backbone's children and a backbone's stages in their place."""
    names = []
    for name, child in model.named_children():
        if name in ("backbone", "stages"):
            names += [f"{name}.{inner}" for inner in _parts(child)]
        else:
            names.append(name)
    return names


def _note_size(outputs: dict[str, tuple[int, ...]], part: str, module: nn.Module, given: Any, made: Any) -> None:
    if isinstance(made, Tensor):
        outputs[part] = tuple(made.shape[1:])


def _inside(name: str, part: str) -> bool:
    return name == part or name.startswith(f"{part}.")


def _short(part: str) -> str:
    return part.removeprefix("backbone.")


def _called(model: nn.Module) -> str:
    name = getattr(model, "name", None)
    return name if isinstance(name, str) else type(model).__name__


def _first_line(fault: Exception) -> str:
    return " ".join(str(fault).split("\n")[0].split())[:200]
