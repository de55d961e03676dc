"""Numbers beside a patient's maps, such as age and eGFR: read, brought to the training part's scale, doubted."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from math import inf, isfinite, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError, ModelError

Floats = NDArray[np.float32]
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")  # float() takes 1_000, nan and infinity too
MOST = float(np.finfo(np.float32).max)  # that the network's numbers hold
FAR = 0.25  # of the training's range: a value so far beyond it is doubted
APART = 5.0  # times that a value may be below a range of positive ones: units differ by more


@dataclass(frozen=True, kw_only=True)
class ClinicalColumn:
    """What the training part holds of one column.

    Args:
        name: Of the column.
        mean: Becomes 0.
        std: Becomes 1.
        low: Least value.
        high: Greatest value.
        known: Rows with a value.
    """

    name: str
    mean: float
    std: float
    low: float
    high: float
    known: int

    @classmethod
    def fit(cls, name: str, values: NDArray[Any]) -> "ClinicalColumn":
        """Return what training rows hold, NaN where a value is missing.

        Shape:
            (N,)

        Raises:
            DataError: no value, or the same one everywhere.
        """
        found = values[~np.isnan(values)].astype(np.float64)
        if not found.size or found.min() == found.max():
            held = f"{found[0]:g} alone" if found.size else "none"
            raise DataError(f"the column {name} must hold different values in the training part, got {held}",
                            why="it tells no patient from another", fix="leave it out of volumes.clinical")
        return cls(name=name, mean=float(found.mean()), std=float(found.std()), low=float(found.min()),
                   high=float(found.max()), known=int(found.size))

    def doubt(self, value: float) -> str | None:
        """Return a sentence where a value lies far outside what the training part holds."""
        margin = FAR * (self.high - self.low)
        least = max(self.low - margin, self.low / APART) if self.low > 0 else self.low - margin
        if np.isnan(value) or least <= value <= self.high + margin:
            return None
        return (f"{self.name}: {value:g} lies outside what the training patients have, {self.low:g} to {self.high:g}: "
                "another unit, or a patient unlike them")

    def to_json(self) -> dict[str, Any]:
        """Return what `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> "ClinicalColumn":
        """Return the column that `to_json` wrote.

        Raises:
            ModelError: something is missing, unknown or not of its kind.
        """
        numbers = [tree.get(name) for name in ("mean", "std", "low", "high", "known")]
        sound = set(tree) == {one.name for one in fields(cls)} and isinstance(tree.get("name"), str) and all(
            isinstance(number, int | float) and isfinite(number) for number in numbers)
        if not sound or not tree["std"] > 0 or not tree["low"] <= tree["mean"] <= tree["high"]:
            raise ModelError("the stored clinical columns cannot be used", why="their numbers do not fit one another")
        return cls(**tree)


def number_of(cell: object) -> float:
    """Return a cell or a given value as a number; NaN where it is empty or None.

    Raises:
        ValueError: it is none; the message says what a value must be.
    """
    if cell is None or cell == "":
        return nan
    if isinstance(cell, str):
        if not NUMBER.fullmatch(cell.strip()):
            raise ValueError(f"must be a number with a decimal point, or empty, got {cell!r}")
        cell = float(cell)
    if isinstance(cell, bool) or not isinstance(cell, int | float | np.number) or cell in (inf, -inf):
        raise ValueError(f"must be a number, or left out, got {cell!r}")
    if not -MOST <= cell <= MOST and cell == cell:
        raise ValueError(f"must be a number from -{MOST:.4g} to {MOST:.4g}, got {cell}")
    return float(cell)


def scaled(columns: Sequence[ClinicalColumn], values: NDArray[Any]) -> Floats:
    """Return values as the network takes them; NaN, a missing one, stays.

    Shape:
        (N, C) -> (N, C)
    """
    mean, std = (np.array([getattr(one, name) for one in columns], np.float64) for name in ("mean", "std"))
    return ((values.astype(np.float64) - mean) / std).astype(np.float32)


def doubts_of(columns: Sequence[ClinicalColumn], values: Sequence[float]) -> list[str]:
    """Return a sentence for each value of one patient that lies far outside the training's."""
    said = [column.doubt(value) for column, value in zip(columns, values, strict=True)]
    return [text for text in said if text]
