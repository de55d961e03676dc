"""Train: from a config to a run folder with weights, bundle, evaluation and report; the same call again resumes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from excite.config import dump_yaml
from excite.data.manifest import Manifest
from excite.data.split import Split
from excite.data.targets import mask_contents
from excite.engine.loop import Fit, fit
from excite.engine.signals import StopFlag
from excite.jobs import frozen_features
from excite.jobs import run_folder as files
from excite.jobs.environment import environment
from excite.jobs.estimate import epochs_within
from excite.jobs.finish import finish
from excite.jobs.kinds import with_defaults
from excite.jobs.prepare import Prepared, is_simulated, prepare
from excite.jobs.resuming import refuse_other_config, refuse_other_environment, stored_config
from excite.jobs.run_folder import RunFolder, ending_logged
from excite.jobs.sections import TrainConfig
from excite.machine import usable_cores
from excite.metrics.evaluation import Evaluation
from excite.metrics.mask_evaluation import MaskEvaluation
from excite.progress import Progress, silent

SHOWN = {"classification": ("balanced_accuracy", "auroc_macro", "accuracy", "f1_macro", "ece"),
         "heads": ("adf_mm", "median_adf_mm", "df_mm", "coverage", "width_mm", "dice", "found"),
         "segmentation": ("dice", "iou", "sensitivity", "specificity")}
# Where files lie and how long training may take do not make it another run: the data are compared by content.
PLACES = (("data", "table"), ("data", "root"), ("cache", "folder"), ("cache", "limit_gb"), ("loop", "epochs"))


@dataclass(frozen=True, kw_only=True)
class Run:
    """A finished training run."""

    folder: Path
    manifest: Manifest
    split: Split
    fit: Fit
    evaluation: Evaluation | MaskEvaluation
    report: Path

    def summary(self) -> dict[str, object]:
        """Return the numbers as plain data."""
        found = self.evaluation.to_json()
        return {"run": str(self.folder), "bundle": str(self.folder / files.BUNDLE), "report": str(self.report),
                "epochs": self.fit.epochs_done, "best_epoch": self.fit.best_epoch, "test_images": found["n"],
                "test_units": found["n_units"], "unit_kind": found["unit_kind"], "metrics": found["metrics"]}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        kind = getattr(self.evaluation, "task", "classification")
        return "\n".join([self.evaluation.text(SHOWN[kind]), f"report: {self.report}",
                          f"bundle: {self.folder / files.BUNDLE}"])


def train(config: TrainConfig, *, model: nn.Module | None = None,
          loss: Callable[[Tensor, Tensor], Tensor] | None = None, out: str | Path | None = None, images: bool = True,
          simulated: bool | None = None, progress: Progress | None = None) -> Run:
    """Train as `config` says and leave everything in one folder.

    Args:
        model: A network of your own, (N, 3, H, W) -> (N, classes), such as one with inserted attention; config.model
            otherwise. With loop.frozen_features it needs `forward_features` and `classifier`.
        loss: (logits (N, K), labels (N,)) -> losses (N,); with masks, (logits (N, 1, H, W), masks likewise) -> (N,);
            config.loss otherwise.
        out: The run folder; runs/NAME-OF-TABLE otherwise.
        images: Put pictures into the report.
        simulated: The report says that the data are simulated; None looks for a column `simulated` in the table.

    Raises:
        DataError, ModelError, EnvironmentFault, UsageError: with exit codes 3, 4, 5, 2.
        Interrupted: a signal came; the state is saved.
    """
    progress = progress or silent()
    threads = config.loop.threads or usable_cores()
    name = config.data.table.resolve().stem if config.data.table else "run"
    with RunFolder(Path(out) if out else Path("runs") / name) as run:
        resumed = not run.is_new
        if resumed:
            config = _same_config(run, config)
            refuse_other_environment(run, environment(threads))
        prepared = prepare(config, model=model, progress=progress)
        config = prepared.config
        if config.loop.frozen_features:
            frozen_features.check(prepared)
        if loss is not None:
            prepared.task.replace_loss(loss)
        if resumed:
            run.refuse_changes("data", run.read_json(files.HASHES), _hashes(prepared))
            progress.say(f"resuming {run.path}")
        else:
            config = _begin(run, prepared, threads, progress)
        if simulated is None:
            simulated = is_simulated(prepared.manifest)
        fitted = _fit(run, prepared, config, progress)
        evaluation, report = finish(run, prepared, fitted, images=images, simulated=simulated, progress=progress)
    return Run(folder=run.path, manifest=prepared.manifest, split=prepared.split, fit=fitted, evaluation=evaluation,
               report=report)


def _begin(run: RunFolder, prepared: Prepared, threads: int, progress: Progress) -> TrainConfig:
    """Write what the run starts from; config.yaml last, because it marks the folder as a run."""
    config = prepared.config
    if config.loop.budget_minutes:
        epochs = epochs_within(prepared, config.loop.budget_minutes, progress=progress)
        config = config.model_copy(update={"loop": config.loop.model_copy(update={"epochs": epochs})})
        prepared.config = config
    run.write_json(files.ENVIRONMENT, environment(threads))
    with run.writing(files.MANIFEST) as table:
        prepared.manifest.write_csv(table)
    run.write_json(files.SPLIT, prepared.split.to_json())
    run.write_json(files.HASHES, _hashes(prepared))
    run.write(files.CONFIG, dump_yaml(config))
    for topic, reason in prepared.reasons.items():
        progress.say(f"{topic}: {reason}")
        run.log({"event": "note", "topic": topic, "text": reason})
    for fault in prepared.leaks:
        progress.say(f"LEAK: {fault.message}")
        run.log({"event": "note", "topic": "leak", "text": fault.message})
    return config


def _fit(run: RunFolder, prepared: Prepared, config: TrainConfig, progress: Progress) -> Fit:
    with StopFlag() as stop, ending_logged(run):
        if config.loop.frozen_features:
            return frozen_features.fit_head(run, prepared, progress=progress, stop=stop)
        return fit(prepared.model, prepared.task, prepared.loader("train", train=True), prepared.loader("val"),
                   optim=config.optim, schedule=config.schedule, loop=config.loop, seed=config.seed, folder=run.path,
                   log=run.log, progress=progress, stop=stop)


def _same_config(run: RunFolder, config: TrainConfig) -> TrainConfig:
    """Return the run's own config after checking that the asked one is the same."""
    stored = stored_config(run, TrainConfig).model_dump(mode="json")
    if stored["task"] != "auto" and config.task in ("auto", stored["task"]):
        config = with_defaults(config, stored["task"])
    if config.data.outlines == "auto":
        settled = config.data.model_copy(update={"outlines": stored["data"]["outlines"]})
        config = config.model_copy(update={"data": settled})
    asked = config.model_dump(mode="json")
    epochs = stored["loop"]["epochs"]
    budgeted = asked["loop"]["budget_minutes"] and stored["loop"]["budget_minutes"]
    if not budgeted:
        run.refuse_changes("config", {"loop.epochs": epochs}, {"loop.epochs": asked["loop"]["epochs"]})
    refuse_other_config(run, stored, asked, places=PLACES)
    return config.model_copy(update={"loop": config.loop.model_copy(update={"epochs": epochs})})


def _hashes(prepared: Prepared) -> dict[str, str]:
    """Return what the run was trained on by row: the image's sha256, label, unit, part; its masks' and the spacing."""
    part_of = {row: part for part, rows in prepared.split.parts.items() for row in rows}
    rows = prepared.manifest.rows
    truths = [""] * len(rows)
    if prepared.targets:
        masks = mask_contents(rows, prepared.manifest.root)
        truths = [f" mask {mask} spacing {row.spacing}" for row, mask in zip(rows, masks, strict=True)]
    return {f"{row.line}: {row.image}": f"{one.content} {row.label} {unit} {part_of[place]}{truth}"
            for place, (row, one, unit, truth) in enumerate(zip(rows, prepared.cache.fingerprints,
                                                                prepared.split.units, truths, strict=True))}
