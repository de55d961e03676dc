"""One offline HTML page on a network for label volumes: how well it covers each class, where it fails, in pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excite.metrics.volume_masks import SHARES, VolumeMaskEvaluation
from excite.report import figures, tables, volume_mask_figures
from excite.report.html import filled, write_page
from excite.report.mask_tables import count_rows
from excite.report.told import RunTold
from excite.report.volume_mask_pictures import ScanPicture, legend, shown
from excite.report.words import DISCLAIMER, cost_rows, parity_told, standing_warnings, threads_told, when

# name: (what it is called, what it means, whether more is better and it lies in 0..1)
METRICS = {
    "dice": ("Dice", "twice the shared volume by the sum of both", True),
    "iou": ("IoU", "shared volume by the volume of both together", True),
    "sensitivity": ("Sensitivity", "of what is there, the share that was found", True),
    "surface_dice": ("Surface Dice", "share of both boundaries that lies near the other", True),
    "hd95_mm": ("HD95, mm", "95th percentile of the distances of the boundaries", False),
    "assd_mm": ("ASSD, mm", "mean distance of the boundaries", False),
    "hd95_voxels": ("HD95, voxels", "95th percentile of the distances of the boundaries", False),
    "assd_voxels": ("ASSD, voxels", "mean distance of the boundaries", False),
    "difference_ml": ("Volume difference, ml", "mean of predicted minus true: the bias", False),
}
CURVES = {"dice": "Dice", "iou": "IoU"}


@dataclass(kw_only=True)
class VolumeMaskReportData(RunTold):
    """What a report on label volumes tells.

    Args:
        evaluation: Of the test part, with its scans.
        scans: How many each part has.
        grid: Test scans as they come.
        worst: Those of the smallest Dice, worst first.
    """

    evaluation: VolumeMaskEvaluation
    scans: Mapping[str, int]
    grid: Sequence[ScanPicture] = ()
    worst: Sequence[ScanPicture] = ()


def write_volume_mask_report(file: Path, data: VolumeMaskReportData, *, images: bool = True) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        images: Put the pictures in; a page that would exceed 5 MB goes without and says so.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda images, without: render_volume_masks(data, images=images, without=without),
                      images=images)


def render_volume_masks(data: VolumeMaskReportData, *, images: bool = True, without: str = "") -> str:
    """Return the page as text; every value from outside is escaped."""
    found = data.evaluation
    names, counted = count_rows(data.counts)
    return filled(
        "volume_mask_template.html", data=data, evaluation=found, without=without, disclaimer=DISCLAIMER,
        created=when(data.created), warnings=_warnings(data), tiles=_tiles(data),
        metrics=tables.metric_rows({key: one.to_json() for key, one in found.metrics.items()}, METRICS),
        columns=[METRICS[key][0] for key in _columns(found)], rows=_class_rows(found), failed=found.failed,
        notes=[note for note in found.notes if note not in found.unproven],
        dice=volume_mask_figures.dice_by_class(found),
        volumes=volume_mask_figures.volumes(found),
        count_rows=[*(row for row in counted if row[0] != "all"),
                    ("all", [data.scans[part] for part in data.counts], sum(data.scans.values()))],
        counts_figure=figures.class_counts(data.counts, names, sample="scan"),
        curves={plan: figures.learning_curves(epochs, name=f"curve{place}", scores=CURVES, sample="patch")
                for place, (plan, epochs) in enumerate(data.curves.items())},
        legend=legend(found.classes[1:]),
        grid=[shown(one, f"grid{place}") for place, one in enumerate(data.grid)] if images else [],
        worst=[shown(one, f"worst{place}") for place, one in enumerate(data.worst)] if images else [],
        parity=parity_told(data.parity).replace("real images", "real patches"), chosen="The best epoch",
        cost=cost_rows(data.cost, sample="patch"), environment=tables.flat(data.environment),
        elsewhere="other hospitals, scanners or sequences", wrong_reason="marks, crops, artefacts of the scanner")


def _columns(found: VolumeMaskEvaluation) -> list[str]:
    return [key for key in METRICS if key in found.metrics]


def _class_rows(found: VolumeMaskEvaluation) -> list[Mapping[str, Any]]:
    """Return one row a class: its name, in how many scans it is, and (value, interval) in each column."""
    return [{"name": name, "support": sum(row.classes[name].truth > 0 for row in found.rows),
             "cells": [tables.number(of[key].to_json(), digits=3 if key in (*SHARES, "difference_ml") else 2)
                       for key in _columns(found)]} for name, of in found.per_class.items()]


def _tiles(data: VolumeMaskReportData) -> list[tuple[str, str, str]]:
    """Return the key numbers: (name, value, what is below it)."""
    found = data.evaluation
    tiles = [("Dice, mean of classes", *_told(found.metrics["dice"].to_json(), ""))]
    tiles += [(f"Dice, {name}", *_told(of["dice"].to_json(), "")) for name, of in list(found.per_class.items())[:3]]
    for key, unit in (("hd95_mm", "mm"), ("hd95_voxels", "voxels")):
        if key in found.metrics:
            tiles.append(("HD95, mean of classes", *_told(found.metrics[key].to_json(), unit, digits=2)))
    tiles.append(("Test scans", f"{found.n:,}", f"of {found.n_units:,} units ({data.unit_kind})"))
    if "milliseconds" in data.cost:
        tiles.append(("Speed", f"{data.cost['milliseconds']:.0f}\N{NO-BREAK SPACE}ms",
                      f"a patch{threads_told(data.cost)}"))
    return tiles


def _told(one: Mapping[str, Any], unit: str, *, digits: int = 3) -> tuple[str, str]:
    value, interval = tables.number(one, digits=digits)
    defined = one["value"] is not None
    return (f"{value}\N{NO-BREAK SPACE}{unit}" if unit and defined else value,
            f"95 %: {interval}" if " to " in interval else interval)


def _warnings(data: VolumeMaskReportData) -> list[str]:
    """Return what has to be read before any number."""
    said = standing_warnings(simulated=data.simulated, unproven=data.evaluation.unproven, unit_kind=data.unit_kind,
                             leaks=data.leaks, things="scans")
    said = [text.replace("images", "scans") for text in said]
    said += [note for note in data.evaluation.notes if note.startswith(("LEAK", "WARNING"))]
    if not any("_mm" in key for key in data.evaluation.metrics):
        said.append("No voxel size is known: nothing is stated in millimetres or millilitres.")
    return said
