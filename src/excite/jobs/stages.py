"""Which parts of a network learn when, and how fast, in words."""

from torch import nn

from excite.jobs.sections import TrainConfig
from excite.models.groups import split_parameters


def stages_told(config: TrainConfig, model: nn.Module) -> str:
    """Return which parts learn when and how fast, where the config says anything about it."""
    loop, optim = config.loop, config.optim
    gates = len(split_parameters(model)["gates"])
    told = []
    if loop.freeze_epochs:
        told.append(f"head and {gates} parameters of gates learn for {loop.freeze_epochs} epochs, then all"
                    if loop.freeze_epochs < loop.epochs else
                    f"head and {gates} parameters of gates learn alone: all {loop.epochs} epochs are frozen")
    if optim.gate_lr != 1:
        told.append(f"gates at {optim.gate_lr:g} times the rate" if gates else
                    "optim.gate_lr is not used: the network has no gates")
    return "; ".join(told)
