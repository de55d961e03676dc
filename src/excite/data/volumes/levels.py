"""From a map's values to the network's: a scale learnt from the training volumes, or each volume's own."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError, ModelError, UsageError

Floats = NDArray[np.float32]
Kind = Literal["map", "volume"]
PERCENTILES = (0.5, 99.5)
PER_VOLUME, IN_ALL = 10_000, 2_000_000  # voxels that levels are learnt from, at most
FOREGROUND = 0.1  # of the 99.5th percentile above a volume's least value: what is above is no background
APART = 5.0       # times that a map's level may differ from the training's: tissues do not, units do
FLAT = 1e-5       # of the greatest value: what differs less is one value, and the rest rounding


@dataclass(frozen=True, kw_only=True)
class Levels:
    """How the values of one modality are brought to about -3 to 3.

    Of a map with a physical unit, one straight line for all patients: a level that disease has moved stays moved. Of a
    scan without a unit, each volume by its own mean and spread.

    Args:
        kind: "map" (T1 in ms, ADC in 1e-6 mm2/s, ...) or "volume" (no unit).
        low: What lies below is cut; of a map.
        high: What lies above is cut; of a map.
        mean: Of the cut values; becomes 0.
        std: Of the cut values; becomes 1.
        median: Of the values that a map was learnt from.
        volumes: How many they were.
    """

    kind: Kind
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 1.0
    median: float = 0.0
    volumes: int = 0

    @classmethod
    def fit(cls, volumes: Iterable[NDArray[Any]], *, kind: Kind = "map") -> "Levels":
        """Return the levels of one modality, learnt from volumes that should be the training ones.

        Voxels of NaN were not seen, and those of exactly 0 in a map were not fitted: both are left out. Every volume
        gives as many of its voxels, chosen by a fixed chance.

        Args:
            volumes: One after the other; none is kept.
            kind: "map": percentiles, mean and standard deviation over all; "volume": nothing is learnt.

        Raises:
            UsageError: another kind. DataError: no value, or one alone.
        """
        if kind not in ("map", "volume"):
            raise UsageError(f"kind must be map or volume, got {kind!r}")
        if kind == "volume":
            return cls(kind=kind, volumes=sum(1 for _ in volumes))
        values, count = _sample(volumes)
        low, median, high = np.percentile(values, (PERCENTILES[0], 50, PERCENTILES[1])) if values.size else (0, 0, 0)
        if not low < high:
            raise DataError(f"the {count} training volumes of a map must hold different values, got "
                            f"{f'{low:g} alone' if values.size else 'none'}",
                            why="its scale cannot be learnt", fix="check the files that the column names")
        cut = np.clip(values, low, high)
        return cls(kind=kind, low=float(low), high=float(high), mean=float(cut.mean()), std=float(cut.std()),
                   median=float(median), volumes=count)

    def apply(self, values: NDArray[Any]) -> Floats:
        """Return values as the network takes them; 0, the mean, stands where nothing was seen.

        Args:
            values: Of any shape; NaN: not seen.
        """
        line, seen = self.line(values), np.isfinite(values)
        result = np.clip(values, np.float32(line.low), np.float32(line.high)).astype(np.float32, copy=False)
        result = (result - np.float32(line.mean)) / np.float32(line.std)
        return np.where(seen, result, np.float32(0))

    def line(self, values: NDArray[Any]) -> "Levels":
        """Return the one straight line that `apply` has for a volume, which then serves for parts of it."""
        if self.kind == "map":
            return self
        low, high, mean, std = _own(values[np.isfinite(values)])
        return Levels(kind="map", low=low, high=high, mean=mean, std=std, volumes=1)

    def suspicious(self, values: NDArray[Any]) -> str | None:
        """Return a sentence where a map shows nothing, or its level is far from that of the training ones."""
        seen = values[np.isfinite(values)]
        if not seen.size:
            return None
        if is_flat(seen):
            told = "" if self.kind == "map" else ", and the network takes it as missing"
            return f"all its values are {float(seen[0]):.4g}: it shows nothing{told}"
        if self.kind != "map":
            return None
        level = float(np.median(_fitted(seen)))
        if level <= 0 < self.median and not (self.low < level and self.median < self.std):  # not values around 0
            return (f"the median value is {level:.4g}, that of the training maps {self.median:.4g}: the sign is turned "
                    "round, or it is another quantity")
        times = level / self.median if self.median else 0.0
        if times <= 0 or 1 / APART < times < APART:
            return None
        power = round(float(np.log10(times)))
        return (f"the median value is {level:.4g}, that of the training maps {self.median:.4g}: about "
                f"{10 ** abs(power):,} times {'more' if power > 0 else 'less'}, so perhaps in another unit")

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "Levels":
        """Return the levels that `to_json` wrote, bit-equal.

        Raises:
            ModelError: something is missing, unknown or not of its kind.
        """
        names = {field.name for field in fields(cls)}
        if set(tree) != names:
            raise ModelError("the stored levels cannot be used", why=f"they must have {', '.join(sorted(names))}, got "
                             f"{', '.join(sorted(map(str, tree))) or 'nothing'}")
        numbers = [tree[name] for name in ("low", "high", "mean", "std", "median", "volumes")]
        sound = all(isinstance(number, int | float) and np.isfinite(number) for number in numbers)
        if tree["kind"] not in ("map", "volume") or not sound or not tree["std"] > 0 or tree["low"] > tree["high"]:
            raise ModelError("the stored levels cannot be used", why="its numbers do not fit one another")
        return cls(**tree)


def is_flat(values: NDArray[Any]) -> bool:
    """Return whether finite values are all one, but for rounding, or there are none."""
    return not values.size or float(np.ptp(values)) <= FLAT * float(np.abs(values).max())


def _fitted(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a map that were measured, in a row."""
    return np.asarray(values[np.isfinite(values) & (values != 0)])


def _sample(volumes: Iterable[NDArray[Any]]) -> tuple[NDArray[np.float64], int]:
    """Return values of all volumes, equally many of each, and the number of volumes."""
    random, kept, most, count = np.random.default_rng(0), [], PER_VOLUME, 0
    for volume in volumes:
        values = _fitted(volume)
        count += 1
        kept.append(values if len(values) <= most else values[random.integers(len(values), size=most)])
        if sum(map(len, kept)) > IN_ALL:
            kept, most = [part[::2] for part in kept], most // 2
    return np.concatenate(kept).astype(np.float64) if kept else np.empty(0), count


def _own(seen: NDArray[Any]) -> tuple[float, float, float, float]:
    """Return least and greatest value, mean and spread of what stands out from a volume's background."""
    if not seen.size:
        return 0.0, 0.0, 0.0, 1.0
    if is_flat(seen):
        return (middle := float(np.median(seen))), middle, middle, 1.0
    least, most = float(seen.min()), float(np.percentile(seen, PERCENTILES[1]))
    front = seen[seen > least + FOREGROUND * (most - least)] if most > least else seen
    low, high = (float(value) for value in np.percentile(front, PERCENTILES))
    cut = np.clip(front, low, high).astype(np.float64)
    return least, high, float(cut.mean()), float(cut.std()) or 1.0
