"""The tables of a report on masks."""

from collections.abc import Mapping, Sequence
from typing import Any

from excite.metrics.intervals import Interval
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.metrics.mask_slices import Slice
from excite.report.tables import MetricRow, metric_rows, number

# name: (what it is called, what it means, whether more is better and it lies in 0..1)
METRICS = {
    "adf_mm": ("ADF, mm", "mean size of the difference of predicted and true circumference", False),
    "median_adf_mm": ("Median size of the difference, mm", "half of the images are better", False),
    "df_mm": ("DF, mm", "mean of predicted minus true circumference: the bias", False),
    "loa_low_mm": ("Lower limit of agreement, mm", "mean difference minus 1.96 standard deviations", False),
    "loa_high_mm": ("Upper limit of agreement, mm", "mean difference plus 1.96 standard deviations", False),
    "head_hd_mm": ("Hausdorff distance of the ellipses, mm", "as HC18 reports it", False),
    "width_mm": ("Width of the interval, mm", "mean; the narrower, the better, where the coverage is right", False),
    "hd_mm": ("Hausdorff distance, mm", "largest distance between the masks' boundaries", False),
    "hd95_mm": ("HD95, mm", "95th percentile of these distances", False),
    "assd_mm": ("ASSD, mm", "mean distance between the boundaries", False),
    "hd_px": ("Hausdorff distance, pixels", "largest distance between the masks' boundaries", False),
    "hd95_px": ("HD95, pixels", "95th percentile of these distances", False),
    "assd_px": ("ASSD, pixels", "mean distance between the boundaries", False),
    "dice": ("Dice", "twice the shared area by the sum of both; of pixels", True),
    "iou": ("IoU", "shared area by the area of both together", True),
    "head_dice": ("Dice of the ellipses", "as HC18 reports it; 0 where no head was found", True),
    "sensitivity": ("Sensitivity", "of what is there, the share that was found", True),
    "specificity": ("Specificity", "of what is not there, the share that was left alone", True),
    "surface_dice": ("Surface Dice", "share of both boundaries that lies near the other", True),
    "surface_dice_px": ("Surface Dice, by pixels", "share of both boundaries that lies near the other", True),
    "found": ("Heads found", "share of the images with a head in which one was found", True),
    "coverage": ("Coverage of the interval", "share of the images whose true circumference lies in it", True),
}
OF_HEADS = ("adf_mm", "median_adf_mm", "df_mm", "loa_low_mm", "loa_high_mm", "width_mm")
DISTANCES = ("head_hd_mm", "hd_mm", "hd95_mm", "assd_mm", "hd_px", "hd95_px", "assd_px")
SLICED = {"adf_mm": "ADF, mm", "df_mm": "DF, mm", "dice": "Dice", "coverage": "Coverage"}


def rows_of(found: MaskEvaluation, names: Sequence[str] | None = None) -> list[MetricRow]:
    """Return the numbers of `names`, or all, in order of importance."""
    return metric_rows({name: one.to_json() for name, one in found.metrics.items() if names is None or name in names},
                       METRICS)


def slice_rows(slices: Sequence[Slice]) -> tuple[list[str], list[dict[str, Any]]]:
    """Return headings and one row a third: its range, images, units, and (value, interval) in each column."""
    if not slices:
        return [], []
    keys = [key for key in slices[0].metrics if any(one.metrics[key].value is not None for one in slices)]
    rows = [{"name": f"{one.low:.1f} to {one.high:.1f} mm", "n": one.n, "units": one.n_units,
             "cells": [cell_of(one.metrics[key], key) for key in keys]} for one in slices]
    return [SLICED.get(key, key) for key in keys], rows


def cell_of(one: Interval, key: str) -> tuple[str, str]:
    """Return a number and its interval as text: millimetres with two digits, coverage in percent."""
    if key == "coverage" and one.value is not None:
        ends = "" if one.low is None or one.high is None else f"{100 * one.low:.0f} to {100 * one.high:.0f} %"
        return f"{100 * one.value:.0f} %", ends or (one.note or "no interval")
    return number(one.to_json(), digits=2 if key.endswith(("_mm", "_px")) else 3)


def count_rows(counts: Mapping[str, Mapping[str, int]]) -> tuple[list[str], list[tuple[str, list[int], int]]]:
    """Return what the images are told apart by, and (name, images in each part, sum) of each."""
    names: dict[str, None] = {}
    for of in counts.values():
        names.update(dict.fromkeys(of))
    rows = [(name, [of.get(name, 0) for of in counts.values()]) for name in names]
    if len(rows) > 1:
        rows.append(("all", [sum(column) for column in zip(*(cells for _, cells in rows), strict=True)]))
    return list(names), [(name, cells, sum(cells)) for name, cells in rows]
