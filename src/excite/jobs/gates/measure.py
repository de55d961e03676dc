"""The gate report of a run or bundle: statistics, costs and, where asked for, a folded bundle; page, table, numbers."""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from excite.data.sections import DataSection
from excite.errors import EnvironmentFault
from excite.explain.fold_choice import Promise
from excite.explain.gate_ablation import GateCost, gate_costs, scores_of
from excite.explain.gate_statistics import Bounds, LayerGates, gate_statistics
from excite.jobs.gates.folding import FoldTold, fold_bundle
from excite.jobs.gates.inputs import GateInputs, gate_inputs
from excite.jobs.gates.words import words
from excite.models.measure import using_threads
from excite.progress import Progress, silent
from excite.report.gates_page import GatesData, write_gates_page

__all__ = ["GateReport", "Promise", "measure_gates"]

PAGE, NUMBERS, TABLE = "gates.html", "gates.json", "gates.csv"
CORRELATED = ("the correction of eta squared takes inputs for independent: where a unit has several it is too high")


@dataclass(frozen=True, kw_only=True)
class GateReport:
    """What was found, and where it is.

    Args:
        part: Data that it is of.
        n: Samples.
        layers: Of the network, in order.
        costs: Two a layer: by the mean, by one.
        words: What it says, each a sentence.
        notes: What to beware of.
        failed: {"file", "error"} of what could not be used.
        fold: What was folded; None where it was not asked for.
        files: What was written.
    """

    part: str
    n: int
    layers: Sequence[LayerGates]
    costs: Sequence[GateCost]
    words: Sequence[str]
    notes: Sequence[str]
    failed: Sequence[dict[str, str]]
    fold: FoldTold | None
    files: Sequence[Path]

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        return {"part": self.part, "n": self.n, "layers": [one.to_json() for one in self.layers],
                "costs": [one.to_json() for one in self.costs], "words": list(self.words), "notes": list(self.notes),
                "failed": list(self.failed), "fold": None if self.fold is None else self.fold.to_json(),
                "files": [str(file) for file in self.files]}


def measure_gates(source: Path, data: Path | None = None, split: str | None = None, *, out: Path,
                  columns: DataSection | None = None, fold: Promise | None = None, bounds: Bounds | None = None,
                  threads: int | None = None, resamples: int = 1000, seed: int = 0,
                  progress: Progress | None = None) -> GateReport:
    """Measure the gates of a run or bundle, and write gates.html, gates.json and gates.csv to `out`.

    Args:
        source: A run folder, whose part is measured, or a bundle, which needs `data`.
        data: A table with labels or masks.
        split: Part of the run (test otherwise), or of the table (every row otherwise).
        out: Folder; a folded bundle goes to its `bundle`.
        columns: How to read `data`.
        fold: What folding may change; None: nothing is folded.
        bounds: What is called dead, saturated and constant.
        threads: CPU threads; all usable cores otherwise. Folding is timed with one.
        resamples: Of the bootstrap.
        seed: Of the bootstrap.

    Raises:
        UsageError: the network has no gates, a bundle comes without data, or its kind is not measured. DataError: the
            data cannot be used. ModelError: the network cannot be built.
    """
    progress, bounds = progress or silent(), bounds or Bounds()
    inputs = gate_inputs(source, data, split, columns=columns or DataSection(), progress=progress)
    with using_threads(threads):
        layers = gate_statistics(inputs.model, inputs, classes=inputs.classes, bounds=bounds, progress=progress) \
            if inputs.classes else gate_statistics(inputs.model, (images for images, _ in inputs), bounds=bounds,
                                                   progress=progress)
        units = [inputs.units[place] for place in inputs.good]
        costs = gate_costs(inputs.model, inputs, layers, score=inputs.score, units=units, resamples=resamples,
                           seed=seed, progress=progress)
        folded = None if fold is None else fold_bundle(inputs, layers, costs, fold, out / "bundle", units=units,
                                                       resamples=resamples, seed=seed, progress=progress)
        own = {key: float(values.mean()) for key, values in
               scores_of(inputs.model, inputs, {}, inputs.score)[""].items()}
    several = [CORRELATED] if len(set(units)) < len(units) and any(one.eta is not None for one in layers) else []
    if others := sorted({one.n for one in layers} - {len(units)}):
        several.append(f"some layers saw {', '.join(map(str, others))} inputs, not {len(units)}: a trunk that several "
                       "maps share takes each map for an input of its own, so nothing is said of their classes")
    told = words(layers, costs, sample=inputs.sample, classes=inputs.classes)
    report = GateReport(part=inputs.part, n=len(units), layers=layers, costs=costs, words=told,
                        notes=[*inputs.notes, *several], failed=inputs.failed, fold=folded,
                        files=[out / name for name in (PAGE, NUMBERS, TABLE)])
    _write(report, inputs, bounds, own, out, progress)
    return report


def _write(report: GateReport, inputs: GateInputs, bounds: Bounds, own: dict[str, float], out: Path,
           progress: Progress) -> None:
    page, numbers, table = report.files
    try:
        out.mkdir(parents=True, exist_ok=True)
        found = report.to_json() | {"scores": own, "bounds": vars(bounds), "classes": inputs.classes}
        numbers.write_text(json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
        _write_table(table, report.layers, inputs.classes)
    except OSError as fault:
        raise EnvironmentFault("the gate report cannot be written", where=out, why=str(fault),
                               fix="name a folder that you may write with --out") from None
    write_gates_page(page, GatesData(
        title=f"Gates of {inputs.info.name}", part=report.part, n=report.n, units=len(set(inputs.units)),
        unit_kind=inputs.unit_kind, sample=inputs.sample, scores=own, words=report.words, bounds=vars(bounds),
        layers=[one.to_json() | {"mean": one.mean, "std": one.std, "class_means": one.class_means}
                for one in report.layers],
        costs=[one.to_json() for one in report.costs], classes=inputs.classes or (),
        fold=None if report.fold is None else report.fold.to_json(), notes=report.notes, failed=report.failed))
    progress.say(f"written: {', '.join(map(str, report.files))}")


def _write_table(file: Path, layers: Sequence[LayerGates], classes: Sequence[str] | None) -> None:
    """Write one row a gate."""
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["layer", "gate", "state", "mean", "std", "low", "high",
                         *(f"mean of {name}" for name in classes or ())])
        for one in layers:
            for place, state in enumerate(one.states):
                means = () if one.class_means is None else one.class_means[:, place]
                writer.writerow([one.name, place, state, *(f"{value:.6g}" for value in (
                    one.mean[place], one.std[place], one.low[place], one.high[place], *means))])
