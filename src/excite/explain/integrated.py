"""Integrated gradients: what each value of an input adds to the answer, from a baseline on; the parts sum to it.

Source: Sundararajan, Taly, Yan, Axiomatic Attribution for Deep Networks, arXiv:1703.01365, equations 1 and 3; the
integral by Gauss and Legendre's rule, which needs fewer steps than the sum of equation 3.
"""

import numpy as np
import torch
from torch import Tensor, nn

from excite.errors import UsageError
from excite.explain.gradcam import of_classes

STEPS = 20


def integrated_gradients(model: nn.Module, inputs: Tensor, *, classes: Tensor, baseline: float | Tensor = 0.0,
                         steps: int = STEPS) -> Tensor:
    """Return what each value of the inputs adds to the logit of a class a sample, shaped as the inputs.

    Args:
        model: In eval mode; samples of a batch must not depend on each other.
        inputs: A batch, (N, ...).
        classes: (N,), counted from 0.
        baseline: What means nothing, one value or shaped as the inputs; 0 is the training mean of normalised inputs.
        steps: Places between baseline and input at which the gradient is taken.

    Raises:
        UsageError: fewer than one step.
    """
    return mean_gradient(model, inputs, classes=classes, baseline=baseline, steps=steps) * (inputs - baseline)


def mean_gradient(model: nn.Module, inputs: Tensor, *, classes: Tensor, baseline: float | Tensor = 0.0,
                  steps: int = STEPS) -> Tensor:
    """Return the mean gradient of the logits on the way from the baseline to the inputs; see `integrated_gradients`."""
    if steps < 1:
        raise UsageError(f"steps must be at least 1, got {steps}")
    places, weights = np.polynomial.legendre.leggauss(steps)
    total = torch.zeros_like(inputs)
    apart = inputs.detach() - baseline
    for place, weight in zip((1 + places) / 2, weights / 2, strict=True):
        at = (baseline + float(place) * apart).requires_grad_(True)
        with torch.enable_grad():
            number = of_classes(classes)(model(at)).sum()
        total += float(weight) * torch.autograd.grad(number, at)[0]
    return total
