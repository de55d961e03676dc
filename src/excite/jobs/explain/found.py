"""What was found of one sample, and that it was found of the network that is shipped."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from excite.deploy.parity import RELATIVE_LIMIT
from excite.errors import ModelError
from excite.jobs.explain.answers import Choice

Method = Literal["gradcam", "occlusion", "integrated"]
Floats = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, eq=False)
class Found:
    """What was found of one sample.

    Args:
        choice: What is explained.
        maps: (A, *T) importance, 0 and above, at the method's own resolution; A is 1, or one a map of a patient.
    """

    choice: Choice
    maps: Floats


def refuse_difference(found: NDArray[np.float32], shipped: NDArray[np.float32]) -> None:
    """Raise where the network does not give what the bundle's ONNX file gives.

    Raises:
        ModelError: they differ by more than rounding.
    """
    apart, largest = float(np.abs(found - shipped).max()), float(np.abs(shipped).max())
    if not apart <= RELATIVE_LIMIT * max(largest, 1e-12):
        raise ModelError("the network in torch says something else than the bundle's model.onnx",
                         why=f"outputs differ by {apart:.3g}, the largest is {largest:.3g}",
                         fix="export the bundle again: excite export")
