"""Exponential moving average of a network's parameters and buffers."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class Ema:
    """Follow a network: average <- d average + (1 - d) value, with d = min(decay, (1 + n) / (10 + n)) at update n.

    The smaller first decays keep a short training from averaging over its random start. Whole numbers (counts of
    batches) are copied, not averaged.

    Args:
        model: The network, whose values are the first average.
        decay: d in the long run, in [0, 1).

    Source: Polyak and Juditsky 1992; the first decays as in Szegedy et al., arXiv:1512.00567, section 8, done by
        tf.train.ExponentialMovingAverage's `num_updates`.
    """

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.tensors = copy_of(model)

    @torch.no_grad()
    def update(self, model: nn.Module, *, updates: int) -> None:
        """Take in the network's values; `updates` were done before."""
        decay = min(self.decay, (1 + updates) / (10 + updates))
        for name, value in model.state_dict().items():
            if value.is_floating_point():
                self.tensors[name].lerp_(value, 1 - decay)
            else:
                self.tensors[name].copy_(value)

    @contextmanager
    def applied(self, model: nn.Module) -> Iterator[None]:
        """Give the network the averages, and its own values back at the end."""
        own = copy_of(model)
        copy_into(model, self.tensors)
        try:
            yield
        finally:
            copy_into(model, own)


def copy_of(model: nn.Module) -> dict[str, Tensor]:
    """Return a copy of the network's parameters and buffers."""
    return {name: value.detach().clone() for name, value in model.state_dict().items()}


@torch.no_grad()
def copy_into(model: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Set the network's parameters and buffers, which keep their memory layout."""
    for name, value in model.state_dict().items():
        value.copy_(tensors[name])
