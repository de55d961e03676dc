"""Train on a hyperspectral scene, or several: from cubes and labels to a proved network, maps and honest numbers."""

from dataclasses import dataclass
from pathlib import Path

from torch import nn

from excite.config import dump_yaml
from excite.data.scenes.scene import Scene
from excite.data.scenes.split import SceneSplit
from excite.engine.loop import Fit, fit
from excite.engine.signals import StopFlag
from excite.jobs import run_folder as files
from excite.jobs.environment import environment
from excite.jobs.resuming import refuse_other_run
from excite.jobs.run_folder import RunFolder, ending_logged
from excite.jobs.scenes.baselines import Baseline
from excite.jobs.scenes.finish import finish_scene
from excite.jobs.scenes.prepare import PreparedScene, prepare_scene
from excite.jobs.scenes.sections import SceneConfig, with_defaults
from excite.machine import usable_cores
from excite.metrics.evaluation import Evaluation
from excite.progress import Progress, silent

SHOWN = ("accuracy", "balanced_accuracy", "kappa", "f1_macro", "ece")
# Where files lie does not make it another run: they are compared by content.
PLACES = tuple(("scene", key) for key in ("table", "cube", "labels", "white", "dark")) + tuple(
    ("split", key) for key in ("train_map", "val_map", "test_map"))


@dataclass(frozen=True, kw_only=True)
class SceneRun:
    """A finished training on a scene."""

    folder: Path
    scene: Scene
    split: SceneSplit
    fit: Fit
    evaluation: Evaluation
    baselines: dict[str, Baseline]
    report: Path

    def summary(self) -> dict[str, object]:
        """Return the numbers as plain data."""
        found = self.evaluation.to_json()
        return {"run": str(self.folder), "bundle": str(self.folder / files.BUNDLE), "report": str(self.report),
                "epochs": self.fit.epochs_done, "best_epoch": self.fit.best_epoch, "test_pixels": found["n"],
                "test_units": found["n_units"], "unit_kind": found["unit_kind"],
                "overlap": self.split.overlap.to_json(), "metrics": found["metrics"],
                "baselines": {name: {key: value.to_json() for key, value in one.metrics.items()}
                              for name, one in self.baselines.items()}}

    def text(self) -> str:
        """Return the few numbers that matter, with their intervals, as lines."""
        told = [f"{name}: " + ", ".join(f"{key.replace('_', ' ')} {one.metrics[key].text()}" for key in SHOWN[:3])
                for name, one in self.baselines.items()]
        return "\n".join([self.evaluation.text(SHOWN), f"split: {self.split.overlap}", *told,
                          f"report: {self.report}", f"bundle: {self.folder / files.BUNDLE}"])


def train_scene(config: SceneConfig, *, model: nn.Module | None = None, out: str | Path | None = None,
                images: bool = True, simulated: bool | None = None, progress: Progress | None = None) -> SceneRun:
    """Train as `config` says and leave everything in one folder; the same call again resumes.

    Args:
        model: A network of your own, (N, components, window, window) -> (N, classes); config.model otherwise.
        out: The run folder; runs/NAME-OF-CUBE-OR-TABLE otherwise.
        images: Put maps into the report.
        simulated: Report and card say that the scene is simulated; None looks for `simulated` in the cube's header, or
            in the table's column of that name.

    Raises:
        DataError, ModelError, EnvironmentFault, UsageError: with exit codes 3, 4, 5, 2.
        Interrupted: a signal came; the state is saved.
    """
    progress, config = progress or silent(), with_defaults(config)
    threads = config.loop.threads or usable_cores()
    with RunFolder(Path(out) if out else Path("runs") / config.name) as run:
        resumed = not run.is_new
        if resumed:
            refuse_other_run(run, config, threads, places=PLACES)
        prepared = prepare_scene(config, model=model, progress=progress)
        if resumed:
            run.refuse_changes("data", run.read_json(files.HASHES), prepared.fingerprint)
            progress.say(f"resuming {run.path}")
        else:
            _begin(run, prepared, threads, progress)
        if simulated is None:
            simulated = {"yes": True, "no": False}.get(prepared.scene.cube.header.get("simulated", ""))
        fitted = _fit(run, prepared, progress)
        evaluation, baselines, report = finish_scene(run, prepared, fitted, images=images, simulated=simulated,
                                                     progress=progress)
    return SceneRun(folder=run.path, scene=prepared.scene, split=prepared.split, fit=fitted, evaluation=evaluation,
                    baselines=baselines, report=report)


def _begin(run: RunFolder, prepared: PreparedScene, threads: int, progress: Progress) -> None:
    """Write what the run starts from; config.yaml marks the folder as a run."""
    run.write_json(files.ENVIRONMENT, environment(threads))
    run.write_json(files.SPLIT, prepared.split.to_json())
    run.write_json(files.HASHES, prepared.fingerprint)
    run.write(files.CONFIG, dump_yaml(prepared.config))
    for topic, reason in prepared.reasons.items():
        progress.say(f"{topic}: {reason}")
        run.log({"event": "note", "topic": topic, "text": reason})


def _fit(run: RunFolder, prepared: PreparedScene, progress: Progress) -> Fit:
    config = prepared.config
    with StopFlag() as stop, ending_logged(run):
        return fit(prepared.model, prepared.task, prepared.batches("train", train=True), prepared.batches("val"),
                   optim=config.optim, schedule=config.schedule, loop=config.loop, seed=config.seed, folder=run.path,
                   log=run.log, progress=progress, stop=stop)
