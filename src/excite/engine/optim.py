"""The optimiser: three groups of parameters with rates of their own, weight decay only where it belongs."""

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from excite.engine.sections import OptimSection
from excite.models.groups import split_parameters


def build_optimiser(model: nn.Module, section: OptimSection) -> Optimizer:
    """Return the optimiser of `model`'s parameters, frozen ones too: those have no gradient and stay as they are.

    Each group has a `base`, its learning rate before the schedule: lr x trunk_lr, lr x gate_lr or lr. Weight decay
    is left out for norms, biases and what scales a gate.
    """
    factors = {"trunk": section.trunk_lr, "gates": section.gate_lr, "head": 1.0}
    named = dict(model.named_parameters())
    groups = []
    for part, names in split_parameters(model).items():
        for decay in (True, False):
            parameters = [named[name] for name in names if decays(named[name], part) == decay]
            if parameters:
                base = section.lr * factors[part]
                groups.append({"params": parameters, "lr": base, "base": base, "part": part,
                               "weight_decay": section.weight_decay if decay else 0.0})
    if section.name == "sgd":
        return torch.optim.SGD(groups, lr=section.lr, momentum=section.momentum)
    return (torch.optim.Adam if section.name == "adam" else torch.optim.AdamW)(groups, lr=section.lr, fused=True)


def decays(parameter: Tensor, part: str) -> bool:
    """Return whether weight decay is right for a parameter: for matrices and kernels, not for vectors of scales."""
    if part == "gates":
        return sum(size > 1 for size in parameter.shape) > 1
    return parameter.ndim > 1


def set_rates(optimiser: Optimizer, factor: float) -> None:
    """Set each group's rate to its base times the schedule's `factor`."""
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * factor


def export_state(optimiser: Optimizer, model: nn.Module) -> dict[str, Tensor]:
    """Return the optimiser's tensors by parameter and kind: "NAME/exp_avg"."""
    return {f"{name}/{kind}": value for name, parameter in model.named_parameters()
            for kind, value in optimiser.state.get(parameter, {}).items() if isinstance(value, Tensor)}


def import_state(optimiser: Optimizer, model: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Put back what `export_state` gave, each tensor in the memory layout of its parameter."""
    named = dict(model.named_parameters())
    for key, value in tensors.items():
        name, kind = key.rsplit("/", 1)
        like = named[name]
        state = torch.empty_like(like) if value.shape == like.shape else torch.empty_like(value)
        optimiser.state[like][kind] = state.copy_(value)


def with_gradient(optimiser: Optimizer) -> list[nn.Parameter]:
    """Return the parameters that the next step will move."""
    return [parameter for group in optimiser.param_groups for parameter in group["params"]
            if parameter.grad is not None]
