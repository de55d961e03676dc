"""What the losses share: log-probabilities in a safe depth, and smoothed targets."""

import torch
from torch import Tensor


def log_probabilities(logits: Tensor) -> Tensor:
    """Return the log of the softmax, (N, K), in float32 at least: bfloat16 has 3 digits."""
    wide = torch.float64 if logits.dtype == torch.float64 else torch.float32
    return torch.log_softmax(logits.to(wide), dim=1)


def smoothed(labels: Tensor, like: Tensor, *, smoothing: float) -> Tensor:
    """Return the targets: 1 - smoothing on the true class plus smoothing / K on every class.

    Args:
        labels: Index of the true class, (N,).
        like: A tensor (N, K) of the wanted depth and place.
        smoothing: Share that is spread evenly.
    """
    targets = torch.full_like(like, smoothing / like.shape[1])
    return targets.scatter_add_(1, labels[:, None], torch.full_like(like[:, :1], 1 - smoothing))
