"""The drawings of a report on label volumes: Dice scan by scan, and predicted against true volumes."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from markupsafe import Markup

from excite.metrics.volume_masks import VolumeMaskEvaluation
from excite.report.figures import INK, MUTED, SERIES, STYLE, figure_of, plain, said, svg
from excite.report.mask_figures import DOT

SPREAD = 0.18  # of the dots of a class, beside each other
MANY = 8       # classes that are drawn


def dice_by_class(found: VolumeMaskEvaluation) -> Markup | None:
    """Return the Dice of each scan, class by class, with the mean and its interval."""
    names = list(found.per_class)[:MANY]
    if len(found.rows) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("Dice of each scan", "")
        axes.set_ylabel("Dice")
        for place, name in enumerate(names):
            values = _numbers([row.classes[name].scores["dice"] for row in found.rows])
            beside = np.random.default_rng(0).uniform(-SPREAD, SPREAD, len(values))
            axes.scatter(place + beside, values, color=SERIES[place % 8], **DOT)
            one = found.per_class[name]["dice"]
            if one.value is not None and one.low is not None and one.high is not None:
                axes.errorbar([place + 0.32], [one.value], [[one.value - one.low], [one.high - one.value]], fmt="D",
                              color=INK, markersize=4, capsize=3, linewidth=1.4)
        axes.set_xticks(range(len(names)), [plain(name) for name in names])
        axes.set_xlim(-0.5, len(names) - 0.4)
        axes.set_ylim(top=1.005)
        told = "; ".join(f"{name} {said(found.per_class[name]['dice'].value)}" for name in names)
        return svg(figure, name="dice", alt=f"Dice of {len(found.rows)} scans by class, means: {told}")


def volumes(found: VolumeMaskEvaluation) -> Markup | None:
    """Return the predicted against the true volume of each class and scan whose voxel size is known."""
    known = [(row, row.voxel_ml) for row in found.rows if row.voxel_ml is not None]
    if len(known) < 2:
        return None
    with matplotlib.rc_context(STYLE):
        figure, axes = figure_of("Volumes", "true volume, ml")
        axes.set_ylabel("predicted volume, ml")
        most = 0.0
        for place, name in enumerate(list(found.per_class)[:MANY]):
            true = [row.classes[name].truth * size for row, size in known]
            predicted = [row.classes[name].predicted * size for row, size in known]
            most = max(most, *true, *predicted)
            axes.scatter(true, predicted, color=SERIES[place % 8], label=plain(name), **DOT)
        axes.plot([0, most], [0, most], color=MUTED, linewidth=1, linestyle=":")
        axes.legend(loc="upper left", handletextpad=0.2)
        return svg(figure, name="volumes", alt=f"Predicted against true volumes of {len(known)} scans")


def _numbers(values: Sequence[float | None]) -> list[float]:
    return [float("nan") if value is None else value for value in values]
