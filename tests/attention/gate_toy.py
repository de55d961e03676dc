"""Attention with weights that a test of equality can tell apart, and its parts in numpy."""

import numpy as np
import torch

from lively import lively


def awake(gate, x):
    """The gate in float64 and eval mode, its weights random and its statistics measured."""
    with torch.no_grad():
        for name, value in gate.named_parameters():
            spread = value[0].numel() ** -0.5 if value.ndim > 1 else 0.7
            value.normal_(1.0 if name == "squeeze.bias" else 0.0, spread)
    return lively(gate, x)


def flat(x):
    """(N, C, *S) as (N, C, places)."""
    return x.numpy().reshape(*x.shape[:2], -1)


def dense(layer):
    """The weights of a 1x1 convolution as a matrix, and its biases."""
    weight = layer.weight.detach().numpy()
    return weight.reshape(weight.shape[:2]), 0.0 if layer.bias is None else layer.bias.detach().numpy()


def wide(values, dims):
    """(N, C) as (N, C, 1, ...)."""
    return values.reshape(*values.shape, *[1] * dims)


def sigmoid(values):
    return 1 / (1 + np.exp(-values))


def hard_sigmoid(values):
    return np.clip(values + 3, 0, 6) / 6


def assert_same(ours, expected):
    """Max. difference 1e-12 of outputs that change with the input."""
    ours = ours.detach().numpy()
    assert np.abs(expected[0] - expected[1]).max() > 0.01 * np.abs(expected).max()
    assert np.abs(ours - expected).max() <= 1e-12 * np.abs(expected).max()
