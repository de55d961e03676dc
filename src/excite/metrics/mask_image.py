"""The numbers of one image whose mask was predicted: how well it covers the truth, and what that is in millimetres."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from excite.ellipse import Ellipse
from excite.metrics.biometry import measure
from excite.metrics.heads import HeadErrors, head_errors
from excite.metrics.segmentation import Empty, Mask, Scores, checked, counts, rates
from excite.metrics.surface import surface_scores

MILLIMETRES, PIXELS = 1.0, 2.0  # tolerances of the surface Dice, with and without a known pixel size
Spacing = tuple[float, ...] | None


@dataclass(frozen=True, kw_only=True)
class HeadRow:
    """A predicted head against the true one.

    Args:
        truth: Ellipse in pixels of the original image.
        ellipse: The predicted one; None where no head was found.
        true_hc_mm: None without a pixel size.
        hc_mm: None without a pixel size or a head.
        interval_mm: Around `hc_mm`, where there is one.
        spread_mm: How unsure the network was.
        errors: None where no head was found.
    """

    truth: Ellipse
    ellipse: Ellipse | None = None
    true_hc_mm: float | None = None
    hc_mm: float | None = None
    interval_mm: tuple[float, float] | None = None
    spread_mm: float | None = None
    errors: HeadErrors | None = None

    @property
    def inside(self) -> bool | None:
        """Return whether the true circumference lies in the interval; None: there is no interval."""
        if self.interval_mm is None or self.true_hc_mm is None:
            return None
        return self.interval_mm[0] <= self.true_hc_mm <= self.interval_mm[1]

    @property
    def width_mm(self) -> float | None:
        """Return the width of the interval."""
        return None if self.interval_mm is None else self.interval_mm[1] - self.interval_mm[0]


class Sizes(NamedTuple):
    """Pixels of one image: of the true mask, of the predicted one, of the image."""

    truth: int
    predicted: int
    image: int


@dataclass(frozen=True, kw_only=True)
class MaskRow:
    """One image.

    Args:
        file: As the table names it.
        line: Of the table.
        unit: What the image belongs to.
        sizes: Pixels.
        scores: dice, iou, sensitivity, specificity, and hd_mm, hd95_mm, assd_mm, surface_dice, or the same with _px
            where the pixel size is not known; None: not defined.
        head: Where the mask is a head's, and the truth has one.
        false_head: A head was found where the truth has none.
        notes: What was remarked while predicting it.
    """

    file: str
    line: int
    unit: str
    sizes: Sizes
    scores: Scores
    head: HeadRow | None = None
    false_head: bool = False
    notes: tuple[str, ...] = field(default=())


def mask_scores(predicted: NDArray[np.generic], truth: NDArray[np.generic], *, spacing: Spacing,
                tolerance_mm: float = MILLIMETRES, tolerance_px: float = PIXELS, empty: Empty = "undefined",
                where: str | None = None) -> tuple[Sizes, dict[str, float | None]]:
    """Return the sizes and the numbers of one image's masks; see `MaskRow.scores`.

    Args:
        predicted: The mask found, bool or 0 and 1, in the image's own pixels.
        truth: The true mask, likewise.
        spacing: Millimetres a pixel, down and to the right or one number for both; None: distances are in pixels.
        tolerance_mm: Of the surface Dice.
        tolerance_px: Where the pixel size is not known.
        empty: What Dice is where nothing is there and nothing was found.
        where: The image's name, for errors.

    Shape:
        (H, W), (H, W)
    """
    masks = checked(predicted, truth, where=where)
    found = counts(*masks)
    tolerance = tolerance_px if spacing is None else tolerance_mm
    distances = surface_scores(*_cropped(*masks), tolerance=tolerance, spacing=_both(spacing), where=where)
    renamed = {name.replace("_pixels", "_px"): value for name, value in distances.items()}
    if spacing is None:
        renamed["surface_dice_px"] = renamed.pop("surface_dice")
    sizes = Sizes(truth=found.hit + found.missed, predicted=found.hit + found.false, image=masks[0].size)
    return sizes, {**rates(found, empty=empty), **renamed}


def head_row(truth: Ellipse, ellipse: Ellipse | None, *, spacing: Spacing, shape: tuple[int, int],
             hc_mm: float | None = None, interval_mm: tuple[float, float] | None = None,
             spread_mm: float | None = None) -> HeadRow:
    """Return the numbers of one head.

    Args:
        truth: In pixels of the original image.
        ellipse: The predicted one; None where no head was found.
        spacing: Millimetres a pixel; None: not known, and then there are no millimetres.
        shape: Of the image, (H, W).
        hc_mm: The predicted circumference as it was stated; None: that of the ellipse.
        interval_mm: Around it.
        spread_mm: How unsure the network was.
    """
    true = measure(truth, spacing).hc_mm
    if ellipse is None:
        return HeadRow(truth=truth, true_hc_mm=true)
    found = hc_mm if hc_mm is not None else measure(ellipse, spacing).hc_mm
    errors = head_errors(ellipse, truth, spacing, shape=shape)
    if found is not None and true is not None:
        errors = errors._replace(df_mm=found - true, adf_mm=abs(found - true))
    return HeadRow(truth=truth, ellipse=ellipse, true_hc_mm=true, hc_mm=found, interval_mm=interval_mm,
                   spread_mm=spread_mm, errors=errors)


def _cropped(predicted: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Return both masks cut to where one of them is; the boundary stays, as beyond a picture is outside."""
    either = predicted | truth
    rows, columns = np.flatnonzero(either.any(axis=1)), np.flatnonzero(either.any(axis=0))
    if not len(rows):
        return predicted[:1, :1], truth[:1, :1]
    box = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    return predicted[box], truth[box]


def _both(spacing: Spacing) -> Sequence[float] | None:
    return None if spacing is None else (spacing[0], spacing[-1])
