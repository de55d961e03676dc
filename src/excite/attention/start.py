"""The two forms that a gate can start from, and the refusal to load one into the other."""

from collections.abc import Mapping
from typing import Literal, get_args

from torch import Tensor, nn

from excite.errors import ModelError, UsageError

Start = Literal["paper", "open"]
_SCALES: dict[Start, float] = {"paper": 1.0, "open": 2.0}


def check_start(start: str) -> None:
    """Raise a UsageError where `start` is neither form."""
    if start not in get_args(Start):
        raise UsageError(f"start must be 'paper' or 'open', got {start!r}",
                         fix="'open' keeps a pretrained network's outputs at first")


def scale_of(start: Start) -> float:
    """Return the factor of the sigmoid: 1 as published; 2 so that a gate whose last layer is zero is exactly 1."""
    return _SCALES[start]


def refuse_other_form(gate: nn.Module, state: Mapping[str, Tensor], prefix: str) -> None:
    """Raise where `state` holds weights under `prefix` for a gate of another form than `gate`, or of none.

    Args:
        gate: Has a `scale` buffer.
        state: A state dict on its way into the network.
        prefix: The gate's own, with the dot.

    Raises:
        ModelError: the forms differ, or the form was not saved with the weights.
    """
    if not any(key.startswith(prefix) for key in state):
        return
    own, name = float(gate.get_buffer("scale")), prefix.rstrip(".") or type(gate).__name__
    saved = state.get(f"{prefix}scale")
    if saved is None:
        raise ModelError("these gates come without their form", where=name, why=f"{prefix}scale is missing",
                         fix=f"add it: 1 for published weights, 2 for start='open'; this network has {own:g}")
    if saved.numel() != 1 or float(saved) != own:
        shown = f"{float(saved):g}" if saved.numel() == 1 else f"of shape {tuple(saved.shape)}"
        forms = {value: start for start, value in _SCALES.items()}
        fix = f"build the network with start={forms[float(saved)]!r}" if shown in ("1", "2") else "take other weights"
        raise ModelError(f"the weights are those of gates with scale {shown}, this network's have {own:g}", where=name,
                         why="start='paper' has 1, start='open' has 2", fix=fix)
