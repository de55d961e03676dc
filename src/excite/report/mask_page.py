"""One offline HTML page on a network for masks: how well it draws, how well it measures, where it fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from excite.metrics.mask_evaluation import MaskEvaluation
from excite.report import figures, mask_figures, mask_tables, tables
from excite.report.html import filled, write_page
from excite.report.overlay import Overlay, shown
from excite.report.told import RunTold
from excite.report.words import DISCLAIMER, cost_rows, parity_told, plural, standing_warnings, threads_told, when


@dataclass(kw_only=True)
class MaskReportData(RunTold):
    """What a report on masks tells.

    Args:
        evaluation: Of the test part, with its images.
        level: How the level was chosen, in a sentence; "" where it was not.
        interval: What the interval rests on, in a sentence; "" where there is none.
        grid: Test images as they come.
        worst: The largest errors, worst first.
    """

    evaluation: MaskEvaluation
    level: str = ""
    interval: str = ""
    grid: Sequence[Overlay] = ()
    worst: Sequence[Overlay] = ()


def write_mask_report(file: Path, data: MaskReportData, *, images: bool = True) -> Path:
    """Write the page, whole or not at all, and return its path.

    Args:
        images: Put the pictures of `grid` and `worst` in; a page that would exceed 5 MB goes without and says so.

    Raises:
        EnvironmentFault: it cannot be written.
    """
    return write_page(file, lambda images, without: render_masks(data, images=images, without=without), images=images)


def render_masks(data: MaskReportData, *, images: bool = True, without: str = "") -> str:
    """Return the page as text; every value from outside is escaped."""
    found = data.evaluation
    names, counted = mask_tables.count_rows(data.counts)
    size_columns, size_rows = mask_tables.slice_rows(found.slices)
    width_columns, width_rows = mask_tables.slice_rows(found.widths)
    return filled(
        "mask_template.html", data=data, evaluation=found, heads=found.task == "heads", without=without,
        disclaimer=DISCLAIMER, created=when(data.created), warnings=_warnings(data), tiles=_tiles(data),
        metrics=mask_tables.rows_of(found), of_heads=mask_tables.rows_of(found, mask_tables.OF_HEADS),
        distances=mask_tables.rows_of(found, mask_tables.DISTANCES), failed=found.failed,
        structure=", ".join(found.classes),
        notes=[note for note in found.notes if note not in found.unproven],
        size_columns=size_columns, size_rows=size_rows, width_columns=width_columns, width_rows=width_rows,
        agreement=mask_figures.bland_altman(found), widths=mask_figures.errors_by_width(found),
        sizes=None if found.task == "heads" else mask_figures.dice_by_size(found),
        count_rows=counted, counts_figure=figures.class_counts(data.counts, names),
        curves={plan: figures.learning_curves(epochs, name=f"curve{place}", scores=mask_figures.OF_MASKS)
                for place, (plan, epochs) in enumerate(data.curves.items())},
        grid=[shown(one, f"grid{place}") for place, one in enumerate(data.grid)] if images else [],
        worst=[shown(one, f"worst{place}") for place, one in enumerate(data.worst)] if images else [],
        parity=parity_told(data.parity), chosen=_chosen(data), cost=cost_rows(data.cost),
        environment=tables.flat(data.environment))


def _tiles(data: MaskReportData) -> list[tuple[str, str, str]]:
    """Return the key numbers: (name, value, what is below it)."""
    found, heads = data.evaluation, data.evaluation.task == "heads"
    keys = ([("adf_mm", "ADF"), ("dice", "Dice"), ("coverage", "Coverage")] if heads else
            [("dice", "Dice"), ("iou", "IoU"), ("hd95_mm" if "hd95_mm" in found.metrics else "hd95_px", "HD95")])
    tiles = []
    for key, name in keys:
        value, interval = mask_tables.cell_of(found.metrics[key], key)
        defined = found.metrics[key].value is not None
        unit = {"mm": "\N{NO-BREAK SPACE}mm", "px": "\N{NO-BREAK SPACE}px"}.get(key[-2:], "") if defined else ""
        below = f"95 %: {interval}" if " to " in interval else interval
        if key == "coverage" and found.promised is not None and defined:
            below = f"promised {100 * found.promised:g} %; interval {interval}"
        tiles.append((name, f"{value}{unit}", below))
    tiles.append(("Test images", f"{found.n:,}", f"of {found.n_units:,} {plural(data.unit_kind, found.n_units)}"))
    if "parameters" in data.cost:
        tiles.append(("Parameters", tables.large(data.cost["parameters"]), "of the network"))
    if "milliseconds" in data.cost:
        tiles.append(("Speed", f"{data.cost['milliseconds']:.0f}\N{NO-BREAK SPACE}ms",
                      f"an image{threads_told(data.cost)}"))
    return tiles


def _warnings(data: MaskReportData) -> list[str]:
    """Return what has to be read before any number."""
    found = data.evaluation
    said = standing_warnings(simulated=data.simulated, unproven=found.unproven, unit_kind=data.unit_kind,
                             leaks=data.leaks)
    said += [note for note in found.notes if note.startswith(("LEAK", "WARNING"))]
    if found.task == "heads" and found.metrics["adf_mm"].value is None:
        said.append("No pixel size is known: nothing is stated in millimetres, and no error of a circumference.")
    if any("less than promised" in note for note in found.notes):
        said.append("The intervals hold the truth less often than they promise: do not rely on their width.")
    return said


def _chosen(data: MaskReportData) -> str:
    """Return what the validation part chose, as the beginning of a sentence."""
    if data.evaluation.task != "heads":
        return "The best epoch and the level"
    return "The best epoch, the level and the width of the intervals"
