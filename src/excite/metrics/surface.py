"""Distances between the boundaries of two masks: Hausdorff, its 95th percentile, mean, and surface Dice.

Definitions where there is a choice, each as MONAI has it:

- The boundary is the set of pixels of the mask with a neighbour across a face (4 in 2-D, 6 in 3-D) that is not in the
  mask; what lies beyond the image's border is not in it. A distance is one between centres of such pixels, so a hole
  has a boundary too, and each boundary pixel counts the same, whatever its length or area.
- HD is the larger of the two greatest distances, from prediction to truth and back.
- HD95 is the larger of the two 95th percentiles, with linear interpolation between ranks; not the percentile of both
  sets together.
- ASSD is the mean over both sets of distances together; not the mean of the two means.
- Surface Dice is the share of both sets together that is at most the tolerance.

Where one of the masks is empty there is no distance: HD, HD95 and ASSD are not defined, and surface Dice is 0, as no
boundary is found; where both are empty it is not defined either. Leaving out such images makes a mean look better than
the network is: `means` counts them.

Source: Maier-Hein et al., "Metrics reloaded", Nature Methods 2024, arXiv:2206.01653; surface Dice as in Nikolov et al.
2018, arXiv:1809.04430, with pixels counted as in Seidlitz et al. 2022, arXiv:2111.05408.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from excite.errors import UsageError
from excite.metrics.ranking import Float
from excite.metrics.segmentation import Mask, checked

Unit = Literal["mm", "pixels"]


@dataclass(frozen=True, kw_only=True, eq=False)
class SurfaceDistances:
    """The distances between the boundaries of two masks that have one each.

    Args:
        to_truth: From each boundary pixel of the prediction to the nearest one of the truth.
        to_predicted: From each boundary pixel of the truth to the nearest one of the prediction.
        unit: Of the distances: "mm" where the spacing is known, else "pixels".
    """

    to_truth: Float
    to_predicted: Float
    unit: Unit

    def hausdorff(self, percentile: float = 100.0) -> float:
        """Return the larger of the two percentiles of the distances; 100 is the Hausdorff distance, 95 is HD95."""
        if not 0 < percentile <= 100:
            raise UsageError(f"percentile must be above 0 and at most 100, got {percentile}")
        return max(float(np.quantile(one, percentile / 100)) for one in (self.to_truth, self.to_predicted))

    def mean(self) -> float:
        """Return the mean over both sets of distances (ASSD)."""
        return float(np.concatenate([self.to_truth, self.to_predicted]).mean())

    def within(self, tolerance: float) -> float:
        """Return the share of both boundaries that is at most `tolerance` from the other (surface Dice)."""
        near = np.count_nonzero(self.to_truth <= tolerance) + np.count_nonzero(self.to_predicted <= tolerance)
        return float(near / (len(self.to_truth) + len(self.to_predicted)))


def surface_scores(predicted: NDArray[Any], truth: NDArray[Any], *, tolerance: float,
                   spacing: Sequence[float] | None = None, where: str | None = None) -> dict[str, float | None]:
    """Return the surface numbers of one image by name; None: not defined, never infinite.

    Names: hd_mm, hd95_mm, assd_mm, surface_dice; without spacing hd_pixels, hd95_pixels, assd_pixels, surface_dice.

    Args:
        predicted: The mask found, bool or 0 and 1, in the image's own pixels.
        truth: The true mask, likewise.
        tolerance: Of the surface Dice, in the unit of the distances; what two readers differ by.
        spacing: Millimetres a pixel along each axis; None where unknown: no spacing, no mm.
        where: The image's name, for errors.

    Shape:
        *S, *S with two or three axes.

    Raises:
        DataError: the masks differ in size, or have other values than 0 and 1.
        UsageError: the spacing has not one positive number an axis, or the tolerance is negative.
    """
    if not 0 <= tolerance < float("inf"):
        raise UsageError(f"tolerance must be a number of at least 0, got {tolerance}")
    found = surface_distances(predicted, truth, spacing=spacing, where=where)
    unit = "pixels" if spacing is None else "mm"
    if found is None:
        one = bool(np.any(predicted)) or bool(np.any(truth))
        return {f"hd_{unit}": None, f"hd95_{unit}": None, f"assd_{unit}": None, "surface_dice": 0.0 if one else None}
    return {f"hd_{unit}": found.hausdorff(), f"hd95_{unit}": found.hausdorff(95), f"assd_{unit}": found.mean(),
            "surface_dice": found.within(tolerance)}


def surface_distances(predicted: NDArray[Any], truth: NDArray[Any], *, spacing: Sequence[float] | None = None,
                      where: str | None = None) -> SurfaceDistances | None:
    """Return the distances between the boundaries of two masks; None where one of them is empty.

    Args:
        predicted: The mask found, bool or 0 and 1.
        truth: The true mask, likewise.
        spacing: Millimetres a pixel along each axis; None: the distances are in pixels, and say so.
        where: The image's name, for errors.

    Raises:
        DataError: the masks differ in size, or have other values than 0 and 1.
        UsageError: the spacing has not one positive number an axis.
    """
    masks = checked(predicted, truth, where=where)
    scale = _scale(spacing, masks[0].ndim)
    if not (masks[0].any() and masks[1].any()):
        return None
    of_predicted, of_truth = (np.argwhere(boundary(mask)) * scale for mask in masks)
    return SurfaceDistances(to_truth=_nearest(of_predicted, of_truth), to_predicted=_nearest(of_truth, of_predicted),
                            unit="pixels" if spacing is None else "mm")


def boundary(mask: Mask) -> Mask:
    """Return the pixels of the mask with a face neighbour outside it; beyond the image is outside."""
    around = np.pad(mask, 1)
    inner = mask.copy()
    middle = slice(1, -1)
    for axis, length in enumerate(mask.shape):
        for step in (0, 2):
            inner &= around[tuple(slice(step, step + length) if one == axis else middle for one in range(mask.ndim))]
    return mask & ~inner


def _nearest(places: Float, others: Float) -> Float:
    """Return the distance from each place to the nearest of the others."""
    found: Float = KDTree(others).query(places)[0]
    return found


def _scale(spacing: Sequence[float] | None, axes: int) -> Float:
    if spacing is None:
        return np.ones(axes)
    scale = np.asarray(spacing, dtype=np.float64)
    if scale.shape != (axes,) or not ((scale > 0) & np.isfinite(scale)).all():
        raise UsageError(f"spacing must be {axes} positive numbers, one an axis, got {spacing}",
                         fix="give the millimetres a pixel along each axis, or None where they are not known")
    return scale
