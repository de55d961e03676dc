"""How long one image takes through each arm's bundle: measured in turns, kept with the study, compared turn by turn."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from excite.deploy.runtime import Predictor
from excite.jobs.run_folder import written
from excite.progress import Progress

TIMES = "times.json"
BLANK = np.zeros((64, 64), np.uint8)
SECONDS, ROUNDS = 20.0, 51  # of timing all arms in turns
TOLD = 0.1                  # quantile of the turns that is told: load makes turns longer, never shorter
SAME = (0.95, 1.05)         # ratios of two arms that are not told apart
BUSY = 0.3                  # how much longer nine of ten turns may take than the quickest tenth


def kept_times(file: Path, bundles: Mapping[str, Path], *, progress: Progress) -> dict[str, list[float]]:
    """Return the milliseconds of each arm's turns: those in `file` while its bundles are these, else measured now.

    Args:
        bundles: Of each arm by its name; all are measured in the same turns.
    """
    prints = {name: content_of(bundle) for name, bundle in bundles.items()}
    try:
        kept = json.loads(file.read_text(encoding="utf-8"))
        if all(kept[name]["sha256"] == found for name, found in prints.items()):
            return {name: [float(one) for one in kept[name]["milliseconds"]] for name in prints}
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or other arms: measured now
    progress.say("timing every arm's bundle in turns, one thread")
    turns = dict(zip(bundles, measured(list(bundles.values())), strict=True))
    tree = {name: {"sha256": prints[name], "milliseconds": turns[name]} for name in prints}
    with written(file, what="the times of the study"):
        aside = file.with_name(f".{file.name}.tmp")
        aside.write_text(json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf-8", newline="\n")
        aside.replace(file)
    return turns


def measured(bundles: Sequence[Path]) -> list[list[float]]:
    """Return the milliseconds of one image through each bundle on one thread, turn by turn: all meet the same load."""
    predictors = [Predictor(bundle, threads=1) for bundle in bundles]
    images = [one.prepare(BLANK)[0][None] for one in predictors]
    taken: list[list[float]] = [[] for _ in bundles]
    began = time.perf_counter()
    for turn in range(ROUNDS + 1):
        for predictor, image, times in zip(predictors, images, taken, strict=True):
            start = time.perf_counter()
            predictor.views(image)
            times.append(round((time.perf_counter() - start) * 1e3, 6))
        if turn and time.perf_counter() - began > SECONDS:
            break
    return [times[1:] for times in taken]


def told(turns: Sequence[float]) -> float:
    """Return the milliseconds that stand for an arm's turns."""
    return float(np.quantile(turns, TOLD))


def ratio(turns: Sequence[float], others: Sequence[float]) -> tuple[float, float]:
    """Return how many times as long as the others these turns take, pair by pair: the 10 % and the 90 % quantile."""
    low, high = np.quantile(np.divide(turns, others), [0.1, 0.9])
    return float(low), float(high)


def is_apart(turns: Sequence[float], others: Sequence[float]) -> int:
    """Return -1 where the paired turns show an arm to be faster than another, 1 slower, 0 neither."""
    low, high = ratio(turns, others)
    return -1 if high < SAME[0] else 1 if low > SAME[1] else 0


def spread(turns: Sequence[float]) -> float:
    """Return by what share the slow turns are longer than the quick ones."""
    low, high = np.quantile(turns, [TOLD, 0.9])
    return float(high / low - 1)


def content_of(bundle: Path) -> str:
    """Return the sha256 of all that is in a bundle."""
    found = hashlib.sha256()
    for file in sorted(one for one in bundle.rglob("*") if one.is_file()):
        content = file.read_bytes()
        found.update(f"{file.relative_to(bundle).as_posix()} {len(content)};".encode() + content)
    return found.hexdigest()
