"""An interval around one circumference that holds the truth as often as it promises, whatever the errors look like.

On images that neither trained nor chose the network, errors are divided by how unsure the network was of each image;
the quotient that the promised share of them stays below, with one rank to spare, becomes the width of every later
interval. An unsure image gets a wide interval, a clear one a narrow one, and over new images of the same kind the truth
lies inside at least as often as promised. The promise is one over images together, not for each image, and it ends
where new images are of another kind: another device, another hospital.

Source: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, "Distribution-free predictive inference for regression", JASA
2018, arXiv:1604.04173, section 5.2 (locally weighted, split).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError, UsageError

Float = NDArray[np.float64]
PLAIN = 1.0  # mm, the base where spreads say nothing: the interval then has one width for all images


@dataclass(frozen=True, kw_only=True)
class HeadInterval:
    """How wide an interval around a circumference has to be.

    Args:
        level: Share of images whose truth lies inside, as promised: 0.9.
        quantile: Half width in units of base and spread.
        base_mm: What is added to each image's spread, so that an image of no spread has an interval too.
        n: Images that it was fitted on.
    """

    level: float
    quantile: float
    base_mm: float
    n: int

    def half_mm(self, spread_mm: float) -> float:
        """Return half the width for one image's spread.

        Raises:
            DataError: the spread is no number of at least 0.
        """
        if not 0 <= spread_mm < math.inf:
            raise DataError(f"spread_mm must be a number of at least 0, got {spread_mm}",
                            fix="an image whose spread is not known has no interval")
        return self.quantile * (self.base_mm + spread_mm)

    def around(self, hc_mm: float, spread_mm: float) -> tuple[float, float]:
        """Return lower and upper end around one circumference; the lower one is never below 0."""
        half = self.half_mm(spread_mm)
        return max(0.0, hc_mm - half), hc_mm + half

    def to_json(self) -> dict[str, float | int]:
        """Return plain data."""
        return asdict(self)

    @classmethod
    def from_json(cls, found: Mapping[str, Any]) -> "HeadInterval":
        """Return what `to_json` wrote.

        Raises:
            DataError: a number is missing, or cannot be.
        """
        try:
            one = cls(level=float(found["level"]), quantile=float(found["quantile"]), base_mm=float(found["base_mm"]),
                      n=int(found["n"]))
        except (KeyError, TypeError, ValueError) as fault:
            raise DataError(f"an interval must have the numbers level, quantile, base_mm and n, got {dict(found)}",
                            why=repr(fault)) from None
        if not (0 < one.level < 1 and 0 <= one.quantile < math.inf and 0 < one.base_mm < math.inf and one.n >= 1):
            raise DataError(f"an interval must have a level between 0 and 1, a quantile of at least 0, a base_mm above "
                            f"0 and n of at least 1, got {one}")
        return one


def fit_interval(errors_mm: Sequence[float] | Float, spreads_mm: Sequence[float] | Float, *,
                 level: float = 0.9) -> HeadInterval:
    """Return the interval that holds the truth of at least `level` of new images like these.

    The quantile is the ceil((n + 1) level)-th smallest of |error| / (base + spread), the base the median spread (1 mm
    where that is 0). The guarantee is exact for a base given beforehand; taking it from the same spreads changes the
    share by less than the sampling of n images does.

    Args:
        errors_mm: Predicted minus true circumference of images that did not train the network.
        spreads_mm: How unsure the network was of each, in mm.
        level: Share of new images whose truth should lie inside.

    Shape:
        (N,), (N,)

    Raises:
        DataError: too few images for the level, or a number that is NaN, infinite or a spread below 0 (with its row).
    """
    if not 0 < level < 1:
        raise UsageError(f"level must be between 0 and 1, got {level}")
    errors, spreads = (np.asarray(values, np.float64) for values in (errors_mm, spreads_mm))
    if errors.ndim != 1 or errors.shape != spreads.shape:
        raise UsageError(f"spreads_mm must be one an error, got {errors.shape} errors and {spreads.shape} spreads")
    for name, wrong in (("an error", ~np.isfinite(errors)), ("a spread", ~(np.isfinite(spreads) & (spreads >= 0)))):
        if wrong.any():
            row = int(wrong.argmax())
            raise DataError(f"{name} is {(errors if name == 'an error' else spreads)[row]:g}",
                            where=f"row {row} (counted from 0)", fix="leave images without a measured head out")
    rank = math.ceil((len(errors) + 1) * level - 1e-9)
    if rank > len(errors):
        needed = math.ceil(level / (1 - level) - 1e-9)
        raise DataError(f"an interval of {100 * level:g} % needs at least {needed} images, got {len(errors)}",
                        fix="give more images, or a lower level")
    base = float(np.median(spreads)) or PLAIN
    quotients = np.sort(np.abs(errors) / (base + spreads))
    return HeadInterval(level=level, quantile=float(quotients[rank - 1]), base_mm=base, n=len(errors))
