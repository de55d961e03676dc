"""A network's twin that is as fast as for prediction up to a layer, and lets gradients through from there on."""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from excite.errors import UsageError
from excite.explain.taps import kept
from excite.layers.conv import ConvNormAct
from excite.models.prediction import fold, for_prediction


def quickened(model: nn.Module, images: Tensor, *, layers: Sequence[str]) -> nn.Module:
    """Return a copy that computes the same: norms folded, and what no gradient reaches in one pass a brick.

    Args:
        model: In eval mode; it stays as it is.
        images: Some that are typical.
        layers: Where gradients begin.

    Shape:
        images (N, C, *S)
    """
    twin = deepcopy(model).eval().requires_grad_(False)
    try:
        packed = for_prediction(model, images, precision="float32").network
    except UsageError:  # of a kind that is not made faster
        return twin
    fold(twin)
    reached = _reached(twin, images, layers)
    for name, brick in list(twin.named_modules()):
        if isinstance(brick, ConvNormAct) and name not in reached:
            twin.set_submodule(name, packed.get_submodule(name))
    return twin


def ordered(model: nn.Module, images: Tensor) -> Tensor:
    """Return images in the order of memory in which the network is fast."""
    last = getattr(model, "channels_last", True) and images.ndim == 4
    return images.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)


def _reached(model: nn.Module, images: Tensor, layers: Sequence[str]) -> set[str]:
    """Return the bricks that gradients reach, or that do not run."""
    free: dict[str, bool] = {}

    def note(name: str) -> Any:
        def hook(part: nn.Module, given: tuple[Tensor, ...]) -> None:
            free[name] = free.get(name, True) and not given[0].requires_grad
        return hook

    bricks = [name for name, part in model.named_modules() if isinstance(part, ConvNormAct)]
    hooks = [model.get_submodule(name).register_forward_pre_hook(note(name)) for name in bricks]
    with torch.enable_grad(), kept(model, layers):
        model(ordered(model, images))
    for hook in hooks:
        hook.remove()
    return {name for name in bricks if not free.get(name, False)}
