"""How well label volumes cover the true ones, class by class, with intervals over units.

Conventions are those of metrics/segmentation.py and metrics/surface.py, in the scan's own voxels: where a class is
neither there nor found, its Dice is not defined and left out; where it is one of both, Dice is 0 and there is no
distance. The number of a scan is the mean over its classes; that of the part the mean over scans.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from excite.errors import DataError
from excite.metrics.intervals import Interval
from excite.metrics.measured import UNPROVEN, MeasuredPart
from excite.metrics.segmentation import Mask, counts, means, rates
from excite.metrics.surface import surface_scores

MILLIMETRES, VOXELS = 1.0, 2.0  # tolerances of the surface Dice, with and without a known voxel size
FEW = 10                        # units below which intervals are rough
SHARES = ("dice", "iou", "sensitivity", "surface_dice")
Spacing = tuple[float, float, float] | None


@dataclass(frozen=True, kw_only=True)
class ClassScores:
    """One class in one scan.

    Args:
        truth: Voxels of the true mask.
        predicted: Voxels of the predicted one.
        scores: dice, iou, sensitivity, hd95_mm, assd_mm, surface_dice, and difference_ml, predicted minus true volume;
            with _voxels for _mm, and no ml, where the voxel size is not known. None: not defined.
    """

    truth: int
    predicted: int
    scores: dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class VolumeMaskRow:
    """One scan.

    Args:
        file: As the table names it.
        line: Of the table.
        unit: What the scan belongs to.
        voxels: Of the scan.
        classes: Those but the background.
        voxel_ml: Millilitres of a voxel; None where its size is not known.
        notes: What was remarked while predicting it.
    """

    file: str
    line: int
    unit: str
    voxels: int
    classes: dict[str, ClassScores]
    voxel_ml: float | None = None
    notes: tuple[str, ...] = ()

    @property
    def dice(self) -> float | None:
        """Return the mean Dice of the classes that are there or were found."""
        return _mean([one.scores["dice"] for one in self.classes.values()])


@dataclass(frozen=True, kw_only=True, eq=False)
class VolumeMaskEvaluation(MeasuredPart):
    """What a network for label volumes does on one part of the data.

    Args:
        per_class: The numbers of each class but the background.
        rows: The scans one by one; not in the JSON.
    """

    per_class: dict[str, dict[str, Interval]]
    rows: tuple[VolumeMaskRow, ...] = field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        """Return plain data without the single scans; a number that is not defined is null and has a note."""
        return {"part": self.part, "n": self.n, "n_units": self.n_units, "unit_kind": self.unit_kind,
                "task": "volume_masks", "classes": list(self.classes),
                "metrics": {key: one.to_json() for key, one in self.metrics.items()},
                "per_class": {name: {key: one.to_json() for key, one in of.items()}
                              for name, of in self.per_class.items()},
                "notes": list(self.notes), "failed": list(self.failed)}

    def text(self) -> str:
        """Return Dice and HD95 of all classes and of each as lines for a terminal, then the notes."""
        said = [f"{self.part}: {self.n} scans, {self.n_units} units ({self.unit_kind}), 95 % intervals",
                *(f"  BEWARE: {note}" for note in self.unproven)]
        width = max(len("mean of classes"), *map(len, self.per_class))
        for name, of in {"mean of classes": self.metrics, **self.per_class}.items():
            shown = [key for key in ("dice", "hd95_mm", "hd95_voxels") if key in of]
            told = "   ".join(f"{key.replace('_', ' ')} {of[key].text()}" for key in shown)
            said.append(f"  {name:<{width}}  {told}")
        return "\n".join([*said, "", *(f"  note: {note}" for note in self.notes if note not in self.unproven)])


def label_scores(predicted: NDArray[Any], truth: NDArray[Any], classes: Mapping[str, int], *, spacing: Spacing,
                 where: str | None = None) -> dict[str, ClassScores]:
    """Return the numbers of each class in one scan.

    Args:
        predicted: The labels found, in the scan's own voxels.
        truth: The true labels.
        classes: Name -> label value, without the background.
        spacing: Millimetres along D, H and W; None where not known: distances are in voxels then.
        where: The scan's name, for errors.

    Shape:
        (D, H, W), (D, H, W)

    Raises:
        DataError: they differ in size.
    """
    if predicted.shape != truth.shape:
        raise DataError(f"the predicted labels must have the true ones' size {truth.shape}, got {predicted.shape}",
                        where=where, fix="bring the prediction back to the scan's own grid before it is measured")
    return {name: _of_class(predicted == value, truth == value, spacing, where) for name, value in classes.items()}


def _of_class(predicted: Mask, truth: Mask, spacing: Spacing, where: str | None) -> ClassScores:
    found = counts(predicted, truth)
    unit, tolerance = ("voxels", VOXELS) if spacing is None else ("mm", MILLIMETRES)
    surface = surface_scores(*_cropped(predicted, truth), tolerance=tolerance, spacing=spacing, where=where)
    scores = {name: value for name, value in rates(found).items() if name != "specificity"}
    scores |= {f"{name}_{unit}": surface[f"{name}_{'pixels' if spacing is None else 'mm'}"] for name in
               ("hd95", "assd")} | {"surface_dice": surface["surface_dice"]}
    if spacing is not None:
        scores["difference_ml"] = (found.false - found.missed) * float(np.prod(spacing)) / 1000
    return ClassScores(truth=found.hit + found.missed, predicted=found.hit + found.false, scores=scores)


def _cropped(predicted: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Return both masks cut to where one of them is; the boundary stays, as beyond a volume is outside."""
    either = predicted | truth
    if not either.any():
        return predicted[:1, :1, :1], truth[:1, :1, :1]
    lines = [np.flatnonzero(either.any(axis=tuple(at for at in range(3) if at != axis))) for axis in range(3)]
    box = tuple(slice(line[0], line[-1] + 1) for line in lines)
    return predicted[box], truth[box]


