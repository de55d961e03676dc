"""Train on volumes with label masks: from a table of scans to a proved network, honest numbers and pictures."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from excite.data.split import Split
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.run_folder import RunFolder
from excite.jobs.starting import started, trained
from excite.jobs.volume_masks.finish import finish_masks
from excite.jobs.volume_masks.prepare import prepare_masks
from excite.jobs.volume_masks.sections import MaskedVolumeConfig
from excite.metrics.volume_masks import VolumeMaskEvaluation
from excite.progress import Progress, silent

PLACES = (("volumes", "table"),)  # where the table lies does not make it another run: files are compared by content


@dataclass(frozen=True, kw_only=True)
class MaskedVolumeRun:
    """A finished training on label volumes."""

    folder: Path
    classes: tuple[str, ...]
    split: Split
    fit: Fit
    evaluation: VolumeMaskEvaluation
    report: Path

    def summary(self) -> dict[str, object]:
        """Return the numbers as plain data."""
        found = self.evaluation.to_json()
        return {"run": str(self.folder), "bundle": str(self.folder / files.BUNDLE), "report": str(self.report),
                "epochs": self.fit.epochs_done, "best_epoch": self.fit.best_epoch, "test_scans": found["n"],
                "test_units": found["n_units"], "unit_kind": found["unit_kind"], "metrics": found["metrics"],
                "per_class": found["per_class"]}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        return "\n".join([self.evaluation.text(), f"report: {self.report}", f"bundle: {self.folder / files.BUNDLE}"])


def train_volume_masks(config: MaskedVolumeConfig, *, model: nn.Module | None = None, out: str | Path | None = None,
                       images: bool = True, simulated: bool | None = None, progress: Progress | None = None
                       ) -> MaskedVolumeRun:
    """Train as `config` says and leave everything in one folder; the same call again resumes.

    Args:
        model: A network of your own, (N, maps, *patch) -> (N, classes, *patch).
        out: The run folder; runs/NAME-OF-TABLE otherwise.
        images: Put pictures into the report.
        simulated: Report and card say that the data are simulated; None looks for a column `simulated`.

    Raises:
        DataError, ModelError, EnvironmentFault, UsageError: with exit codes 3, 4, 5, 2.
        Interrupted: a signal came; the state is saved.
    """
    progress = progress or silent()
    with RunFolder(Path(out) if out else Path("runs") / config.name) as run:
        prepared = started(run, config, partial(prepare_masks, config, model=model, progress=progress), places=PLACES,
                           progress=progress)
        for fault in prepared.leaks:
            progress.say(f"LEAK: {fault.message}")
        fitted = trained(run, prepared, progress=progress)
        if simulated is None:
            simulated = prepared.table.simulated
        evaluation, report = finish_masks(run, prepared, fitted, images=images, simulated=simulated, progress=progress)
    return MaskedVolumeRun(folder=run.path, classes=prepared.classes.names, split=prepared.split, fit=fitted,
                           evaluation=evaluation, report=report)
