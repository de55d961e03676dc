"""Train on volumes: from a table of patients with maps to a proved network and honest numbers."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from excite.data.split import Split
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.run_folder import RunFolder
from excite.jobs.starting import started, trained
from excite.jobs.volumes.finish import finish_volumes
from excite.jobs.volumes.prepare import prepare_volumes
from excite.jobs.volumes.sections import VolumeConfig
from excite.metrics.evaluation import Evaluation
from excite.progress import Progress, silent

SHOWN = ("balanced_accuracy", "auroc_macro", "accuracy", "kappa", "ece")
PLACES = (("volumes", "table"),)  # where the table lies does not make it another run: files are compared by content


@dataclass(frozen=True, kw_only=True)
class VolumeRun:
    """A finished training on volumes."""

    folder: Path
    classes: tuple[str, ...]
    split: Split
    fit: Fit
    evaluation: Evaluation
    report: Path

    def summary(self) -> dict[str, object]:
        """Return the numbers as plain data."""
        found = self.evaluation.to_json()
        return {"run": str(self.folder), "bundle": str(self.folder / files.BUNDLE), "report": str(self.report),
                "epochs": self.fit.epochs_done, "best_epoch": self.fit.best_epoch, "test_rows": found["n"],
                "test_units": found["n_units"], "unit_kind": found["unit_kind"], "metrics": found["metrics"]}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        return "\n".join([self.evaluation.text(SHOWN), f"report: {self.report}",
                          f"bundle: {self.folder / files.BUNDLE}"])


def train_volumes(config: VolumeConfig, *, model: nn.Module | None = None, out: str | Path | None = None,
                  images: bool = True, simulated: bool | None = None, progress: Progress | None = None) -> VolumeRun:
    """Train as `config` says and leave everything in one folder; the same call again resumes.

    Args:
        model: A network of your own, (N, maps, D, H, W) -> (N, classes), where a missing map is 0 all over.
        out: The run folder; runs/NAME-OF-TABLE otherwise.
        images: Put slices of test patients into the report.
        simulated: Report and card say that the data are simulated; None looks for a column
            `simulated`.

    Raises:
        DataError, ModelError, EnvironmentFault, UsageError: with exit codes 3, 4, 5, 2.
        Interrupted: a signal came; the state is saved.
    """
    progress = progress or silent()
    with RunFolder(Path(out) if out else Path("runs") / config.name) as run:
        prepared = started(run, config, partial(prepare_volumes, config, model=model, progress=progress), places=PLACES,
                           progress=progress)
        for fault in prepared.leaks:
            progress.say(f"LEAK: {fault.message}")
        fitted = trained(run, prepared, progress=progress)
        if simulated is None:
            simulated = prepared.table.simulated
        evaluation, report = finish_volumes(run, prepared, fitted, images=images, simulated=simulated,
                                            progress=progress)
    return VolumeRun(folder=run.path, classes=prepared.classes, split=prepared.split, fit=fitted,
                     evaluation=evaluation, report=report)
