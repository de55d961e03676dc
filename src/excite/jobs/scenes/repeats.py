"""The same training on a scene several times, each with another seed: how much of a number is chance."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import t as student

from excite.jobs.scenes.sections import SceneConfig
from excite.jobs.scenes.train import SceneRun, train_scene
from excite.metrics.intervals import Interval
from excite.progress import Progress, silent

TOLD = ("accuracy", "balanced_accuracy", "kappa")
FILE = "repeats.json"


@dataclass(frozen=True, kw_only=True)
class Repeated:
    """Several finished trainings."""

    folder: Path
    runs: tuple[SceneRun, ...]

    def metrics(self, baseline: str | None = None) -> dict[str, Interval]:
        """Return the mean over the repeats with its 95 % interval by Student's t; of a baseline where one is named."""
        of = [run.evaluation.metrics if baseline is None else run.baselines[baseline].metrics for run in self.runs]
        return {key: spread([one[key].value for one in of]) for key in TOLD}

    def summary(self) -> dict[str, object]:
        """Return the numbers as plain data."""
        named: list[tuple[str | None, str]] = [(None, "network"), *((name, name) for name in self.runs[0].baselines)]
        return {"folder": str(self.folder), "repeats": len(self.runs),
                "methods": {told: {key: one.to_json() for key, one in self.metrics(name).items()}
                            for name, told in named}, "runs": [run.summary() for run in self.runs]}

    def text(self) -> str:
        """Return the numbers as lines."""
        lines = [f"{len(self.runs)} trainings with other seeds: mean and its 95 % interval"]
        for name in (None, *self.runs[0].baselines):
            told = ", ".join(f"{key.replace('_', ' ')} {one.text()}" for key, one in self.metrics(name).items())
            lines.append(f"  {name or 'network'}: {told}")
        return "\n".join([*lines, f"runs: {self.folder}"])


def repeat_scene(config: SceneConfig, *, out: Path | None = None, images: bool = True,
                 progress: Progress | None = None) -> Repeated:
    """Train `config.repeats` times, the seeds of the split and of the training counted up, each in its own folder.

    Raises:
        As `train_scene`.
    """
    progress = progress or silent()
    folder = out or Path("runs") / config.name
    runs = []
    for number in range(config.repeats):
        progress.say(f"training {number + 1} of {config.repeats}")
        split = config.split.model_copy(update={"seed": config.split.seed + number})
        one = config.model_copy(update={"seed": config.seed + number, "split": split, "repeats": 1})
        runs.append(train_scene(one, out=folder / f"repeat-{number + 1}", images=images, progress=progress))
    found = Repeated(folder=folder, runs=tuple(runs))
    (folder / FILE).write_text(json.dumps(found.summary(), indent=1) + "\n", encoding="utf-8")
    return found


def spread(values: list[float | None]) -> Interval:
    """Return the mean of shares or kappas with the 95 % interval of Student's t, which ends at 1.

    Several values of one training are one repeat.
    """
    known = np.array([value for value in values if value is not None], np.float64)
    if len(known) < 2:
        return Interval(value=float(known[0]) if len(known) else None, low=None, high=None, note="one repeat only")
    half = float(student.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    middle = float(known.mean())
    return Interval(value=middle, low=middle - half, high=min(middle + half, 1.0))
