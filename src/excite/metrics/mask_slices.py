"""Numbers of heads by thirds: of the true circumference, and of the width of the interval."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from excite.metrics.intervals import Interval
from excite.metrics.mask_image import MaskRow
from excite.metrics.segmentation import Scores, means

THIRDS = 3
FEWEST = 9  # images below which there are no thirds
OF_SIZE = ("adf_mm", "df_mm", "dice", "coverage")
OF_WIDTH = ("coverage", "adf_mm")


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Images alike in one number.

    Args:
        low: Smallest of them, mm.
        high: Largest of them, mm.
        n: Images.
        n_units: Units among them.
        metrics: Means over them.
    """

    low: float
    high: float
    n: int
    n_units: int
    metrics: Mapping[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"low_mm": self.low, "high_mm": self.high, "n": self.n, "n_units": self.n_units,
                "metrics": {name: one.to_json() for name, one in self.metrics.items()}}


def slices_by_size(rows: Sequence[MaskRow], table: Sequence[Scores], *, resamples: int = 1000,
                   seed: int = 0) -> tuple[Slice, ...]:
    """Return thirds by true circumference; none with fewer than 9 that have one."""
    return _thirds(rows, table, lambda row: row.head.true_hc_mm if row.head else None, OF_SIZE, resamples, seed)


def slices_by_width(rows: Sequence[MaskRow], table: Sequence[Scores], *, resamples: int = 1000,
                    seed: int = 0) -> tuple[Slice, ...]:
    """Return thirds by the width of the interval; none with fewer than 9 that have one."""
    return _thirds(rows, table, lambda row: row.head.width_mm if row.head else None, OF_WIDTH, resamples, seed)


def _thirds(rows: Sequence[MaskRow], table: Sequence[Scores], value: Callable[[MaskRow], float | None],
            names: Sequence[str], resamples: int, seed: int) -> tuple[Slice, ...]:
    known = [(size, place) for place, row in enumerate(rows) if (size := value(row)) is not None]
    if len(known) < FEWEST:
        return ()
    found: list[Slice] = []
    for places in np.array_split(np.array([place for _, place in sorted(known)]), THIRDS):
        of = [value(rows[place]) or 0.0 for place in places]
        units = [rows[place].unit for place in places]
        numbers = [{name: table[place].get(name) for name in names} for place in places]
        found.append(Slice(low=min(of), high=max(of), n=len(places), n_units=len(set(units)),
                           metrics=means(numbers, units, resamples=resamples, seed=seed)))
    return tuple(found)
