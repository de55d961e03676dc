"""What `excite study` promises, measured: how often its intervals and tests err, and what it costs beside trainings.

    python benchmarks/study.py chance [--studies 1000]   # simulated studies with no difference, and with one
    python benchmarks/study.py overhead                  # a small study of simulated pictures, one process

A simulated training answers each test image rightly or wrongly: images are more or less hard for all networks, a little
differently so for each arm; a training has luck of its own, and errs on images of its own.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.stats import norm

from excite.metrics.arms import Drawn, compare_arms
from excite.metrics.intervals import wilson

RIGHT, HARD, OWN, NOISE, DRAWS = 0.75, 1.0, 0.2, 0.5, 200


class Setting(NamedTuple):
    """How a study is drawn; `luck` is that of each arm's trainings, `better` what the last arm is ahead, in shares."""

    name: str
    units: int
    luck: tuple[float, ...]
    seeds: int = 3
    better: float = 0.0


SETTINGS = (
    Setting("4 arms, steady trainings", 200, (0.05,) * 4),
    Setting("4 arms, trainings with luck", 200, (0.3,) * 4),
    Setting("4 arms", 60, (0.1,) * 4),
    Setting("4 arms", 1000, (0.15,) * 4),
    Setting("2 arms", 200, (0.15,) * 2),
    Setting("4 arms, one eight times as restless", 200, (0.05, 0.05, 0.05, 0.4)),
    Setting("2 arms, one eight times as restless", 200, (0.05, 0.4)),
    Setting("2 arms, one eight times as restless", 200, (0.05, 0.4), seeds=5),
    Setting("4 arms", 200, (0.15,) * 4, seeds=5),
    Setting("4 arms, 10 points better", 500, (0.1,) * 4, better=0.10),
    Setting("2 arms, 10 points better", 500, (0.1,) * 2, better=0.10),
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
    weights = rng.multinomial(setting.units, np.full(setting.units, 1 / setting.units), size=DRAWS) / setting.units
    return Drawn(values=right.mean(axis=2), draws=np.einsum("asn,rn->asr", right, weights), units=setting.units)


def chance(studies: int) -> None:
    """Print how often intervals hold the truth and how often a difference is said to be shown."""
    print("| studies | intervals of differences that hold the truth | a false difference in a study | true one shown |")
    print("|:--|--:|--:|--:|")
    for setting in SETTINGS:
        rng = np.random.default_rng(0)
        held, false, true = [], 0, 0
        for _ in range(studies):
            found = compare_arms(drawn(rng, setting), seed=0).differences[1:]
            truths = [0.0] * (len(found) - 1) + [setting.better]
            held += [one.low <= truth <= one.high for one, truth in zip(found, truths, strict=True)]
            shown = [one.shown for one in found]
            false += any(said for said, truth in zip(shown, truths, strict=True) if not truth)
            true += shown[-1] if setting.better else 0
        low, high = wilson(false, studies)
        print(f"| {setting.name}, {setting.seeds} seeds, {setting.units} units | {100 * np.mean(held):.1f} % | "
              f"{100 * false / studies:.1f} % ({100 * low:.1f} to {100 * high:.1f}) | "
              f"{f'{100 * true / studies:.0f} %' if setting.better else ''} |", flush=True)


def overhead() -> None:
    """Print a study's wall time beside the time of its trainings, as its worker measured them."""
    with tempfile.TemporaryDirectory() as folder:
        table, out = Path(folder) / "planes", Path(folder) / "study"
        excite = [sys.executable, "-m", "excite"]
        subprocess.run([*excite, "simulate", "planes", "--out", str(table), "--patients", "150"], check=True)
        began = time.perf_counter()
        subprocess.run([*excite, "study", str(table / "planes.csv"), "--out", str(out), "--attention", "none,se,eca",
                        "--seeds", "2", "--epochs", "10", "--model", "resnet18", "--weights", "none", "--size", "96",
                        "--set", "study.workers=1", "--set", "loop.threads=1"], check=True)
        whole = time.perf_counter() - began
        spent = json.loads((out / "study.json").read_text(encoding="utf-8"))["trained_seconds"]
        print(f"study {whole:.0f} s, its trainings {spent:.0f} s: {100 * (whole / spent - 1):.1f} % on top")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("chance", "overhead"))
    parser.add_argument("--studies", type=int, default=1000)
    asked = parser.parse_args()
    if asked.what == "chance":
        chance(asked.studies)
    else:
        overhead()


if __name__ == "__main__":
    main()
