"""Ordinal loss of each sample, for classes that are grades: a far wrong grade costs more than the next one.

The grades' order is told by K - 1 questions, "is it above grade k?". The chance that it is, the sum of the softmax over
the higher grades, cannot grow from one question to the next, so that the answers never contradict each other; and the
outputs stay K logits whose softmax is the chance of each grade.

Source: Cao, Mirjalili, Raschka, "Rank consistent ordinal regression for neural networks with application to age
estimation", Pattern Recognition Letters 2020, arXiv:1901.07884, section 3: the sum of the K - 1 binary cross-entropies,
here of chances from a softmax, not from one shared score. As a score of probabilities it is the ranked ignorance score
of Tödter and Ahrens, Monthly Weather Review 2012: the true chances, and no others, have the least of it.
"""

import torch
from torch import Tensor

from excite.errors import UsageError
from excite.losses.targets import log_probabilities, smoothed


def ordinal(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the mean over the K - 1 questions of the binary cross-entropy of each sample, not weighted.

    Of two grades it is the cross-entropy.

    Args:
        logits: Outputs of the network, the grades in their order.
        labels: Index of the true grade.
        smoothing: Share of the target that is spread evenly over all grades.

    Shape:
        (N, K), (N,) int64 -> (N,); float32 at least, whatever the logits are.

    Raises:
        UsageError: there are fewer than two grades.
    """
    if logits.ndim != 2 or logits.shape[1] < 2:
        raise UsageError(f"logits must have the shape (N, K) with K of at least 2 grades, got {tuple(logits.shape)}")
    log_p = log_probabilities(logits)
    steps = range(1, log_p.shape[1])
    below = torch.stack([log_p[:, :step].logsumexp(dim=1) for step in steps], dim=1)
    above = torch.stack([log_p[:, step:].logsumexp(dim=1) for step in steps], dim=1)
    higher = 1 - smoothed(labels, log_p, smoothing=smoothing).cumsum(dim=1)[:, :-1]
    return -(higher * above + (1 - higher) * below).mean(dim=1)
