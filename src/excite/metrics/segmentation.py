"""How well a mask covers the true one, image by image, and the means over images with intervals over units.

Definitions where there is a choice:

- The pixels of one class against the rest; masks are measured in the image's own pixels.
- Nothing there and nothing predicted: Dice and IoU are not defined, and the image is left out of their means and
  counted; with `empty="one"` they are 1. Nothing there but something predicted is 0 either way, by the formula.
- Sensitivity is not defined where nothing is there, specificity where the object fills the image.
- A mean is one over images: an examination with three images weighs three times.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError, UsageError
from excite.metrics.intervals import Interval, bootstrap
from excite.metrics.ranking import Float, ratio
from excite.progress import Progress

Empty = Literal["undefined", "one"]
Mask = NDArray[np.bool_]
Scores = Mapping[str, float | None]


class Counts(NamedTuple):
    """Pixels of one image by truth and prediction."""

    hit: int       # true positives
    false: int     # false positives
    missed: int    # false negatives
    rest: int      # true negatives


def binarise(probabilities: NDArray[Any], *, threshold: float = 0.5) -> Mask:
    """Return where the probability is at least the threshold.

    Args:
        probabilities: Of the class, one row an image.
        threshold: Above 0 and below 1.

    Shape:
        (N, *S) -> (N, *S)

    Raises:
        DataError: a probability is NaN, infinite or outside 0 to 1; the row is named.
    """
    if not 0 < threshold < 1:
        raise UsageError(f"threshold must be above 0 and below 1, got {threshold}")
    values = np.asarray(probabilities)
    check_finite(values, "a probability")
    for row, image in enumerate(values):
        if image.size and (image.min() < 0 or image.max() > 1):
            raise DataError(f"a probability must be from 0 to 1, got {image.min():g} to {image.max():g}",
                            where=f"row {row} (counted from 0)", fix="give the sigmoid of the outputs, not the outputs")
    chosen: Mask = values >= threshold
    return chosen


def check_finite(values: NDArray[Any], what: str) -> None:
    """Raise a DataError with the first row, an image each, that has NaN or an infinite value."""
    for row, image in enumerate(values):
        if not np.isfinite(image).all():
            raise DataError(f"{what} is NaN or infinite", where=f"row {row} (counted from 0)",
                            fix="look at the image and the network")


def scores(predicted: NDArray[Any], truth: NDArray[Any], *, empty: Empty = "undefined",
           where: str | None = None) -> dict[str, float | None]:
    """Return dice, iou, sensitivity and specificity of one image; None: not defined.

    Args:
        predicted: The mask found, bool or 0 and 1.
        truth: The true mask, likewise.
        empty: What Dice and IoU are where nothing is there and nothing is predicted.
        where: The image's name, for errors.

    Shape:
        *S, *S

    Raises:
        DataError: the masks differ in size, or have other values than 0 and 1.

    Source:
        Taha and Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 2015, table 1.
    """
    return rates(counts(*checked(predicted, truth, where=where)), empty=empty)


def rates(found: Counts, *, empty: Empty = "undefined") -> dict[str, float | None]:
    """Return dice, iou, sensitivity and specificity of one image's counts; see `scores`."""
    if empty not in get_args(Empty):
        raise UsageError(f"empty must be one of {', '.join(get_args(Empty))}, got {empty!r}")
    hit, false, missed, rest = found
    nothing = None if empty == "undefined" else 1.0
    either = hit + false + missed
    return {"dice": 2 * hit / (either + hit) if either else nothing, "iou": hit / either if either else nothing,
            "sensitivity": hit / (hit + missed) if hit + missed else None,
            "specificity": rest / (rest + false) if rest + false else None}


def counts(predicted: Mask, truth: Mask) -> Counts:
    """Return the pixels of one image by truth and prediction, from two masks of one size."""
    hit = int(np.count_nonzero(predicted & truth))
    false, missed = int(np.count_nonzero(predicted)) - hit, int(np.count_nonzero(truth)) - hit
    return Counts(hit=hit, false=false, missed=missed, rest=predicted.size - hit - false - missed)


def checked(predicted: NDArray[Any], truth: NDArray[Any], *, where: str | None = None) -> tuple[Mask, Mask]:
    """Return both masks as bool.

    Raises:
        DataError: they differ in size, or have other values than 0 and 1.
    """
    masks = (_mask(predicted, "the predicted mask", where), _mask(truth, "the true mask", where))
    if masks[0].shape != masks[1].shape:
        raise DataError(f"the predicted mask must have the true mask's size {masks[1].shape}, got {masks[0].shape}",
                        where=where, fix="bring the prediction back to the original pixels before it is measured")
    return masks


def means(rows: Sequence[Scores], units: Sequence[str], *, resamples: int = 1000, seed: int = 0,
          progress: Progress | None = None) -> dict[str, Interval]:
    """Return the mean of every number over the images, with a 95 % interval from a bootstrap over whole units.

    Images in which a number is not defined are left out of its mean and counted in its note.

    Args:
        rows: The numbers of each image by name; None: not defined.
        units: What each image belongs to and is not independent of: patient, examination.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: there is no image, or a number is NaN or infinite; the row is named.
        UsageError: the images have different numbers, or not one unit each.
    """
    table = _table(rows, units)
    found = bootstrap(lambda weights: {name: _mean(values, weights) for name, values in table.items()}, units,
                      resamples=resamples, seed=seed, progress=progress)
    return {name: _noted(one, int(np.isnan(table[name]).sum()), len(rows)) for name, one in found.items()}


def _mean(values: Float, weights: Float) -> Float:
    """Return the weighted mean of the defined values for each row of weights, NaN where none has weight."""
    there = ~np.isnan(values)
    return ratio(weights[:, there] @ values[there], weights[:, there].sum(axis=1))


def _table(rows: Sequence[Scores], units: Sequence[str]) -> dict[str, Float]:
    """Return the numbers by name, (N,), NaN where not defined."""
    if not rows:
        raise DataError("there is no image to measure")
    if len(units) != len(rows):
        raise UsageError(f"units must have one name an image ({len(rows)}), got {len(units)}")
    for place, row in enumerate(rows):
        if row.keys() != rows[0].keys():
            raise UsageError(f"rows must all have the numbers {', '.join(rows[0])}, got {', '.join(row)} in row {place}"
                             " (counted from 0)", fix="measure all images in one unit: with spacing, or without")
        bad = [name for name, value in row.items() if value is not None and not np.isfinite(value)]
        if bad:
            raise DataError(f"{bad[0]} is {row[bad[0]]}", where=f"row {place} (counted from 0)",
                            fix="give None where a number is not defined")
    return {name: np.array([row[name] for row in rows], dtype=np.float64) for name in rows[0]}


def _noted(one: Interval, lost: int, count: int) -> Interval:
    if not lost:
        return one
    note = f"not defined in {lost} of {count} images" + (", which are left out" if lost < count else "")
    return replace(one, note=f"{note}; {one.note}" if one.note else note)


def _mask(values: NDArray[Any], name: str, where: str | None) -> Mask:
    """Return a mask as bool, or raise where it has other values than 0 and 1."""
    mask = np.asarray(values)
    if mask.dtype == np.bool_:
        return mask
    chosen: Mask = mask == 1
    other = ~(chosen | (mask == 0))
    if other.any():
        raise DataError(f"{name} must have the values 0 and 1 only, got {mask[other].flat[0]:g}", where=where,
                        fix="for a 0/255 mask give mask > 127, for probabilities binarise(...), for one class of "
                            "several mask == class")
    return chosen
