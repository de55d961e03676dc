"""What `excite study` promises, measured: how often its intervals and tests err, and what it costs beside trainings.

    python benchmarks/study.py chance [--studies 1000]   # simulated studies with no difference, and with one
    python benchmarks/study.py overhead [--epochs 20]    # a small study of simulated pictures, one process

A simulated training answers each test image rightly or wrongly: images are more or less hard for all networks, a little
differently so for each arm; a training has luck of its own, and errs on images of its own.
"""

import argparse
import resource
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from excite.config import load_config
from excite.data.phantom.planes import simulate_planes
from excite.metrics.arms import Drawn, from_first
from excite.metrics.intervals import wilson
from excite.progress import Progress

RIGHT, HARD, OWN, NOISE, DRAWS = 0.75, 1.0, 0.2, 0.5, 200


class Setting(NamedTuple):
    """How a study is drawn; `luck` is that of each arm's trainings, `better` what the last arm is ahead, in shares."""

    name: str
    units: int
    luck: tuple[float, ...]
    seeds: int = 3
    better: float = 0.0


SETTINGS = (
    Setting("2 arms", 200, (0.15,) * 2, seeds=2),
    Setting("2 arms", 200, (0.15,) * 2),
    Setting("4 arms", 200, (0.12,) * 4, seeds=2),
    Setting("4 arms", 60, (0.1,) * 4),
    Setting("4 arms", 1000, (0.15,) * 4),
    Setting("4 arms, trainings with luck", 200, (0.3,) * 4),
    Setting("4 arms", 200, (0.15,) * 4, seeds=5),
    Setting("10 arms", 250, (0.12,) * 10, seeds=2),
    Setting("4 arms, one twice as restless", 200, (0.12, 0.12, 0.12, 0.24)),
    Setting("4 arms, one four times as restless", 200, (0.12, 0.12, 0.12, 0.48)),
    Setting("10 arms, one four times as restless", 250, (0.12,) * 9 + (0.48,), seeds=2),
    Setting("2 arms, one four times as restless", 200, (0.12, 0.48)),
    Setting("2 arms, one four times as restless", 200, (0.12, 0.48), seeds=5),
    Setting("2 arms, 10 points better", 500, (0.1,) * 2, better=0.10),
    Setting("4 arms, 10 points better", 500, (0.1,) * 4, better=0.10),
    Setting("10 arms, 10 points better", 500, (0.1,) * 10, seeds=2, better=0.10),
    Setting("4 arms, 5 points better", 500, (0.05,) * 4, better=0.05),
)


def drawn(rng: np.random.Generator, setting: Setting) -> Drawn:
    """Return one simulated study: shares of right answers, as they are and in resamples."""
    luck = np.array(setting.luck)
    goal = np.full(len(luck), RIGHT)
    goal[-1] += setting.better
    level = norm.ppf(goal) * np.sqrt(HARD**2 + OWN**2 + luck**2 + NOISE**2)
    size = (len(luck), setting.seeds, setting.units)
    logits = (level[:, None, None] + HARD * rng.normal(size=setting.units)
              + OWN * rng.normal(size=(len(luck), 1, setting.units)) + luck[:, None, None] * rng.normal(
                  size=size[:2])[..., None] + NOISE * rng.normal(size=size))
    right = (logits > 0).astype(float)
    values, weights = right.mean(axis=2), rng.normal(size=(setting.units, DRAWS)) / setting.units  # a bootstrap's limit
    return Drawn(values=values, draws=values[..., None] + (right - values[..., None]) @ weights, units=setting.units)


def chance(studies: int) -> None:
    """Print how often intervals hold the truth and how often a difference is said to be shown."""
    print("| studies | intervals of differences that hold the truth | a false difference in a study | true one shown |")
    print("|:--|--:|--:|--:|")
    for setting in SETTINGS:
        rng = np.random.default_rng(0)
        held, false, true = [], 0, 0
        for _ in range(studies):
            found = from_first(drawn(rng, setting))[1:]
            truths = [0.0] * (len(found) - 1) + [setting.better]
            held += [one.low <= truth <= one.high for one, truth in zip(found, truths, strict=True)]
            shown = [one.shown for one in found]
            false += any(said for said, truth in zip(shown, truths, strict=True) if not truth)
            true += shown[-1] if setting.better else 0
        low, high = wilson(false, studies)
        print(f"| {setting.name}, {setting.seeds} seeds, {setting.units} units | {100 * np.mean(held):.1f} % | "
              f"{100 * false / studies:.1f} % ({100 * low:.1f} to {100 * high:.1f}) | "
              f"{f'{100 * true / studies:.0f} %' if setting.better else ''} |", flush=True)


class Stages(Progress):
    """Progress that notes the processor time of this process at each line that is said."""

    def __init__(self) -> None:
        super().__init__(sys.stderr)
        self.marks = [("imports, checking the arms", time.process_time())]

    def say(self, text: str) -> None:
        """Print one line and note the time."""
        super().say(text)
        self.marks.append((text[:40], time.process_time()))


def overhead(epochs: int) -> None:
    """Print a study's time beside that inside its trainings, as its workers measured them; wall and processor."""
    with tempfile.TemporaryDirectory() as folder:
        table, out = simulate_planes(Path(folder) / "planes", patients=150, seed=0), Path(folder) / "study"
        stages, began, busy = Stages(), time.perf_counter(), _processor()
        from excite.jobs.study.sections import StudyConfig
        from excite.jobs.study.study import study

        config = load_config(StudyConfig, values={
            "data.table": table, "study.attention": ["none", "se"], "study.seeds": [0, 1], "study.workers": 1,
            "model.name": "resnet18", "model.weights": "none", "preprocess.size": 96, "loop.epochs": epochs,
            "loop.threads": 1, "cache.folder": Path(folder) / "cache"})
        data = study(config, out=out, progress=stages).data
        stages.say("writing the page")
        wall, spent = time.perf_counter() - began, _processor() - busy
    for name, whole, inside in (("wall", wall, data["trained_seconds"]),
                                ("processor", spent, data["trained_processor_seconds"])):
        print(f"{name}: study {whole:.0f} s, inside its trainings {inside:.0f} s: {100 * (whole / inside - 1):.1f} % "
              "on top")
    for (name, before), (_, after) in pairwise(stages.marks):
        print(f"  of that in the study's own process, after {name!r}: {after - before:.1f} s")


def _processor() -> float:
    """Return the processor time of this process and its ended children."""
    own, children = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in (own, children))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("chance", "overhead"))
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=20)
    asked = parser.parse_args()
    if asked.what == "chance":
        chance(asked.studies)
    else:
        overhead(asked.epochs)


if __name__ == "__main__":
    main()
