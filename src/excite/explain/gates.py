"""The gates of a network at work: what each gives while the network computes, and others put in their place.

Both are hooks of the gates alone. Recording changes no bit of an output: the factors are computed once more, from the
map that the gate is given.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from excite.attention.cbam import ConvolutionalBlockAttention
from excite.attention.coordinate import CoordinateAttention
from excite.attention.gct import GatedChannelTransformation
from excite.attention.registry import ATTENTION
from excite.attention.scse import SpatialChannelSE
from excite.errors import ModelError, UsageError
from excite.layers.gate import Gate, scaled

Kind = Literal["channel", "place", "both"]


@dataclass(frozen=True, kw_only=True)
class Factors:
    """What one gate gave for a batch.

    Args:
        kind: "channel": one factor a channel; "place": one a place, for all channels; "both".
        values: The factors, those of places averaged over them, float64.
        unevenness: Standard deviation over the places of an input, averaged over inputs and channels; 0 of channels.

    Shape:
        values (N, C), C = 1 where the kind is "place"
    """

    kind: Kind
    values: Tensor
    unevenness: float


def gate_layers(model: nn.Module) -> dict[str, Gate]:
    """Return the gates of a network by the names of their modules, in order.

    Raises:
        UsageError: there is none.
    """
    found = {name: part for name, part in model.named_modules() if isinstance(part, Gate)}
    if not found:
        raise UsageError("the network has no gates", why="no module of it is an excite.layers.gate.Gate",
                         fix="build it with attention, or excite.insert_attention(model, 'se')")
    return found


def kind_of_attention(gate: Gate) -> str:
    """Return the name that a plan has for a gate, else that of its class."""
    return next((name for name in ATTENTION if ATTENTION[name] is type(gate)), type(gate).__name__)


def largest(gate: Gate) -> float:
    """Return the largest factor that a gate can give; of kinds from elsewhere their `scale`."""
    if isinstance(gate, GatedChannelTransformation):
        return 2.0
    if isinstance(gate, SpatialChannelSE):
        return 2.0 if gate.combine == "sum" else gate.scale
    if isinstance(gate, CoordinateAttention):
        return gate.scale ** len(gate.axes)
    if isinstance(gate, ConvolutionalBlockAttention) and gate.spatial is not None:
        return gate.scale**2
    return gate.scale


def factors_of(gate: Gate, x: Tensor) -> Factors:
    """Return what a gate gives for the map `x`, (N, C, *S)."""
    found = gate.gate(x).double()
    flat = found.reshape(*found.shape[:2], -1)
    kind: Kind = "place" if flat.shape[1] < x.shape[1] else "both" if flat.shape[2] > 1 else "channel"
    return Factors(kind=kind, values=flat.mean(2), unevenness=float(flat.std(2, correction=0).mean()))


@contextmanager
def recorded(model: nn.Module) -> Iterator[dict[str, Factors]]:
    """Yield a mapping that after each pass inside the block holds what every gate gave; clear it between passes.

    Raises:
        UsageError: the network has no gates.
        ModelError: in a pass, a gate is called twice.
    """
    taken: dict[str, Factors] = {}

    def watch(name: str, gate: Gate) -> Any:
        def before(_: nn.Module, given: tuple[Any, ...]) -> None:
            if name in taken:
                raise ModelError("a gate is called twice in one pass", where=name,
                                 why="it is not known which call its numbers are of",
                                 fix="clear the record after each pass; a gate that two layers share has no report")
            with torch.no_grad():
                taken[name] = factors_of(gate, given[0])
        return gate.register_forward_pre_hook(before)

    hooks = [watch(name, gate) for name, gate in gate_layers(model).items()]
    try:
        yield taken
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def replaced(model: nn.Module, factors: Mapping[str, Tensor]) -> Iterator[None]:
    """Let gates give the same factors for every input inside the block.

    Args:
        factors: By name of the gate, (C,) or one number.
    """
    layers = gate_layers(model) if factors else {}

    def put(name: str, value: Tensor) -> Any:
        def after(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any], __: Tensor) -> Tensor:
            x: Tensor = given[0]
            constant = value.to(x).view(1, -1, *[1] * (x.ndim - 2))
            return scaled(x, constant, given[1] if len(given) > 1 else named.get("add"))
        return layers[name].register_forward_hook(after, with_kwargs=True)

    hooks = [put(name, value) for name, value in factors.items()]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def at_rest(model: nn.Module) -> Iterator[torch.device]:
    """Let a network compute in eval mode and without gradients inside the block; yield where its weights are."""
    modes = {part: part.training for part in model.modules()}
    model.eval()
    try:
        with torch.inference_mode():
            yield next((one.device for one in model.parameters()), torch.device("cpu"))
    finally:
        for part, mode in modes.items():
            part.training = mode
