"""Train on a hyperspectral scene, or several: from cubes and labels to a proved network, maps and honest numbers."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

from torch import nn

from excite.data.scenes.scene import Scene
from excite.data.scenes.split import SceneSplit
from excite.engine.loop import Fit
from excite.jobs import run_folder as files
from excite.jobs.run_folder import RunFolder
from excite.jobs.scenes.baselines import Baseline
from excite.jobs.scenes.finish import finish_scene
from excite.jobs.scenes.prepare import prepare_scene
from excite.jobs.scenes.sections import SceneConfig, with_defaults
from excite.jobs.starting import started, trained
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
    with RunFolder(Path(out) if out else Path("runs") / config.name) as run:
        prepared = started(run, config, partial(prepare_scene, config, model=model, progress=progress), places=PLACES,
                           progress=progress)
        if simulated is None:
            simulated = {"yes": True, "no": False}.get(prepared.scene.cube.header.get("simulated", ""))
        fitted = trained(run, prepared, progress=progress)
        evaluation, baselines, report = finish_scene(run, prepared, fitted, images=images, simulated=simulated,
                                                     progress=progress)
    return SceneRun(folder=run.path, scene=prepared.scene, split=prepared.split, fit=fitted, evaluation=evaluation,
                    baselines=baselines, report=report)
