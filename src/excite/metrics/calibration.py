"""Whether a probability means what it says: temperature and reliability."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, logsumexp

from excite.errors import DataError, UsageError
from excite.metrics.classification import BINS, bins, checked

Float = NDArray[np.float64]
LIMITS = (0.05, 20.0)  # of the temperature


@dataclass(frozen=True, kw_only=True)
class Temperature:
    """A fitted temperature.

    Args:
        value: Divides the outputs before the softmax; above 1 the network was too sure of itself.
        nll_before: Negative log-likelihood an image at temperature 1, on the part it was fitted on.
        nll_after: The same at `value`; never larger.
        n: Images it was fitted on.
        note: What has to be known of the fit.
    """

    value: float
    nll_before: float
    nll_after: float
    n: int
    note: str | None = None

    def to_json(self) -> dict[str, object]:
        """Return plain data."""
        return asdict(self)


def fit_temperature(logits: NDArray[Any], truth: NDArray[Any]) -> Temperature:
    """Return the temperature with the smallest negative log-likelihood.

    The probabilities are those that a bundle gives: each view's outputs divided by the temperature, softmax, mean
    over the views. Where every view of every image is right the likelihood grows without end as the temperature
    falls; there is nothing to fit, and it stays 1.

    Args:
        logits: Outputs of the network for one or V views of N images that it was not trained on.
        truth: Index of the true class of each image.

    Shape:
        (V, N, K) or (N, K), and (N,).

    Raises:
        DataError: there is no image, or an output is not finite.

    Source:
        Guo, Pleiss, Sun, Weinberger. "On Calibration of Modern Neural Networks", ICML 2017, arXiv:1706.04599, eq. 9.
    """
    views, labels = _views(logits, truth)
    before = _nll(views, labels, 0.0)
    if (np.take_along_axis(views, labels[None, :, None], axis=2) > _best_other(views, labels)).all():
        note = f"all {len(labels)} images are right in every view: no temperature fits best, so it stays 1"
        return Temperature(value=1.0, nll_before=before, nll_after=before, n=len(labels), note=note)
    grid = np.linspace(np.log(LIMITS[0]), np.log(LIMITS[1]), 25)
    best = int(np.argmin([_nll(views, labels, place) for place in grid]))
    around = (float(grid[max(0, best - 1)]), float(grid[min(len(grid) - 1, best + 1)]))
    found = minimize_scalar(lambda place: _nll(views, labels, float(place)), bounds=around, method="bounded",
                            options={"xatol": 1e-6})
    if float(found.fun) >= before:  # not below what was there: leave the outputs alone
        return Temperature(value=1.0, nll_before=before, nll_after=before, n=len(labels))
    value = float(np.exp(found.x))
    at_limit = min(value / LIMITS[0], LIMITS[1] / value) < 1.01
    return Temperature(value=value, nll_before=before, nll_after=float(found.fun), n=len(labels), note=(
        f"it is at the limit of the search, {LIMITS[0]:g} to {LIMITS[1]:g}: look at the network" if at_limit else None))


def reliability(truth: NDArray[Any], probabilities: NDArray[Any]) -> dict[str, list[float] | list[int]]:
    """Return mean confidence, accuracy and count of each bin that has an image; the bins are those of the ECE."""
    labels, chances = checked(truth, probabilities, np.shape(probabilities)[-1])
    predicted = chances.argmax(axis=1)
    confidence = chances[np.arange(len(labels)), predicted]
    place = bins(confidence)
    count = np.bincount(place, minlength=BINS)
    there = count > 0
    mean = np.bincount(place, confidence, minlength=BINS)[there] / count[there]
    right = np.bincount(place, (predicted == labels).astype(np.float64), minlength=BINS)[there] / count[there]
    return {"confidence": mean.tolist(), "accuracy": right.tolist(), "count": count[there].tolist()}


def _views(logits: NDArray[Any], truth: NDArray[Any]) -> tuple[Float, NDArray[np.int64]]:
    views = np.asarray(logits, dtype=np.float64)
    views = views[None] if views.ndim == 2 else views
    labels = np.asarray(truth).astype(np.int64)
    if views.ndim != 3 or labels.shape != views.shape[1:2] or ((labels < 0) | (labels >= views.shape[2])).any():
        raise UsageError(f"logits and truth must have the shapes (V, N, K) and (N,), with classes below K; got "
                         f"{np.shape(logits)} and {np.shape(truth)}")
    if not labels.size:
        raise DataError("there is no image to fit the temperature on", fix="give the split a validation part")
    bad = ~np.isfinite(views).all(axis=(0, 2))
    if bad.any():
        raise DataError("an output of the network is NaN or infinite",
                        where=f"row {int(bad.argmax())} (counted from 0)", fix="look at the image and the network")
    return views, labels


def _nll(views: Float, labels: NDArray[np.int64], log_temperature: float) -> float:
    """Return -mean log of the mean over views of the true class's probability, from logs all the way."""
    of_views = log_softmax(views / np.exp(log_temperature), axis=2)[:, np.arange(len(labels)), labels]
    return float(-(logsumexp(of_views, axis=0) - np.log(len(views))).mean())


def _best_other(views: Float, labels: NDArray[np.int64]) -> Float:
    others = views.copy()
    np.put_along_axis(others, np.broadcast_to(labels[None, :, None], (*views.shape[:2], 1)), -np.inf, axis=2)
    best: Float = others.max(axis=2, keepdims=True)
    return best
