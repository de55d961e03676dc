"""Cross-validation on volumes: every patient predicted once by a network that has not seen them."""

import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from excite.jobs.volumes.finish import PREDICTIONS
from excite.jobs.volumes.fold_bundles import SUMMARY
from excite.jobs.volumes.sections import VolumeConfig
from excite.jobs.volumes.train import SHOWN, VolumeRun, train_volumes
from excite.metrics.decision_curve import DecisionCurve, decision_curve
from excite.metrics.evaluation import Evaluation, evaluate
from excite.metrics.intervals import Interval
from excite.metrics.operating_point import rate_at
from excite.metrics.ordinal import ordinal
from excite.progress import Progress, silent

SPECIFICITY = 0.9  # at which the sensitivity is told


@dataclass(frozen=True, kw_only=True)
class CrossValidated:
    """Finished trainings, one a fold, and what they say of all patients together.

    Args:
        evaluation: Over all rows, each predicted by the network that was not trained on its unit.
        clinical: Of two classes the sensitivity at a specificity of 0.9; of grades in order the weighted kappa.
        curve: Of two classes: net benefit.
    """

    folder: Path
    runs: tuple[VolumeRun, ...]
    evaluation: Evaluation
    clinical: dict[str, Interval]
    curve: DecisionCurve | None

    def summary(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        found = self.evaluation.to_json()
        return {"folder": str(self.folder), "folds": len(self.runs), "rows": found["n"], "units": found["n_units"],
                "unit_kind": found["unit_kind"], "metrics": found["metrics"],
                "clinical": {name: one.to_json() for name, one in self.clinical.items()},
                "runs": [run.summary() for run in self.runs]}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        single = [run.evaluation.metrics["balanced_accuracy"].value for run in self.runs]
        told = ", ".join("not defined" if value is None else f"{value:.3f}" for value in single)
        extra = [f"  {name:<20}{one.text()}" for name, one in self.clinical.items()]
        return "\n".join([self.evaluation.text(SHOWN), *extra, f"balanced accuracy fold by fold: {told}",
                          f"runs: {self.folder}"])


def cross_validate(config: VolumeConfig, *, out: str | Path | None = None, simulated: bool | None = None,
                   progress: Progress | None = None) -> CrossValidated:
    """Train once a fold of `config.split.folds`, each in its own folder; the same call again resumes.

    Each network's temperature is its own validation part's. The intervals are over patients and hold the networks as
    they are: they do not contain what other folds or seeds would give.

    Raises:
        As `train_volumes`.
    """
    progress, count = progress or silent(), config.split.folds or 5
    folder = Path(out) if out else Path("runs") / config.name
    runs = []
    for number in range(1, count + 1):
        progress.say(f"fold {number} of {count}")
        split = config.split.model_copy(update={"folds": count, "fold": number})
        runs.append(train_volumes(config.model_copy(update={"split": split}), out=folder / f"fold-{number}",
                                  simulated=simulated, progress=progress))
    found = together(folder, runs, graded=config.volumes.classes is not None, progress=progress)
    (folder / SUMMARY).write_text(json.dumps(found.summary(), indent=1) + "\n", encoding="utf-8")
    return found


def together(folder: Path, runs: list[VolumeRun], *, graded: bool, progress: Progress | None = None) -> CrossValidated:
    """Return what the trainings say of all patients, from the predictions that they wrote."""
    classes, rows = runs[0].classes, list[tuple[int, int, list[float], str]]()
    for run in runs:
        with (run.folder / PREDICTIONS).open(encoding="utf-8", newline="") as stream:
            for place, row in enumerate(csv.DictReader(stream)):
                unit = run.split.units[run.split.test[place]]
                rows.append((int(row["line"]), classes.index(row["truth"]), [float(row[name]) for name in classes],
                             unit))
    rows.sort()
    truth, shares = np.array([row[1] for row in rows]), np.array([row[2] for row in rows])
    shares /= shares.sum(axis=1, keepdims=True)  # they are written with six digits
    units = [row[3] for row in rows]
    evaluation = evaluate(truth, shares, classes, units, part=f"all {len(runs)} folds", sample="patient",
                          unit_kind=runs[0].split.unit_kind, progress=progress,
                          notes=[f"each row is predicted by the one of {len(runs)} networks that has not seen its "
                                 "unit; intervals hold these networks as they are"])
    clinical: dict[str, Interval] = {}
    if len(classes) == 2:
        clinical[f"sensitivity at {SPECIFICITY}"] = rate_at(truth, shares[:, 1], units, held="specificity",
                                                            at_least=SPECIFICITY)
    elif graded:
        clinical = ordinal(truth, shares, units)
    curve = decision_curve(truth, shares[:, 1], units) if len(classes) == 2 else None
    return CrossValidated(folder=folder, runs=tuple(runs), evaluation=evaluation, clinical=clinical, curve=curve)
