"""Focal loss of each sample: what is already right counts less.

Source: Lin, Goyal, Girshick, He, Dollar. "Focal Loss for Dense Object Detection", ICCV 2017, arXiv:1708.02002, eq. 4;
with class weights, which play the part of alpha_t, eq. 5.
"""

import torch
from torch import Tensor

from excite.losses.targets import log_probabilities, smoothed

LEAST = 1e-8  # of 1 - p: where p rounds to 1 the slope of (1 - p) ** gamma would not be finite for gamma < 1


def focal(logits: Tensor, labels: Tensor, *, gamma: float = 2.0, smoothing: float = 0.0) -> Tensor:
    """Return (1 - p) ** gamma * -log(p) of the true class for each sample, not weighted.

    With smoothing, which the paper has not, the terms of all classes are summed, each times its share of the target;
    gamma 0 then is the smoothed cross-entropy.

    Args:
        logits: Outputs of the network.
        labels: Index of the true class.
        gamma: How strongly sure samples are played down; 2 in the paper.
        smoothing: Share of the target that is spread evenly over all classes.

    Shape:
        (N, K), (N,) int64 -> (N,); float32 at least, whatever the logits are.
    """
    log_p = log_probabilities(logits)
    doubt = (-torch.expm1(log_p)).clamp(min=LEAST)
    return -torch.sum(smoothed(labels, log_p, smoothing=smoothing) * doubt.pow(gamma) * log_p, dim=1)
