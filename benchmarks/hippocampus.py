"""Train on the hippocampus of the Decathlon (200 volumes, labels anterior and posterior) and print Dice and HD95.

    EXCITE_REAL_DATA=... python benchmarks/hippocampus.py OUT
    EXCITE_REAL_DATA=... python benchmarks/hippocampus.py OUT --attention se none

One network for each attention, as configs/hippocampus.yaml says: the same split by file, the same seed. No person is
named in the data, left and right are separate files, so a person may be on both sides of the split. All numbers are of
whole volumes through the exported bundle; differences are in pairs, with a bootstrap over test files.
"""

import argparse
import os
import time
from pathlib import Path

import numpy as np

from excite.config import load_config
from excite.jobs.volume_masks.sections import MaskedVolumeConfig
from excite.jobs.volume_masks.train import MaskedVolumeRun, train_volume_masks
from excite.progress import spoken

CONFIG = Path(__file__).parents[1] / "configs" / "hippocampus.yaml"
RESAMPLES = 2000


def train(attention: str, arguments: argparse.Namespace) -> MaskedVolumeRun:
    """Train one network and print its numbers."""
    began = time.perf_counter()
    config = load_config(MaskedVolumeConfig, CONFIG, values={
        "volumes.table": Path(os.environ["EXCITE_REAL_DATA"]) / "hippocampus", "model.attention": attention,
        "loop.threads": arguments.threads, "loop.epochs": arguments.epochs, "seed": arguments.seed})
    run = train_volume_masks(config, out=arguments.out / attention, progress=spoken())
    print(f"{attention}, {(time.perf_counter() - began) / 60:.1f} minutes\n{run.text()}", flush=True)
    return run


def difference(first: MaskedVolumeRun, second: MaskedVolumeRun) -> str:
    """Return the mean Dice of the first minus the second's, with its interval."""
    apart = np.array([(one.dice or 0) - (other.dice or 0) for one, other in
                      zip(first.evaluation.rows, second.evaluation.rows, strict=True)])
    draws = np.random.default_rng(0).integers(len(apart), size=(RESAMPLES, len(apart)))
    low, high = np.percentile(apart[draws].mean(axis=1), (2.5, 97.5))
    return f"{apart.mean():+.4f} [{low:+.4f}, {high:+.4f}]"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--attention", nargs="+", default=["se"])
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=42)
    arguments = parser.parse_args()
    runs = [train(attention, arguments) for attention in arguments.attention]
    for name, run in zip(arguments.attention[1:], runs[1:], strict=True):
        print(f"Dice of {arguments.attention[0]} minus {name}: {difference(runs[0], run)}")


if __name__ == "__main__":
    main()
