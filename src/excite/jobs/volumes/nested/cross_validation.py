"""Nested cross-validation for few patients: outer folds test, inner folds choose a small head on frozen features."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from excite.config import dump_yaml
from excite.jobs import run_folder as files
from excite.jobs.environment import environment
from excite.jobs.prediction_columns import cell
from excite.jobs.resuming import refuse_other_run
from excite.jobs.run_folder import RunFolder, ending_logged
from excite.jobs.volumes.folds.bundles import PAGE, SUMMARY, WITHOUT
from excite.jobs.volumes.folds.numbers import FoldNumbers, Predicted, measured
from excite.jobs.volumes.nested.choice import Choice
from excite.jobs.volumes.nested.data import NestedData, nested_data
from excite.jobs.volumes.nested.loop import Simpler, outer_loop, simpler_heads
from excite.jobs.volumes.nested.report import nested_page
from excite.jobs.volumes.nested.sections import NestedConfig
from excite.jobs.volumes.tested_table import class_columns
from excite.jobs.volumes.train import PLACES
from excite.machine import usable_cores
from excite.metrics.evaluation import Evaluation
from excite.progress import Progress, silent
from excite.report.folds_page import write_folds_report

PREDICTIONS = "predictions.csv"


@dataclass(frozen=True, kw_only=True, eq=False)
class NestedRun:
    """A finished nested cross-validation.

    Args:
        numbers: Over all rows, each predicted by a head that was neither trained nor chosen on its unit.
        choices: Of each outer fold.
        simpler: Heads that know less, on the same folds.
    """

    folder: Path
    numbers: FoldNumbers
    choices: tuple[Choice, ...]
    simpler: tuple[Simpler, ...]
    report: Path

    @property
    def evaluation(self) -> Evaluation:
        """The numbers of a classifier over all rows."""
        return self.numbers.evaluation

    def summary(self) -> dict[str, Any]:
        """Return the numbers as plain data."""
        return {"folder": str(self.folder), "report": str(self.report), WITHOUT: True, **self.numbers.to_json(),
                "simpler": [one.to_json() for one in self.simpler],
                "inner_ms": sum(one.milliseconds for one in self.choices),
                "chosen": [{"components": one.components, "penalty": one.penalty, "inner_nll": one.loss,
                            "temperature": one.temperature.value, "fits": one.fits} for one in self.choices]}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        chosen = "; ".join(f"{'all' if one.components is None else one.components} components, penalty {one.penalty:g}"
                           for one in self.choices)
        taken, fits = sum(one.milliseconds for one in self.choices), sum(one.fits for one in self.choices)
        return "\n".join([self.numbers.text(), *(one.text(than="heads") for one in self.simpler),
                          f"chosen in each fold: {chosen}", f"inner loops: {fits} heads in {taken:.0f} ms",
                          f"report: {self.report}"])


def nested_cross_validate(config: NestedConfig, *, out: str | Path | None = None, simulated: bool | None = None,
                          progress: Progress | None = None) -> NestedRun:
    """Predict each row once by a head on frozen features, chosen and trained on other units, and report in one folder.

    Outer folds as in a cross-validation of networks. Within the training rows of each, inner folds choose components
    and penalty and give the temperature; the head then learns from all training rows. The same call again uses the
    features that are kept on disk.

    Args:
        out: The run folder; runs/NAME-OF-TABLE otherwise.
        simulated: The report says that the data are simulated; None looks for a column `simulated`.

    Raises:
        DataError, ModelError, EnvironmentFault, UsageError: with exit codes 3, 4, 5, 2.

    Source:
        Varma and Simon, "Bias in error estimation when using cross-validation for model selection", BMC
        Bioinformatics 2006, doi 10.1186/1471-2105-7-91.
    """
    progress, threads = progress or silent(), config.loop.threads or usable_cores()
    torch.set_num_threads(threads)
    with RunFolder(Path(out) if out else Path("runs") / config.name) as run:
        if not run.is_new:
            refuse_other_run(run, config, threads, places=PLACES)
        data = nested_data(config, progress)
        if run.is_new:
            _begin(run, data, config, threads, progress)
        else:
            run.refuse_changes("data", run.read_json(files.HASHES), data.fingerprint)
        with ending_logged(run):
            predicted, choices = outer_loop(data, progress)
            simpler = tuple(simpler_heads(data, predicted, progress, than=config.nested.features))
        numbers = measured(predicted, by="head", progress=progress)
        _write_predictions(run, predicted)
        page = nested_page(data, numbers, choices, simpler, run.read_json(files.ENVIRONMENT), simulated=bool(
            data.table.simulated if simulated is None else simulated))
        found = NestedRun(folder=run.path, numbers=numbers, choices=choices, simpler=simpler,
                          report=write_folds_report(run.path / PAGE, page))
        run.write_json(SUMMARY, found.summary())
        run.log({"event": "done", "inner_ms": sum(one.milliseconds for one in choices)})
    return found


def _begin(run: RunFolder, data: NestedData, config: NestedConfig, threads: int, progress: Progress) -> None:
    """Write what the run starts from; config.yaml marks the folder as a run."""
    run.write_json(files.ENVIRONMENT, environment(threads))
    run.write_json(files.HASHES, data.fingerprint)
    run.write(files.CONFIG, dump_yaml(config))
    for topic, reason in data.reasons().items():
        progress.say(f"{topic}: {reason}")
        run.log({"event": "note", "topic": topic, "text": reason})
    for fault in data.leaks:
        progress.say(f"LEAK: {fault.message}")


def _write_predictions(run: RunFolder, predicted: Predicted) -> None:
    """Write a line a row: which, its fold, its truth, the probabilities."""
    classes = [cell(name) for name in predicted.classes]
    with run.writing(PREDICTIONS) as file, file.open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, lineterminator="\n")
        table.writerow(["line", "fold", "truth", "label", *class_columns(predicted.classes)])
        for row, fold, truth, found in zip(predicted.rows, predicted.fold, predicted.truth, predicted.shares,
                                           strict=True):
            table.writerow([row.line, fold, classes[truth], classes[int(found.argmax())],
                            *(f"{value:.6f}" for value in found)])
