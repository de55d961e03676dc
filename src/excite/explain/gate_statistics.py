"""What the gates of a network do over many inputs: their distribution, and what they depend on. One pass, float64.

Whether gates differ between classes is told by eta squared, the share of their variance over inputs that lies between
the classes' means. With few inputs it is large by chance: over all ways to shuffle the labels its mean is exactly
(K - 1) / (N - 1) for K classes and N inputs, whatever the gates are. So the corrected share is told beside it,
1 - (1 - eta^2) (N - 1) / (N - K), which is 0 on average where the class does not matter, and can be negative.

Source: Kelley, "An unbiased correlation ratio measure", PNAS 1935 (the correction, epsilon squared); means and squares
are joined as in Chan, Golub, LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances",
1979.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import length_hint
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from excite.errors import UsageError
from excite.explain.gates import Factors, Kind, at_rest, gate_layers, kind_of_attention, largest, recorded
from excite.progress import Progress, silent

Float = NDArray[np.float64]
BINS = 1000                                          # of the distribution, so quantiles are exact to a thousandth
QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
STATES = ("dead", "saturated", "constant", "live")
NOISE = 1e-7                                         # of the scale: less is rounding


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """What gates are called; all three are shares of the largest factor that the layer can give.

    Args:
        dead: A gate that is below it for every input.
        saturated: A gate that is above it for every input.
        constant: Any other gate whose standard deviation over inputs is below it.
    """

    dead: float = 0.01
    saturated: float = 0.99
    constant: float = 0.01


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerGates:
    """The gates of one layer over all inputs; a gate of places is averaged over them for each input.

    Args:
        name: Of the module.
        attention: Its kind, "se".
        kind: "channel", "place" or "both".
        n: Inputs.
        largest: The largest factor that the layer can give.
        mean: Of each gate over inputs, (C,).
        std: Standard deviation of each gate over inputs, (C,).
        low: Least value of each gate, (C,).
        high: Largest value of each gate, (C,).
        quantiles: Of all gates and inputs together: {0.5: 0.61}.
        histogram: Share of all values in each of 1000 bins from 0 to `largest`.
        states: Of each gate: "dead", "saturated", "constant" or "live".
        unevenness: Standard deviation over the places of an input, averaged; 0 where gates are of channels.
        between_inputs: Variance of a gate over inputs, averaged over gates.
        between_channels: Variance of the gates' means.
        class_means: (K, C), NaN for a class without inputs; None without labels.
        class_counts: Inputs of each class.
        eta: Share of the variance over inputs that lies between classes; None where it is not defined.
        eta_by_chance: Its mean over all shuffles of the labels.
        eta_corrected: See the head of this file.
    """

    name: str
    attention: str
    kind: Kind
    n: int
    largest: float
    mean: Float
    std: Float
    low: Float
    high: Float
    quantiles: dict[float, float]
    histogram: Float
    states: tuple[str, ...]
    unevenness: float
    between_inputs: float
    between_channels: float
    class_means: Float | None = None
    class_counts: tuple[int, ...] = ()
    eta: float | None = None
    eta_by_chance: float | None = None
    eta_corrected: float | None = None

    @property
    def shares(self) -> dict[str, float]:
        """Return the share of gates in each state."""
        return {state: self.states.count(state) / len(self.states) for state in STATES}

    @property
    def share_of_inputs(self) -> float:
        """Return which share of the gates' variance is over inputs, not between channels; 0 where none varies."""
        whole = self.between_inputs + self.between_channels
        return self.between_inputs / whole if whole > (NOISE * self.largest) ** 2 else 0.0

    def to_json(self) -> dict[str, Any]:
        """Return plain data, without the histogram and what is of single gates."""
        return {"name": self.name, "attention": self.attention, "kind": self.kind, "n": self.n,
                "gates": len(self.states), "largest": self.largest, "shares": self.shares,
                "quantiles": {f"{place:g}": value for place, value in self.quantiles.items()},
                "unevenness": self.unevenness, "between_inputs": self.between_inputs,
                "between_channels": self.between_channels, "share_of_inputs": self.share_of_inputs, "eta": self.eta,
                "eta_by_chance": self.eta_by_chance, "eta_corrected": self.eta_corrected}


def gate_statistics(model: nn.Module, batches: Iterable[Tensor | tuple[Tensor, Tensor]], *,
                    classes: Sequence[str] | None = None, bounds: Bounds | None = None,
                    progress: Progress | None = None) -> list[LayerGates]:
    """Return what the gates of a network do over many inputs, layer by layer.

    Any network counts whose gates are excite's: one of `create_model`, or one of another library into which
    `excite.insert_attention` put some. It computes in eval mode, on the device where its weights are, and is left as
    it was. Memory does not grow with the number of inputs.

    Args:
        model: With gates.
        batches: Of inputs, or of (inputs, labels); labels are numbers of `classes`, (N,).
        classes: Names of the labels; None: without labels.
        bounds: What is called dead, saturated and constant.
        progress: Where to tell how far it is.

    Shape:
        inputs (N, C, *S)

    Raises:
        UsageError: the network has no gates, there are fewer than two inputs, or labels do not fit `classes`.
        ModelError: a gate is called twice in one pass.
    """
    meters = {name: _Meter(len(classes or ()), largest(gate)) for name, gate in gate_layers(model).items()}
    progress, seen, done = progress or silent(), 0, 0
    with at_rest(model) as device, recorded(model) as taken:
        for batch in batches:
            images, labels = batch if isinstance(batch, tuple) else (batch, None)
            model(images.to(device))
            for name, factors in taken.items():
                known = _labels(labels, len(images), classes)
                meters[name].add(factors, known if len(factors.values) == len(images) else None)
            taken.clear()
            seen, done = seen + len(images), done + 1
            progress.step("recording gates, batches", done, length_hint(batches, done + 1))
    if seen < 2:
        raise UsageError(f"at least two inputs are needed, got {seen}", why="one does not show whether a gate varies")
    used = gate_layers(model)
    return [meter.told(name, kind_of_attention(used[name]), bounds or Bounds())
            for name, meter in meters.items() if meter.n]