def evaluate_volume_masks(rows: Sequence[VolumeMaskRow], *, classes: Sequence[str], part: str, unit_kind: str,
                          notes: Sequence[str] = (), failed: Sequence[dict[str, str]] = (), resamples: int = 1000,
                          seed: int = 0) -> VolumeMaskEvaluation:
    """Return every number with a 95 % interval from a bootstrap over units.

    Args:
        rows: The scans, in the table's order.
        classes: Names, that of the background first.
        part: Name of the part.
        unit_kind: What a unit is.
        notes: What is known about the data already.
        failed: {"file", "error"} of the scans that could not be used.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        DataError: there is no scan.
    """
    if not rows:
        raise DataError("there is no scan to measure", where=part)
    names = list(dict.fromkeys(name for row in rows for one in row.classes.values() for name in one.scores))
    table = [{**{key: _mean([one.scores.get(key) for one in row.classes.values()]) for key in names},
              **{f"{name}/{key}": row.classes[name].scores.get(key) for name in classes[1:] for key in names}}
             for row in rows]
    found = means(table, [row.unit for row in rows], resamples=resamples, seed=seed)
    metrics = {key: found[key] for key in names}
    count = len({row.unit for row in rows})
    said = [f"intervals: 95 %, percentiles of {resamples} bootstrap resamples of {count} whole units ({unit_kind}), "
            f"seed {seed}"]
    if count < FEW:
        said.append(f"fewer than {FEW} units: the intervals are rough, and rather too narrow")
    said.append("all in the voxels of the original scans; a number of a scan is the mean over its classes without the "
                f"background; surface Dice: share of both boundaries within {MILLIMETRES:g} mm of the other")
    return VolumeMaskEvaluation(
        part=part, n=len(rows), n_units=count, unit_kind=unit_kind, classes=tuple(classes), metrics=metrics,
        per_class={name: {key: found[f"{name}/{key}"] for key in names} for name in classes[1:]}, rows=tuple(rows),
        notes=(*_unproven(rows, metrics["dice"]), *notes, *said, *_class_notes(rows, classes[1:]), *_size_notes(rows)),
        failed=tuple(failed))


def _unproven(rows: Sequence[VolumeMaskRow], dice: Interval) -> list[str]:
    """Return the note that the network may be no better than calling every voxel a class."""
    whole = [_mean([2 * one.truth / (row.voxels + one.truth) for one in row.classes.values() if one.truth])
             for row in rows]
    trivial = _mean(whole)
    if trivial is None or dice.value is None or (dice.value if dice.low is None else dice.low) > trivial:
        return []
    return [f"{UNPROVEN} one class for the whole scan: Dice {dice.text()}, that answer's {trivial:.3f}"]


def _class_notes(rows: Sequence[VolumeMaskRow], classes: Sequence[str]) -> list[str]:
    """Return in how many scans a class is not there, was found for nothing, or was missed."""
    said = []
    for name in classes:
        of = [row.classes[name] for row in rows]
        empty, missed = [one for one in of if not one.truth], [one for one in of if one.truth and not one.predicted]
        false = sum(one.predicted > 0 for one in empty)
        if empty:
            said.append(f"{name} is not there in {len(empty)} of {len(of)} scans: found all the same in {false}, which "
                        f"count as Dice 0; the other {len(empty) - false} are left out of its Dice")
        if missed:
            said.append(f"{name} was not found in {len(missed)} of {len(of)} scans where it is: Dice 0, and no "
                        "distance to average, so its mean distances look better than the network is")
    return said


def _size_notes(rows: Sequence[VolumeMaskRow]) -> list[str]:
    kinds = Counter("hd95_mm" in one.scores for row in rows for one in list(row.classes.values())[:1])
    return [f"no voxel size is known for {kinds[False]} of {len(rows)} scans: their distances are in voxels"] \
        if kinds[False] else []


def _mean(values: Sequence[float | None]) -> float | None:
    """Return the mean of the defined values; None where there is none."""
    defined = [value for value in values if value is not None]
    return float(np.mean(defined)) if defined else None
