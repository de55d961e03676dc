"""Attention in place in a residual network of torchvision, timm, MONAI or one's own, with what it costs."""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import torch
from torch import nn

from excite.attention.insertion.insert import insert, inserted_plan
from excite.attention.insertion.report import InsertReport
from excite.attention.plan import AttentionPlan
from excite.models.cost import count
from excite.models.measure import interleaved

__all__ = ["InsertReport", "insert_attention", "inserted_plan"]

SMALL = 32  # side of an input from which stages can be told by their sizes


def insert_attention(model: nn.Module, plan: AttentionPlan | str = "se", *, input_size: Sequence[int] | None = None,
                     measure: bool = False) -> InsertReport:
    """Put attention into the residual blocks of `model`, in place; its outputs stay what they were, bit for bit.

    Every block keeps its class, keys, hooks and children and gets one child more, "attention". The gate stands where
    Hu et al. 2018 put it (arXiv:1709.01507, figure 5): "standard" on the branch after layer scale and before drop-path,
    "pre" before the branch, "post" after sum and activation, "identity" on the shortcut, "inner" after the last
    convolution over space of the branch that another layer follows. In training the network draws the random numbers
    that it did.

    The changed network can be copied, saved whole or as a state dict, moved, compiled, exported, fused and converted to
    SyncBatchNorm. A state dict fits a new network into which `inserted_plan(model)` was inserted.

    Not possible: networks that concatenate; blocks whose forward looks at values or whose arguments beyond the first
    have other values than their defaults (those raise when called); torch.jit.script of the result (torch.jit.trace
    works). Position "inner" calls the layers of a plain nn.Sequential in a branch one by one: hooks of that Sequential
    itself are not called any more. A block with several residual sums has the attention at its last.

    Args:
        model: Any network of images or volumes that takes one tensor.
        plan: The attention as an AttentionPlan, or as a line of text, "se@2,3:position=pre:reduction=8". A line that
            says no start means start=open, gates exactly 1 at first; a plan means the start that it has, and "paper"
            is warned of. Stages are counted from 0, and a new one begins where the blocks' outputs change their size;
            `blocks` of a plan are "stage.block" or names of modules, ("layer3.*", "layer4").
        input_size: (C, *S) of an input, for the places and the costs; else the first convolution's channels and 64
            along every axis, 224 where that is too small.
        measure: Also time a forward pass before and after, in turns.

    Raises:
        UsageError: the plan does not fit, the network has no residual sum, or has inserted attention already; it is
            unchanged then.
    """
    old = deepcopy(model).eval() if measure else None
    report = insert(model, plan, input_size=input_size)
    macs, notes = _macs(model, report.input_size)
    if min(report.input_size[1:]) < SMALL:
        size = " x ".join(map(str, report.input_size))
        notes = (*notes, f"stages begin where sizes change: with an input of {size} some changes may not show")
    return replace(report, macs=macs, notes=notes,
                   milliseconds=None if old is None else _timed(old, model, report.input_size))


def _macs(model: nn.Module, size: tuple[int, ...]) -> tuple[tuple[int, int] | None, tuple[str, ...]]:
    """Return the multiply-adds without the gates and with them, and what the counts do not know."""
    try:
        cost = count(model, size)
    except Exception as fault:  # of any kind: it is the network's own code, and the attention is in already
        return None, (f"multiply-adds are not counted: {fault}",)
    _, gates = cost.by_part.get("attention", (0, 0))
    return (cost.macs - gates, cost.macs), cost.notes


def _timed(old: nn.Module, model: nn.Module, size: tuple[int, ...]) -> tuple[float, float]:
    """Return the median milliseconds of a forward pass of one input through both, in turns."""
    new, weight = deepcopy(model).eval(), next(model.parameters())
    x = torch.rand(1, *size, device=weight.device, dtype=weight.dtype)
    with torch.inference_mode():
        taken = interleaved({"before": lambda: old(x), "after": lambda: new(x)})
    return taken["before"].median, taken["after"].median
