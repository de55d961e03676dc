"""From a network's outputs to probabilities: what tasks, the runtime and the evaluation share."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import ModelError

Float = NDArray[np.float64]


def softmax(logits: NDArray[Any]) -> Float:
    """Return probabilities over the last axis, in float64; large outputs do not overflow."""
    values = np.asarray(logits, dtype=np.float64)
    powers = np.exp(values - values.max(axis=-1, keepdims=True))
    probabilities: Float = powers / powers.sum(axis=-1, keepdims=True)
    return probabilities


def decode(logits: NDArray[Any], *, classes: Sequence[str], temperature: float = 1.0) -> Float:
    """Return the probabilities of each image: the mean over its views, each at the temperature.

    Args:
        logits: Outputs of the network for V views of N images.
        classes: Labels in the order of the outputs.
        temperature: Divides the outputs of every view before the softmax.

    Shape:
        (V, N, K) -> (N, K) float64; every row sums to 1.

    Raises:
        ModelError: the shape does not fit the classes, or the temperature is not positive.
    """
    if logits.ndim != 3 or logits.shape[0] < 1 or logits.shape[2] != len(classes):
        raise ModelError(f"outputs must have the shape (views, images, {len(classes)}), got {logits.shape}",
                         fix="the bundle's classes and its network belong together: export it again")
    if not 0 < temperature < float("inf"):
        raise ModelError(f"temperature must be a positive number, got {temperature}")
    probabilities: Float = softmax(np.asarray(logits, dtype=np.float64) / temperature).mean(axis=0)
    return probabilities
