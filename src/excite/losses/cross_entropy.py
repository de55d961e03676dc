"""Cross-entropy of each sample, with label smoothing.

Source: smoothing as in Szegedy et al., "Rethinking the Inception Architecture for Computer Vision", CVPR 2016,
arXiv:1512.00567, section 7.
"""

import torch
from torch import Tensor

from excite.losses.targets import log_probabilities, smoothed


def cross_entropy(logits: Tensor, labels: Tensor, *, smoothing: float = 0.0) -> Tensor:
    """Return the cross-entropy of each sample, not weighted.

    Args:
        logits: Outputs of the network.
        labels: Index of the true class.
        smoothing: Share of the target that is spread evenly over all classes.

    Shape:
        (N, K), (N,) int64 -> (N,); float32 at least, whatever the logits are.
    """
    log_p = log_probabilities(logits)
    return -torch.sum(smoothed(labels, log_p, smoothing=smoothing) * log_p, dim=1)
