"""What is said of one image: a class with its probabilities, or why nothing can be said."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class ClassPrediction:
    """One class out of several.

    Args:
        file: The image, as it was asked for.
        label: The most probable class.
        probabilities: Of every class, in the order of the network's outputs; they sum to 1.
        features: The vector before the last layer, (F,), where it was asked for.
        notes: What the reader of the file had to decide, each a sentence.
    """

    file: str
    label: str
    probabilities: dict[str, float]
    features: NDArray[np.float32] | None = field(default=None, repr=False, compare=False)
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return plain data; notes and features only where there are any."""
        found: dict[str, Any] = {"file": self.file, "label": self.label, "probabilities": dict(self.probabilities)}
        if self.notes:
            found["notes"] = list(self.notes)
        if self.features is not None:
            found["features"] = self.features.tolist()
        return found


@dataclass(frozen=True, kw_only=True)
class FailedPrediction:
    """A file that could not be used.

    Args:
        file: The image, as it was asked for.
        error: What is wrong, why, and what to do.
    """

    file: str
    error: str

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"file": self.file, "error": self.error}
