"""What a graph does not record around its steps, found in the Python frames that a step is traced in."""

import dis
import sys
from functools import lru_cache
from types import CodeType, FrameType

from torch import fx
from torch.autograd.function import FunctionCtx

CHECKPOINT = "torch.utils.checkpoint"
CONTEXTS = ("torch.utils._contextlib", "torch.amp.autocast_mode", CHECKPOINT)  # torch's own wrappers of a forward


def lost_around() -> str | None:
    """Return what holds for the step that is being traced and that its graph would lose; None where nothing does."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code is not fx.Tracer.trace.__code__:
        owner = str(frame.f_globals.get("__name__", ""))
        if owner == CHECKPOINT:
            return "torch.utils.checkpoint"
        if any(isinstance(value, FunctionCtx) for value in frame.f_locals.values()):
            return "an autograd Function's own backward"
        if (owner in CONTEXTS or owner.split(".")[0] != "torch") and _has_with(frame.f_code):
            return "a `with` statement or a decorator such as no_grad or autocast"
        frame = frame.f_back
    return None


@lru_cache(maxsize=4096)
def _has_with(code: CodeType) -> bool:
    return any(step.opname == "WITH_EXCEPT_START" for step in dis.get_instructions(code))
