"""One class against the rest: truth and scores that can be measured."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError, UsageError
from excite.metrics.ranking import Float

Values = NDArray[Any] | Sequence[float]


def binary(truth: Values, score: Values, units: Sequence[str] | None = None, *,
           probabilities: bool = False) -> tuple[NDArray[np.bool_], Float]:
    """Return whether each sample is of the class, and its score, as arrays.

    Args:
        truth: 0 or 1, or bool.
        score: The higher, the surer.
        units: One a sample, where there are some.
        probabilities: Scores have to be from 0 to 1.

    Shape:
        (N,), (N,) -> (N,), (N,)

    Raises:
        DataError: there is no sample, or a value cannot be; the row is named. UsageError: the shapes differ.
    """
    labels, values = np.asarray(truth), np.asarray(score, np.float64)
    count = labels.size if units is None else len(units)
    if labels.ndim != 1 or values.shape != labels.shape or count != labels.size:
        raise UsageError(f"truth, scores and units must be one a sample, got {labels.shape}, {values.shape} and "
                         f"{'no units' if units is None else (len(units),)}")
    if not len(labels):
        raise DataError("there is no sample to measure")
    _refuse(~np.isin(labels, (0, 1)), "the truth must be 0 or 1", "compare the label with the class")
    _refuse(~np.isfinite(values), "a score is NaN or infinite", "look at the image and the network")
    if probabilities:
        _refuse((values < 0) | (values > 1), "a probability must be from 0 to 1", "give the softmax of the outputs")
    return labels.astype(bool), values


def only(of_class: NDArray[np.bool_]) -> str | None:
    """Return in words that one side alone occurs; None where both do."""
    if of_class.all():
        return "every sample is of the class"
    return None if of_class.any() else "no sample is of the class"


def _refuse(bad: NDArray[np.bool_], what: str, fix: str) -> None:
    if bad.any():
        raise DataError(what, where=f"row {int(bad.argmax())} (counted from 0)",
                        why=f"{int(bad.sum())} of {len(bad)} rows are so", fix=fix)
