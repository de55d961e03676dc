"""What stands beside the stored numbers of a DICOM picture: which are padding, and which real-world values they mean.

Source: DICOM PS3.3, C.7.5.1.1.2 (pixel padding), C.7.6.16.2.11 (real world value mapping).
"""

from collections.abc import Sequence
from math import isclose, isfinite
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset

PADDING = {"i": "PixelPadding", "u": "PixelPadding", "f4": "FloatPixelPadding", "f8": "DoubleFloatPixelPadding"}
TAGS = [f"{kind}{end}" for kind in dict.fromkeys(PADDING.values()) for end in ("Value", "RangeLimit")]
MAPPING = "RealWorldValueMappingSequence"
UNKNOWN = "a RealWorldValueMapping is not applied, RescaleSlope and RescaleIntercept are"


class Mapped(NamedTuple):
    """By a RealWorldValueMapping: real value = times x rescaled value + plus."""

    times: float
    plus: float

    @property
    def differs(self) -> bool:
        """Whether the real-world values are others than the rescaled ones."""
        return not (isclose(self.times, 1, rel_tol=1e-6) and isclose(self.plus, 0, abs_tol=1e-6))

    def told(self) -> str:
        """Return in words what it would make of the values that are read."""
        plus = f" {'-' if self.plus < 0 else '+'} {abs(self.plus):g}" if self.plus else ""
        return (f"a RealWorldValueMapping is not applied, RescaleSlope and RescaleIntercept are: by it values would be "
                f"{self.times:g} x{plus}")


def padding_of(dataset: Dataset, stored: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return which of a picture's stored numbers are padding and show nothing; None where none is."""
    kind = PADDING.get(stored.dtype.kind) or PADDING[f"f{stored.dtype.itemsize}"]
    first = dataset.get(f"{kind}Value")
    if first is None or first == "":
        return None
    last = dataset.get(f"{kind}RangeLimit")
    ends = [_as_stored(one, stored.dtype) for one in (first, first if last in (None, "") else last)]
    found = np.isnan(stored) if np.isnan(ends[0]) else (stored >= min(ends)) & (stored <= max(ends))
    return found if found.any() else None


def _as_stored(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a padding value as the numbers are stored: writers mix up those with a sign and those without."""
    if dtype.kind == "f":
        return float(value)
    bits = 8 * dtype.itemsize
    wrapped = int(value) % 2**bits
    return wrapped - 2**bits if dtype.kind == "i" and wrapped >= 2 ** (bits - 1) else wrapped


def mapped_of(parts: Sequence[Dataset], *, slope: float, intercept: float) -> tuple[Mapped | None, bool]:
    """Return what a picture's mapping makes of its rescaled values, and whether there is one without a straight line.

    Args:
        parts: Where a mapping may stand, the picture's own group first.
        slope: That the stored numbers were multiplied with.
        intercept: That was added.
    """
    items = next((list(part.get(MAPPING)) for part in parts if part.get(MAPPING)), [])
    lines = [(float(item.RealWorldValueSlope), float(item.get("RealWorldValueIntercept") or 0))
             for item in items if item.get("RealWorldValueSlope") is not None]
    found = [Mapped(times / slope, plus - times / slope * intercept) for times, plus in lines
             if isfinite(times) and isfinite(plus)]
    return next((one for one in found if not one.differs), found[0] if found else None), len(found) < len(items)

