"""Constant gates become part of the convolution beside them, and what computed them goes.

A gate that is the same for every input is a factor of its channel, and the layer beside it can have that factor in its
weights. Before the gate: the norm of a brick without activation, or with ReLU where no factor is negative; a norm or a
convolution alone. After the gate: the input channels of every convolution that takes the scaled map, as in MobileNetV3,
where h-swish stands before the gate. Which layers these are is seen in a pass. That nothing else sees the map is not
believed but proved: in float64 the folded network must give what the network with these constants gives.
"""

import warnings
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from excite.explain.gates import at_rest, gate_layers, replaced
from excite.layers.conv import ConvNormAct
from excite.layers.gate import Gate
from excite.layers.residual import Residual

EXACT = 1e-9  # of the largest output, in float64
CONVS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm, nn.GroupNorm)


class Open(nn.Module):
    """What is left in the place of a gate: the map as it is."""

    def forward(self, x: Tensor, add: Tensor | None = None) -> Tensor:
        """Return x, plus `add` where there is one."""
        return x if add is None else x + add


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A network with fewer gates.

    Args:
        model: A copy in eval mode; the network itself is as it was.
        into: Where the factors of each folded layer went: {"stages.0.0.attention": "after: stages.0.0.branch.1.conv"}.
        left: Why the other layers that were asked for are as they were.
    """

    model: nn.Module
    into: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)


def fold_gates(model: nn.Module, factors: Mapping[str, Tensor], images: Tensor) -> Folded:
    """Return a copy of a network in which gates are constants, multiplied into the layer before or after them.

    The outputs are those of the network with these factors in place of the gates, proved in float64 on `images`.
    Whether the factors may stand for the gates is for the caller to know; see `gate_statistics`. The proof takes noise
    besides, and a layer whose factors no output shows is left.

    Args:
        model: With gates.
        factors: Of each layer to fold, (C,) or one number.
        images: A few typical inputs, for the proof.

    Shape:
        images (N, C, *S)
    """
    exact, done, left = deepcopy(model).double().eval(), dict[str, str](), dict[str, str]()
    images, values = _varied(images.double()), {name: one.detach().double().cpu() for name, one in factors.items()}
    found = _seams(exact, images, {name: bool((one >= 0).all()) for name, one in values.items()})
    result = deepcopy(model).eval()
    for name, value in values.items():
        seam = next((one for one in found[name] if _same(exact, images, name, value, one)), None)
        if seam and not _moves(exact, images, name, value):
            left[name] = "other factors in its place change no output for these images: they cannot prove it"
            continue
        if seam is None:
            tried = " or ".join(", ".join(layers) for _, layers in found[name])
            left[name] = f"other layers see the map too (folded into {tried} the outputs change)" if tried else \
                "no convolution or norm stands directly beside it"
            continue
        for network in (exact, result):
            _fold(network, name, value, seam)
        done[name] = f"{seam[0]}: {', '.join(seam[1])}"
    return Folded(model=result, into=done, left=left)


Seam = tuple[str, list[str]]  # "before" or "after", and the names of the layers that take the factors


def _varied(images: Tensor) -> Tensor:
    """Return the images and as many of noise of twice their spread, for what typical ones may not reach."""
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(0), dtype=images.dtype)
    return torch.cat([images, images.mean() + 2 * images.std() * noise.to(images.device)])


def _moves(model: nn.Module, images: Tensor, name: str, value: Tensor) -> bool:
    """Return whether the output would have shown wrong factors: it moves with others in their place."""
    found = []
    with at_rest(model) as device:
        for factors in (value, 1.5 * value + 0.25):
            with replaced(model, {name: factors}):
                found.append(model(images.to(device)))
    return bool((found[1] - found[0]).abs().max() > EXACT * found[0].abs().max())


def _same(model: nn.Module, images: Tensor, name: str, value: Tensor, seam: Seam) -> bool:
    """Return whether folding one layer gives what its constants give."""
    trial = deepcopy(model)
    _fold(trial, name, value, seam)
    with at_rest(model) as device, replaced(model, {name: value}):
        expected = model(images.to(device))
    with at_rest(trial) as device:
        given = trial(images.to(device))
    return bool((given - expected).abs().max() <= EXACT * expected.abs().max().clamp(min=1e-300))


def _fold(model: nn.Module, name: str, value: Tensor, seam: Seam) -> None:
    """Multiply the factors into the layers of a seam and take the gate out, in place."""
    for layer in seam[1]:
        (_scale_output if seam[0] == "before" else _scale_input)(model.get_submodule(layer), value)
    parent, _, child = name.rpartition(".")
    block = model.get_submodule(parent)
    if isinstance(block, Residual) and child == "attention":
        block.attach(None, block.position)
    else:
        setattr(block, child, Open())


def _scale_output(layer: nn.Module, value: Tensor) -> None:
    with torch.no_grad():
        for parameter in (layer.weight, layer.bias):
            if isinstance(parameter, Tensor):
                exact = parameter.double() * value.to(parameter.device).view(-1, *[1] * (parameter.ndim - 1))
                parameter.copy_(exact)


def _scale_input(layer: nn.Module, value: Tensor) -> None:
    weight, groups = layer.get_parameter("weight"), int(layer.groups)  # type: ignore[arg-type]
    with torch.no_grad():
        split = weight.double().view(groups, -1, *weight.shape[1:])
        factors = value.to(weight.device).expand(groups * weight.shape[1]).reshape(groups, 1, -1)
        weight.copy_((split * factors.view(*factors.shape, *[1] * (weight.ndim - 2))).view(weight.shape))


def _seams(model: nn.Module, images: Tensor, positive: Mapping[str, bool]) -> dict[str, list[Seam]]:
    """Return beside which layers each gate stands, from one pass."""
    names = {part: name for name, part in model.named_modules()}
    inside = {child for part in names if isinstance(part, ConvNormAct) for child in part.modules() if child is not part}
    made: dict[int, tuple[nn.Module, Any]] = {}     # the layer that a map comes from; the map is kept, and so its id
    scaled: dict[int, str] = {}                     # the gate that a map comes from
    before: dict[str, nn.Module] = {}
    after: dict[str, list[nn.Module]] = {}

    def enter(part: nn.Module, given: tuple[Any, ...]) -> None:
        if isinstance(part, Gate) and id(given[0]) in made:
            before[names[part]] = made[id(given[0])][0]
        elif given and id(given[0]) in scaled:
            after.setdefault(scaled[id(given[0])], []).append(part)

    def leave(part: nn.Module, given: tuple[Any, ...], output: Any) -> None:
        scaled.pop(id(output), None)                # an activation in place gives the same map with other values
        made[id(output)] = (part, output)
        if isinstance(part, Gate) and len(given) == 1:
            scaled[id(output)] = names[part]

    gates = set(gate_layers(model).values())
    of_gates = {child for gate in gates for child in gate.modules() if child is not gate}
    watched = [part for part in names if part in gates or isinstance(part, ConvNormAct)
               or part not in inside | of_gates and not list(part.children())]
    hooks = [hook for part in watched for hook in (part.register_forward_pre_hook(enter),
                                                   part.register_forward_hook(leave))]
    try:
        with at_rest(model) as device, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model(images.to(device))
    finally:
        for hook in hooks:
            hook.remove()
    return {name: _sides(names, before.get(name), after.get(name, []), positive[name]) for name in positive}


def _sides(names: Mapping[nn.Module, str], before: nn.Module | None, after: list[nn.Module], positive: bool
           ) -> list[Seam]:
    """Return where the factors of one gate may go."""
    found: list[Seam] = []
    layer = before
    if isinstance(before, ConvNormAct):
        act = getattr(before, "act", None)
        layer = (before.conv if isinstance(before.norm, nn.Identity) else before.norm) \
            if act is None or (type(act) is nn.ReLU and positive) else None
    if isinstance(layer, (*CONVS, *NORMS)) and isinstance(layer.weight, Tensor):
        found.append(("before", [names[layer]]))
    convs = [one.conv if isinstance(one, ConvNormAct) else one for one in after]
    if convs and all(isinstance(one, CONVS) for one in convs):
        found.append(("after", [names[one] for one in convs]))
    return found