def _labels(labels: Tensor | None, count: int, classes: Sequence[str] | None) -> NDArray[np.int64] | None:
    if classes is None:
        return None
    known = None if labels is None else np.asarray(labels.cpu(), np.int64)
    if known is None or known.shape != (count,) or known.min() < 0 or known.max() >= len(classes):
        raise UsageError(f"labels must be {count} whole numbers from 0 to {len(classes) - 1}, got "
                         f"{'none' if known is None else known.tolist()}", fix="leave classes out without labels")
    return known


class _Meter:
    """The sums of one layer."""

    def __init__(self, classes: int, most: float) -> None:
        self.n, self.most, self.unevenness = 0, most, 0.0
        self.kind: Kind = "channel"
        self.mean, self.squares, self.low, self.high = (np.zeros(0) for _ in range(4))
        self.bins = np.zeros(BINS)
        self.class_counts, self.class_sums = np.zeros(classes, np.int64), np.zeros((classes, 0))

    def add(self, factors: Factors, labels: NDArray[np.int64] | None) -> None:
        """Take in what the layer gave for a batch."""
        values: Float = factors.values.cpu().numpy()
        count, mean = len(values), values.mean(0)
        if not self.n:
            self.kind, self.mean, self.squares = factors.kind, np.zeros_like(mean), np.zeros_like(mean)
            self.low, self.high = np.full_like(mean, np.inf), np.full_like(mean, -np.inf)
            self.class_sums = np.zeros((len(self.class_counts), len(mean)))
        both, apart = self.n + count, mean - self.mean
        self.squares += ((values - mean) ** 2).sum(0) + apart**2 * (self.n * count / both)
        self.mean += apart * (count / both)
        self.unevenness += (factors.unevenness - self.unevenness) * count / both
        self.n = both
        self.low, self.high = np.minimum(self.low, values.min(0)), np.maximum(self.high, values.max(0))
        self.bins += np.bincount(np.clip(values / self.most * BINS, 0, BINS - 1).astype(int).ravel(), minlength=BINS)
        if labels is not None:
            self.class_counts += np.bincount(labels, minlength=len(self.class_counts))
            np.add.at(self.class_sums, labels, values)

    def told(self, name: str, attention: str, bounds: Bounds) -> LayerGates:
        """Return the numbers."""
        std = np.sqrt(self.squares / self.n)
        share = self.bins / self.bins.sum()
        return LayerGates(name=name, attention=attention, kind=self.kind, n=self.n, largest=self.most, mean=self.mean,
                          std=std, low=self.low, high=self.high, quantiles=self._quantiles(share), histogram=share,
                          states=self._states(std, bounds), unevenness=self.unevenness,
                          between_inputs=float((std**2).mean()), between_channels=float(self.mean.var()),
                          **self._of_classes())

    def _states(self, std: Float, bounds: Bounds) -> tuple[str, ...]:
        low, high, std = self.low / self.most, self.high / self.most, std / self.most
        return tuple(np.select([high < bounds.dead, low > bounds.saturated, std < bounds.constant],
                               STATES[:3], STATES[3]).tolist())

    def _quantiles(self, share: Float) -> dict[float, float]:
        """Return quantiles of all values, linear inside a bin; least and largest value are exact."""
        heights = np.concatenate([[0.0], np.cumsum(share)])
        found = np.interp(QUANTILES, heights, np.linspace(0, self.most, BINS + 1))
        found = np.clip(found, self.low.min(), self.high.max())
        found[0], found[-1] = self.low.min(), self.high.max()
        return dict(zip(QUANTILES, found.tolist(), strict=True))

    def _of_classes(self) -> dict[str, Any]:
        counts = self.class_counts
        if not counts.sum() or counts.sum() != self.n:  # or it did not see every input: the map of a patient may lack
            return {}
        with np.errstate(invalid="ignore"):
            means = self.class_sums / counts[:, None]
        found: dict[str, Any] = {"class_means": means, "class_counts": tuple(counts.tolist())}
        there = counts > 0
        groups, whole = int(there.sum()), float(self.squares.sum())
        if 1 < groups < self.n and (whole / self.n / len(self.mean)) ** 0.5 > NOISE * self.most:
            between = float((counts[there, None] * (means[there] - self.mean) ** 2).sum())
            eta = between / whole
            found |= {"eta": eta, "eta_by_chance": (groups - 1) / (self.n - 1),
                      "eta_corrected": 1 - (1 - eta) * (self.n - 1) / (self.n - groups)}
        return found
